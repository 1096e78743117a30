package publisher_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sirupsen/logrus"

	"statusworker/cmd/broker/adapter"
	"statusworker/cmd/broker/embedded"
	"statusworker/cmd/broker/fake"
	"statusworker/cmd/broker/provisioning"
	"statusworker/publisher"
	"statusworker/schema"
	"statusworker/schema/broker"
)

// ns is the namespace of the tests.
var ns = schema.DefaultNamespace

const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

// Two generations of one interaction. The later one is declared after the outcome of the other is stored.
var (
	generation = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)
	later      = generation.AddDate(100, 0, 0)
)

// stage is a broker with the outcomes stream.
type stage struct {
	t   *testing.T
	ctx context.Context
	*counter
	fake   *fake.Broker // nil with an embedded server
	server *server      // nil with a fake broker
	kind
	ahead time.Duration // of the fake broker's clock
}

// server is an embedded NATS server.
type server struct {
	*embedded.Server
	nc *nats.Conn
	js jetstream.JetStream
}

func bareStage(t *testing.T, k kind) *stage {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return &stage{t: t, ctx: ctx, kind: k}
}

// newStage makes a stage on a broker in memory.
func newStage(t *testing.T, k kind) *stage {
	t.Helper()
	s := bareStage(t, k)
	s.fake = fake.New(fake.Options{}, adapter.StreamConfigs(k.topology())...)
	t.Cleanup(s.fake.Close)
	s.counter = &counter{Broker: s.fake}
	return s
}

// onServer returns a stage with an embedded server.
func onServer(t *testing.T, k kind) *stage {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a NATS server")
	}
	s := bareStage(t, k)
	e, err := embedded.Start(t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Stop)
	s.server = &server{Server: e}
	s.connect()
	if _, err := provisioning.Create(s.ctx, s.server.js, k.topology()); err != nil {
		t.Fatal(err)
	}
	return s
}

// connect makes a new connection to the embedded server. Publishes fail at once while it is disconnected.
func (s *stage) connect() {
	s.t.Helper()
	nc, err := nats.Connect(s.server.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond),
		nats.ReconnectBufSize(-1))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		s.t.Fatal(err)
	}
	s.server.nc, s.server.js, s.counter = nc, js, &counter{Broker: adapter.New(js)}
}

// restart restarts the broker.
func (s *stage) restart() {
	s.t.Helper()
	if s.fake != nil {
		s.fake.Restart()
		return
	}
	if err := s.server.Restart(); err != nil {
		s.t.Fatal(err)
	}
	s.connect()
}

// stop stops an embedded server, and waits until the connection is lost.
func (s *stage) stop() {
	s.t.Helper()
	lost := s.server.nc.StatusChanged(nats.RECONNECTING)
	s.server.Stop()
	select {
	case <-lost:
	case <-s.ctx.Done():
		s.t.Fatal("the connection is not lost after the server was stopped")
	}
}

// put publishes a message.
func (s *stage) put(subject string, data []byte) {
	s.t.Helper()
	if _, err := s.Broker.Publish(s.ctx, broker.Publication{Subject: subject, Data: data}); err != nil {
		s.t.Fatal(err)
	}
}

// fresh returns a new publisher.
func (s *stage) fresh() *publisher.Publisher {
	s.t.Helper()
	log := logrus.New()
	log.SetOutput(io.Discard)
	p, err := publisher.New(s.ctx, s.counter, ns, log)
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

// publish publishes with a new publisher, and compares its stats.
func (s *stage) publish(want publisher.Stats, outcomes ...schema.Outcome) {
	s.t.Helper()
	p := s.fresh()
	if err := p.Publish(s.ctx, outcomes...); err != nil {
		s.t.Fatal(err)
	}
	got := p.Stats()
	var stored uint64
	for _, n := range got.Processed {
		stored += n
	}
	for _, n := range got.Failed {
		stored += n
	}
	if stored != got.Published {
		s.t.Errorf("%d outcomes by destination and reason, but %d published", stored, got.Published)
	}
	if got.Processed, got.Failed = nil, nil; !reflect.DeepEqual(got, want) {
		s.t.Errorf("stats of publishing %s: %+v, want %+v", ns.OutcomeSubject(outcomes[0]), got, want)
	}
}

// forget waits for the end of a short duplicate window.
func (s *stage) forget() {
	if s.window == shortWindow {
		s.ahead += shortWindow
		s.fake.SetClock(s.ahead)
	}
}

// stored returns the stored outcomes of an interaction in order.
func (s *stage) stored(identifier string) (all []broker.Message) {
	s.t.Helper()
	r := broker.Range{Subjects: []string{ns.OutcomeSubjects(identifier)}}
	if err := s.Scan(s.ctx, ns.StreamOutcomes(), r, func(m broker.Message) error {
		all = append(all, m)
		return nil
	}); err != nil {
		s.t.Fatal(err)
	}
	return all
}

// want compares the stored outcomes of the first one's interaction, of all generations.
func (s *stage) want(outcomes ...schema.Outcome) {
	s.t.Helper()
	var got, want []string
	same := true
	for i, m := range s.stored(outcomes[0].Identifier) {
		got = append(got, m.Subject+" "+m.Header.Get(broker.HeaderID))
		if i < len(outcomes) {
			data, err := outcomes[i].Marshal()
			same = same && err == nil && m.Subject == ns.OutcomeSubject(outcomes[i]) && bytes.Equal(m.Data, data)
		}
	}
	for _, o := range outcomes {
		want = append(want, ns.OutcomeSubject(o)+" "+o.ID())
	}
	if !same || len(got) != len(want) {
		s.t.Errorf("stored outcomes:\n\t%s\nwant, with the same bytes:\n\t%s",
			strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// outcome returns an outcome without destination and reason.
func outcome(identifier string, stored time.Time) schema.Outcome {
	return schema.Outcome{
		Identifier: identifier, Type: schema.Audio, Answer: json.RawMessage(`{"status":"processed"}`),
		Declaration: json.RawMessage(`{"type":"audio"}`), Observed: stored.Add(time.Minute),
		Origin: schema.Origin{
			Stream:      ns.StreamDeclared(),
			Subject:     ns.DeclaredSubject(schema.Audio, identifier),
			Sequence:    7,
			Deliveries:  1,
			Stored:      stored,
			Polls:       2,
			Traceparent: traceparent,
		},
	}
}

func processed(identifier string, stored time.Time) []schema.Outcome {
	transcript, cxai := outcome(identifier, stored), outcome(identifier, stored)
	transcript.Destination, cxai.Destination = schema.ToTranscript, schema.ToCXAI
	return []schema.Outcome{transcript, cxai}
}

func failed(identifier string, stored time.Time, r schema.Reason) schema.Outcome {
	o := outcome(identifier, stored)
	o.Reason, o.Detail = r, "the detail"
	return o
}
