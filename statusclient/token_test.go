package statusclient_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"statusworker/schema"
	"statusworker/statusclient"
	"statusworker/statusclient/simulator"
)

// hasNoToken checks that v and the errors that it wraps do not show the token in any format.
func hasNoToken(t *testing.T, v any) {
	t.Helper()
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		text := strings.ToLower(fmt.Sprintf(format, v))
		if strings.Contains(text, token) || strings.Contains(text, fmt.Sprintf("%x", token)) {
			t.Errorf("format %s of a %T shows the token: %s", format, v, text)
		}
	}
	if err, ok := v.(error); ok {
		if strings.Contains(err.Error(), token) {
			t.Errorf("an error shows the token: %v", err)
		}
		if next := errors.Unwrap(err); next != nil {
			hasNoToken(t, next)
		}
	}
}

func TestTokenNeverShows(t *testing.T) {
	cfg := statusclient.Config{BaseURL: "https://api.elevateai.com/v1", Token: token}
	c := newClient(t, "https://api.elevateai.com", statusclient.Config{})
	hasNoToken(t, cfg)
	hasNoToken(t, &cfg)
	hasNoToken(t, []statusclient.Config{cfg})
	hasNoToken(t, map[string]any{"config": cfg, "client": c})
	hasNoToken(t, c)
	hasNoToken(t, struct{ C *statusclient.Client }{c})
	hasNoToken(t, struct{ c *statusclient.Client }{c})
	hasNoToken(t, cfg.String()+cfg.GoString()+c.String()+c.GoString())
	if b, _ := json.Marshal(c); strings.Contains(string(b), token) {
		t.Errorf("JSON shows the token: %s", b)
	}
	if b, _ := json.Marshal(cfg); strings.Contains(string(b), token) {
		t.Errorf("JSON shows the token: %s", b)
	}
	if text := fmt.Sprintf("%#v", cfg); !strings.Contains(cfg.String(), "Token:(withheld)") ||
		!strings.HasPrefix(text, "statusclient.Config{") {
		t.Errorf("formatted: %v and %s", cfg, text)
	}
}

// The vendor may repeat the token in every part of an answer.
func TestTokenRepeatedByTheVendor(t *testing.T) {
	upper := strings.ToUpper(token)
	answers := []string{
		"HTTP/1.1 500 x\r\n\r\nno service for " + token,
		"HTTP/1.1 401 " + token + "\r\n\r\n{\"message\":\"token " + upper + " is not valid\"}",
		"HTTP/1.1 400 x\r\n\r\n" + strings.Repeat("x", 40) + token,
		"HTTP/1.1 400 x\r\n\r\n" + strings.Repeat("x", 180) + token,
		"HTTP/1.1 307 x\r\nLocation: https://" + token + ".example.com/" + token + "\r\n\r\n",
		"HTTP/1.1 429 x\r\nRetry-After: " + token + "\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Type: text/" + token + "\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: " + token + "\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"identifier\":\"" + token + "\"}",
		"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " + token + "\r\n\r\n{}",
		"HTTP/1.1 200 OK\r\n" + token + "\r\n\r\n{}",
		"HTTP/1.1 " + token + "\r\n\r\n",
		token + "\r\n\r\n",
	}
	for _, answer := range answers {
		url, _ := raw(t, sends(answer))
		_, err := newClient(t, url, statusclient.Config{}).Status(t.Context(), identifier, time.Time{})
		if err == nil {
			t.Fatalf("Status accepts %q", answer)
		}
		hasNoToken(t, err)
	}

	server, _ := answering(t,
		writes(`{"identifier":"`+identifier+`","status":"processing","errorMessage":"asked with `+token+`"}`))
	answer, err := newClient(t, server.URL, statusclient.Config{}).Status(t.Context(), identifier, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	hasNoToken(t, string(answer.Text)+answer.ErrorMessage)
	if document, _ := answer.Document(); document == nil {
		t.Errorf("the answer %s is no document", answer.Text)
	}
}

// If the vendor repeats the token in a text that is cut, not even its beginning is shown.
func TestTokenRepeatedAcrossACut(t *testing.T) {
	const beginning = "5d9f"
	const ok = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
	echoes := func(filler string) []string {
		return []string{
			"HTTP/1.1 429 x\r\nRetry-After: " + filler + token + "\r\n\r\n",
			"HTTP/1.1 503 x\r\nRetry-After: " + filler + token[:20] + "\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Type: text/" + filler + token + "\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: " + filler + token + "\r\n\r\n{}",
			"HTTP/1.1 307 x\r\nLocation: https://" + filler + token + ".example.com/\r\n\r\n",
			"HTTP/1.1 401 " + filler + token + "\r\n\r\n" + filler + token,
			"HTTP/1.1 401 x\r\nContent-Length: 1000\r\n\r\n" + filler + token[:20], // incomplete
			"HTTP/1.1 400 x\r\n\r\n" + filler + strings.ToUpper(token),
			ok + `{"identifier":"` + filler + token + `"}`,
			ok + `{"identifier":"` + identifier + `","status":"` + filler + token + `"}`,
			"HTTP/1.1 " + filler + token + "\r\n\r\n",
			filler + token + "\r\n\r\n",
		}
	}
	shows := 0
	for length := range 220 {
		for _, answer := range echoes(strings.Repeat("x", length)) {
			url, _ := raw(t, sends(answer))
			_, err := newClient(t, url, statusclient.Config{}).Status(t.Context(), identifier, time.Time{})
			if err == nil {
				continue // some statuses are valid
			}
			for e := err; e != nil; e = errors.Unwrap(e) {
				if strings.Contains(strings.ToLower(e.Error()), beginning) {
					t.Fatalf("%d bytes before the token: %v", length, e)
				}
				if strings.Contains(e.Error(), "****") {
					shows++
				}
			}
		}
	}
	if shows == 0 {
		t.Error("no token was masked, want at least one")
	}
}

// A token may have characters that are escaped in quoted texts and in JSON.
func TestTokenInQuotes(t *testing.T) {
	const odd = `to"ke\n/of<all>&sorts`
	for _, answer := range []string{
		"HTTP/1.1 401 x\r\n\r\nno " + odd,
		"HTTP/1.1 " + odd + "\r\n\r\n",
		odd + "\r\n\r\n",
		"HTTP/1.1 429 x\r\nRetry-After: " + odd + "\r\n\r\n",
	} {
		url, _ := raw(t, sends(answer))
		_, err := newClient(t, url, statusclient.Config{Token: odd}).Status(t.Context(), identifier, time.Time{})
		if err == nil {
			t.Fatalf("Status accepts %q", answer)
		}
		if text := err.Error(); strings.Contains(text, `ke\n`) || strings.Contains(text, "sorts") {
			t.Errorf("the token is part of %s", text)
		}
	}
	// In the answer of a status it is masked.
	const escaped = `to\"ke\\n\/of\u003Call>&sorts`
	url, _ := raw(t, sends("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"+
		`{"identifier":"`+identifier+`","status":"processed","errorMessage":"`+escaped+`","x":1}`))
	answer, err := newClient(t, url, statusclient.Config{Token: odd}).Status(t.Context(), identifier, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"identifier":"` + identifier + `","status":"processed","errorMessage":"` + strings.Repeat("*",
		len(`to\"ke\\n\/of\u003Call>&sorts`)) + `","x":1}`; string(answer.Text) != want {
		t.Errorf("answer %s, want %s", answer.Text, want)
	}
}

const newToken = "11111111-2222-4333-8444-555555555555"

// vendorFor returns a simulated vendor that accepts a token, a client with a token file, and the client's clock.
func vendorFor(t *testing.T, want, file string) (*simulator.Simulator, *statusclient.Client, *clock) {
	t.Helper()
	vendor, err := simulator.Start(simulator.Config{Token: want,
		Default: func(string) simulator.Script { return simulator.Never() }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(vendor.Close)
	now := newClock()
	return vendor, newClient(t, strings.TrimSuffix(vendor.URL(), "/v1"),
		statusclient.Config{TokenFile: file, Now: now.Now}), now
}

func succeeds(t *testing.T, c *statusclient.Client) {
	t.Helper()
	if _, err := c.Status(t.Context(), identifier, time.Time{}); err != nil {
		t.Error(err)
	}
}

func TestTokenFileReadAgainWhenRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	writeFile(t, file, token+"\n")
	vendor, c, now := vendorFor(t, token, file)
	succeeds(t, c)

	vendor.SetToken(newToken)
	writeFile(t, file, newToken+"\n")
	now.Advance(time.Second)
	if e := pollError(t, c, schema.FaultUnauthorized); !e.TokenRenewed {
		t.Errorf("error %+v, want TokenRenewed", e)
	}
	if vendor.Count() != 2 {
		t.Errorf("%d requests for 2 calls", vendor.Count())
	}
	succeeds(t, c)

	// The file is read again immediately.
	vendor.SetToken(token)
	writeFile(t, file, token)
	pollError(t, c, schema.FaultUnauthorized)
	succeeds(t, c)
}

func TestWatchToken(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "token")
	writeFile(t, file, token)
	synctest.Test(t, func(t *testing.T) {
		c, err := statusclient.New(statusclient.Config{BaseURL: "https://vendor.example/v1", TokenFile: file})
		if err != nil {
			t.Fatal(err)
		}
		changes := 0
		ctx, cancel := context.WithCancel(t.Context())
		watched := make(chan struct{})
		go func() {
			defer close(watched)
			c.WatchToken(ctx, func() { changes++ })
		}()
		after := func(d time.Duration, want int, why string) {
			t.Helper()
			time.Sleep(d) // in the bubble's time
			synctest.Wait()
			if changes != want {
				t.Errorf("%s: %d changes reported, want %d", why, changes, want)
			}
		}
		after(time.Minute, 0, "no change")
		writeFile(t, file, newToken)
		after(10*time.Second, 1, "another token")
		writeFile(t, file, "")
		after(10*time.Second, 1, "no token")
		writeFile(t, file, newToken)
		after(10*time.Second, 1, "the same token again")
		writeFile(t, file, token)
		after(10*time.Second, 2, "yet another")
		if err := errors.Join(os.Remove(file), syscall.Mkfifo(file, 0o600)); err != nil {
			t.Fatal(err)
		}
		after(10*time.Second, 2, "a pipe")
		cancel()
		<-watched
	})
}

func TestWatchTokenWithoutAFile(t *testing.T) {
	c, err := statusclient.New(statusclient.Config{BaseURL: "https://vendor.example/v1", Token: token})
	if err != nil {
		t.Fatal(err)
	}
	c.WatchToken(t.Context(), func() { t.Error("a change was reported") }) // returns immediately
}

// The file is read before a rejected token is used again.
func TestTokenFileReadBeforeARequestWithARejectedToken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	writeFile(t, file, token)
	vendor, c, _ := vendorFor(t, newToken, file)
	if e := pollError(t, c, schema.FaultUnauthorized); e.TokenRenewed {
		t.Errorf("error %+v, want TokenRenewed false", e)
	}
	writeFile(t, file, newToken)
	succeeds(t, c)
	if vendor.Count() != 2 {
		t.Errorf("%d requests for 2 calls", vendor.Count())
	}
}

func TestTokenFileReadAgainWhenOld(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	writeFile(t, file, token)
	vendor, c, now := vendorFor(t, token, file)
	writeFile(t, file, newToken)
	now.Advance(30 * time.Second)
	succeeds(t, c)
	vendor.SetToken(newToken)
	now.Advance(time.Nanosecond)
	succeeds(t, c)
}

// Kubernetes replaces a symlink to a directory.
func TestTokenFileSymlinkSwap(t *testing.T) {
	dir := t.TempDir()
	link := func(to string) {
		t.Helper()
		if err := os.Symlink(to, filepath.Join(dir, "..data_tmp")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range map[string]string{"..1": token, "..2": newToken} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(dir, name, "token"), content)
	}
	link("..1")
	if err := os.Symlink(filepath.Join("..data", "token"), filepath.Join(dir, "token")); err != nil {
		t.Fatal(err)
	}
	vendor, c, now := vendorFor(t, token, filepath.Join(dir, "token"))
	succeeds(t, c)
	link("..2")
	vendor.SetToken(newToken)
	now.Advance(31 * time.Second)
	succeeds(t, c)
}

func TestUnusableTokenFileKeepsTheOldToken(t *testing.T) {
	for name, spoil := range map[string]func(file string) error{
		"deleted":   os.Remove,
		"empty":     func(file string) error { return os.WriteFile(file, nil, 0o600) },
		"a pipe":    func(file string) error { return errors.Join(os.Remove(file), syscall.Mkfifo(file, 0o600)) },
		"two words": func(file string) error { return os.WriteFile(file, []byte(newToken+" "+token), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "token")
			writeFile(t, file, token)
			vendor, c, now := vendorFor(t, token, file)
			if err := spoil(file); err != nil {
				t.Fatal(err)
			}
			now.Advance(time.Minute)
			succeeds(t, c)
			vendor.SetToken(newToken)
			e := pollError(t, c, schema.FaultUnauthorized)
			if e.TokenRenewed || !strings.Contains(e.Detail, "token file cannot be used") {
				t.Errorf("error %+v, want TokenRenewed false and the problem of the file in the detail", e)
			}
			hasNoToken(t, e)
			if err := os.RemoveAll(file); err != nil {
				t.Fatal(err)
			}
			writeFile(t, file, newToken)
			now.Advance(time.Minute)
			succeeds(t, c)
		})
	}
}

func TestRefusedTokenWithoutAFile(t *testing.T) {
	server, _ := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, "no")
	})
	e := pollError(t, newClient(t, server.URL, statusclient.Config{}), schema.FaultUnauthorized)
	if want := "ElevateAI answered 403 Forbidden for GET " + statusPath + `: "no"`; e.Detail != want {
		t.Errorf("detail %s, want %s", e.Detail, want)
	}
}
