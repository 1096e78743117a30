package dlq_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"statusworker/cmd/broker/fake"
	"statusworker/publisher/dlq"
	"statusworker/schema"
	"statusworker/schema/broker"
)

func TestPurge(t *testing.T) {
	t.Parallel()
	s := reserving(t)
	keep, drop := uuid.NewString(), uuid.NewString()
	s.store(dead(schema.NotFound, keep))
	s.store(dead(schema.Rejected, drop))
	s.put("interactions.failed.rejected.garbage", "garbage")
	d := s.queue()
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
		if n := s.count(ns.StreamOutcomes(), ">"); n != step.left {
			t.Errorf("%+v: %d dead letters are stored, results %v", step, n, r.actions)
		}
	}
	if n := s.count(ns.StreamOutcomes(), ns.FailedSubject(schema.NotFound, keep)); n != 1 {
		t.Errorf("%d dead letters that the filter does not match, want 1", n)
	}
}

// A worker died after it had stored the dead letter, and before the tombstone: a purge waits for the last poll, which
// would store a deleted dead letter again. It waits for nothing else.
func TestPurgeWaitsForTheLastPoll(t *testing.T) {
	t.Parallel()
	const id = "bd5c92f3-c228-44a6-91bf-b52672569878"
	for name, tt := range map[string]struct {
		subject    string
		generation time.Time
		tombstone  bool
		// before and after are the numbers of tombstones that are due and stored before and after it.
		before, after int
		want          dlq.Result
	}{
		"its reservation": {subject: ns.HoldSubject(schema.Chat, id), generation: generation,
			want: dlq.Result{Action: dlq.Unchanged, Cause: dlq.PollPending}},
		"its due message": {subject: ns.PollSubject(schema.Chat, id), generation: generation,
			want: dlq.Result{Action: dlq.Unchanged, Cause: dlq.PollPending}},
		"its tombstone": {subject: ns.HoldSubject(schema.Chat, id), generation: generation, tombstone: true,
			want: dlq.Result{Action: dlq.Deleted}},
		"its due message, before its tombstone": {subject: ns.PollSubject(schema.Chat, id), generation: generation,
			after: 1, want: dlq.Result{Action: dlq.Unchanged, Cause: dlq.PollPending}},
		"its due message, between two tombstones": {subject: ns.PollSubject(schema.Chat, id),
			generation: generation, before: 1, after: 2,
			want: dlq.Result{Action: dlq.Unchanged, Cause: dlq.PollPending}},
		"two tombstones that are due": {subject: ns.PollSubject(schema.Chat, id), generation: generation,
			tombstone: true, after: 1, want: dlq.Result{Action: dlq.Deleted}},
		"the reservation of a later generation": {subject: ns.HoldSubject(schema.Chat, id),
			generation: generation.Add(time.Hour), want: dlq.Result{Action: dlq.Deleted}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := reserving(t)
			s.store(dead(schema.Rejected, id))
			for range tt.before {
				s.waiting(ns.PollSubject(schema.Chat, id), generation, true)
			}
			s.waiting(tt.subject, tt.generation, tt.tombstone)
			for range tt.after {
				s.waiting(ns.PollSubject(schema.Chat, id), generation, true)
			}
			d := s.queue()
			selection, err := d.Select(s.ctx, dlq.Filter{})
			if err != nil {
				t.Fatal(err)
			}
			for _, dry := range []bool{true, false} {
				var r results
				if err := d.Purge(s.ctx, selection, dry, r.add); err != nil {
					t.Fatal(err)
				}
				if len(r.all) != 1 || r.all[0].Action != tt.want.Action || r.all[0].Cause != tt.want.Cause {
					t.Errorf("dry run %t: results %+v, want %+v", dry, r.all, tt.want)
				}
				if waited := r.actions[dlq.Waiting] > 0; waited != (!dry && tt.want.Action == dlq.Unchanged) {
					t.Errorf("dry run %t: it waited: %t", dry, waited)
				}
			}
			if tt.want.Action == dlq.Deleted {
				return
			}
			s.purge(ns.StreamPolls()) // a worker has made the last poll
			var r results
			if err := d.Purge(s.ctx, selection, false, r.add); err != nil || r.actions[dlq.Deleted] != 1 {
				t.Errorf("after the last poll: %v, results %v, want it deleted", err, r.actions)
			}
		})
	}
}

// With delayed naks, a purge waits until the declared message is acknowledged.
func TestPurgeWaitsForTheAck(t *testing.T) {
	t.Parallel()
	s := naks(t)
	id := uuid.NewString()
	s.put(ns.DeclaredSubject(schema.Chat, id), declaration(schema.Chat, id))
	s.store(dead(schema.Rejected, id))
	d := s.queue()
	selection, err := d.Select(s.ctx, dlq.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []dlq.Action{dlq.Unchanged, dlq.Deleted} {
		var r results
		if err := d.Purge(s.ctx, selection, false, r.add); err != nil || r.actions[want] != 1 {
			t.Errorf("%v, results %v, want it %s", err, r.actions, want)
		}
		s.purge(ns.StreamDeclared())
	}
}

// A worker stores the dead letter of an invalid message again if its acknowledgement was lost.
func TestPurgeWaitsForAnInvalidMessage(t *testing.T) {
	t.Parallel()
	s := reserving(t)
	o := dead(schema.InvalidMessage, uuid.NewString())
	s.put(o.Origin.Subject, "{")
	m, err := s.Last(s.ctx, ns.StreamDeclared(), o.Origin.Subject)
	if err != nil {
		t.Fatal(err)
	}
	o.Origin.Stored = m.Time
	s.store(o)
	d := s.queue()
	selection, err := d.Select(s.ctx, dlq.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	var r results
	err = d.Purge(s.ctx, selection, false, r.add)
	if err != nil || r.actions[dlq.Unchanged] != 1 || r.all[len(r.all)-1].Cause != dlq.NotTakenIn {
		t.Errorf("%v, results %+v, want one unchanged because of its message", err, r.all)
	}
	s.purge(ns.StreamDeclared())
	s.put(o.Origin.Subject, "{") // another one
	r = results{}
	if err := d.Purge(s.ctx, selection, false, r.add); err != nil || r.actions[dlq.Deleted] != 1 {
		t.Errorf("%v, results %v, want it deleted", err, r.actions)
	}
}

func TestSelect(t *testing.T) {
	brokers(t, func(t *testing.T, s *stage) {
		a, b := uuid.NewString(), uuid.NewString()
		s.store(dead(schema.NotFound, a)) // 1
		s.store(dead(schema.Rejected, a)) // 2
		o := dead(schema.NotFound, b)
		o.Type = schema.Audio
		s.store(o) // 3
		o = dead("", b)
		o.Reason, o.Destination = "", schema.ToCXAI
		s.store(o)                                     // 4: a processed event
		s.put("interactions.failed.x.y", "garbage")    // 5
		s.store(dead(schema.InvalidMessage, "seq-17")) // 6
		many := make([]string, 100)                    // more than the maximum of filter subjects
		for i := range many {
			many[i] = uuid.NewString()
		}
		d, err := dlq.New(s.ctx, s, ns)
		if err != nil {
			t.Fatal(err)
		}
		for name, tt := range map[string]struct {
			filter dlq.Filter
			want   []uint64
		}{
			"all":      {dlq.Filter{}, []uint64{1, 2, 3, 5, 6}},
			"a reason": {dlq.Filter{Reasons: []schema.Reason{schema.NotFound}}, []uint64{1, 3}},
			"reasons": {dlq.Filter{Reasons: []schema.Reason{schema.Rejected, schema.NotFound, schema.Rejected}},
				[]uint64{1, 2, 3}},
			"an identifier":  {dlq.Filter{Names: []string{a}}, []uint64{1, 2}},
			"one of it":      {dlq.Filter{Names: []string{"@2"}}, []uint64{2}},
			"one twice":      {dlq.Filter{Names: []string{"@2", "@2", a}}, []uint64{2, 1}},
			"no dead letter": {dlq.Filter{Names: []string{"@4", "@99"}}, nil},
			"a token":        {dlq.Filter{Names: []string{"seq-17"}}, []uint64{6}},
			"identifier and reason": {dlq.Filter{Names: []string{a, b}, Reasons: []schema.Reason{schema.NotFound}},
				[]uint64{1, 3}},
			"sequence and reason": {dlq.Filter{Names: []string{"@2"}, Reasons: []schema.Reason{schema.NotFound}},
				nil},
			"many identifiers": {dlq.Filter{Names: append(many, b)}, []uint64{3}},
			"a type":           {dlq.Filter{Types: []schema.Type{schema.Chat}}, []uint64{1, 2, 6}},
			"newer":            {dlq.Filter{NewerThan: time.Hour}, []uint64{1, 2, 3, 5, 6}},
			"older":            {dlq.Filter{OlderThan: time.Hour}, nil},
			"between": {dlq.Filter{OlderThan: time.Nanosecond, NewerThan: time.Hour},
				[]uint64{1, 2, 3, 5, 6}},
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
		t.Run("later dead letters are not selected", func(t *testing.T) {
			selection, err := d.Select(s.ctx, dlq.Filter{Reasons: []schema.Reason{schema.DeadlineExceeded}})
			if err != nil {
				t.Fatal(err)
			}
			s.store(dead(schema.DeadlineExceeded, a))
			err = selection.Each(s.ctx, func(l dlq.DeadLetter) error { return fmt.Errorf("selected %s", l.Name()) })
			if err != nil {
				t.Error(err)
			}
		})
	})
}

// Each ends when another user deletes the remaining dead letters.
func TestEachEndsWhenDeadLettersAreDeleted(t *testing.T) {
	t.Parallel()
	s := onServer(t) // the fake broker reads all messages at once
	const n = 1000   // more than are read ahead
	for range n {
		s.store(dead(schema.NotFound, uuid.NewString()))
	}
	d, err := dlq.New(s.ctx, s, ns)
	if err != nil {
		t.Fatal(err)
	}
	selection, err := d.Select(s.ctx, dlq.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	read := 0
	if err := selection.Each(s.ctx, func(dlq.DeadLetter) error {
		if read++; read == 1 {
			s.purge(ns.StreamOutcomes())
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if read == 0 || read == n {
		t.Errorf("read %d of %d, want some, but not all", read, n)
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

func TestNewReportsAMissingStream(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	if _, err := dlq.New(s.ctx, s, ns); err != nil {
		t.Errorf("New without the other streams: %v", err)
	}
	var missing *dlq.MissingStreamError
	if _, err := dlq.NewForDeletion(s.ctx, s, ns); !errors.As(err, &missing) || missing.Stream != ns.StreamDeclared() {
		t.Errorf("error %v, want a MissingStreamError of %s", err, ns.StreamDeclared())
	}
}

// A stream with stale reads is refused.
func TestNewRefusesDirectGets(t *testing.T) {
	t.Parallel()
	b := fake.New(fake.Options{}, broker.StreamConfig{Name: ns.StreamOutcomes(), DirectGets: true})
	defer b.Close()
	var stale *dlq.DirectGetsError
	if _, err := dlq.New(t.Context(), b, ns); !errors.As(err, &stale) || stale.Stream != ns.StreamOutcomes() {
		t.Errorf("error %v, want a DirectGetsError of %s", err, ns.StreamOutcomes())
	}
}
