package consumer_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"statusworker/consumer"
	"statusworker/integration/stage"
	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

// An outcome has the changes of status, of many the oldest and the newest ones, and each change costs one write of a
// reservation: none that would not be made without the history. With delayed naks it has only the last status.
func TestOutcomesHaveTheHistory(t *testing.T) {
	t.Parallel()
	bubbles(t, func(t *testing.T, mode consumer.Mode) {
		s := inMemory(t, mode, nil)
		const changes, each = 18, 2
		const polls = changes*each + 1
		script := simulator.Constant(schema.StatusProcessed)
		status := func(poll int) schema.Status {
			if poll == polls {
				return schema.StatusProcessed
			}
			return schema.Status(fmt.Sprint("status ", (poll-1)/each))
		}
		for poll := 1; poll < polls; poll++ {
			other := simulator.Fault{Kind: simulator.OtherStatus, Status: string(status(poll))}
			script = script.With(other.On(poll, poll))
		}
		id := s.Declare(schema.Chat, script)
		s.Start()
		got := s.WantOutcomes(ns.ProcessedSubject(schema.ToCXAI, id))[0].Data.History
		s.WaitDrained()

		var want []schema.StatusChange
		for i, p := range s.Vendor.PollsOf(id) {
			poll := i + 1
			if poll > 1 && status(poll) == status(poll-1) {
				continue
			}
			want = append(want, schema.StatusChange{Status: status(poll), Poll: uint64(poll), At: p.At})
		}
		want = slices.Delete(want, schema.MaxHistory/2, len(want)-schema.MaxHistory/2)
		if mode == consumer.Nak {
			want = want[len(want)-1:]
			want[0].Poll = 0
		}
		if len(got) != len(want) {
			t.Fatalf("history %v, want %v", got, want)
		}
		for i, c := range got {
			if late := c.At.Sub(want[i].At); late < -time.Millisecond || late > 50*time.Millisecond {
				t.Errorf("change %d at %s, %s after the poll", i, c.At, late)
			}
			if want[i].At = c.At; c != want[i] {
				t.Errorf("change %d is %v, want %v", i, c, want[i])
			}
		}
		if mode == consumer.Schedule {
			state, err := s.Broker.Stream(s.Ctx, ns.StreamPolls())
			s.Check(err)
			// The first reservation; a due message and a reservation at each poll; a reservation at each change but the
			// last; the tombstone, and its due message.
			if want := uint64(1 + 2*polls + changes + 2); state.Last != want {
				t.Errorf("%d messages were stored for polls, want %d", state.Last, want)
			}
		}
	})
}

// An interaction that is dead-lettered without a status has no history.
func TestDeadLetterWithoutHistory(t *testing.T) {
	t.Parallel()
	bubbles(t, func(t *testing.T, mode consumer.Mode) {
		s := inMemory(t, mode, func(c *consumer.Config) { c.NotFoundGrace = time.Second })
		seen := s.Declare(schema.Chat, simulator.Never().With(simulator.Refusal(404).On(2, 1<<20)))
		never := s.Declare(schema.Chat, simulator.Never().With(simulator.Refusal(404)))
		s.Publish(ns.DeclaredSubject(schema.Chat, "nothing"), "{}")
		s.Start()
		var found []stage.Outcome
		for _, o := range s.WaitOutcomes(3) {
			switch {
			case o.Data.Identifier == never, o.Data.Reason == schema.InvalidMessage,
				o.Data.Identifier == seen && mode == consumer.Nak: // the last poll got no status
				if o.Data.History == nil || len(o.Data.History) > 0 {
					t.Errorf("%s has the history %v, want an empty one", o.Subject, o.Data.History)
				}
			default:
				found = append(found, o)
			}
		}
		if mode == consumer.Schedule && (len(found) != 1 || len(found[0].Data.History) != 1 ||
			found[0].Data.History[0].Status != schema.StatusProcessing || found[0].Data.History[0].Poll != 1) {
			t.Errorf("%v, want one outcome with the status processing at poll 1", found)
		}
	})
}
