package dlq_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"statusworker/publisher/dlq"
	"statusworker/schema"
	"statusworker/schema/broker"
)

func TestReplayPublishesTheDeclaredMessageAgain(t *testing.T) {
	brokers(t, func(t *testing.T, s *stage) {
		id := uuid.NewString()
		o := dead(schema.Rejected, id)
		o.Origin.Traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
		s.store(o)
		if got := s.replay(
			s.queue(),
			dlq.Filter{},
			true,
		); got.what[dlq.Replayed] != 1 || s.count(schema.StreamDeclared, ">") != 0 ||
			s.count(schema.StreamOutcomes, ">") != 1 {
			t.Fatalf("a dry run said %+v, and changed something", got)
		}
		if got := s.replay(s.queue(), dlq.Filter{}, false); got.what[dlq.Replayed] != 1 {
			t.Fatalf("replayed: %+v", got)
		}
		if n := s.count(schema.StreamOutcomes, ">"); n != 0 {
			t.Errorf("%d dead letters are left", n)
		}
		m, err := s.Last(s.ctx, schema.StreamDeclared, schema.DeclaredSubject(schema.Chat, id))
		if err != nil {
			t.Fatal(err)
		}
		if string(m.Data) != declaration(schema.Chat, id) ||
			m.Header.Get(schema.HeaderReplays) != life.Format(time.RFC3339Nano) ||
			!slices.Equal(m.Header[schema.HeaderTraceparent], []string{o.Origin.Traceparent}) {
			t.Errorf("published %s with %v", m.Data, m.Header)
		}
	})
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
		why           dlq.Why
		// by is the subject of what decided it, up to the identifier.
		by string
		// declared is how many declared messages there are in the end.
		declared int
	}{
		{name: "nothing", want: dlq.Replayed, declared: 1},
		{name: "declared again", want: dlq.Superseded, why: dlq.DeclaredAgain, by: "interactions.declared.chat.", declared: 1,
			after: func(s *stage, id string) {
				s.put(schema.DeclaredSubject(schema.Chat, id), declaration(schema.Chat, id))
			}},
		{name: "declared again as another type", want: dlq.Superseded, why: dlq.DeclaredAgain, by: "interactions.declared.audio.", declared: 1,
			after: func(s *stage, id string) {
				s.put(schema.DeclaredSubject(schema.Audio, id), declaration(schema.Audio, id))
			}},
		{name: "garbage waits on its subject", want: dlq.Left, why: dlq.NotTakenIn, by: "interactions.declared.chat.", declared: 1,
			after: func(s *stage, id string) { s.put(schema.DeclaredSubject(schema.Chat, id), "garbage") }},
		{name: "garbage waits as another type", want: dlq.Left, why: dlq.NotTakenIn, by: "interactions.declared.audio.", declared: 1,
			after: func(s *stage, id string) { s.put(schema.DeclaredSubject(schema.Audio, id), "garbage") }},
		{name: "reserved by a later life", want: dlq.Superseded, why: dlq.PolledSince,
			after: func(s *stage, id string) { s.waiting(schema.HoldSubject(schema.Chat, id), later, false) }},
		{name: "due in a later life", want: dlq.Superseded, why: dlq.PolledSince,
			after: func(s *stage, id string) { s.waiting(schema.PollSubject(schema.Chat, id), later, false) }},
		{name: "tombstone of a later life", want: dlq.Superseded, why: dlq.PolledSince,
			after: func(s *stage, id string) { s.waiting(schema.HoldSubject(schema.Chat, id), later, true) }},
		{name: "its own reservation", want: dlq.Left, why: dlq.PollPending,
			after: func(s *stage, id string) { s.waiting(schema.HoldSubject(schema.Chat, id), life, false) }},
		{name: "its own reservation, and declared again", want: dlq.Left, why: dlq.PollPending, declared: 1,
			after: func(s *stage, id string) {
				s.waiting(schema.HoldSubject(schema.Chat, id), life, false)
				s.put(schema.DeclaredSubject(schema.Chat, id), declaration(schema.Chat, id))
			}},
		{name: "its own due message", want: dlq.Left, why: dlq.PollPending,
			after: func(s *stage, id string) { s.waiting(schema.PollSubject(schema.Chat, id), life, false) }},
		{name: "its own tombstone", want: dlq.Replayed, declared: 1,
			after: func(s *stage, id string) { s.waiting(schema.HoldSubject(schema.Chat, id), life, true) }},
		{name: "its own tombstone, due", want: dlq.Replayed, declared: 1,
			after: func(s *stage, id string) { s.waiting(schema.PollSubject(schema.Chat, id), life, true) }},
		{name: "a stale copy behind its own tombstone", want: dlq.Left, why: dlq.PollPending,
			before: func(s *stage, id string) { s.waiting(schema.PollSubject(schema.Chat, id), life, false) },
			after:  func(s *stage, id string) { s.waiting(schema.HoldSubject(schema.Chat, id), life, true) }},
		{name: "an older life that goes on", want: dlq.Left, why: dlq.PollPending,
			after: func(s *stage, id string) {
				s.waiting(schema.HoldSubject(schema.Chat, id), life.Add(-time.Hour), false)
			}},
		{name: "a due message that no worker reserved", want: dlq.Superseded, why: dlq.PolledSince,
			after: func(s *stage, id string) { s.put(schema.PollSubject(schema.Chat, id), declaration(schema.Chat, id)) }},
		{name: "processed since", want: dlq.Superseded, why: dlq.EndedSince, by: "interactions.processed.cxai.",
			after: func(s *stage, id string) {
				o := dead("", id)
				o.Reason, o.Destination, o.Origin.Stored = "", schema.ToCXAI, later
				s.store(o)
			}},
		{name: "a dead letter of a later life", want: dlq.Superseded, why: dlq.EndedSince, by: "interactions.failed.not_found.",
			after: func(s *stage, id string) {
				o := dead(schema.NotFound, id)
				o.Origin.Stored = later
				s.store(o)
				s.put(schema.FailedSubject(schema.Rejected, id), "garbage, and newer") // two are left then
			}},
		{name: "garbage in the place of results", want: dlq.Left, why: dlq.NoOutcome, by: "interactions.processed.cxai.",
			after: func(s *stage, id string) { s.put(schema.ProcessedSubject(schema.ToCXAI, id), "garbage") }},
		{name: "an invalid message of the same identifier", want: dlq.Replayed, declared: 1,
			after: func(s *stage, id string) {
				o := dead(schema.InvalidMessage, id)
				o.Origin.Stored = later
				s.store(o)
			}},
		{name: "an invalid one", reason: schema.InvalidMessage, want: dlq.Replayed, declared: 1},
		{name: "an invalid one, sent again and waiting", reason: schema.InvalidMessage, want: dlq.Superseded, why: dlq.DeclaredAgain,
			by: "interactions.declared.chat.", declared: 1,
			after: func(s *stage, id string) { s.put(schema.DeclaredSubject(schema.Chat, id), "{oops") }},
		{name: "an invalid one, declared as another type", reason: schema.InvalidMessage, want: dlq.Replayed, declared: 2,
			after: func(s *stage, id string) {
				s.put(schema.DeclaredSubject(schema.Audio, id), declaration(schema.Audio, id))
			}},
		{name: "an invalid one, declared properly since", reason: schema.InvalidMessage, want: dlq.Superseded, why: dlq.PolledSince,
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
			by := tt.by
			if by != "" {
				by += id
			}
			if len(r.all) != 1 || r.all[0].What != tt.want || r.all[0].Why != tt.why || r.all[0].By.Subject != by ||
				r.all[0].By.Time.IsZero() != (tt.why == "") {
				t.Errorf("got %+v, want %s, %q by %q", r.all, tt.want, tt.why, by)
			}
			_, err := s.Get(s.ctx, schema.StreamOutcomes, sequence)
			if errors.Is(err, broker.ErrNotFound) == (tt.want == dlq.Left) {
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
	m, err := s.Get(s.ctx, schema.StreamDeclared, 1)
	if err != nil {
		t.Fatal(err)
	}
	o := dead(schema.NotFound, id)
	o.Origin.Stored = m.Time
	s.store(o)
	if r := s.replay(
		s.queue(),
		dlq.Filter{},
		false,
	); r.what[dlq.Left] != 1 ||
		s.count(schema.StreamOutcomes, ">") != 1 {
		t.Fatalf("before the ack: %+v", r.all)
	}
	if err := s.Delete(s.ctx, schema.StreamDeclared, 1); err != nil {
		t.Fatal(err)
	}
	if r := s.replay(
		s.queue(),
		dlq.Filter{},
		false,
	); r.what[dlq.Replayed] != 1 ||
		s.count(schema.StreamDeclared, ">") != 1 {
		t.Fatalf("after the ack: %+v", r.all)
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
	selection, err := d.Select(s.ctx, dlq.Filter{NewerThan: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	var r results
	over := make(chan error, 1)
	go func() { over <- d.Replay(s.ctx, selection, false, r.add) }()
	s.purge(schema.StreamPolls)
	if err := <-over; err != nil {
		t.Fatal(err)
	}
	if r.what[dlq.Replayed] != n {
		t.Errorf("replayed: %v, want all %d", r.what, n)
	}
}

// Two replays at once, on connections of their own, declare each interaction once.
func TestTwoReplaysAtOnce(t *testing.T) {
	brokers(t, func(t *testing.T, s *stage) {
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
		state, err := s.Stream(s.ctx, schema.StreamDeclared)
		if err != nil {
			t.Fatal(err)
		}
		// The last sequence is how many were ever stored.
		if state.Last != n || s.count(schema.StreamOutcomes, ">") != 0 || both.what[dlq.Left] != 0 {
			t.Errorf(
				"%d were declared, %d dead letters are left: %v",
				state.Last,
				s.count(schema.StreamOutcomes, ">"),
				both.what,
			)
		}
	})
}

// A declared message that was published, and is stored nowhere any more, is published again: what the broker remembers
// of its publish counts for nothing.
func TestReplayGoesByWhatIsStored(t *testing.T) {
	t.Parallel()
	s := reserving(t)
	id := uuid.NewString()
	data, err := dead(schema.NotFound, id).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		s.purge(schema.StreamDeclared)
		s.put(schema.FailedSubject(schema.NotFound, id), string(data)) // as if the delete had got lost
		r := s.replay(s.queue(), dlq.Filter{}, false)
		if r.what[dlq.Replayed] != 1 || s.count(schema.StreamDeclared, ">") != 1 ||
			s.count(schema.StreamOutcomes, ">") != 0 {
			t.Errorf("got %+v, want the message declared again and the dead letter gone", r.all)
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
	if r.what[dlq.Left] != len(want) || s.count(schema.StreamOutcomes, ">") != len(want) ||
		s.count(schema.StreamDeclared, ">") != 0 {
		t.Errorf("got %v, want %d left", r.what, len(want))
	}
	for why := range want {
		if !slices.ContainsFunc(r.all, func(got dlq.Result) bool {
			return got.Why == dlq.Unusable && strings.Contains(got.Err.Error(), why)
		}) {
			t.Errorf("nothing says %q: %+v", why, r.all)
		}
	}
}
