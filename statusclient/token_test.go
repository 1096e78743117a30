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

// hasNoToken prints v in every way, and what it wraps, and looks for the token.
func hasNoToken(t *testing.T, v any) {
	t.Helper()
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		text := strings.ToLower(fmt.Sprintf(format, v))
		if strings.Contains(text, token) || strings.Contains(text, fmt.Sprintf("%x", token)) {
			t.Errorf("the token shows in %s of a %T: %s", format, v, text)
		}
	}
	if err, ok := v.(error); ok {
		if strings.Contains(err.Error(), token) {
			t.Errorf("the token shows in an error: %v", err)
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
		t.Errorf("the token shows in JSON: %s", b)
	}
	if b, _ := json.Marshal(cfg); strings.Contains(string(b), token) {
		t.Errorf("the token shows in JSON: %s", b)
	}
	if !strings.Contains(cfg.String(), "Token:(withheld)") || !strings.HasPrefix(fmt.Sprintf("%#v", cfg), "statusclient.Config{") {
		t.Errorf("the configuration shows as %v and %#v", cfg, cfg)
	}
}

// A vendor that repeats the token, in all sorts of places.
func TestTokenEchoedByVendor(t *testing.T) {
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
			t.Fatalf("%q was taken for a status", answer)
		}
		hasNoToken(t, err)
	}

	server, _ := answering(t, writes(`{"identifier":"`+identifier+`","status":"processing","errorMessage":"asked with `+token+`"}`))
	answer, err := newClient(t, server.URL, statusclient.Config{}).Status(t.Context(), identifier, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	hasNoToken(t, string(answer.Raw)+answer.ErrorMessage)
	if !json.Valid(answer.Raw) {
		t.Errorf("raw is %s", answer.Raw)
	}
}

// Where the vendor repeats the token in something that is cut, not even its beginning shows.
func TestTokenEchoedAcrossACut(t *testing.T) {
	const beginning = "5d9f"
	echoes := func(filler string) []string {
		return []string{
			"HTTP/1.1 429 x\r\nRetry-After: " + filler + token + "\r\n\r\n",
			"HTTP/1.1 503 x\r\nRetry-After: " + filler + token[:20] + "\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Type: text/" + filler + token + "\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: " + filler + token + "\r\n\r\n{}",
			"HTTP/1.1 307 x\r\nLocation: https://" + filler + token + ".example.com/\r\n\r\n",
			"HTTP/1.1 401 " + filler + token + "\r\n\r\n" + filler + token,
			"HTTP/1.1 401 x\r\nContent-Length: 1000\r\n\r\n" + filler + token[:20], // breaks off
			"HTTP/1.1 400 x\r\n\r\n" + filler + strings.ToUpper(token),
			"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"identifier\":\"" + filler + token + "\"}",
			"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"identifier\":\"" + identifier + "\",\"status\":\"" + filler + token + "\"}",
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
				continue // some statuses are fine
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
		t.Error("nothing was masked: the test shows nothing")
	}
}

// A token with characters that are written otherwise in quotes and in JSON.
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
			t.Fatalf("%q was taken for a status", answer)
		}
		if text := err.Error(); strings.Contains(text, `ke\n`) || strings.Contains(text, "sorts") {
			t.Errorf("the token shows in %s", text)
		}
	}
	// In an answer that is a status it is masked, and the answer is handed on.
	url, _ := raw(t, sends("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"identifier\":\""+identifier+"\",\"status\":\"processed\",\"errorMessage\":\"to\\\"ke\\\\n\\/of\\u003Call>&sorts\",\"x\":1}"))
	answer, err := newClient(t, url, statusclient.Config{Token: odd}).Status(t.Context(), identifier, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"identifier":"` + identifier + `","status":"processed","errorMessage":"` + strings.Repeat("*", len(`to\"ke\\n\/of\u003Call>&sorts`)) + `","x":1}`; string(answer.Raw) != want {
		t.Errorf("answer is %s, want %s", answer.Raw, want)
	}
}

const newToken = "11111111-2222-4333-8444-555555555555"

// vendorFor is a simulated vendor that accepts want, and a client with the token in a file, and a clock of its own.
func vendorFor(t *testing.T, want, file string) (*simulator.Simulator, *statusclient.Client, *clock) {
	t.Helper()
	vendor, err := simulator.Start(simulator.Config{Token: want, Default: func(string) simulator.Script { return simulator.Never() }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(vendor.Close)
	now := newClock()
	return vendor, newClient(t, strings.TrimSuffix(vendor.URL(), "/v1"), statusclient.Config{TokenFile: file, Now: now.Now}), now
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
	if e := pollError(t, c, schema.FaultUnauthorized); !strings.Contains(e.Detail, "another token by now") {
		t.Errorf("detail is %s", e.Detail)
	}
	if vendor.Count() != 2 {
		t.Errorf("%d requests for 2 calls", vendor.Count())
	}
	succeeds(t, c)

	// At once, however soon after the last time.
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
				t.Errorf("%s: told of %d changes, want %d", why, changes, want)
			}
		}
		after(time.Minute, 0, "nothing was changed")
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
	c.WatchToken(t.Context(), func() { t.Error("told of a change") }) // returns at once
}

// A refused token is not used again without a look at the file.
func TestTokenFileReadBeforeARequestWithARefusedToken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	writeFile(t, file, token)
	vendor, c, _ := vendorFor(t, newToken, file)
	if e := pollError(t, c, schema.FaultUnauthorized); !strings.Contains(e.Detail, "the same token still") {
		t.Errorf("detail is %s", e.Detail)
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

// Kubernetes swaps a symlink to a directory.
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

func TestTokenFileTroubleKeepsTheOldToken(t *testing.T) {
	tests := []struct {
		name    string
		spoil   func(file string) error
		trouble string
	}{
		{"gone", os.Remove, "no such file"},
		{"empty", func(file string) error { return os.WriteFile(file, nil, 0o600) }, "it is empty"},
		{"a pipe", func(file string) error { return errors.Join(os.Remove(file), syscall.Mkfifo(file, 0o600)) }, "it is a pipe"},
		{"two words", func(file string) error { return os.WriteFile(file, []byte(newToken+" "+token), 0o600) }, "it has a space"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "token")
			writeFile(t, file, token)
			vendor, c, now := vendorFor(t, token, file)
			if err := tt.spoil(file); err != nil {
				t.Fatal(err)
			}
			now.Advance(time.Minute)
			succeeds(t, c)
			vendor.SetToken(newToken)
			e := pollError(t, c, schema.FaultUnauthorized)
			if !strings.Contains(e.Detail, "the old token is kept") || !strings.Contains(e.Detail, tt.trouble) {
				t.Errorf("detail is %s, want the trouble with the file", e.Detail)
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

func TestTokenFixedIsNotExcused(t *testing.T) {
	server, _ := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, "no")
	})
	e := pollError(t, newClient(t, server.URL, statusclient.Config{}), schema.FaultUnauthorized)
	if want := "the vendor answered 403 Forbidden for GET " + statusPath + `: "no"`; e.Detail != want {
		t.Errorf("detail is %s, want %s", e.Detail, want)
	}
}
