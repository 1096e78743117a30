package statusclient_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"statusworker/schema"
	"statusworker/statusclient"
)

const (
	identifier = "bd5c92f3-c228-44a6-91bf-b52672569878"
	token      = "5d9f3c1e-7a42-4b8e-9c65-0f1e2d3c4b5a"
	statusPath = "/v1/interactions/" + identifier + "/status"
	pending    = `{"identifier":"` + identifier + `","status":"processing","errorMessage":null}`
)

// clock is a manual clock.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// newClient returns a client for the server at url, with the default token unless cfg has one.
func newClient(t testing.TB, url string, cfg statusclient.Config) *statusclient.Client {
	t.Helper()
	cfg.BaseURL = url + "/v1"
	if cfg.Token == "" && cfg.TokenFile == "" {
		cfg.Token = token
	}
	c, err := statusclient.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// answering serves all requests with a handler, and records them.
func answering(t *testing.T, handler http.HandlerFunc) (*httptest.Server, *requests) {
	t.Helper()
	seen := &requests{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.add(r)
		handler(w, r)
	}))
	t.Cleanup(server.Close)
	return server, seen
}

type requests struct {
	mu  sync.Mutex
	all []*http.Request
}

func (s *requests) add(r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, r)
}

func (s *requests) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all)
}

// raw serves TCP connections. It calls answer with the number of the request, from 1, and the connection, and closes
// the connection unless keep is true. The function wait closes the listener and returns the number of requests.
func raw(t *testing.T, answer func(number int, c net.Conn) (keep bool)) (url string, wait func() int) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	number := 0
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer func() { _ = c.Close() }()
				r := bufio.NewReader(c)
				for {
					if _, err := http.ReadRequest(r); err != nil {
						return
					}
					mu.Lock()
					number++
					n := number
					mu.Unlock()
					if !answer(n, c) {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() { _ = listener.Close() })
	return "http://" + listener.Addr().String(), func() int {
		_ = listener.Close()
		running.Wait()
		return number
	}
}

// sends returns an answer for raw that writes s and closes the connection.
func sends(s string) func(int, net.Conn) bool {
	return func(_ int, c net.Conn) bool {
		_, _ = io.WriteString(c, s)
		return false
	}
}

// writes returns a handler that answers 200 with body as application/json.
func writes(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, body)
	}
}

// pollError calls Status, and returns the error, which must have the fault and a detail of one line.
func pollError(t *testing.T, c *statusclient.Client, want schema.Fault) *schema.PollError {
	t.Helper()
	return pollErrorOf(context.Background(), t, c, identifier, time.Time{}, want)
}

func pollErrorOf(
	ctx context.Context, t *testing.T, c *statusclient.Client, id string, sendBy time.Time, want schema.Fault,
) *schema.PollError {
	t.Helper()
	answer, err := c.Status(ctx, id, sendBy)
	var e *schema.PollError
	if !errors.As(err, &e) {
		t.Fatalf("Status = %+v, %v, want a PollError", answer, err)
	}
	if e.Fault != want {
		t.Errorf("fault %s (%s), want %s", e.Fault, e.Detail, want)
	}
	if e.Detail == "" || strings.ContainsAny(e.Detail, "\r\n\x00") || len(e.Detail) > 700 {
		t.Errorf("detail %q, want one line of at most 700 bytes", e.Detail)
	}
	return e
}

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeFile(t testing.TB, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func gzipped(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
