package consumer_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"statusworker/consumer"
	"statusworker/integration/stage"
	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

// While the vendor fails, the worker polls once a pause. When it works again, every interaction is processed.
func TestVendorFailureFailsNoInteraction(t *testing.T) {
	for name, fault := range map[string]simulator.Fault{
		"unavailable":  simulator.Refusal(http.StatusServiceUnavailable),
		"unauthorized": simulator.Refusal(http.StatusUnauthorized),
		"not JSON":     {Kind: simulator.NotJSON},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := inMemory(t, consumer.Schedule, nil)
				s.Vendor.SetFaults(fault)
				var want []string
				for range 40 {
					id := s.Declare(schema.Chat, simulator.Processed(0))
					want = append(want, ns.ProcessedSubject(schema.ToCXAI, id))
				}
				s.Start()
				s.WaitPolls(1)
				began := s.Vendor.Polls()[0].At
				// The first pauses take 1, 2 and 4 seconds, each up to a fifth more or less: after three seconds the
				// worker has probed twice.
				s.Until("two probes", func() bool {
					polls := s.Vendor.Polls()
					return polls[len(polls)-1].At.Sub(began) > 2500*time.Millisecond
				})
				// Requests that were in flight at the first failure are limited by the slots.
				probes := 0
				for _, p := range s.Vendor.Polls() {
					if p.At.Sub(began) > 700*time.Millisecond {
						probes++
					}
				}
				if probes > 3 {
					t.Errorf("%d polls while the worker was paused, want one a pause", probes)
				}
				s.Vendor.SetFaults()
				s.WantOutcomes(want...)
				s.WaitDrained()
				s.CheckIntervals()
			})
		})
	}
}

// Interactions whose polls always fail do not delay others, even if few are polled.
func TestFailingInteractionsDelayNoOther(t *testing.T) {
	for _, c := range []struct{ failing, code int }{
		{1, http.StatusInternalServerError},
		{4, http.StatusInternalServerError},
		{4, http.StatusUnauthorized},
		{4, http.StatusTooManyRequests},
		{12, http.StatusInternalServerError},
	} {
		t.Run(fmt.Sprint(c.failing, " ", c.code), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := inMemory(t, consumer.Schedule, nil)
				for range c.failing {
					s.Declare(schema.Chat, simulator.Never().With(simulator.Refusal(c.code)))
				}
				s.Start()
				s.WaitPolls(min(c.failing, 6) + 3)
				for _, typ := range []schema.Type{schema.Chat, schema.Transcript} {
					polls := s.Vendor.Count()
					id := s.Declare(typ, simulator.Processed(0))
					s.waitOutcomeOn(ns.ProcessedSubject(schema.ToCXAI, id))
					// It ended before the others were polled for many rounds, or the worker paused many times.
					if others := s.Vendor.Count() - polls; others > 2*c.failing+6 {
						t.Errorf("%d other polls before the outcome of the %s", others, typ)
					}
				}
				s.CheckIntervals()
			})
		})
	}
}

// A vendor that does not answer chats does not delay a transcript.
func TestOneLaneDoesNotStarveAnother(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := inMemory(t, consumer.Schedule, func(c *consumer.Config) {
			c.Concurrency, c.RequestTimeout = 8, 5*time.Second
		})
		for range 60 {
			slow := simulator.Fault{Kind: simulator.Delayed, Delay: 4 * time.Second}
			s.Declare(schema.Chat, simulator.Never().With(slow))
		}
		s.Start()
		s.WaitPolls(5)
		declared := time.Now()
		id := s.Declare(schema.Transcript, simulator.Processed(0))
		s.WantOutcomes(ns.ProcessedSubject(schema.ToCXAI, id))
		if took := time.Since(declared); took > 3*time.Second {
			t.Errorf("its outcome took %s, want it before the first chat is answered", took)
		}
	})
}

// requests is a vendor that counts the concurrent requests for each interaction.
type requests struct {
	takes func(ctx context.Context, id string) // the time until the answer

	mu       sync.Mutex
	inFlight map[string]int
	max      int
	total    int
}

func (v *requests) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := strings.Split(r.URL.Path, "/")[3]
	v.mu.Lock()
	v.inFlight[id]++
	v.total++
	v.max = max(v.max, v.inFlight[id])
	v.mu.Unlock()
	defer func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.inFlight[id]--
	}()
	v.takes(r.Context(), id)
	w.Header().Set("Content-Type", "application/json")
	_, _ = fmt.Fprintf(w, `{"identifier":%q,"status":"processing"}`, id)
}

func (v *requests) counts() (total, most int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.total, v.max
}

// While a request is in flight, no worker makes another one for the same interaction, however long the vendor takes.
func TestOneRequestAtATime(t *testing.T) {
	interval := stage.Short.Chat
	for name, takes := range map[string]func(ctx context.Context, id string){
		"hangs":   func(ctx context.Context, _ string) { <-ctx.Done() },
		"is slow": func(ctx context.Context, _ string) { sleep(ctx, 3*interval) },
		"is slower at times": func(ctx context.Context, id string) {
			if id[len(id)-1]%2 == 0 {
				sleep(ctx, 4*interval)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubbles(t, func(t *testing.T, mode consumer.Mode) {
				s := inMemory(t, mode, func(c *consumer.Config) { c.RequestTimeout = 5 * interval })
				v := &requests{takes: takes, inFlight: map[string]int{}}
				client := s.ServeVendor(v)
				const n = 2 // fewer than make a worker pause
				for i := range n {
					s.DeclareAs(schema.Chat, fmt.Sprintf("bd5c92f3-c228-44a6-91bf-b5267256987%d", i))
				}
				for range 2 {
					s.Start(stage.Ports{Client: client})
				}
				s.Until("five requests for each", func() bool { total, _ := v.counts(); return total >= 5*n })
				if _, most := v.counts(); most > 1 {
					t.Errorf("%d requests for one interaction were in flight at once", most)
				}
			})
		})
	}
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// A slow answer does not delay the poll after it more than necessary.
func TestSlowAnswerMakesNoLongWait(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := inMemory(t, consumer.Schedule, func(c *consumer.Config) { c.RequestTimeout = 20 * time.Second })
		slow := stage.PendingOnce
		slow.Delay = 2 * stage.Short.Chat
		id := s.Declare(schema.Chat, simulator.Processed(0).With(slow))
		s.Start()
		s.WantOutcomes(ns.ProcessedSubject(schema.ToCXAI, id))
		polls := s.Vendor.Polls()
		if gap := polls[1].At.Sub(polls[0].At); len(polls) != 2 || gap > 10*time.Second {
			t.Errorf("%d polls, the second %s after the first: want it long before the request timeout",
				len(polls), gap)
		}
		s.WaitDrained()
		s.CheckIntervals()
	})
}

// An answer that takes longer than the interval counts: the outcome is published, also that of the deadline.
func TestAnswerLaterThanTheNextPoll(t *testing.T) {
	bubbles(t, func(t *testing.T, mode consumer.Mode) {
		s := inMemory(t, mode, func(c *consumer.Config) {
			c.RequestTimeout, c.Deadline = 3*time.Second, 4*time.Second
		})
		slow := simulator.Fault{Kind: simulator.Delayed, Delay: stage.Short.Chat + 700*time.Millisecond}
		done := s.Declare(schema.Chat, simulator.Processed(0).With(slow))
		never := s.Declare(schema.Chat, simulator.Never().With(slow))
		s.Start()
		s.WantOutcomes(
			ns.ProcessedSubject(schema.ToCXAI, done), ns.FailedSubject(schema.DeadlineExceeded, never),
		)
		s.WaitDrained()
		s.CheckIntervals()
	})
}
