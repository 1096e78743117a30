package interaction_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"statusworker/cmd/broker/fake"
	"statusworker/cmd/internal/interaction"
	"statusworker/cmd/overview"
	"statusworker/consumer"
	"statusworker/integration/stage"
	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/schema/lifecycle"
	"statusworker/statusclient/simulator"
)

// ns is the namespace of the tests.
var ns = schema.DefaultNamespace

// looking is a stage in memory, a finder, and the workers that it finds.
type looking struct {
	*stage.Stage
	finder  *interaction.Finder
	workers []overview.Worker
}

// bubbles runs a test in both modes, each in a bubble.
func bubbles(t *testing.T, test func(l *looking)) {
	for _, mode := range []consumer.Mode{consumer.Schedule, consumer.Nak} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { test(newLooking(t, mode)) })
		})
	}
}

func newLooking(t *testing.T, mode consumer.Mode) *looking {
	l := &looking{Stage: stage.New(t, stage.Options{Mode: mode, InMemory: true,
		Worker: consumer.Config{NotFoundGrace: time.Second}})}
	var err error
	l.finder, err = interaction.New(l.Ctx, l.Broker, ns, func(context.Context) ([]overview.Worker, error) {
		return l.workers, nil
	})
	l.Check(err)
	return l
}

func (l *looking) look(identifier string) interaction.Interaction {
	l.T.Helper()
	found, err := l.finder.Look(l.Ctx, []string{identifier})
	l.Check(err)
	if i := found[0]; i.Identifier != identifier || i.Redelivery != string(l.Mode) || i.History == nil ||
		i.Outcomes == nil || i.At.IsZero() {
		l.T.Errorf("%+v, want identifier, time, redelivery, and lists that are not null", i)
	}
	return found[0]
}

// in fails the test unless the interaction has this state and this problem.
func (l *looking) in(identifier string, state lifecycle.State, problem interaction.Problem) interaction.Interaction {
	l.T.Helper()
	i := l.look(identifier)
	if i.State != state || i.Problem != problem {
		l.T.Errorf("state %s, problem %q; want %s, %q: %+v", i.State, i.Problem, state, problem, i)
	}
	return i
}

func statuses(i interaction.Interaction) (all []schema.Status) {
	for _, c := range i.History {
		all = append(all, c.Status)
	}
	return all
}

// An interaction is found in each state, with the statuses that the vendor has reported so far.
func TestLife(t *testing.T) {
	t.Parallel()
	bubbles(t, func(l *looking) {
		schedule := l.Mode == consumer.Schedule
		id := l.Declare(schema.Chat, simulator.Processed(6*time.Second).With(stage.PendingOnce))
		declared := time.Now()
		i := l.in(id, lifecycle.StateDeclared, interaction.NoWorkers)
		if i.Type != schema.Chat || i.DeclaredAt == nil || declared.Sub(*i.DeclaredAt).Abs() > time.Second ||
			i.Workers == nil || i.Workers.Alive != 0 {
			l.T.Errorf("declared: %+v", i)
		}
		l.workers = []overview.Worker{{Announcement: schema.Announcement{Host: "here", State: schema.Working}}}
		if i := l.in(id, lifecycle.StateDeclared, ""); i.Workers.Worker != "here" {
			l.T.Errorf("workers %+v, want the one here", i.Workers)
		}

		w := l.Start()
		l.Check(l.Vendor.WaitPollsOf(l.Ctx, id, 3))
		synctest.Wait()
		i = l.in(id, lifecycle.StateWaiting, "")
		if !i.DeclaredAt.Equal(*l.look(id).DeclaredAt) || i.Type != schema.Chat || i.Workers != nil {
			l.T.Errorf("waiting: %+v", i)
		}
		if schedule {
			wait := i.NextPollAt.Sub(i.At)
			if i.Polls != 3 || wait < stage.Short.Chat/2 || wait > stage.Short.Chat+time.Second {
				l.T.Errorf("waiting after %d polls for %s, want 3 and about %s", i.Polls, wait, stage.Short.Chat)
			}
			if want := l.Vendor.PollsOf(id)[0].Status; i.History[0].Status != want || i.History[0].Poll != 1 {
				l.T.Errorf("history %v, want it to begin with %s at poll 1", i.History, want)
			}
		} else if i.Polls != 0 || i.NextPollAt != nil || len(i.History) > 0 {
			l.T.Errorf("waiting: %+v, want only what is stored", i)
		}
		w.End()

		if schedule {
			l.Until("a poll to be due", func() bool { return l.look(id).State == lifecycle.StateDue })
			if i := l.in(id, lifecycle.StateDue, ""); i.Polls != 3 || i.NextPollAt != nil || i.Since == nil {
				l.T.Errorf("due: %+v", i)
			}
			until := time.Now().Add(time.Minute)
			later := until.Add(time.Minute)
			l.workers = []overview.Worker{
				{Announcement: schema.Announcement{State: schema.Paused, Cause: "unavailable", Until: &later}},
				{Announcement: schema.Announcement{State: schema.Paused, Cause: "throttled", Until: &until}},
			}
			if i := l.in(id, lifecycle.StateDue, interaction.Paused); i.Workers.Cause != "throttled" ||
				!i.Workers.Until.Equal(until) || i.Workers.Paused != 2 || i.Workers.Worker != "" {
				l.T.Errorf("workers %+v, want the pause that ends first", i.Workers)
			}
			l.workers[0].State = schema.Working
			l.in(id, lifecycle.StateDue, "")
			l.workers = nil
			l.in(id, lifecycle.StateDue, interaction.NoWorkers)
		}

		l.Start()
		l.WaitOutcomes(1)
		l.WaitDrained()
		i = l.in(id, lifecycle.StateProcessed, "")
		if len(i.Outcomes) != 1 || i.Outcomes[0].Destination != schema.ToCXAI || i.Outcomes[0].Reason != "" ||
			i.Last() == nil || i.Outcomes[0].Polls != i.Polls {
			l.T.Errorf("processed: %+v", i)
		}
		if all := statuses(i); all[len(all)-1] != schema.StatusProcessed || schedule && len(all) < 4 {
			l.T.Errorf("history %v, want the statuses to processed", i.History)
		}
	})
}

// A dead letter says why, and what to do; an interaction that is declared again is not dead-lettered any more.
func TestDeadLettered(t *testing.T) {
	t.Parallel()
	bubbles(t, func(l *looking) {
		id := l.Declare(schema.Audio, simulator.Never().With(simulator.Refusal(http.StatusNotFound).On(2, 1<<20)))
		w := l.Start()
		l.WaitOutcomes(1)
		l.WaitDrained()
		w.End()
		first := l.in(id, lifecycle.StateDeadLettered, "")
		o := first.Last()
		if o == nil || o.Reason != schema.NotFound || o.Detail == "" || o.Advice != schema.NotFound.Advice() ||
			o.Destination != "" || o.Sequence != 1 || !o.DeclaredAt.Equal(*first.DeclaredAt) {
			l.T.Fatalf("%+v, want a dead letter not_found", first)
		}
		if l.Mode == consumer.Schedule && !slices.Equal(statuses(first), []schema.Status{schema.StatusProcessing}) {
			l.T.Errorf("history %v", first.History)
		}
		l.DeclareAs(schema.Audio, id)
		again := l.in(id, lifecycle.StateDeclared, interaction.NoWorkers)
		if !again.DeclaredAt.After(*first.DeclaredAt) || len(again.Outcomes) != 1 || again.Last() != nil {
			l.T.Errorf("%+v, want another generation, and the dead letter of the first", again)
		}
		l.Check(l.Broker.Delete(l.Ctx, ns.StreamOutcomes(), o.Sequence))
	})
}

func TestUnknown(t *testing.T) {
	t.Parallel()
	bubbles(t, func(l *looking) {
		i := l.in(uuid.NewString(), lifecycle.StateUnknown, "")
		if i.DeclaredAt != nil || i.Type != "" || i.Since != nil {
			l.T.Errorf("%+v, want nothing known", i)
		}
		// An outcome that was deleted leaves a tombstone for a moment, and then nothing.
		id := l.Declare(schema.Chat, simulator.Processed(0))
		l.Start()
		l.WaitOutcomes(1)
		l.Until("the tombstone", func() bool {
			_, err := l.Broker.Last(l.Ctx, ns.StreamDeclared(), ns.DeclaredSubjects(id))
			return errors.Is(err, broker.ErrNotFound)
		})
		l.Check(l.Broker.Delete(l.Ctx, ns.StreamOutcomes(), 1))
		l.Until("it is unknown", func() bool { return l.look(id).State == lifecycle.StateUnknown })
		l.WaitDrained()
		if i := l.in(id, lifecycle.StateUnknown, ""); i.DeclaredAt != nil {
			l.T.Errorf("%+v, want nothing known", i)
		}
	})
}

// Each problem is reported.
func TestProblems(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLooking(t, consumer.Schedule)
		invalid := uuid.NewString()
		l.Publish(ns.DeclaredSubject(schema.Chat, invalid), `{"type":"chat"`)
		if i := l.in(invalid, lifecycle.StateDeclared, interaction.InvalidMessage); i.Detail == "" {
			t.Errorf("%+v, want why the message is not valid", i)
		}
		foreign := uuid.NewString()
		l.Publish(ns.HoldSubject(schema.Chat, foreign), "x")
		l.in(foreign, lifecycle.StateWaiting, interaction.ForeignMessage)

		overdue, at := uuid.NewString(), time.Now().Add(time.Second)
		l.PublishMessage(broker.Publication{
			Subject:  ns.HoldSubject(schema.Audio, overdue),
			Data:     stage.Declaration(schema.Audio, overdue),
			Schedule: broker.Schedule{At: at, Target: ns.PollSubject(schema.Audio, overdue)},
			Header: broker.Header{
				schema.HeaderPoll: {"7"}, schema.HeaderGeneration: {at.UTC().Format(time.RFC3339Nano)},
				schema.HeaderHistory: {"5 2026-11-27T01:02:03.456Z processing"},
			},
		})
		if i := l.in(overdue, lifecycle.StateWaiting, ""); i.Polls != 6 || !i.NextPollAt.Equal(at) ||
			i.Type != schema.Audio || !slices.Equal(statuses(i), []schema.Status{schema.StatusProcessing}) {
			t.Errorf("%+v, want poll 7 at %s", i, at)
		}
		l.Fake.SetFull(true)
		l.Until("it to be overdue", func() bool { return l.look(overdue).Problem == interaction.Overdue })
		if late := time.Since(at); late < time.Minute {
			t.Errorf("overdue after %s, want a minute", late)
		}

		for _, message := range []string{"not JSON", `{"data":{"reason":"\u001b[31m","detail":"\u001b[31m"}}`} {
			forged := uuid.NewString()
			l.Fake.SetFull(false)
			l.Publish("interactions.failed.x."+forged, message)
			i := l.in(forged, lifecycle.StateUnknown, "")
			if len(i.Outcomes) != 1 || i.Outcomes[0].DeclaredAt != nil ||
				schema.Printable(string(i.Outcomes[0].Reason)) != string(i.Outcomes[0].Reason) {
				t.Errorf("%+v, want one outcome that statusworker did not publish", i)
			}
		}
	})
}

// pausing is a broker whose consumers are paused.
type pausing struct {
	interaction.Broker
	until time.Time
	asked []interaction.Lane
}

func (p *pausing) Consumer(ctx context.Context, stream, consumer string) (broker.ConsumerState, error) {
	p.asked = append(p.asked, interaction.Lane{Stream: stream, Consumer: consumer})
	state, err := p.Broker.Consumer(ctx, stream, consumer)
	state.PausedUntil = p.until
	return state, err
}

// A paused consumer is a problem if its pause ends after the next step.
func TestPausedLane(t *testing.T) {
	t.Parallel()
	bubbles(t, func(l *looking) {
		p := &pausing{Broker: l.Broker}
		var err error
		l.finder, err = interaction.New(l.Ctx, p, ns, func(context.Context) ([]overview.Worker, error) {
			return []overview.Worker{{Announcement: schema.Announcement{State: schema.Working}}}, nil
		})
		l.Check(err)
		paused := func(id string, until time.Time, state lifecycle.State, want interaction.Problem, lane string) {
			l.T.Helper()
			p.until, p.asked = until, nil
			i := l.in(id, state, want)
			if (i.ConsumerPausedUntil != nil) != until.After(time.Now()) || i.Lane().Consumer != lane ||
				!slices.Contains(p.asked, i.Lane()) {
				l.T.Errorf("%+v, want the consumer %s, paused until %s", i, lane, until)
			}
		}
		lane := ns.PollConsumer(schema.Chat)
		intake := lane
		if l.Mode == consumer.Schedule {
			intake = ns.ConsumerIntake()
		}
		id := l.Declare(schema.Chat, simulator.Never())
		paused(id, time.Now().Add(time.Minute), lifecycle.StateDeclared, interaction.ConsumerPaused, intake)
		paused(id, time.Now().Add(-time.Minute), lifecycle.StateDeclared, "", intake)
		w := l.Start()
		l.WaitPolls(1)
		paused(id, time.Now().Add(time.Minute), lifecycle.StateWaiting, interaction.ConsumerPaused, lane)
		if l.Mode == consumer.Schedule {
			paused(id, time.Now().Add(time.Microsecond), lifecycle.StateWaiting, "", lane)
		}
		w.End()
		if l.Mode == consumer.Schedule {
			l.Until("a poll to be due", func() bool { return l.look(id).State == lifecycle.StateDue })
			paused(id, time.Now().Add(time.Minute), lifecycle.StateDue, interaction.ConsumerPaused, lane)
		}
	})
}

// The order of the results is that of the identifiers, and the workers are read once, if at all.
func TestSeveral(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := stage.New(t, stage.Options{Mode: consumer.Schedule, InMemory: true})
		read := 0
		finder, err := interaction.New(s.Ctx, s.Broker, ns, func(context.Context) ([]overview.Worker, error) {
			read++
			return nil, nil
		})
		s.Check(err)
		var ids []string
		for n := range 40 {
			ids = append(ids, uuid.NewString())
			if n%2 == 0 {
				s.DeclareAs(schema.Chat, ids[n])
			}
		}
		found, err := finder.Look(s.Ctx, ids)
		s.Check(err)
		for n, i := range found {
			if i.Identifier != ids[n] || (i.State == lifecycle.StateDeclared) != (n%2 == 0) {
				t.Errorf("result %d: %+v", n, i)
			}
		}
		if read != 1 {
			t.Errorf("the workers were read %d times, want once", read)
		}
		if _, err := finder.Look(s.Ctx, ids[1:2]); err != nil || read != 1 {
			t.Errorf("the workers were read for an interaction that waits for none (%v)", err)
		}
	})
}

// Errors name what was read. An identifier that moves on between the reads is still found.
func TestErrorsAndRaces(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLooking(t, consumer.Schedule)
		id := uuid.NewString()
		l.DeclareAs(schema.Chat, id)
		for _, op := range []fake.Op{fake.Next, fake.Last, fake.Stream} {
			l.Fake.Inject(fake.Fault{Op: op, Err: broker.ErrDenied})
			if _, err := l.finder.Look(l.Ctx, []string{id}); !errors.Is(err, broker.ErrDenied) {
				t.Errorf("%s is denied: %v", op, err)
			}
		}
		empty := fake.New(fake.Options{})
		t.Cleanup(empty.Close)
		var missing *interaction.MissingStreamError
		if _, err := interaction.New(l.Ctx, empty, ns, nil); !errors.As(err, &missing) ||
			missing.Stream != ns.StreamDeclared() {
			t.Errorf("without streams: %v", err)
		}
	})
}

// Messages of foreign clients whose times cannot be encoded do not make the interaction unreadable.
func TestForeignTimes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLooking(t, consumer.Schedule)
		const at = "9999-12-31T23:59:59-23:59" // in the year 10000 of UTC
		polled, failed := uuid.NewString(), uuid.NewString()
		header := broker.Header{}
		for name, value := range map[string]string{
			schema.HeaderPoll: "3", schema.HeaderGeneration: at, schema.HeaderHistory: "1 " + at + " processing",
		} {
			header[name] = []string{value}
		}
		for _, p := range []broker.Publication{
			{Subject: ns.PollSubject(schema.Audio, polled), Header: header, Data: []byte("{}")},
			{Subject: ns.FailedSubject(schema.Rejected, failed), Data: []byte(`{"data":{"reason":"rejected",` +
				`"declaredAt":"` + at + `","history":[{"status":"x","at":"` + at + `","poll":1}]}}`)},
		} {
			_, err := l.Broker.Publish(l.Ctx, p)
			l.Check(err)
		}
		found, err := l.finder.Look(l.Ctx, []string{polled, failed})
		l.Check(err)
		if i := found[0]; i.State != lifecycle.StateDue || i.Problem != interaction.ForeignMessage {
			t.Errorf("state %s, problem %q; want polling, of a foreign message", i.State, i.Problem)
		}
		if _, err := json.Marshal(found); err != nil {
			t.Error(err)
		}
	})
}
