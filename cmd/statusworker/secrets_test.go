package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"statusworker/statusclient/simulator"
)

// rawServer is a TCP server whose answers need not be HTTP.
type rawServer struct {
	url      string
	requests chan struct{}
}

// newRawServer starts a server that answers each request with the output of say.
func newRawServer(t *testing.T, say func(w io.Writer, r *http.Request)) *rawServer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	s := &rawServer{url: "http://" + listener.Addr().String(), requests: make(chan struct{}, 10000)}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for from := bufio.NewReader(conn); ; {
					r, err := http.ReadRequest(from)
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, r.Body)
					say(conn, r)
					s.requests <- struct{}{}
				}
			}()
		}
	}()
	return s
}

// answered waits for n requests.
func (s *rawServer) answered(t *testing.T, n int) {
	t.Helper()
	late := time.After(30 * time.Second)
	for range n {
		select {
		case <-s.requests:
		case <-late:
			t.Fatal("too few requests arrive")
		}
	}
}

// leaks returns ways in which a vendor can send the token outside of its answer, or in a malformed one.
func leaks() map[string]func(w io.Writer, answer string) {
	header := "X-API-Token: " + canary
	appended := func(more string) func(io.Writer, string) {
		return func(w io.Writer, answer string) { _, _ = io.WriteString(w, answer+more) }
	}
	return map[string]func(io.Writer, string){
		"appended":   appended(header),
		"upper case": appended(strings.ToUpper(header)),
		"in quotes":  appended(strconv.Quote(header)),
		"in JSON":    appended(`{"headers":{"X-API-Token":"` + canary + `"}}`),
		"an answer":  appended("HTTP/1.1 401 Unauthorized\r\n" + header + "\r\nContent-Length: 0\r\n\r\n"),
		"a half":     appended(canary[:20]),
		"other half": appended(canary[20:]),
		"two writes": func(w io.Writer, answer string) {
			_, _ = io.WriteString(w, answer+header[:30])
			_, _ = io.WriteString(w, header[30:])
		},
		"later": func(w io.Writer, answer string) {
			_, _ = io.WriteString(w, answer)
			time.AfterFunc(20*time.Millisecond, func() { _, _ = io.WriteString(w, header+"\r\n\r\n") })
		},
		"early hints": func(w io.Writer, answer string) {
			_, _ = io.WriteString(w, strings.Repeat("HTTP/1.1 103 Early Hints\r\n"+header+"\r\n\r\n", 3)+answer)
		},
		"a storm of early hints": func(w io.Writer, answer string) {
			_, _ = io.WriteString(w, strings.Repeat("HTTP/1.1 103 Early Hints\r\n"+header+"\r\n\r\n", 2000)+answer)
		},
		"broken trailer": func(w io.Writer, answer string) {
			_, body, _ := strings.Cut(answer, "\r\n\r\n")
			_, _ = fmt.Fprintf(w,
				"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"+
					"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n X-API-Token %s\r\n\r\n",
				len(body), body, canary)
		},
		"broken chunk": func(w io.Writer, _ string) {
			_, _ = fmt.Fprintf(w,
				"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n%s\r\n", header)
		},
		"no HTTP": func(w io.Writer, _ string) { _, _ = io.WriteString(w, header+"\r\n\r\n") },
	}
}

// jsonLines requires that standard error has only log lines in JSON without the secret. It counts them by source.
func jsonLines(t *testing.T, log *output, secret string) (messages map[string]int) {
	t.Helper()
	messages = map[string]int{}
	for _, line := range log.lines() {
		var record map[string]any
		if line == "" {
			continue
		}
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Errorf("not a JSON object: %q", line)
		}
		messages[fmt.Sprint(record["source"])]++
	}
	for _, part := range []string{secret, secret[:15], secret[len(secret)-15:]} {
		if strings.Contains(strings.ToLower(log.String()), strings.ToLower(part)) {
			t.Errorf("%s shows in\n%s", part, log)
		}
	}
	return messages
}

// Data that a vendor sends outside of its answers does not bypass the log and its mask, at any rate.
func TestUnsolicitedAnswers(t *testing.T) {
	t.Parallel()
	away := nobody(t) // the doctor checks the vendor without a broker too
	for name, leak := range leaks() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at, js := provisioned(t)
			status := newRawServer(t, func(w io.Writer, r *http.Request) {
				body := fmt.Sprintf(`{"identifier":%q,"status":"processing"}`, strings.Split(r.URL.Path, "/")[3])
				leak(w, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
					len(body), body))
			})
			env := workerEnv(at, status.url+"/v1")
			env["ELEVATEAI_API_TOKEN"] = canary
			c := processOf(t, env, "run", "--log-level", "trace").launch()
			for range 5 {
				declare(t, js)
			}
			status.answered(t, 2)
			if name == "appended" || name == "upper case" || name == "two writes" {
				c.logs("Unsolicited") // otherwise the test is useless
				status.answered(t, 10)
			}
			c.signal(syscall.SIGTERM)
			c.exits(exitOK)
			if n := jsonLines(t, &c.stderr, canary)["go"]; n > 2 {
				t.Errorf("%d lines of Go's logger, want at most 2:\n%s", n, &c.stderr)
			}

			unknown := newRawServer(t, func(w io.Writer, _ *http.Request) {
				leak(w, "HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
			})
			env["ELEVATEAI_BASE_URL"], env["NATS_URL"] = unknown.url+"/v1", away
			formats := []string{"text", "json"}
			if name != "appended" { // the format does not depend on the leak
				formats = formats[:1]
			}
			for _, format := range formats {
				c = processOf(t, env, "doctor", "-o", format).launch()
				<-c.ended
				jsonLines(t, &c.stderr, canary)
				hasNoCanary(t, &c.stdout)
				if !strings.Contains(c.stdout.String(), "vendor") {
					t.Errorf("no report: %s", &c.stdout)
				}
			}
		})
	}
}

// The same for a receiver of traces, with its own secret.
func TestUnsolicitedAnswersOfAReceiver(t *testing.T) {
	t.Parallel()
	const secret = "otlp-5d9f3c1e-7a42-4b8e"
	at, js := provisioned(t)
	v := newBlockingVendor(t)
	v.release()
	receiver := newRawServer(t, func(w io.Writer, r *http.Request) {
		_, _ = fmt.Fprintf(w, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nAuthorization: %s",
			r.Header.Get("Authorization"))
	})
	env := workerEnv(at, v.url)
	env["OTEL_EXPORTER_OTLP_ENDPOINT"], env["OTEL_BSP_SCHEDULE_DELAY"] = receiver.url, "50"
	env["OTEL_EXPORTER_OTLP_HEADERS"] = "authorization=Bearer%20" + secret
	c := processOf(t, env, "run", "--log-level", "trace").launch()
	declare(t, js)
	receiver.answered(t, 1)
	c.logs("Unsolicited")
	c.signal(syscall.SIGTERM)
	c.exits(exitOK)
	if n := jsonLines(t, &c.stderr, secret)["go"]; n == 0 {
		t.Errorf("no line of Go's logger:\n%s", &c.stderr)
	}
}

// A replaced token is still a secret: the vendor may repeat it at any time.
func TestFormerTokenIsMasked(t *testing.T) {
	t.Parallel()
	const next = "successor-1b2c3d4e"
	at, js := provisioned(t)
	var renewed atomic.Bool
	repeated := make(chan struct{}, 1000)
	vendor := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if renewed.Store(renewed.Load() || r.Header.Get("X-API-Token") == next); !renewed.Load() {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.WriteHeader(http.StatusInternalServerError)
		fmt.Fprintf(w, "before %s, now %s", canary, next)
		repeated <- struct{}{}
	}))
	t.Cleanup(vendor.Close)
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(canary+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := command(t, "run", "--nats-url", at, "--base-url", vendor.URL+"/v1", "--api-token-file", file,
		"--audio-interval", "200ms")
	c.start()
	c.logs("working")
	declare(t, js)
	c.logs("unauthorized")
	if err := os.WriteFile(file, []byte(next+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	select {
	case <-repeated:
	case <-c.ctx.Done():
		t.Fatalf("the new token is not used:\n%s", &c.stderr)
	}
	c.logs("before ***")
	c.stop()
	c.end()
	for _, token := range []string{canary, next} {
		jsonLines(t, &c.stderr, token)
	}
}

// Credentials for NATS are masked, however they are set. The server repeats them in its name.
func TestNATSSecretsAreMasked(t *testing.T) {
	t.Parallel()
	const password = "n4ts/p%ss\"word"
	escaped := url.QueryEscape(password)
	v := vendor(t, simulator.Config{})
	withPassword := func(name string) string {
		return bare(t, server.Options{ServerName: name, Username: "worker", Password: password})
	}
	withToken := func(name string) string {
		return bare(t, server.Options{ServerName: name, Authorization: password})
	}
	basic := base64.StdEncoding.EncodeToString([]byte("worker:" + password))
	for name, tt := range map[string]struct {
		at    string
		flags []string
		env   map[string]string
		user  string // in the URL
	}{
		"variables": {at: withPassword(password), env: map[string]string{"NATS_USER": "worker",
			"NATS_PASSWORD": password}},
		"flags": {at: withPassword("x-" + password), flags: []string{"--nats-user", "worker",
			"--nats-password", password}},
		"joined flags": {at: withPassword(strconv.Quote(password)), flags: []string{"--nats-user=worker",
			"--nats-password=" + password}},
		"URL":               {at: withPassword(escaped), user: "worker:" + escaped},
		"URL, meant":        {at: withPassword(password), user: "worker:" + escaped},
		"URL, in base64":    {at: withPassword(basic), user: "worker:" + escaped},
		"token":             {at: withToken(password), env: map[string]string{"NATS_USER": password}},
		"token, as a flag":  {at: withToken(strings.ToUpper(password)), flags: []string{"--nats-user", password}},
		"token, in the URL": {at: withToken(password), user: escaped},
		"in the environment": {at: bare(t, server.Options{ServerName: password}),
			env: map[string]string{"NATS_PASSWORD": password, "NATS_USER": "worker"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, format := range []string{"text", "json"} {
				c := command(t, append([]string{"doctor", "-o", format, "--base-url", v.URL()}, tt.flags...)...)
				c.env["NATS_URL"] = tt.at
				if tt.user != "" {
					c.env["NATS_URL"] = strings.Replace(tt.at, "://", "://"+tt.user+"@", 1)
				}
				c.env["ELEVATEAI_API_TOKEN"] = simulator.DefaultToken
				for name, value := range tt.env {
					c.env[name] = value
				}
				c.exits(exitFault) // no JetStream
				says(t, "the report", &c.stdout, "***")
				for _, part := range []string{"p%ss", "p%25ss", basic} {
					if out := c.stdout.String() + c.stderr.String(); strings.Contains(strings.ToLower(out),
						strings.ToLower(part)) {
						t.Errorf("%s shows in\n%s", part, out)
					}
				}
				if format == "json" && !json.Valid([]byte(c.stdout.String())) {
					t.Errorf("not JSON:\n%s", &c.stdout)
				}
			}
		})
	}
}

// An error about the command line shows the bad part, but no secrets.
func TestUsageErrorsShowNoSecrets(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"run", "--api-token", canary, canary},
		{"run", "--api-token=" + canary, "--concurrency", canary},
		{"run", "--nats-password", canary, "--log-level", canary},
		{"run", "--nats-url", "nats://worker:" + canary + "@host:0", "--deadline", canary},
		{"run", "--nats-url", "nats://worker:" + canary},
		{"run", "--nats-url", "worker:" + canary},
		{"run", "--nats-url", "nats://host/" + canary + "@x"},
		{"run", "--base-url", "https://worker:" + canary + "@host/v1"},
		{"run", "--base-url", "https://host/v1?token=" + canary},
		{"doctor", "--nats-user", canary, "--nats-inbox-prefix", canary + ".>"},
		{"simulator", "--token", canary, canary},
	} {
		c := command(t, args...)
		c.exits(exitUsage)
		hasNoCanary(t, &c.stderr)
		hasNoCanary(t, &c.stdout)
	}
	for name, value := range map[string]string{
		"HTTPS_PROXY": "http://worker:" + canary, "https_proxy": "socks4://worker:" + canary + "@host",
		"HTTP_PROXY": "http://host/" + canary, "NO_PROXY": "worker:" + canary + "@host",
		"OTEL_EXPORTER_OTLP_ENDPOINT": "htp://worker:" + canary,
		"OTEL_EXPORTER_OTLP_HEADERS":  "authorization: " + canary,
	} {
		c := command(t, "run")
		c.env["ELEVATEAI_API_TOKEN"], c.env["OTEL_TRACES_EXPORTER"], c.env[name] = "s3cret", "otlp", value
		c.rejects("$" + name)
		hasNoCanary(t, &c.stderr)
	}
}

// A setting that names a file may have the file's contents instead, by intent or by mistake. They are not shown.
func TestContentsOfFilesAreMasked(t *testing.T) {
	t.Parallel()
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	const jwt = "eyJ0eXAiOiJKV1QifQ.eyJqdGkiOiJzM2NyM3QifQ.c2lnbmF0dXJl"
	const body = "MC4CAQAwBQYDK2VwBCIEIFGT9KQDCRYEmaPXVrhv71zGZWrNx"
	creds := "-----BEGIN NATS USER JWT-----\n" + jwt + "\n------END NATS USER JWT------\n\n" +
		"-----BEGIN USER NKEY SEED-----\n" + string(seed) + "\n------END USER NKEY SEED------\n"
	encoded := base64.StdEncoding.EncodeToString([]byte(creds))
	contents := [][2]string{
		{"seed", string(seed)},
		{"JWT", jwt},
		{"credentials", creds},
		{"base64", "data:;base64," + encoded},
		{"seed as a file", "file://" + string(seed)},
		{"seed as a variable", "env://" + string(seed)},
		{"key", "-----BEGIN PRIVATE KEY-----\n" + body + "\n-----END PRIVATE KEY-----\n"},
	}
	variables := []string{"NATS_CREDS", "NATS_NKEY", "NATS_JWT", "NATS_SEED", "NATS_KEY", "NATS_CERT", "NATS_CA"}
	commands := [][]string{
		{"config"}, {"config", "-o", "json"}, {"config", "-o", "yaml"}, {"status", "--timeout", "1ns"},
	}
	for i, of := range contents {
		for j, variable := range variables {
			args := commands[(i+j)%len(commands)] // each command with all contents, and with all variables
			c := command(t, args...)
			c.env[variable] = of[1]
			if variable == "NATS_KEY" {
				c.env["NATS_CERT"] = of[1]
			}
			if code := c.start().end(); args[0] == "config" && code != exitOK {
				t.Errorf("%v with %s as %s: exit code %d", args, of[0], variable, code)
			}
			for _, secret := range []string{string(seed), jwt, body, encoded} {
				if strings.Contains(c.stdout.String()+c.stderr.String(), secret) {
					t.Errorf("%v shows %s as %s:\n%s%s", args, of[0], variable, &c.stdout, &c.stderr)
				}
			}
		}
	}
}

// A comma in a password ends a URL of the list: its parts are not shown.
func TestPasswordWithACommaIsMasked(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"config"}, {"config", "-o", "json"}, {"config", "-o", "yaml"}, {"status"}} {
		c := command(t, args...)
		c.env["NATS_URL"] = "nats://me:" + canary + ",word@host"
		c.start().end()
		hasNoCanary(t, &c.stdout)
		hasNoCanary(t, &c.stderr)
	}
}

// The program's own text is not masked, whatever the secrets are.
func TestOwnTextIsNotMasked(t *testing.T) {
	t.Parallel()
	c := command(t, "schema", "declared")
	c.env["NATS_PASSWORD"], c.env["ELEVATEAI_API_TOKEN"] = "type", "object"
	if c.exits(exitOK); strings.Contains(c.stdout.String(), "***") || !strings.Contains(c.stdout.String(), "object") {
		t.Errorf("the schema is %s", &c.stdout)
	}
}
