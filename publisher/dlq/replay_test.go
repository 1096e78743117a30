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
		for _, dry := range []bool{true, false} {
			got := s.replay(s.queue(), dlq.Filter{}, dry)
			n, m := s.count(ns.StreamDeclared(), ">"), s.count(ns.StreamOutcomes(), ">")
			if got.actions[dlq.Replayed] != 1 || dry && (n != 0 || m != 1) || !dry && (n != 1 || m != 0) {
				t.Fatalf("dry %t: results %v, %d declared messages, %d dead letters", dry, got.actions, n, m)
			}
		}
		m, err := s.Last(s.ctx, ns.StreamDeclared(), ns.DeclaredSubject(schema.Chat, id))
		if err != nil {
			t.Fatal(err)
		}
		if string(m.Data) != declaration(schema.Chat, id) ||
			m.Header.Get(schema.HeaderReplays) != generation.Format(time.RFC3339Nano) ||
			!slices.Equal(m.Header[schema.HeaderTraceparent], []string{o.Origin.Traceparent}) {
			t.Errorf("published %s with %v", m.Data, m.Header)
		}
	})
}

// The result of a replay depends on the other stored messages of the interaction.
func TestReplayDependsOnStoredMessages(t *testing.T) {
	t.Parallel()
	later := generation.Add(time.Hour)
	for _, tt := range []struct {
		name   string
		reason schema.Reason // by default rejected
		// before and after store messages before and after the dead letter.
		before, after func(s *stage, id string)
		want          dlq.Action
		cause         dlq.Cause
		// by is the subject of Result.By, up to the identifier.
		by string
		// declared is the number of declared messages after the replay.
		declared int
	}{
		{name: "nothing", want: dlq.Replayed, declared: 1},
		{name: "declared again", want: dlq.Superseded, cause: dlq.DeclaredAgain, by: "interactions.declared.chat.",
			declared: 1,
			after: func(s *stage, id string) {
				s.put(ns.DeclaredSubject(schema.Chat, id), declaration(schema.Chat, id))
			}},
		{name: "declared again as another type", want: dlq.Superseded, cause: dlq.DeclaredAgain,
			by: "interactions.declared.audio.", declared: 1,
			after: func(s *stage, id string) {
				s.put(ns.DeclaredSubject(schema.Audio, id), declaration(schema.Audio, id))
			}},
		{name: "garbage waits on its subject", want: dlq.Unchanged, cause: dlq.NotTakenIn,
			by:       "interactions.declared.chat.",
			declared: 1,
			after:    func(s *stage, id string) { s.put(ns.DeclaredSubject(schema.Chat, id), "garbage") }},
		{name: "garbage waits as another type", want: dlq.Unchanged, cause: dlq.NotTakenIn,
			by:       "interactions.declared.audio.",
			declared: 1,
			after:    func(s *stage, id string) { s.put(ns.DeclaredSubject(schema.Audio, id), "garbage") }},
		{name: "reserved by a later generation", want: dlq.Superseded, cause: dlq.PolledSince,
			after: func(s *stage, id string) { s.waiting(ns.HoldSubject(schema.Chat, id), later, false) }},
		{name: "due in a later generation", want: dlq.Superseded, cause: dlq.PolledSince,
			after: func(s *stage, id string) { s.waiting(ns.PollSubject(schema.Chat, id), later, false) }},
		{name: "tombstone of a later generation", want: dlq.Superseded, cause: dlq.PolledSince,
			after: func(s *stage, id string) { s.waiting(ns.HoldSubject(schema.Chat, id), later, true) }},
		{name: "its own reservation", want: dlq.Unchanged, cause: dlq.PollPending,
			after: func(s *stage, id string) { s.waiting(ns.HoldSubject(schema.Chat, id), generation, false) }},
		{name: "its own reservation, and declared again", want: dlq.Unchanged, cause: dlq.PollPending, declared: 1,
			after: func(s *stage, id string) {
				s.waiting(ns.HoldSubject(schema.Chat, id), generation, false)
				s.put(ns.DeclaredSubject(schema.Chat, id), declaration(schema.Chat, id))
			}},
		{name: "its own due message", want: dlq.Unchanged, cause: dlq.PollPending,
			after: func(s *stage, id string) { s.waiting(ns.PollSubject(schema.Chat, id), generation, false) }},
		{name: "its own tombstone", want: dlq.Replayed, declared: 1,
			after: func(s *stage, id string) { s.waiting(ns.HoldSubject(schema.Chat, id), generation, true) }},
		{name: "its own tombstone, due", want: dlq.Replayed, declared: 1,
			after: func(s *stage, id string) { s.waiting(ns.PollSubject(schema.Chat, id), generation, true) }},
		{name: "a stale copy behind its own tombstone", want: dlq.Unchanged, cause: dlq.PollPending,
			before: func(s *stage, id string) { s.waiting(ns.PollSubject(schema.Chat, id), generation, false) },
			after:  func(s *stage, id string) { s.waiting(ns.HoldSubject(schema.Chat, id), generation, true) }},
		{name: "an older generation that goes on", want: dlq.Unchanged, cause: dlq.PollPending,
			after: func(s *stage, id string) {
				s.waiting(ns.HoldSubject(schema.Chat, id), generation.Add(-time.Hour), false)
			}},
		{name: "a due message that no worker reserved", want: dlq.Superseded, cause: dlq.PolledSince,
			after: func(s *stage, id string) {
				s.put(ns.PollSubject(schema.Chat, id), declaration(schema.Chat, id))
			}},
		{name: "processed since", want: dlq.Superseded, cause: dlq.EndedSince, by: "interactions.processed.cxai.",
			after: func(s *stage, id string) {
				o := dead("", id)
				o.Reason, o.Destination, o.Origin.Stored = "", schema.ToCXAI, later
				s.store(o)
			}},
		{name: "a dead letter of a later generation", want: dlq.Superseded, cause: dlq.EndedSince,
			by: "interactions.failed.not_found.",
			after: func(s *stage, id string) {
				o := dead(schema.NotFound, id)
				o.Origin.Stored = later
				s.store(o)
				s.put(ns.FailedSubject(schema.Rejected, id), "garbage, and newer")
			}},
		{name: "garbage in the place of results", want: dlq.Unchanged, cause: dlq.NoOutcome,
			by:    "interactions.processed.cxai.",
			after: func(s *stage, id string) { s.put(ns.ProcessedSubject(schema.ToCXAI, id), "garbage") }},
		{name: "an invalid message of the same identifier", want: dlq.Replayed, declared: 1,
			after: func(s *stage, id string) {
				o := dead(schema.InvalidMessage, id)
				o.Origin.Stored = later
				s.store(o)
			}},
		{name: "an invalid one", reason: schema.InvalidMessage, want: dlq.Replayed, declared: 1},
		{name: "an invalid one, sent again and waiting", reason: schema.InvalidMessage, want: dlq.Superseded,
			cause: dlq.DeclaredAgain,
			by:    "interactions.declared.chat.", declared: 1,
			after: func(s *stage, id string) { s.put(ns.DeclaredSubject(schema.Chat, id), "{oops") }},
		{name: "an invalid one, declared as another type", reason: schema.InvalidMessage, want: dlq.Replayed,
			declared: 2,
			after: func(s *stage, id string) {
				s.put(ns.DeclaredSubject(schema.Audio, id), declaration(schema.Audio, id))
			}},
		{name: "an invalid one, declared properly since", reason: schema.InvalidMessage, want: dlq.Superseded,
			cause: dlq.PolledSince,
			after: func(s *stage, id string) { s.waiting(ns.HoldSubject(schema.Chat, id), later, false) }},
		{name: "an invalid one among the polls of an earlier generation", reason: schema.InvalidMessage,
			want: dlq.Replayed, declared: 1,
			after: func(s *stage, id string) {
				s.waiting(ns.HoldSubject(schema.Chat, id), generation.Add(-time.Hour), false)
			}},
		{name: "an invalid one of another subject", reason: schema.InvalidMessage, want: dlq.Replayed, declared: 1,
			after: func(s *stage, id string) {
				o := dead(schema.Rejected, id)
				o.Origin.Stored = generation.Add(-time.Hour)
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
			if tt.before != nil {
				tt.before(s, id)
			}
			sequence := s.store(dead(reason, id))
			if tt.after != nil {
				tt.after(s, id)
			}
			r := s.replay(s.queue(), dlq.Filter{Names: []string{fmt.Sprintf("@%d", sequence)}}, false)
			by := tt.by
			if by != "" {
				by += id
			}
			if len(r.all) != 1 || r.all[0].Action != tt.want || r.all[0].Cause != tt.cause ||
				r.all[0].By.Subject != by || r.all[0].By.Time.IsZero() != (tt.cause == "") {
				t.Errorf("results %+v, want %s, %q by %q", r.all, tt.want, tt.cause, by)
			}
			_, err := s.Get(s.ctx, ns.StreamOutcomes(), sequence)
			if errors.Is(err, broker.ErrNotFound) == (tt.want == dlq.Unchanged) {
				t.Errorf("result %s, but reading the dead letter: %v", tt.want, err)
			}
			if n := s.count(ns.StreamDeclared(), ">"); n != tt.declared {
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
	s.put(ns.DeclaredSubject(schema.Chat, id), declaration(schema.Chat, id))
	m, err := s.Get(s.ctx, ns.StreamDeclared(), 1)
	if err != nil {
		t.Fatal(err)
	}
	o := dead(schema.NotFound, id)
	o.Origin.Stored = m.Time
	s.store(o)
	r := s.replay(s.queue(), dlq.Filter{}, false)
	if r.actions[dlq.Unchanged] != 1 || s.count(ns.StreamOutcomes(), ">") != 1 {
		t.Fatalf("results before the ack: %+v", r.all)
	}
	if err := s.Delete(s.ctx, ns.StreamDeclared(), 1); err != nil {
		t.Fatal(err)
	}
	r = s.replay(s.queue(), dlq.Filter{}, false)
	if r.actions[dlq.Replayed] != 1 || s.count(ns.StreamDeclared(), ">") != 1 {
		t.Fatalf("results after the ack: %+v", r.all)
	}
}

// A replay waits for a generation that is ending.
func TestReplayWaitsForAGenerationThatIsEnding(t *testing.T) {
	t.Parallel()
	s := reserving(t)
	n := dlq.MaxWaiting + 40 // more than are postponed
	for range n {
		id := uuid.NewString()
		s.store(dead(schema.NotFound, id))
		s.waiting(ns.HoldSubject(schema.Chat, id), generation, false)
	}
	d := s.queue()
	d.EndSoon(time.Minute, time.Millisecond)
	selection, err := d.Select(s.ctx, dlq.Filter{NewerThan: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	var r results
	over, waits := make(chan error, 1), make(chan dlq.Result, 1)
	go func() {
		over <- d.Replay(s.ctx, selection, false, func(l dlq.DeadLetter, result dlq.Result) {
			r.add(l, result)
			select {
			case waits <- result:
			default: // not the first
			}
		})
	}()
	first := <-waits
	if first.Action != dlq.Waiting || first.Cause != dlq.PollPending || time.Until(first.Until) > time.Minute {
		t.Errorf("the first result is %+v, want %s with the reason and an end", first, dlq.Waiting)
	}
	s.purge(ns.StreamPolls())
	if err := <-over; err != nil {
		t.Fatal(err)
	}
	if r.actions[dlq.Replayed] != n || r.actions[dlq.Waiting] == 0 || r.actions[dlq.Waiting] > n {
		t.Errorf("results %v, want %d replayed, and each that had to wait reported once before", r.actions, n)
	}
}

// Two concurrent replays declare each interaction once.
func TestConcurrentReplays(t *testing.T) {
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
		state, err := s.Stream(s.ctx, ns.StreamDeclared())
		if err != nil {
			t.Fatal(err)
		}
		// The last sequence is the number of messages that were ever stored.
		if left := s.count(ns.StreamOutcomes(), ">"); state.Last != n || left != 0 || both.actions[dlq.Unchanged] != 0 {
			t.Errorf("%d declared messages, %d dead letters, results %v; want %d, 0 and none left",
				state.Last, left, both.actions, n)
		}
	})
}

// A replay publishes again if no message is stored, even if the broker remembers an earlier publish.
func TestReplayIgnoresTheDuplicateWindow(t *testing.T) {
	t.Parallel()
	s := reserving(t)
	id := uuid.NewString()
	data, err := dead(schema.NotFound, id).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		s.purge(ns.StreamDeclared())
		s.put(ns.FailedSubject(schema.NotFound, id), string(data)) // as if the delete was lost
		r := s.replay(s.queue(), dlq.Filter{}, false)
		if r.actions[dlq.Replayed] != 1 || s.count(ns.StreamDeclared(), ">") != 1 ||
			s.count(ns.StreamOutcomes(), ">") != 0 {
			t.Errorf("results %+v, want the message declared again and the dead letter deleted", r.all)
		}
	}
}

func TestReplayLeavesWhatCannotBeDeclaredAgain(t *testing.T) {
	t.Parallel()
	s := reserving(t)
	unusable := []schema.Outcome{
		dead(schema.InvalidMessage, uuid.NewString()), // its payload was cut
		dead(schema.InvalidMessage, uuid.NewString()), // it was empty
		dead(schema.InvalidMessage, "seq-4"),          // it came on a subject with a wildcard
		dead(schema.InvalidMessage, "nothing"),        // its subject has no identifier
		dead(schema.Rejected, uuid.NewString()),       // it came on the subject of a dead letter
		dead(schema.Rejected, uuid.NewString()),       // its declaration is not valid
		dead(schema.Rejected, uuid.NewString()),       // it has no declaration
		dead(schema.Rejected, uuid.NewString()),       // it came on the subject of another interaction
	}
	unusable[0].Payload = []byte(strings.Repeat("x", schema.MaxPayloadBytes+1))
	unusable[1].Payload = nil
	unusable[2].Origin.Subject = "interactions.declared.chat.*"
	unusable[4].Origin.Subject = ns.FailedSubject(schema.Rejected, unusable[4].Identifier)
	unusable[5].Declaration = json.RawMessage(`{}`)
	unusable[6].Declaration = nil
	unusable[7].Origin.Subject = ns.DeclaredSubject(schema.Chat, uuid.NewString())
	for _, o := range unusable {
		s.store(o)
	}
	s.put("interactions.failed.x.y", "\x1b[31mgarbage")
	n := len(unusable) + 1
	r := s.replay(s.queue(), dlq.Filter{}, false)
	if r.actions[dlq.Unchanged] != n || s.count(ns.StreamOutcomes(), ">") != n ||
		s.count(ns.StreamDeclared(), ">") != 0 {
		t.Errorf("results %v, want %d left", r.actions, n)
	}
	for _, got := range r.all {
		if got.Cause != dlq.Unusable || got.Err == nil {
			t.Errorf("result %+v, want %s and an error", got, dlq.Unusable)
		}
	}
}
