package dlq_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/adapter"
	"statusworker/cmd/broker/embedded"
	"statusworker/cmd/broker/fake"
	"statusworker/cmd/broker/provisioning"
	"statusworker/publisher"
	"statusworker/publisher/dlq"
	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/schema/topology"
)

// ns is the namespace of the tests.
var ns = schema.DefaultNamespace

// stage is a broker with streams.
type stage struct {
	t   *testing.T
	ctx context.Context
	broker.Broker
	streams []jetstream.StreamConfig
}

// newStage returns a stage with a fake broker that has the outcomes stream and the given streams.
func newStage(t *testing.T, streams ...string) *stage {
	t.Helper()
	s := bareStage(t, streams...)
	b := fake.New(fake.Options{}, adapter.StreamConfigs(topology.Set{Streams: s.streams})...)
	t.Cleanup(b.Close)
	s.Broker = b
	return s
}

// onServer returns the same stage with an embedded server.
func onServer(t *testing.T, streams ...string) *stage {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a NATS server")
	}
	s := bareStage(t, streams...)
	e, err := embedded.Start(t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Stop)
	nc, err := nats.Connect(e.URL(), nats.ReconnectBufSize(-1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provisioning.Create(s.ctx, js, topology.Set{Streams: s.streams}); err != nil {
		t.Fatal(err)
	}
	s.Broker = adapter.New(js)
	return s
}

func bareStage(t *testing.T, streams ...string) *stage {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	s := &stage{t: t, ctx: ctx}
	s.streams = publisher.Topology(publisher.Choices{MaxAge: publisher.DefaultMaxAge}).Streams
	for _, name := range streams {
		cfg := jetstream.StreamConfig{Name: name, Retention: jetstream.WorkQueuePolicy}
		switch name {
		case ns.StreamDeclared():
			cfg.Subjects, cfg.Discard = []string{ns.SubjectsDeclared()}, jetstream.DiscardNew
			cfg.DiscardNewPerSubject, cfg.MaxMsgsPerSubject = true, 1
		case ns.StreamPolls():
			cfg.Subjects = []string{ns.SubjectsHold(), ns.SubjectsPoll()}
		}
		s.streams = append(s.streams, cfg)
	}
	return s
}

// reserving returns a stage with the streams of redelivery by schedules, naks one with those of delayed naks.
func reserving(t *testing.T) *stage { return newStage(t, ns.StreamDeclared(), ns.StreamPolls()) }
func naks(t *testing.T) *stage      { return newStage(t, ns.StreamDeclared()) }

// brokers runs a test with the fake broker and with an embedded server.
func brokers(t *testing.T, test func(t *testing.T, s *stage)) {
	for name, start := range map[string]func(*testing.T, ...string) *stage{"fake": newStage, "server": onServer} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, start(t, ns.StreamDeclared(), ns.StreamPolls()))
		})
	}
}

func (s *stage) queue() *dlq.Queue {
	s.t.Helper()
	d, err := dlq.NewForDeletion(s.ctx, s, ns)
	if err != nil {
		s.t.Fatal(err)
	}
	d.EndSoon(100*time.Millisecond, 10*time.Millisecond)
	return d
}

func (s *stage) publish(p broker.Publication) uint64 {
	s.t.Helper()
	ack, err := s.Publish(s.ctx, p)
	if err != nil {
		s.t.Fatal(err)
	}
	return ack.Sequence
}

func (s *stage) put(subject, data string) uint64 {
	s.t.Helper()
	return s.publish(broker.Publication{Subject: subject, Data: []byte(data)})
}

// purge deletes all messages of a stream.
func (s *stage) purge(stream string) {
	s.t.Helper()
	err := s.Scan(s.ctx, stream, broker.Range{}, func(m broker.Message) error {
		return s.Delete(s.ctx, stream, m.Sequence)
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// store stores an outcome.
func (s *stage) store(o schema.Outcome) uint64 {
	s.t.Helper()
	data, err := o.Marshal()
	if err != nil {
		s.t.Fatal(err)
	}
	return s.put(ns.OutcomeSubject(o), string(data))
}

// generation is when the declared messages of the dead letters were stored.
var generation = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)

func declaration(t schema.Type, id string) string {
	return fmt.Sprintf(`{"interactionIdentifier":%q,"type":%q,"n":1.50}`, id, t)
}

// dead returns a dead letter.
func dead(r schema.Reason, id string) schema.Outcome {
	o := schema.Outcome{
		Identifier: id,
		Type:       schema.Chat,
		Reason:     r,
		Detail:     "why",
		Observed:   generation.Add(time.Minute),
		Origin: schema.Origin{
			Stream:     ns.StreamDeclared(),
			Subject:    ns.DeclaredSubject(schema.Chat, id),
			Sequence:   3,
			Deliveries: 1,
			Stored:     generation,
			Polls:      2,
		},
	}
	if r == schema.InvalidMessage {
		o.Payload = []byte("{oops")
	} else {
		o.Declaration = json.RawMessage(declaration(schema.Chat, id))
	}
	return o
}

// waiting stores a message of an interaction in the polls stream, as a worker does.
func (s *stage) waiting(subject string, generation time.Time, tombstone bool) {
	s.t.Helper()
	m := broker.Publication{Subject: subject, Header: broker.Header{
		schema.HeaderGeneration: {generation.Format(time.RFC3339Nano)}, schema.HeaderPoll: {"3"},
	}}
	if tombstone {
		m.Header[schema.HeaderTombstone] = []string{"true"}
	}
	s.publish(m)
}

// count returns the number of messages of a stream on a subject.
func (s *stage) count(stream, subject string) (n int) {
	s.t.Helper()
	counts, err := s.Subjects(s.ctx, stream, subject)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, m := range counts {
		n += int(m)
	}
	return n
}

// results collects the results of a replay or a purge. Waiting is only counted.
type results struct {
	mu      sync.Mutex
	actions map[dlq.Action]int
	all     []dlq.Result
}

func (r *results) add(_ dlq.DeadLetter, result dlq.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.actions == nil {
		r.actions = map[dlq.Action]int{}
	}
	if r.actions[result.Action]++; result.Action != dlq.Waiting {
		r.all = append(r.all, result)
	}
}

func (s *stage) replay(d *dlq.Queue, f dlq.Filter, dry bool) *results {
	s.t.Helper()
	selection, err := d.Select(s.ctx, f)
	if err != nil {
		s.t.Fatal(err)
	}
	var r results
	if err := d.Replay(s.ctx, selection, dry, r.add); err != nil {
		s.t.Fatal(err)
	}
	return &r
}
