package consumer_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"statusworker/consumer"
	"statusworker/consumer/breaker"
	"statusworker/integration/stage"
	"statusworker/schema"
	"statusworker/statusclient"
	"statusworker/statusclient/simulator"
)

// One odd answer among many good ones, of a gateway or of the vendor itself, ends nothing.
func TestOddAnswerEndsNothing(t *testing.T) {
	t.Parallel()
	odd := map[string]simulator.Fault{
		"no such resource": simulator.NoSuchResource(),
		"not JSON":         {Kind: simulator.NotJSON},
	}
	for _, code := range []int{400, 402, 403, 404, 405, 407, 408, 409, 410, 418, 421, 422, 429, 431, 451, 499, 500, 600} {
		odd[fmt.Sprint("page ", code)] = simulator.Page(code)
		odd[fmt.Sprint("error ", code)] = simulator.Refusal(code)
	}
	modes(t, func(t *testing.T, mode consumer.Mode) {
		s := newStage(t, mode, func(c *consumer.Config) { c.NotFoundGrace = time.Millisecond })
		for range 8 { // the vendor works all the while
			s.Declare(schema.Transcript, simulator.Never())
		}
		var want []string
		for _, fault := range odd {
			id := uuid.NewString()
			// Twice in a row, and two polls later once more.
			s.Vendor.Declare(id, simulator.Processed(4*time.Second).With(fault.On(2, 3), fault.On(5, 5)))
			s.DeclareAs(schema.Chat, id)
			want = append(want, schema.ProcessedSubject(schema.ToCXAI, id))
		}
		s.Start()
		s.WantOutcomes(want...)
		s.CheckIntervals()
	})
}

// An interaction that the vendor goes on refusing, while others succeed, ends when that is confirmed.
func TestRefusalIsConfirmed(t *testing.T) {
	t.Parallel()
	const grace = 2 * time.Second
	modes(t, func(t *testing.T, mode consumer.Mode) {
		s := newStage(t, mode, func(c *consumer.Config) { c.NotFoundGrace = grace })
		reasons := map[int]schema.Reason{
			400: schema.Rejected,
			404: schema.NotFound,
			410: schema.Rejected,
			422: schema.Rejected,
		}
		var want []string
		ids := map[string]bool{}
		for code, reason := range reasons {
			id := uuid.NewString()
			ids[id] = true
			s.Vendor.Declare(id, simulator.Never().With(simulator.Refusal(code).On(3, 0))) // it was known before
			s.DeclareAs(schema.Chat, id)
			want = append(want, schema.FailedSubject(reason, id))
		}
		// The same status, but not in a row; and the vendor's own failure, which no row is ended by.
		flapping, alternating, failing := uuid.NewString(), uuid.NewString(), uuid.NewString()
		s.Vendor.Declare(
			flapping,
			simulator.Processed(
				6*time.Second,
			).With(
				simulator.Refusal(404).On(1, 2),
				simulator.Refusal(404).On(4, 5),
				simulator.Refusal(404).On(7, 8),
			),
		)
		s.Vendor.Declare(
			alternating,
			simulator.Processed(
				6*time.Second,
			).With(
				simulator.Refusal(404).On(1, 1),
				simulator.Refusal(410).On(2, 2),
				simulator.Refusal(404).On(3, 3),
				simulator.Refusal(400).On(4, 4),
			),
		)
		s.Vendor.Declare(failing, simulator.Processed(6*time.Second).With(simulator.Page(404).On(1, 8)))
		for _, id := range []string{flapping, alternating, failing} {
			s.DeclareAs(schema.Transcript, id)
			want = append(want, schema.ProcessedSubject(schema.ToCXAI, id))
		}
		s.Start()
		for _, o := range s.WantOutcomes(want...) {
			if !ids[o.Data.Identifier] {
				continue
			}
			first, last := time.Time{}, time.Time{}
			polls := 0
			for _, p := range s.Vendor.Polls() {
				if p.Identifier == o.Data.Identifier && p.Fault != "" {
					if polls++; polls == 1 {
						first = p.At
					}
					last = p.At
				}
			}
			if polls < 3 || last.Sub(first) < grace {
				t.Errorf(
					"%s ended after %d refusals over %s, want at least 3 over %s",
					o.Subject,
					polls,
					last.Sub(first),
					grace,
				)
			}
		}
		s.WaitDrained()
		s.CheckIntervals()
	})
}

// A wrong address, or a token of another account: all are refused, in the vendor's own form or not. Nothing ends, the
// worker says so, and goes on when it is over.
func TestAllRefusedEndsNothing(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fault simulator.Fault
		cause breaker.Failure
	}{
		"no such resource": {simulator.NoSuchResource(), breaker.Refused},
		"the vendor's 404": {simulator.Refusal(404), breaker.Refused},
		"a page":           {simulator.Page(404), breaker.Unavailable},
		"credit gone":      {simulator.Refusal(402), breaker.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			modes(t, func(t *testing.T, mode consumer.Mode) {
				s := newStage(t, mode, func(c *consumer.Config) { c.NotFoundGrace = 500 * time.Millisecond })
				const n = 6 // few, because a rest grows with each
				s.Vendor.SetFaults(tt.fault)
				var want []string
				for range n {
					id := s.Declare(schema.Chat, simulator.Processed(0))
					want = append(want, schema.ProcessedSubject(schema.ToCXAI, id))
				}
				w := s.Start()
				s.Until("the worker to rest", func() bool { return w.Breaker().Cause == tt.cause })
				// Another worker, which knows nothing of what was refused before, ends nothing either.
				s.WaitPolls(s.Vendor.Count() + 2)
				w.Stop()
				_ = w.Wait()
				second := s.Start()
				s.Until("the second worker to rest", func() bool { return second.Breaker().Cause == tt.cause })
				s.WaitPolls(s.Vendor.Count() + 2)
				s.Vendor.SetFaults()
				s.WantOutcomes(want...)
				s.WaitDrained()
				s.CheckIntervals()
			})
		})
	}
}

// Some of a batch were deleted at the vendor. They end when the others were polled with success for half of the grace,
// also where these have ended by then and nothing succeeds any more.
func TestRefusedOfABatch(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode consumer.Mode) {
		s := newStage(t, mode, func(c *consumer.Config) { c.NotFoundGrace = 3 * time.Second })
		var want []string
		for range 2 * 5 {
			id := uuid.NewString()
			s.DeclareAs(schema.Chat, id) // unknown to the vendor
			want = append(want, schema.FailedSubject(schema.NotFound, id))
		}
		for range 3 {
			id := s.Declare(schema.Chat, simulator.Processed(12*time.Second))
			want = append(want, schema.ProcessedSubject(schema.ToCXAI, id))
		}
		s.Start()
		s.WantOutcomes(want...)
		s.WaitDrained()
		s.CheckIntervals()
	})
}

// In quiet hours few interactions are polled. Those that always fail keep none that falls due later from its outcome.
func TestFailingInteractionsKeepNoOtherWaiting(t *testing.T) {
	t.Parallel()
	for _, failing := range []int{1, 4, 12} {
		for name, fault := range map[string]simulator.Fault{
			"500": simulator.Refusal(500), "401": simulator.Refusal(401), "429": simulator.Refusal(429),
		} {
			if failing != 4 && name != "500" {
				continue // where many are throttled, all wait
			}
			t.Run(fmt.Sprint(failing, " ", name), func(t *testing.T) {
				t.Parallel()
				s := newStage(t, consumer.Schedule, nil)
				for range failing {
					s.Declare(schema.Chat, simulator.Never().With(fault))
				}
				s.Start()
				s.WaitPolls(min(failing, 6) + 3)
				for _, typ := range []schema.Type{schema.Chat, schema.Transcript} {
					polls := s.Vendor.Count()
					id := s.Declare(typ, simulator.Processed(0))
					for n := 1; ; n++ {
						if s.WaitOutcomes(n)[n-1].Subject == schema.ProcessedSubject(schema.ToCXAI, id) {
							break
						}
					}
					// It had its outcome before the others were polled for many rounds, or the worker for many rests.
					if others := s.Vendor.Count() - polls; others > 2*failing+6 {
						t.Errorf("%d other polls before the outcome of the %s", others, typ)
					}
				}
				s.CheckIntervals()
			})
		}
	}
}

// outAtOnce is a vendor that takes its time to answer, and knows how many requests of one interaction are out.
type outAtOnce struct {
	mu       sync.Mutex
	out      map[string]int
	most     int
	requests int
	changed  chan struct{}
}

func (v *outAtOnce) serve(r *http.Request, answer func(id string)) {
	id := strings.Split(r.URL.Path, "/")[3]
	v.mu.Lock()
	v.out[id]++
	v.requests++
	v.most = max(v.most, v.out[id])
	close(v.changed)
	v.changed = make(chan struct{})
	v.mu.Unlock()
	defer func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.out[id]--
	}()
	answer(id)
}

func (v *outAtOnce) wait(t *testing.T, s *testStage, requests int) {
	t.Helper()
	for {
		v.mu.Lock()
		n, changed := v.requests, v.changed
		v.mu.Unlock()
		if n >= requests {
			return
		}
		select {
		case <-changed:
		case <-s.Ctx.Done():
			t.Fatalf("%d of %d requests", n, requests)
		}
	}
}

// While a request is out, no other is made for the same interaction, however long the vendor takes.
func TestOneRequestAtATime(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode consumer.Mode) {
		for name, takes := range map[string]func(r *http.Request){
			"hangs":   func(r *http.Request) { <-r.Context().Done() },
			"is slow": func(r *http.Request) { wait(r, 3*stage.Short.Chat) },
			"is slower at times": func(r *http.Request) {
				if r.URL.Path[len(r.URL.Path)-8]%2 == 0 {
					wait(r, 4*stage.Short.Chat)
				}
			},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s := newStage(t, mode, func(c *consumer.Config) { c.RequestTimeout = 5 * stage.Short.Chat })
				v := &outAtOnce{out: map[string]int{}, changed: make(chan struct{})}
				server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					v.serve(r, func(id string) {
						takes(r)
						w.Header().Set("Content-Type", "application/json")
						_, _ = fmt.Fprintf(w, `{"identifier":%q,"status":"processing"}`, id)
					})
				}))
				t.Cleanup(server.Close)
				client, err := statusclient.New(
					statusclient.Config{
						BaseURL: server.URL + "/v1",
						Token:   simulator.DefaultToken,
						Timeout: s.Config.RequestTimeout,
					},
				)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(client.Close)
				const n = 2 // fewer than make a worker rest
				for range n {
					s.DeclareAs(schema.Chat, uuid.NewString())
				}
				for range 2 {
					s.Start(stage.Ports{Client: client})
				}
				v.wait(t, s, 5*n)
				v.mu.Lock()
				defer v.mu.Unlock()
				if v.most > 1 {
					t.Errorf("%d requests of one interaction were out at once", v.most)
				}
			})
		}
	})
}

// wait lets time pass, as a slow vendor does.
func wait(r *http.Request, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done():
	}
}

// A vendor that was slow once is polled again as soon as it would have been otherwise.
func TestSlowAnswerMakesNoLongWait(t *testing.T) {
	t.Parallel()
	s := newStage(t, consumer.Schedule, func(c *consumer.Config) { c.RequestTimeout = 20 * time.Second })
	id := uuid.NewString()
	s.Vendor.Declare(
		id,
		simulator.Processed(
			0,
		).With(
			simulator.Fault{Kind: simulator.OtherStatus, Status: "processing", Delay: 2 * stage.Short.Chat}.On(1, 1),
		),
	)
	s.DeclareAs(schema.Chat, id)
	s.Start()
	s.WantOutcomes(schema.ProcessedSubject(schema.ToCXAI, id))
	polls := s.Vendor.Polls()
	if gap := polls[1].At.Sub(polls[0].At); len(polls) != 2 || gap > 10*time.Second {
		t.Errorf(
			"%d polls, the second %s after the first: want it long before a request could have timed out",
			len(polls),
			gap,
		)
	}
	s.WaitDrained()
	s.CheckIntervals()
}

// A gateway that is rolled out refuses more and more, and then all: nothing ends by it.
func TestRefusalsThatSpreadEndNothing(t *testing.T) {
	t.Parallel()
	s := newStage(t, consumer.Schedule, func(c *consumer.Config) { c.NotFoundGrace = 20 * time.Second })
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
	// For longer than the grace, and the worker knows.
	if err := s.Vendor.Wait(s.Ctx, func(v *simulator.Simulator) bool {
		return w.Breaker().Cause == breaker.Refused && time.Since(v.Polls()[0].At) > 30*time.Second
	}); err != nil {
		t.Fatal(err)
	}
	s.Vendor.SetFaults()
	s.WaitPolls(s.Vendor.Count() + n)
	if stats := w.Stats(); stats.TakenIn != n {
		t.Errorf("%d were taken in, want %d", stats.TakenIn, n)
	}
	stream, err := s.JS.Stream(s.Ctx, schema.StreamOutcomes)
	if err != nil {
		t.Fatal(err)
	}
	if msgs := stream.CachedInfo().State.Msgs; msgs != 0 {
		t.Errorf("%d interactions ended, want none", msgs)
	}
	s.CheckIntervals()
}

// Statuses that an operator has named end an interaction; others that nobody knows do not.
func TestFailedStatuses(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode consumer.Mode) {
		s := newStage(t, mode, func(c *consumer.Config) {
			c.FailedStatuses = []schema.Status{"transcriptionFailed", "quotaExceeded"}
			c.Deadline = 4 * time.Second
		})
		var want []string
		for status, reason := range map[schema.Status]schema.Reason{
			"transcriptionFailed": schema.VendorFailed, "quotaExceeded": schema.VendorFailed, "translationFailed": schema.DeadlineExceeded,
		} {
			id := s.Declare(schema.Chat, simulator.Constant(status))
			want = append(want, schema.FailedSubject(reason, id))
		}
		w := s.Start()
		for _, o := range s.WantOutcomes(want...) {
			if o.Data.Reason == schema.VendorFailed && !strings.Contains(o.Data.Detail, "transcriptionFailed") &&
				!strings.Contains(o.Data.Detail, "quotaExceeded") {
				t.Errorf("%s: detail %q does not name the status", o.Subject, o.Data.Detail)
			}
		}
		if w.Stats().UnknownStatus == 0 {
			t.Error("the status that nobody named was not counted")
		}
		s.WaitDrained()
	})
}

// An answer that cannot be handed on as JSON is handed on in base64, and the interaction ends all the same.
func TestAnswersThatAreNotJSON(t *testing.T) {
	t.Parallel()
	for name, members := range map[string]string{
		"JSON": `"errorMessage":{"code":"E1"}`, "lone surrogate": `"originalFilename":"\ud83d"`, "invalid UTF-8": `"originalFilename":"` + "\xe4" + `"`, "NaN": `"score":NaN`,
	} {
		for _, end := range []schema.Status{schema.StatusProcessed, schema.StatusProcessingFailed} {
			t.Run(fmt.Sprint(name, " ", end), func(t *testing.T) {
				t.Parallel()
				s := newStage(t, consumer.Schedule, nil)
				id := uuid.NewString()
				subject := schema.ProcessedSubject(schema.ToCXAI, id)
				if end != schema.StatusProcessed {
					subject = schema.FailedSubject(schema.ProcessingFailed, id)
				}
				s.Vendor.Declare(
					id,
					simulator.Constant(
						end,
					).With(
						simulator.Fault{Kind: simulator.Odd, Prefix: simulator.ByteOrderMark, Members: members},
					),
				)
				s.DeclareAs(schema.Chat, id)
				s.Start()
				got := s.WantOutcomes(subject)[0]
				answer := string(got.Data.Answer)
				if answer == "null" {
					answer = string(got.Data.AnswerPayload)
				}
				if !strings.Contains(answer, members) ||
					len(got.Data.AnswerPayload) > 0 != (name == "invalid UTF-8" || name == "NaN") {
					t.Errorf("answer %s, payload %q", got.Data.Answer, got.Data.AnswerPayload)
				}
				s.WaitDrained()
			})
		}
	}
}
