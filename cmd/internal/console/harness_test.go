package console_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"
	"golang.org/x/net/html"

	"statusworker/cmd/broker/embedded"
	"statusworker/cmd/broker/permission"
	"statusworker/cmd/broker/provisioning"
	"statusworker/cmd/internal/console"
	"statusworker/cmd/internal/doctor"
	"statusworker/cmd/internal/patience"
	"statusworker/consumer"
	"statusworker/publisher"
	"statusworker/schema"
)

// ns is the namespace of the tests.
var ns = schema.DefaultNamespace

// stage is a console with a broker.
type stage struct {
	t      testing.TB
	ctx    context.Context
	server *embedded.Server
	nc     *nats.Conn
	js     jetstream.JetStream
	log    *logtest.Hook
	*console.Console
}

// newStage returns a console on a broker with the streams of redelivery by schedules.
func newStage(t testing.TB, change ...func(*console.Config)) *stage {
	t.Helper()
	return stageOf(t, consumer.Schedule, change...)
}

func stageOf(t testing.TB, mode consumer.Mode, change ...func(*console.Config)) *stage {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	server, err := embedded.Start(t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	nc, err := nats.Connect(server.URL(), nats.ReconnectBufSize(-1), nats.MaxReconnects(-1),
		nats.ReconnectWait(10*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	set := consumer.Topology(consumer.Config{}, consumer.Choices{Mode: mode}).
		Add(publisher.Topology(publisher.Choices{MaxAge: publisher.DefaultMaxAge}))
	if _, err := provisioning.Create(ctx, js, set); err != nil {
		t.Fatal(err)
	}
	log, hook := logtest.NewNullLogger()
	cfg := console.Config{
		JS: permission.Wrap(js, patience.Guarded(nc)), Server: server.URL(), Version: "v0", Log: log,
		Doctor: func(context.Context) []doctor.Finding { return nil },
	}
	for _, c := range change {
		c(&cfg)
	}
	s := &stage{t: t, ctx: ctx, server: server, nc: nc, js: js, log: hook, Console: console.New(cfg)}
	running, stop := context.WithCancel(ctx)
	var run sync.WaitGroup
	run.Go(func() { s.Run(running) })
	t.Cleanup(func() { stop(); run.Wait() })
	return s
}

func writable(c *console.Config) { c.AllowWrites = true }

func (s *stage) check(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// answer is what the console answers.
type answer struct {
	*httptest.ResponseRecorder
	t testing.TB
}

// do makes a request as a browser on this machine.
func (s *stage) do(method, path string, form url.Values, change ...func(*http.Request)) answer {
	s.t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r := httptest.NewRequestWithContext(s.ctx, method, path, body)
	r.Host = "127.0.0.1:8090"
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, c := range change {
		c(r)
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return answer{w, s.t}
}

// get requires a page.
func (s *stage) get(path string) answer {
	s.t.Helper()
	return s.do(http.MethodGet, path, nil).has(http.StatusOK)
}

// has requires a status.
func (a answer) has(status int) answer {
	a.t.Helper()
	if a.Code != status {
		a.t.Fatalf("status %d, want %d:\n%s", a.Code, status, a.text())
	}
	return a
}

// tree returns the page.
func (a answer) tree() *html.Node {
	a.t.Helper()
	n, err := html.Parse(strings.NewReader(a.Body.String()))
	if err != nil {
		a.t.Fatal(err)
	}
	return n
}

// text returns what the page shows.
func (a answer) text() string {
	var words []string
	for n := range a.tree().Descendants() {
		if n.Type == html.TextNode {
			words = append(words, strings.Fields(n.Data)...)
		}
	}
	return strings.Join(words, " ")
}

// shows requires texts on the page.
func (a answer) shows(texts ...string) answer {
	a.t.Helper()
	text := a.text()
	for _, want := range texts {
		if !strings.Contains(text, want) {
			a.t.Errorf("the page does not show %q:\n%s", want, a.text())
		}
	}
	return a
}

// all returns the values of an attribute of the elements of a name.
func (a answer) all(element, attribute string) (values []string) {
	for n := range a.tree().Descendants() {
		if n.Type == html.ElementNode && (n.Data == element || element == "") {
			if value, ok := attributeOf(n, attribute); ok {
				values = append(values, value)
			}
		}
	}
	return values
}

func attributeOf(n *html.Node, name string) (string, bool) {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val, true
		}
	}
	return "", false
}

// fields returns the hidden fields of the forms on a page.
func (a answer) fields() url.Values {
	v := url.Values{}
	for n := range a.tree().Descendants() {
		if n.Type != html.ElementNode || n.Data != "input" {
			continue
		}
		if kind, _ := attributeOf(n, "type"); kind == "hidden" {
			name, _ := attributeOf(n, "name")
			value, _ := attributeOf(n, "value")
			v.Add(name, value)
		}
	}
	return v
}

var declared = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// dead returns a dead letter of a chat.
func dead(r schema.Reason, id string) schema.Outcome {
	o := schema.Outcome{
		Identifier: id, Type: schema.Chat, Reason: r, Detail: "why " + id, Observed: declared.Add(time.Minute),
		Origin: schema.Origin{Stream: ns.StreamDeclared(), Subject: ns.DeclaredSubject(schema.Chat, id),
			Sequence: 3, Deliveries: 1, Stored: declared, Polls: 2},
		Declaration: json.RawMessage(fmt.Sprintf(`{"interactionIdentifier":%q,"type":"chat"}`, id)),
	}
	if r == schema.InvalidMessage {
		o.Declaration, o.Payload = nil, []byte("{oops")
	}
	return o
}

// store stores outcomes, and returns the last sequence.
func (s *stage) store(all ...schema.Outcome) (last uint64) {
	s.t.Helper()
	for _, o := range all {
		data, err := o.Marshal()
		s.check(err)
		ack, err := s.js.Publish(s.ctx, ns.OutcomeSubject(o), data)
		s.check(err)
		last = ack.Sequence
	}
	return last
}

// deadLetters stores dead letters of chats for a reason, and returns their identifiers.
func (s *stage) deadLetters(r schema.Reason, n int) (ids []string) {
	s.t.Helper()
	for range n {
		id := uuid.NewString()
		s.store(dead(r, id))
		ids = append(ids, id)
	}
	return ids
}

// messages returns the number of messages of a stream on a subject.
func (s *stage) messages(stream, subject string) (n uint64) {
	s.t.Helper()
	opened, err := s.js.Stream(s.ctx, stream)
	s.check(err)
	info, err := opened.Info(s.ctx, jetstream.WithSubjectFilter(subject))
	s.check(err)
	for _, count := range info.State.Subjects {
		n += count
	}
	return n
}

// logged returns the entries of the log with a message.
func (s *stage) logged(message string) (entries []*logrus.Entry) {
	for _, e := range s.log.AllEntries() {
		if e.Message == message {
			entries = append(entries, e)
		}
	}
	return entries
}
