package dlq_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/embedded"
	"statusworker/cmd/broker/provisioning"
	"statusworker/publisher"
	"statusworker/publisher/dlq"
	"statusworker/schema"
)

// stage is a broker with the streams that an interaction goes through.
type stage struct {
	t   *testing.T
	ctx context.Context
	nc  *nats.Conn
	js  jetstream.JetStream
}

func newStage(t *testing.T, streams ...string) *stage {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	broker, err := embedded.Start(t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Stop)
	s := &stage{t: t, ctx: ctx}
	if s.nc, err = nats.Connect(broker.URL(), nats.ReconnectBufSize(-1)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.nc.Close)
	if s.js, err = jetstream.New(s.nc); err != nil {
		t.Fatal(err)
	}
	set := publisher.Topology(publisher.Choices{MaxAge: publisher.DefaultMaxAge})
	for _, name := range streams {
		cfg := jetstream.StreamConfig{Name: name, Retention: jetstream.WorkQueuePolicy}
		switch name {
		case schema.StreamDeclared:
			cfg.Subjects, cfg.Discard, cfg.DiscardNewPerSubject, cfg.MaxMsgsPerSubject = []string{schema.SubjectsDeclared}, jetstream.DiscardNew, true, 1
		case schema.StreamPolls:
			cfg.Subjects = []string{schema.SubjectsHold, schema.SubjectsPoll}
		}
		set.Streams = append(set.Streams, cfg)
	}
	if _, err := provisioning.Create(ctx, s.js, set); err != nil {
		t.Fatal(err)
	}
	return s
}

// reserving is a stage of the default kind, naks one for delayed naks.
func reserving(t *testing.T) *stage { return newStage(t, schema.StreamDeclared, schema.StreamPolls) }
func naks(t *testing.T) *stage      { return newStage(t, schema.StreamDeclared) }

func (s *stage) queue() *dlq.Queue {
	s.t.Helper()
	d, err := dlq.NewForReplay(s.ctx, s.js)
	if err != nil {
		s.t.Fatal(err)
	}
	d.EndSoon(100*time.Millisecond, 10*time.Millisecond)
	return d
}

func (s *stage) publish(m *nats.Msg) *jetstream.PubAck {
	s.t.Helper()
	ack, err := s.js.PublishMsg(s.ctx, m)
	if err != nil {
		s.t.Fatalf("publishing on %s: %v", m.Subject, err)
	}
	return ack
}

func (s *stage) put(subject, data string) uint64 {
	s.t.Helper()
	return s.publish(&nats.Msg{Subject: subject, Data: []byte(data)}).Sequence
}

// store stores an outcome.
func (s *stage) store(o schema.Outcome) uint64 {
	s.t.Helper()
	data, err := o.Marshal()
	if err != nil {
		s.t.Fatal(err)
	}
	return s.put(o.Subject(), string(data))
}

// life is when the declared message of the dead letters here was stored.
var life = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)

func declaration(t schema.Type, id string) string {
	return fmt.Sprintf(`{"interactionIdentifier":%q,"type":%q,"n":1.50}`, id, t)
}

// dead is a dead letter of a life.
func dead(r schema.Reason, id string) schema.Outcome {
	o := schema.Outcome{Identifier: id, Type: schema.Chat, Reason: r, Detail: "why", Observed: life.Add(time.Minute),
		Origin: schema.Origin{Stream: schema.StreamDeclared, Subject: schema.DeclaredSubject(schema.Chat, id), Sequence: 3, Deliveries: 1, Stored: life, Polls: 2}}
	if r == schema.InvalidMessage {
		o.Payload = []byte("{oops")
	} else {
		o.Declaration = json.RawMessage(declaration(schema.Chat, id))
	}
	return o
}

// waiting stores a message of an interaction in the polls stream, as a worker does.
func (s *stage) waiting(subject string, life time.Time, tombstone bool) {
	s.t.Helper()
	m := &nats.Msg{Subject: subject, Header: nats.Header{schema.HeaderGeneration: {life.Format(time.RFC3339Nano)}, schema.HeaderPoll: {"3"}}}
	if tombstone {
		m.Header[schema.HeaderTombstone] = []string{"true"}
	}
	s.publish(m)
}

// count is how many messages a stream holds on a subject.
func (s *stage) count(stream, subject string) int {
	s.t.Helper()
	st, err := s.js.Stream(s.ctx, stream)
	if err != nil {
		s.t.Fatal(err)
	}
	info, err := st.Info(s.ctx, jetstream.WithSubjectFilter(subject))
	if err != nil {
		s.t.Fatal(err)
	}
	n := 0
	for _, m := range info.State.Subjects {
		n += int(m)
	}
	return n
}

// results collects what a dead-letter queue reports.
type results struct {
	mu   sync.Mutex
	what map[dlq.What]int
	why  []string
}

func (r *results) add(l dlq.DeadLetter, result dlq.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.what == nil {
		r.what = map[dlq.What]int{}
	}
	r.what[result.What]++
	r.why = append(r.why, result.Why)
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

func TestReplayPublishesTheDeclaredMessageAgain(t *testing.T) {
	t.Parallel()
	s := reserving(t)
	id := uuid.NewString()
	o := dead(schema.Rejected, id)
	o.Origin.Traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	s.store(o)
	if got := s.replay(s.queue(), dlq.Filter{}, true); got.what[dlq.Replayed] != 1 || s.count(schema.StreamDeclared, ">") != 0 || s.count(schema.StreamOutcomes, ">") != 1 {
		t.Fatalf("a dry run said %+v, and changed something", got)
	}
	if got := s.replay(s.queue(), dlq.Filter{}, false); got.what[dlq.Replayed] != 1 {
		t.Fatalf("replayed: %+v", got)
	}
	if n := s.count(schema.StreamOutcomes, ">"); n != 0 {
		t.Errorf("%d dead letters are left", n)
	}
	stream, err := s.js.Stream(s.ctx, schema.StreamDeclared)
	if err != nil {
		t.Fatal(err)
	}
	m, err := stream.GetLastMsgForSubject(s.ctx, schema.DeclaredSubject(schema.Chat, id))
	if err != nil {
		t.Fatal(err)
	}
	if string(m.Data) != declaration(schema.Chat, id) || m.Header.Get(schema.HeaderSupersedes) != life.Format(time.RFC3339Nano) ||
		!slices.Equal(m.Header[schema.HeaderTraceparent], []string{o.Origin.Traceparent}) {
		t.Errorf("published %s with %v", m.Data, m.Header)
	}
}

// What is stored of the interaction elsewhere decides what a replay does.
func TestReplayLooksWhatBecameOfTheInteraction(t *testing.T) {
	t.Parallel()
	later := life.Add(time.Hour)
	for _, tt := range []struct {
		name   string
		reason schema.Reason // rejected where it is empty
		// before and after come in the broker before and after the dead letter.
		before, after func(s *stage, id string)
		want          dlq.What
		why           string
		// declared is how many declared messages there are in the end.
		declared int
	}{
		{name: "nothing", want: dlq.Replayed, declared: 1},
		{name: "declared again", want: dlq.Superseded, why: "declared again", declared: 1,
			after: func(s *stage, id string) {
				s.put(schema.DeclaredSubject(schema.Chat, id), declaration(schema.Chat, id))
			}},
		{name: "declared again as another type", want: dlq.Superseded, declared: 1,
			after: func(s *stage, id string) {
				s.put(schema.DeclaredSubject(schema.Audio, id), declaration(schema.Audio, id))
			}},
		{name: "garbage waits on its subject", want: dlq.Left, why: "waits to be taken in", declared: 1,
			after: func(s *stage, id string) { s.put(schema.DeclaredSubject(schema.Chat, id), "garbage") }},
		{name: "garbage waits as another type", want: dlq.Left, why: "waits to be taken in", declared: 1,
			after: func(s *stage, id string) { s.put(schema.DeclaredSubject(schema.Audio, id), "garbage") }},
		{name: "reserved by a later life", want: dlq.Superseded, why: "polled since",
			after: func(s *stage, id string) { s.waiting(schema.HoldSubject(schema.Chat, id), later, false) }},
		{name: "due in a later life", want: dlq.Superseded,
			after: func(s *stage, id string) { s.waiting(schema.PollSubject(schema.Chat, id), later, false) }},
		{name: "tombstone of a later life", want: dlq.Superseded,
			after: func(s *stage, id string) { s.waiting(schema.HoldSubject(schema.Chat, id), later, true) }},
		{name: "its own reservation", want: dlq.Left, why: "still ending",
			after: func(s *stage, id string) { s.waiting(schema.HoldSubject(schema.Chat, id), life, false) }},
		{name: "its own reservation, and declared again", want: dlq.Left, why: "still ending", declared: 1,
			after: func(s *stage, id string) {
				s.waiting(schema.HoldSubject(schema.Chat, id), life, false)
				s.put(schema.DeclaredSubject(schema.Chat, id), declaration(schema.Chat, id))
			}},
		{name: "its own due message", want: dlq.Left, why: "still ending",
			after: func(s *stage, id string) { s.waiting(schema.PollSubject(schema.Chat, id), life, false) }},
		{name: "its own tombstone", want: dlq.Replayed, declared: 1,
			after: func(s *stage, id string) { s.waiting(schema.HoldSubject(schema.Chat, id), life, true) }},
		{name: "its own tombstone, due", want: dlq.Replayed, declared: 1,
			after: func(s *stage, id string) { s.waiting(schema.PollSubject(schema.Chat, id), life, true) }},
		{name: "a stale copy behind its own tombstone", want: dlq.Left, why: "still ending",
			before: func(s *stage, id string) { s.waiting(schema.PollSubject(schema.Chat, id), life, false) },
			after:  func(s *stage, id string) { s.waiting(schema.HoldSubject(schema.Chat, id), life, true) }},
		{name: "an older life that goes on", want: dlq.Left, why: "still ending",
			after: func(s *stage, id string) {
				s.waiting(schema.HoldSubject(schema.Chat, id), life.Add(-time.Hour), false)
			}},
		{name: "a due message that no worker reserved", want: dlq.Superseded,
			after: func(s *stage, id string) { s.put(schema.PollSubject(schema.Chat, id), declaration(schema.Chat, id)) }},
		{name: "processed since", want: dlq.Superseded, why: "interactions.processed.cxai.",
			after: func(s *stage, id string) {
				o := dead("", id)
				o.Reason, o.Destination, o.Origin.Stored = "", schema.ToCXAI, later
				s.store(o)
			}},
		{name: "a dead letter of a later life", want: dlq.Superseded, why: "interactions.failed.not_found.",
			after: func(s *stage, id string) {
				o := dead(schema.NotFound, id)
				o.Origin.Stored = later
				s.store(o)
				s.put(schema.FailedSubject(schema.Rejected, id), "garbage, and newer") // two are left then
			}},
		{name: "garbage in the place of results", want: dlq.Left, why: "is no event of this stage",
			after: func(s *stage, id string) { s.put(schema.ProcessedSubject(schema.ToCXAI, id), "garbage") }},
		{name: "an invalid message of the same identifier", want: dlq.Replayed, declared: 1,
			after: func(s *stage, id string) {
				o := dead(schema.InvalidMessage, id)
				o.Origin.Stored = later
				s.store(o)
			}},
		{name: "an invalid one", reason: schema.InvalidMessage, want: dlq.Replayed, declared: 1},
		{name: "an invalid one, sent again and waiting", reason: schema.InvalidMessage, want: dlq.Superseded, declared: 1,
			after: func(s *stage, id string) { s.put(schema.DeclaredSubject(schema.Chat, id), "{oops") }},
		{name: "an invalid one, declared as another type", reason: schema.InvalidMessage, want: dlq.Replayed, declared: 2,
			after: func(s *stage, id string) {
				s.put(schema.DeclaredSubject(schema.Audio, id), declaration(schema.Audio, id))
			}},
		{name: "an invalid one, declared properly since", reason: schema.InvalidMessage, want: dlq.Superseded,
			after: func(s *stage, id string) { s.waiting(schema.HoldSubject(schema.Chat, id), later, false) }},
		{name: "an invalid one among the polls of an earlier life", reason: schema.InvalidMessage, want: dlq.Replayed, declared: 1,
			after: func(s *stage, id string) {
				s.waiting(schema.HoldSubject(schema.Chat, id), life.Add(-time.Hour), false)
			}},
		{name: "an invalid one of another subject", reason: schema.InvalidMessage, want: dlq.Replayed, declared: 1,
			after: func(s *stage, id string) {
				o := dead(schema.Rejected, id)
				o.Origin.Stored = life.Add(-time.Hour)
				s.store(o)
			}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := reserving(t)
			id := uuid.NewString()
			reason := tt.reason
			if reason == "" {
				reason = schema.Rejected
			}
			real := func(do func(*stage, string)) {
				if do != nil {
					do(s, id)
				}
			}
			real(tt.before)
			sequence := s.store(dead(reason, id))
			real(tt.after)
			r := s.replay(s.queue(), dlq.Filter{Names: []string{fmt.Sprintf("@%d", sequence)}}, false)
			if r.what[tt.want] != 1 || !strings.Contains(r.why[0], tt.why) {
				t.Errorf("got %v %q, want %s with %q", r.what, r.why, tt.want, tt.why)
			}
			outcomes, err := s.js.Stream(s.ctx, schema.StreamOutcomes)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := outcomes.GetMsg(s.ctx, sequence); errors.Is(err, jetstream.ErrMsgNotFound) == (tt.want == dlq.Left) {
				t.Errorf("%s, and reading the dead letter gives %v", tt.want, err)
			}
			if n := s.count(schema.StreamDeclared, ">"); n != tt.declared {
				t.Errorf("%d declared messages, want %d", n, tt.declared)
			}
		})
	}
}

// With delayed naks the declared message stays until after the outcome.
func TestReplayWithDelayedNaks(t *testing.T) {
	t.Parallel()
	s := naks(t)
	id := uuid.NewString()
	s.put(schema.DeclaredSubject(schema.Chat, id), declaration(schema.Chat, id))
	declared, err := s.js.Stream(s.ctx, schema.StreamDeclared)
	if err != nil {
		t.Fatal(err)
	}
	m, err := declared.GetMsg(s.ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	o := dead(schema.NotFound, id)
	o.Origin.Stored = m.Time
	s.store(o)
	if r := s.replay(s.queue(), dlq.Filter{}, false); r.what[dlq.Left] != 1 || s.count(schema.StreamOutcomes, ">") != 1 {
		t.Fatalf("before the ack: %v %q", r.what, r.why)
	}
	if err := declared.DeleteMsg(s.ctx, 1); err != nil {
		t.Fatal(err)
	}
	if r := s.replay(s.queue(), dlq.Filter{}, false); r.what[dlq.Replayed] != 1 || s.count(schema.StreamDeclared, ">") != 1 {
		t.Fatalf("after the ack: %v %q", r.what, r.why)
	}
}

// A life that ends while the dead-letter queue waits is replayed then.
func TestReplayWaitsForALifeThatIsEnding(t *testing.T) {
	t.Parallel()
	s := reserving(t)
	n := dlq.MaxWaiting + 40 // more than are put off
	for range n {
		id := uuid.NewString()
		s.store(dead(schema.NotFound, id))
		s.waiting(schema.HoldSubject(schema.Chat, id), life, false)
	}
	d := s.queue()
	d.EndSoon(time.Minute, time.Millisecond)
	polls, err := s.js.Stream(s.ctx, schema.StreamPolls)
	if err != nil {
		t.Fatal(err)
	}
	selection, err := d.Select(s.ctx, dlq.Filter{NewerThan: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	var r results
	over := make(chan error, 1)
	go func() { over <- d.Replay(s.ctx, selection, false, r.add) }()
	if err := polls.Purge(s.ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-over; err != nil {
		t.Fatal(err)
	}
	if r.what[dlq.Replayed] != n {
		t.Errorf("replayed: %v, want all %d", r.what, n)
	}
}

// Two replays at once, on connections of their own, declare each interaction once.
func TestTwoReplaysAtOnce(t *testing.T) {
	t.Parallel()
	s := reserving(t)
	const n = 500
	for range n {
		s.store(dead(schema.NotFound, uuid.NewString()))
	}
	var both results
	var running sync.WaitGroup
	for range 2 {
		d := s.queue()
		d.EndSoon(time.Minute, time.Millisecond)
		selection, err := d.Select(s.ctx, dlq.Filter{})
		if err != nil {
			t.Fatal(err)
		}
		running.Go(func() {
			if err := d.Replay(s.ctx, selection, false, both.add); err != nil {
				t.Error(err)
			}
		})
	}
	running.Wait()
	declared, err := s.js.Stream(s.ctx, schema.StreamDeclared)
	if err != nil {
		t.Fatal(err)
	}
	info, err := declared.Info(s.ctx)
	if err != nil {
		t.Fatal(err)
	}
	// The last sequence is how many were ever stored.
	if info.State.LastSeq != n || s.count(schema.StreamOutcomes, ">") != 0 || both.what[dlq.Left] != 0 {
		t.Errorf("%d were declared, %d dead letters are left: %v", info.State.LastSeq, s.count(schema.StreamOutcomes, ">"), both.what)
	}
}

// A declared message that was published, and is stored nowhere any more, is published again: what the broker remembers of
// its publish counts for nothing.
func TestReplayGoesByWhatIsStored(t *testing.T) {
	t.Parallel()
	s := reserving(t)
	id := uuid.NewString()
	data, err := dead(schema.NotFound, id).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	declared, err := s.js.Stream(s.ctx, schema.StreamDeclared)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := declared.Purge(s.ctx); err != nil {
			t.Fatal(err)
		}
		s.put(schema.FailedSubject(schema.NotFound, id), string(data)) // as if the delete had got lost
		r := s.replay(s.queue(), dlq.Filter{}, false)
		if r.what[dlq.Replayed] != 1 || s.count(schema.StreamDeclared, ">") != 1 || s.count(schema.StreamOutcomes, ">") != 0 {
			t.Errorf("got %v %q, want the message declared again and the dead letter gone", r.what, r.why)
		}
	}
}

func TestReplayLeavesWhatCannotBeDeclaredAgain(t *testing.T) {
	t.Parallel()
	s := reserving(t)
	want := map[string]bool{}
	store := func(why string, o schema.Outcome) { want[why] = false; s.store(o) }
	o := dead(schema.InvalidMessage, uuid.NewString())
	o.Payload = []byte(strings.Repeat("x", schema.MaxPayloadBytes+1))
	store("65536 of the 65537 bytes", o)
	o = dead(schema.InvalidMessage, uuid.NewString())
	o.Payload = nil
	store("was empty", o)
	o = dead(schema.InvalidMessage, "seq-4")
	o.Origin.Subject = "interactions.declared.chat.*"
	store(`"interactions.declared.chat.*"`, o)
	o = dead(schema.InvalidMessage, "nothing")
	store("interactions.declared.chat.nothing", o)
	o = dead(schema.Rejected, uuid.NewString())
	o.Origin.Subject = schema.FailedSubject(schema.Rejected, o.Identifier)
	store("interactions.failed.rejected.", o)
	o = dead(schema.Rejected, uuid.NewString())
	o.Declaration = json.RawMessage(`{}`)
	store("its declaration is none", o)
	o = dead(schema.Rejected, uuid.NewString())
	o.Declaration = nil
	store("no declaration", o)
	o = dead(schema.Rejected, uuid.NewString())
	o.Origin.Subject = schema.DeclaredSubject(schema.Chat, uuid.NewString())
	store(o.Origin.Subject, o)
	want["no event in JSON"] = false
	s.put("interactions.failed.x.y", "\x1b[31mgarbage")
	r := s.replay(s.queue(), dlq.Filter{}, false)
	if r.what[dlq.Left] != len(want) || s.count(schema.StreamOutcomes, ">") != len(want) || s.count(schema.StreamDeclared, ">") != 0 {
		t.Errorf("got %v, want %d left", r.what, len(want))
	}
	for why := range want {
		if !slices.ContainsFunc(r.why, func(got string) bool { return strings.Contains(got, why) }) {
			t.Errorf("nothing says %q: %q", why, r.why)
		}
	}
}

func TestPurge(t *testing.T) {
	t.Parallel()
	s := reserving(t)
	keep, drop := uuid.NewString(), uuid.NewString()
	s.store(dead(schema.NotFound, keep))
	s.store(dead(schema.Rejected, drop))
	s.put("interactions.failed.rejected.garbage", "garbage")
	d, err := dlq.New(s.ctx, s.js)
	if err != nil {
		t.Fatal(err)
	}
	selection, err := d.Select(s.ctx, dlq.Filter{Reasons: []schema.Reason{schema.Rejected}})
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		dry  bool
		left int
	}{{true, 3}, {false, 1}, {false, 1}} {
		var r results
		if err := d.Purge(s.ctx, selection, step.dry, r.add); err != nil {
			t.Fatal(err)
		}
		if n := s.count(schema.StreamOutcomes, ">"); n != step.left {
			t.Errorf("%+v: %d are left, %v", step, n, r.what)
		}
	}
	if n := s.count(schema.StreamOutcomes, schema.FailedSubject(schema.NotFound, keep)); n != 1 {
		t.Errorf("%d of what was not meant are left", n)
	}
}

func TestSelect(t *testing.T) {
	t.Parallel()
	s := reserving(t)
	a, b := uuid.NewString(), uuid.NewString()
	s.store(dead(schema.NotFound, a)) // 1
	s.store(dead(schema.Rejected, a)) // 2
	o := dead(schema.NotFound, b)
	o.Type = schema.Audio
	s.store(o) // 3
	o = dead("", b)
	o.Reason, o.Destination = "", schema.ToCXAI
	s.store(o)                                     // 4: no dead letter
	s.put("interactions.failed.x.y", "garbage")    // 5
	s.store(dead(schema.InvalidMessage, "seq-17")) // 6
	many := make([]string, 100)                    // more than the broker is asked to sort out
	for i := range many {
		many[i] = uuid.NewString()
	}
	d, err := dlq.New(s.ctx, s.js)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		filter dlq.Filter
		want   []uint64
	}{
		"all":                   {dlq.Filter{}, []uint64{1, 2, 3, 5, 6}},
		"a reason":              {dlq.Filter{Reasons: []schema.Reason{schema.NotFound}}, []uint64{1, 3}},
		"reasons, one twice":    {dlq.Filter{Reasons: []schema.Reason{schema.Rejected, schema.NotFound, schema.Rejected}}, []uint64{1, 2, 3}},
		"an identifier":         {dlq.Filter{Names: []string{a}}, []uint64{1, 2}},
		"one of it":             {dlq.Filter{Names: []string{"@2"}}, []uint64{2}},
		"one twice":             {dlq.Filter{Names: []string{"@2", "@2", a}}, []uint64{2, 1}},
		"no dead letter":        {dlq.Filter{Names: []string{"@4", "@99"}}, nil},
		"a token":               {dlq.Filter{Names: []string{"seq-17"}}, []uint64{6}},
		"identifier and reason": {dlq.Filter{Names: []string{a, b}, Reasons: []schema.Reason{schema.NotFound}}, []uint64{1, 3}},
		"sequence and reason":   {dlq.Filter{Names: []string{"@2"}, Reasons: []schema.Reason{schema.NotFound}}, nil},
		"many identifiers":      {dlq.Filter{Names: append(many, b)}, []uint64{3}},
		"a type":                {dlq.Filter{Types: []schema.Type{schema.Chat}}, []uint64{1, 2, 6}},
		"newer":                 {dlq.Filter{NewerThan: time.Hour}, []uint64{1, 2, 3, 5, 6}},
		"older":                 {dlq.Filter{OlderThan: time.Hour}, nil},
		"between":               {dlq.Filter{OlderThan: time.Nanosecond, NewerThan: time.Hour}, []uint64{1, 2, 3, 5, 6}},
	} {
		t.Run(name, func(t *testing.T) {
			selection, err := d.Select(s.ctx, tt.filter)
			if err != nil {
				t.Fatal(err)
			}
			var got []uint64
			if err := selection.Each(s.ctx, func(l dlq.DeadLetter) error {
				got = append(got, l.Sequence)
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
	t.Run("what comes later does not belong to it", func(t *testing.T) {
		selection, err := d.Select(s.ctx, dlq.Filter{Reasons: []schema.Reason{schema.DeadlineExceeded}})
		if err != nil {
			t.Fatal(err)
		}
		s.store(dead(schema.DeadlineExceeded, a))
		if err := selection.Each(s.ctx, func(l dlq.DeadLetter) error { return fmt.Errorf("got %s", l.Name()) }); err != nil {
			t.Error(err)
		}
	})
}

// A reader whose dead letters are deleted by somebody else comes to an end.
func TestEachEndsWhenTheRestIsDeleted(t *testing.T) {
	t.Parallel()
	s := reserving(t)
	const n = 1000 // more than are read ahead
	for range n {
		s.store(dead(schema.NotFound, uuid.NewString()))
	}
	d, err := dlq.New(s.ctx, s.js)
	if err != nil {
		t.Fatal(err)
	}
	selection, err := d.Select(s.ctx, dlq.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	outcomes, err := s.js.Stream(s.ctx, schema.StreamOutcomes)
	if err != nil {
		t.Fatal(err)
	}
	read := 0
	if err := selection.Each(s.ctx, func(dlq.DeadLetter) error {
		if read++; read == 1 {
			return outcomes.Purge(s.ctx)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if read == 0 || read == n {
		t.Errorf("read %d of %d", read, n)
	}
}

func TestFilterRefuses(t *testing.T) {
	for _, tt := range []struct {
		filter       dlq.Filter
		field, value string
	}{
		{dlq.Filter{Reasons: []schema.Reason{"unlucky\x1b"}}, "Reasons", `"unlucky\x1b"`},
		{dlq.Filter{Types: []schema.Type{"video"}}, "Types", `"video"`},
		{dlq.Filter{Names: []string{"*"}}, "Names", `"*"`},
		{dlq.Filter{Names: []string{">"}}, "Names", `">"`},
		{dlq.Filter{Names: []string{"a.b"}}, "Names", `"a.b"`},
		{dlq.Filter{Names: []string{"a b"}}, "Names", `"a b"`},
		{dlq.Filter{Names: []string{"a\r\nPUB x 0"}}, "Names", `"a\r\nPUB x 0"`},
		{dlq.Filter{Names: []string{""}}, "Names", `""`},
		{dlq.Filter{Names: []string{"@0"}}, "Names", `"@0"`},
		{dlq.Filter{Names: []string{"@-1"}}, "Names", `"@-1"`},
		{dlq.Filter{Names: []string{"@x"}}, "Names", `"@x"`},
		{dlq.Filter{OlderThan: -1}, "OlderThan", "-1ns"},
		{dlq.Filter{NewerThan: -1}, "NewerThan", "-1ns"},
		{dlq.Filter{OlderThan: 2, NewerThan: 1}, "NewerThan", "1ns"},
	} {
		var bad *dlq.FilterError
		if err := tt.filter.Check(); !errors.As(err, &bad) || bad.Field != tt.field || bad.Value != tt.value {
			t.Errorf("%+v: %v, want %s %s", tt.filter, err, tt.field, tt.value)
		}
	}
}

func TestNewSaysWhichStreamIsMissing(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	if _, err := dlq.New(s.ctx, s.js); err != nil {
		t.Errorf("who only reads needs no other stream: %v", err)
	}
	var missing *dlq.MissingStreamError
	if _, err := dlq.NewForReplay(s.ctx, s.js); !errors.As(err, &missing) || missing.Stream != schema.StreamDeclared {
		t.Errorf("error %v, want one that names %s", err, schema.StreamDeclared)
	}
}
