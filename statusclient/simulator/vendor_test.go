package simulator_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"statusworker/statusclient/simulator"
)

const (
	identifier = "bd5c92f3-c228-44a6-91bf-b52672569878"
	other      = "00000000-c228-44a6-91bf-b52672569878"
)

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC)} }

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

func start(t testing.TB, cfg simulator.Config) *simulator.Simulator {
	t.Helper()
	s, err := simulator.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// answer is a response with its body, which is decoded if it is a JSON object.
type answer struct {
	*http.Response
	body   []byte
	object map[string]any
}

// client follows no redirects and does not decompress.
func client(t testing.TB) *http.Client {
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// try sends a request with the default token and additional pairs of headers.
func try(ctx context.Context, t testing.TB, method, url, body string, header ...string) (answer, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header["X-API-TOKEN"] = []string{simulator.DefaultToken} // the case in the vendor's SDKs
	for i := 0; i < len(header); i += 2 {
		delete(r.Header, "X-API-TOKEN")
		r.Header.Set("X-API-Token", simulator.DefaultToken)
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := client(t).Do(r)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	a := answer{Response: resp}
	if a.body, err = io.ReadAll(resp.Body); err != nil {
		return a, err
	}
	if bytes.HasPrefix(a.body, []byte("{")) && resp.Header.Get("Content-Encoding") == "" {
		_ = json.Unmarshal(a.body, &a.object) // some answers are not JSON
	}
	return a, nil
}

func ask(t testing.TB, method, url, body string, header ...string) answer {
	t.Helper()
	a, err := try(t.Context(), t, method, url, body, header...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func statusURL(s *simulator.Simulator, id string) string {
	return s.URL() + "/interactions/" + id + "/status"
}

func poll(t testing.TB, s *simulator.Simulator, id string, header ...string) answer {
	t.Helper()
	return ask(t, http.MethodGet, statusURL(s, id), "", header...)
}
