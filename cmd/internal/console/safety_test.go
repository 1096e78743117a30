package console_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"statusworker/cmd/internal/console"
	"statusworker/schema"
)

// actions are all requests that change something, with valid forms.
var actions = map[string]url.Values{
	"/dead-letters/replay": {"as-of": {"99-1"}, "total": {"1"}},
	"/dead-letters/purge":  {"as-of": {"99-1"}, "total": {"1"}},
	"/lanes/audio/pause":   {"for": {"1h"}},
	"/lanes/audio/resume":  {},
	"/declare":             {"ids": {"bd5c92f3-c228-44a6-91bf-b52672569878"}, "type": {"chat"}},
	"/tasks/x/stop":        {},
}

// unchanged requires that the streams have only the dead letter of a test, and that no consumer is paused.
func (s *stage) unchanged() {
	s.t.Helper()
	if n := s.messages(ns.StreamOutcomes(), ">"); n != 1 {
		s.t.Errorf("%d outcomes, want 1", n)
	}
	if n := s.messages(ns.StreamDeclared(), ">"); n != 0 {
		s.t.Errorf("%d declared messages, want none", n)
	}
	if until := s.pausedUntil(schema.Audio); until != nil {
		s.t.Errorf("the consumer of the lane audio is paused until %s", until)
	}
}

// A console without --allow-writes refuses every action, and the pages that prepare one.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.deadLetters(schema.NotFound, 1)
	for path, form := range actions {
		s.do(http.MethodPost, path, form).has(http.StatusForbidden).shows("--allow-writes")
	}
	for _, path := range []string{"/declare", "/lanes/audio", "/dead-letters/confirm?do=purge-all"} {
		s.do(http.MethodGet, path, nil).has(http.StatusForbidden)
	}
	for _, path := range []string{"/", "/dead-letters", "/dead-letters/1", "/tasks"} {
		if forms := s.get(path).all("form", "method"); len(forms) > 0 {
			t.Errorf("%s has forms with the methods %q", path, forms)
		}
	}
	if n := len(s.logged("action refused: the console is read-only")); n != len(actions)+3 {
		t.Errorf("%d refusals are logged, want %d", n, len(actions)+3)
	}
	s.unchanged()
}

// A form on another site cannot cause an action, whichever headers the browser sends.
func TestForgedForm(t *testing.T) {
	t.Parallel()
	s := newStage(t, writable)
	s.deadLetters(schema.NotFound, 1)
	for path, form := range actions {
		for name, forged := range map[string]func(http.Header){
			"cross-site":      func(h http.Header) { h.Set("Sec-Fetch-Site", "cross-site") },
			"same-site":       func(h http.Header) { h.Set("Sec-Fetch-Site", "same-site") },
			"another origin":  func(h http.Header) { h.Del("Sec-Fetch-Site"); h.Set("Origin", "https://evil.example") },
			"an opaque frame": func(h http.Header) { h.Del("Sec-Fetch-Site"); h.Set("Origin", "null") },
		} {
			a := s.do(http.MethodPost, path, form, func(r *http.Request) { forged(r.Header) })
			if a.Code != http.StatusForbidden {
				t.Errorf("%s to %s: status %d", name, path, a.Code)
			}
		}
	}
	s.unchanged()
}

// Requests for another host are refused: a hostile page may have pointed its own name at the console.
func TestHosts(t *testing.T) {
	t.Parallel()
	s := newStage(t, func(c *console.Config) { c.Hosts = []string{"console.example"} })
	for host, want := range map[string]int{
		"127.0.0.1:8090": 200, "localhost:8090": 200, "[::1]:8090": 200, "console.example": 200,
		"CONSOLE.example:443": 200, "evil.example": 421, "console.example.evil.example": 421, "10.0.0.1:8090": 421,
		"": 421,
	} {
		a := s.do(http.MethodGet, "/", nil, func(r *http.Request) { r.Host = host })
		if a.Code != want {
			t.Errorf("host %q: status %d, want %d", host, a.Code, want)
		}
	}
	probe := s.do(http.MethodGet, "/livez", nil, func(r *http.Request) { r.Host = "10.0.0.1:8090" })
	probe.has(http.StatusOK)
}

// Every answer has the headers that restrict the browser.
func TestHeaders(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	for _, path := range []string{"/", "/none", "/static/script.js", "/dead-letters?before=x"} {
		h := s.do(http.MethodGet, path, nil).Header()
		policy := h.Get("Content-Security-Policy")
		if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") ||
			!strings.Contains(policy, "frame-ancestors 'none'") || strings.ContainsAny(policy, "*:") {
			t.Errorf("%s: policy %q", path, policy)
		}
		if h.Get("X-Content-Type-Options") != "nosniff" || len(h.Values("Set-Cookie")) > 0 {
			t.Errorf("%s: headers %v", path, h)
		}
	}
}

func TestPasswords(t *testing.T) {
	t.Parallel()
	hash := func(password string) string {
		h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		return string(h)
	}
	users, err := console.ReadPasswords("# users\n\nann:" + hash("right") + "\nbob:" + hash("other") + "\n")
	if err != nil {
		t.Fatal(err)
	}
	s := newStage(t, func(c *console.Config) { c.Users = users })
	for range 2 { // the second time, correct ones are remembered
		for _, c := range []struct {
			name, password string
			want           int
		}{
			{"ann", "right", 200}, {"bob", "other", 200}, {"ann", "other", 401}, {"ann", "", 401},
			{"eve", "right", 401}, {"", "right", 401}, {"ann:", "right", 401},
		} {
			a := s.do(http.MethodGet, "/", nil, func(r *http.Request) { r.SetBasicAuth(c.name, c.password) })
			if a.Code != c.want {
				t.Errorf("%s with %s: status %d, want %d", c.name, c.password, a.Code, c.want)
			}
			if c.want == 200 {
				a.shows("User " + c.name)
			}
		}
	}
	a := s.do(http.MethodGet, "/static/style.css", nil).has(http.StatusUnauthorized)
	if !strings.HasPrefix(a.Header().Get("WWW-Authenticate"), "Basic ") {
		t.Errorf("headers %v", a.Header())
	}
	s.do(http.MethodGet, "/livez", nil).has(http.StatusOK)
	for name, text := range map[string]string{
		"empty": "\n# nobody\n", "plain password": "ann:right\n", "no name": ":" + hash("x"),
		"another hash": "ann:$apr1$abc$def\n", "a costly hash": "ann:$2y$15$" + hash("x")[7:],
		"twice": "ann:" + hash("x") + "\nann:" + hash("y"),
	} {
		if _, err := console.ReadPasswords(text); err == nil {
			t.Errorf("a file with %s was accepted", name)
		} else if strings.Contains(err.Error(), "right") {
			t.Errorf("the error contains a password: %v", err)
		}
	}
}

// The user of a request is the one whom the proxy names, and its actions are logged with the name.
func TestUserHeader(t *testing.T) {
	t.Parallel()
	s := newStage(t, writable, func(c *console.Config) { c.Users = console.FromHeader("X-User") })
	s.deadLetters(schema.NotFound, 1)
	as := func(users ...string) func(*http.Request) {
		return func(r *http.Request) { r.Header["X-User"] = users }
	}
	s.do(http.MethodGet, "/", nil, as("ann")).has(http.StatusOK).shows("User ann")
	s.do(http.MethodGet, "/", nil).has(http.StatusForbidden)
	s.do(http.MethodGet, "/", nil, as("")).has(http.StatusForbidden)
	s.do(http.MethodGet, "/", nil, as("ann", "eve")).has(http.StatusForbidden)
	s.do(http.MethodPost, "/lanes/chat/pause", url.Values{"for": {"1h"}}, as("ann\x1b[2J")).has(http.StatusSeeOther)
	entries := s.logged("lane changed")
	if len(entries) != 1 || entries[0].Data["user"] != schema.Printable("ann\x1b[2J") ||
		entries[0].Data["lane"] != "chat" {
		t.Errorf("logged %v", entries)
	}
}

// Only paths under the base path are served, and no redirect leaves it.
func TestBasePath(t *testing.T) {
	t.Parallel()
	s := newStage(t, func(c *console.Config) { c.BasePath = "/statusworker" })
	s.get("/statusworker/")
	s.get("/statusworker/dead-letters")
	for _, path := range []string{"/statusworker", "/statusworker//", "/x/../statusworker/"} {
		a := s.do(http.MethodGet, path, nil)
		if to := a.Header().Get("Location"); to != "/statusworker/" {
			t.Errorf("%s: status %d, to %q", path, a.Code, to)
		}
	}
	for _, path := range []string{"/", "/dead-letters", "/statusworkers/", "/statusworkerdead-letters"} {
		if a := s.do(http.MethodGet, path, nil); a.Code != http.StatusNotFound {
			t.Errorf("%s: status %d", path, a.Code)
		}
	}
}
