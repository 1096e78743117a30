package console_test

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/net/html"

	"statusworker/cmd/internal/console"
	"statusworker/cmd/internal/doctor"
	"statusworker/consumer"
	"statusworker/schema"
)

// worker is the announcement of a paused worker.
const worker = `{"worker":"w","host":"pod-1","version":"v0","state":"paused","cause":"throttled",` +
	`"until":"2026-11-27T12:00:00Z","detail":"429","polls":12,"pollsPerSecond":1.5,"rateLimit":3,"share":1.5}`

// Every link, form and file of every page exists, also below the path of a proxy. A page has one heading of the first
// level, a title of its own, names for its controls, and nothing that the Content-Security-Policy would block.
func TestEveryPage(t *testing.T) {
	t.Parallel()
	for _, base := range []string{"", "/ops/statusworker"} {
		t.Run(base, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, writable, announced(worker), func(c *console.Config) {
				c.BasePath = base
				c.Doctor = func(context.Context) []doctor.Finding {
					return []doctor.Finding{{Check: "clock", Result: doctor.Warn, Found: "late", Fix: "wait"},
						{Check: "tls", Result: doctor.Pass, Found: "none"},
						{Check: "x", Result: doctor.Skip, Found: "y"}}
				}
			})
			for _, r := range schema.Reasons() {
				s.deadLetters(r, 5)
			}
			titles, found := map[string]string{}, map[string]bool{}
			todo := []string{base + "/"}
			for seen := map[string]bool{}; len(todo) > 0; {
				at := todo[0]
				todo = todo[1:]
				path, _, _ := strings.Cut(at, "?")
				if seen[path] {
					continue
				}
				seen[path] = true
				a := s.get(at)
				if !strings.HasPrefix(a.Header().Get("Content-Type"), "text/html") {
					continue
				}
				a.wellFormed(at)
				title := titleOf(a)
				if other, double := titles[title]; double {
					t.Errorf("%s and %s have the title %q", at, other, title)
				}
				titles[title], found[path] = at, true
				for _, link := range slices.Concat(a.all("a", "href"), a.all("link", "href"), a.all("script", "src"),
					a.getForms()) {
					if !strings.HasPrefix(link, "#") && link != "" {
						todo = append(todo, link)
					}
				}
			}
			for _, path := range []string{"/", "/interactions", "/dead-letters", "/dead-letters/1", "/workers",
				"/doctor", "/declare", "/tasks", "/lanes/audio", "/lanes/intake"} {
				if !found[base+path] {
					t.Errorf("no page links to %s", path)
				}
			}
		})
	}
}

func titleOf(a answer) string {
	for n := range a.tree().Descendants() {
		if n.Data == "title" && n.FirstChild != nil {
			return n.FirstChild.Data
		}
	}
	return ""
}

// getForms returns the actions of the forms that change nothing.
func (a answer) getForms() (actions []string) {
	for n := range a.tree().Descendants() {
		if n.Type != html.ElementNode || n.Data != "form" {
			continue
		}
		method, _ := attributeOf(n, "method")
		action, _ := attributeOf(n, "action")
		if method == "" && !strings.HasSuffix(action, "/confirm") {
			actions = append(actions, action)
		}
	}
	return actions
}

// wellFormed checks the elements of a page.
func (a answer) wellFormed(at string) {
	a.t.Helper()
	headings := 0
	ids, labels := map[string]bool{}, map[string]bool{}
	for n := range a.tree().Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		if n.Data == "h1" {
			headings++
		}
		if n.Data == "style" || n.Data == "script" && n.FirstChild != nil {
			a.t.Errorf("%s has an inline %s", at, n.Data)
		}
		if id, ok := attributeOf(n, "id"); ok {
			if ids[id] {
				a.t.Errorf("%s has the id %s twice", at, id)
			}
			ids[id] = true
		}
		if of, ok := attributeOf(n, "for"); ok {
			labels[of] = true
		}
		for _, attribute := range n.Attr {
			if attribute.Key == "style" || strings.HasPrefix(attribute.Key, "on") {
				a.t.Errorf("%s has the attribute %s", at, attribute.Key)
			}
		}
	}
	if headings != 1 {
		a.t.Errorf("%s has %d headings of the first level", at, headings)
	}
	for n := range a.tree().Descendants() {
		if n.Type != html.ElementNode || !slices.Contains([]string{"input", "select", "textarea"}, n.Data) {
			continue
		}
		kind, _ := attributeOf(n, "type")
		id, _ := attributeOf(n, "id")
		if _, named := attributeOf(n, "aria-label"); kind != "hidden" && !named && !labels[id] {
			a.t.Errorf("%s: the %s %s has no label", at, n.Data, id)
		}
	}
}

// announced stores the announcement of a worker before the console starts.
func announced(data string) func(*console.Config) {
	return func(c *console.Config) {
		if _, err := c.JS.Publish(context.Background(), ns.WorkerSubject("w"), []byte(data)); err != nil {
			panic(err)
		}
	}
}

// The overview shows lanes, workers with the causes of their pauses, outcomes by reason, and findings.
func TestOverview(t *testing.T) {
	t.Parallel()
	s := newStage(t, announced(worker), func(c *console.Config) {
		_, err := c.JS.CreateConsumer(context.Background(), ns.StreamOutcomes(),
			jetstream.ConsumerConfig{Durable: "transcripts", AckPolicy: jetstream.AckExplicitPolicy})
		if err != nil {
			panic(err)
		}
	})
	s.deadLetters(schema.NotFound, 3)
	s.get("/").shows("audio", "chat", "transcript", "intake", "not_found", "paused pod-1: throttled",
		"all workers paused (throttled)", "Read-only.", "Consumers of outcomes", "transcripts", "keeps up")
	s.get("/workers").shows("pod-1", "throttled: 429", "2026-11-27 12:00:00 UTC", "1.50", "12")
}

// With delayed naks, the lanes are those of the declared messages, and there is no intake.
func TestOverviewWithNaks(t *testing.T) {
	t.Parallel()
	s := stageOf(t, consumer.Nak, writable)
	page := s.get("/").shows("audio", "New")
	if strings.Contains(page.text(), ns.ConsumerIntake()) {
		t.Errorf("the overview shows an intake:\n%s", page.text())
	}
	s.do(http.MethodGet, "/lanes/"+ns.ConsumerIntake(), nil).has(http.StatusNotFound)
	s.get("/lanes/chat").shows(ns.StreamDeclared())
}

// The doctor shows failures before warnings, and both before what passed.
func TestDoctor(t *testing.T) {
	t.Parallel()
	s := newStage(t, func(c *console.Config) {
		c.Doctor = func(context.Context) []doctor.Finding {
			return []doctor.Finding{
				{Check: "one", Result: doctor.Pass, Found: "good"},
				{Check: "two", Result: doctor.Warn, Found: "doubtful"},
				{Check: "three", Result: doctor.Fail, Found: "bad", Fix: "do this"},
			}
		}
	})
	page := s.get("/doctor").shows("2 findings, 1 passed, 0 skipped", "FAIL three bad Fix: do this WARN two")
	page.shows("PASS one good")
}

// Without a connection every page says so, and the overview shows the last state as stale.
func TestDisconnected(t *testing.T) {
	t.Parallel()
	s := newStage(t, writable)
	s.deadLetters(schema.NotFound, 1)
	s.get("/").shows("not_found")
	s.do(http.MethodGet, "/readyz", nil).has(http.StatusOK)
	lost := s.nc.StatusChanged(nats.RECONNECTING)
	s.server.Stop()
	select {
	case <-lost:
	case <-s.ctx.Done():
		t.Fatal("the connection is not lost")
	}
	s.do(http.MethodGet, "/readyz", nil).has(http.StatusServiceUnavailable)
	s.do(http.MethodGet, "/livez", nil).has(http.StatusOK)
	for _, path := range []string{"/dead-letters", "/dead-letters/confirm?do=replay-all"} {
		s.do(http.MethodGet, path, nil).has(http.StatusServiceUnavailable).shows("no connection to NATS")
	}
	form := url.Values{"ids": {uuid.NewString()}, "type": {"chat"}}
	s.do(http.MethodPost, "/declare", form).has(http.StatusServiceUnavailable)
}
