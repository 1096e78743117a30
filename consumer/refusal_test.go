package consumer_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"

	"statusworker/consumer"
	"statusworker/consumer/breaker"
	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

// A few unusual answers among many good ones, from a gateway or from the vendor, do not end an interaction.
func TestOddAnswerEndsNothing(t *testing.T) {
	odd := map[string]simulator.Fault{
		"no such resource": simulator.NoSuchResource(),
		"not JSON":         {Kind: simulator.NotJSON},
	}
	for _, code := range []int{
		400, 402, 403, 404, 405, 407, 408, 409, 410, 418, 421, 422, 429, 431, 451, 499, 500, 600,
	} {
		odd[fmt.Sprint("page ", code)] = simulator.Page(code)
		odd[fmt.Sprint("error ", code)] = simulator.Refusal(code)
	}
	bubbles(t, func(t *testing.T, mode consumer.Mode) {
		s := inMemory(t, mode, func(c *consumer.Config) { c.NotFoundGrace = time.Millisecond })
		for range 8 { // the vendor works all the time
			s.Declare(schema.Transcript, simulator.Never())
		}
		var want []string
		for _, fault := range odd {
			// Twice in a row, and two polls later once more.
			id := s.Declare(schema.Chat, simulator.Processed(4*time.Second).With(fault.On(2, 3), fault.On(5, 5)))
			want = append(want, ns.ProcessedSubject(schema.ToCXAI, id))
		}
		s.Start()
		s.WantOutcomes(want...)
		s.CheckIntervals()
	})
}

// An interaction that the vendor always refuses, while it accepts others, ends when the refusal is confirmed.
func TestRefusalIsConfirmed(t *testing.T) {
	const grace = 2 * time.Second
	bubbles(t, func(t *testing.T, mode consumer.Mode) {
		s := inMemory(t, mode, func(c *consumer.Config) { c.NotFoundGrace = grace })
		var want []string
		refused := map[string]bool{}
		for code, reason := range map[int]schema.Reason{
			http.StatusBadRequest: schema.Rejected, http.StatusNotFound: schema.NotFound,
			http.StatusGone: schema.Rejected, http.StatusUnprocessableEntity: schema.Rejected,
		} {
			// The vendor knew it before.
			id := s.Declare(schema.Chat, simulator.Never().With(simulator.Refusal(code).On(3, 0)))
			refused[id] = true
			want = append(want, ns.FailedSubject(reason, id))
		}
		for _, script := range notConfirmed() {
			id := s.Declare(schema.Transcript, script)
			want = append(want, ns.ProcessedSubject(schema.ToCXAI, id))
		}
		s.Start()
		for _, o := range s.WantOutcomes(want...) {
			if !refused[o.Data.Identifier] {
				continue
			}
			var at []time.Time
			for _, p := range s.Vendor.PollsOf(o.Data.Identifier) {
				if p.Fault != "" {
					at = append(at, p.At)
				}
			}
			if len(at) < 3 || at[len(at)-1].Sub(at[0]) < grace {
				t.Errorf("%s ended after refusals at %v, want at least 3 over %s", o.Subject, at, grace)
			}
		}
		s.WaitDrained()
		s.CheckIntervals()
	})
}

// notConfirmed are scripts with refusals that do not end an interaction: the same status, but not in a row; different
// ones; and a failure of the vendor's own.
func notConfirmed() []simulator.Script {
	refusal, processed := simulator.Refusal, simulator.Processed(6*time.Second)
	return []simulator.Script{
		processed.With(refusal(404).On(1, 2), refusal(404).On(4, 5), refusal(404).On(7, 8)),
		processed.With(refusal(404).On(1, 1), refusal(410).On(2, 2), refusal(404).On(3, 3), refusal(400).On(4, 4)),
		processed.With(simulator.Page(404).On(1, 8)),
	}
}

// With a wrong address, or a token of another account, the vendor refuses all requests, in its own form or not. No
// interaction ends. The worker pauses with the cause, and resumes when the vendor answers again.
func TestAllRefusedEndsNothing(t *testing.T) {
	for name, tt := range map[string]struct {
		fault simulator.Fault
		cause breaker.Failure
	}{
		"no such resource": {simulator.NoSuchResource(), breaker.Refused},
		"the vendor's 404": {simulator.Refusal(http.StatusNotFound), breaker.Refused},
		"a page":           {simulator.Page(http.StatusNotFound), breaker.Unavailable},
		"no credit":        {simulator.Refusal(http.StatusPaymentRequired), breaker.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			bubbles(t, func(t *testing.T, mode consumer.Mode) {
				s := inMemory(t, mode, func(c *consumer.Config) { c.NotFoundGrace = 500 * time.Millisecond })
				s.Vendor.SetFaults(tt.fault)
				var want []string
				for range 6 {
					id := s.Declare(schema.Chat, simulator.Processed(0))
					want = append(want, ns.ProcessedSubject(schema.ToCXAI, id))
				}
				first := s.Start()
				s.Until("the worker to pause", func() bool { return first.Breaker().Cause == tt.cause })
				s.WaitPolls(s.Vendor.Count() + 2)
				first.End()
				// Another worker, which does not know what was refused before, ends nothing either.
				second := s.Start()
				s.Until("the second worker to pause", func() bool { return second.Breaker().Cause == tt.cause })
				s.WaitPolls(s.Vendor.Count() + 2)
				s.Vendor.SetFaults()
				s.WantOutcomes(want...)
				s.WaitDrained()
				s.CheckIntervals()
			})
		})
	}
}

// Some interactions of a batch were deleted at the vendor. They end when polls of the others have succeeded for half of
// the grace period, even if these have ended by then and no poll succeeds any more.
func TestRefusedOfABatch(t *testing.T) {
	bubbles(t, func(t *testing.T, mode consumer.Mode) {
		s := inMemory(t, mode, func(c *consumer.Config) { c.NotFoundGrace = 3 * time.Second })
		var want []string
		for range 10 {
			id := uuid.NewString()
			s.DeclareAs(schema.Chat, id) // unknown to the vendor
			want = append(want, ns.FailedSubject(schema.NotFound, id))
		}
		for range 3 {
			id := s.Declare(schema.Chat, simulator.Processed(12*time.Second))
			want = append(want, ns.ProcessedSubject(schema.ToCXAI, id))
		}
		s.Start()
		s.WantOutcomes(want...)
		s.WaitDrained()
		s.CheckIntervals()
	})
}

// While a gateway is rolled out it refuses more and more requests, and then all. No interaction ends.
func TestRefusalsThatSpreadEndNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const grace = 20 * time.Second
		s := inMemory(t, consumer.Schedule, func(c *consumer.Config) { c.NotFoundGrace = grace })
		const n = 20
		for range n {
			s.Declare(schema.Chat, simulator.Never())
		}
		w := s.Start()
		s.WaitPolls(2 * n)
		for share := 0.1; share < 1; share += 0.1 {
			s.Vendor.SetFaults(simulator.NoSuchResource().Sometimes(share))
			s.WaitPolls(s.Vendor.Count() + n)
		}
		s.Vendor.SetFaults(simulator.NoSuchResource())
		began := time.Now()
		s.Until("refusals for longer than the grace period", func() bool {
			return w.Breaker().Cause == breaker.Refused && time.Since(began) > grace+10*time.Second
		})
		s.Vendor.SetFaults()
		s.WaitPolls(s.Vendor.Count() + n)
		if stats := w.Stats(); stats.TakenIn != n {
			t.Errorf("%d were taken in, want %d", stats.TakenIn, n)
		}
		if ended := s.Outcomes(); len(ended) != 0 {
			t.Errorf("%d interactions ended, want none", len(ended))
		}
		s.CheckIntervals()
	})
}
