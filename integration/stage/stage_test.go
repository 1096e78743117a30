package stage_test

import (
	"testing"
	"testing/synctest"
	"time"

	"statusworker/consumer"
	"statusworker/integration/stage"
	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

// ns is the namespace of the tests.
var ns = schema.DefaultNamespace

// An interaction passes through a stage in memory, without real time.
func TestInMemory(t *testing.T) {
	for _, mode := range []consumer.Mode{consumer.Schedule, consumer.Nak} {
		t.Run(string(mode), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := stage.New(t, stage.Options{
					Mode: mode, InMemory: true, Worker: consumer.Config{Intervals: consumer.Guidance},
				})
				id := s.Declare(schema.Chat, simulator.Processed(time.Minute))
				s.Start()
				s.WantOutcomes(ns.ProcessedSubject(schema.ToCXAI, id))
				s.WaitDrained()
				s.CheckIntervals()
				if polls := s.Vendor.CountOf(id); polls < 10 {
					t.Errorf("%d polls in a minute, want at least 10", polls)
				}
			})
		})
	}
}

// recorder keeps whether a test has failed.
type recorder struct {
	testing.TB
	failed bool
}

func (r *recorder) Errorf(string, ...any) { r.failed = true }
func (r *recorder) Error(...any)          { r.failed = true }

// Polls that are too close together fail a test, and so do polls of which none can be compared.
func TestCheckIntervals(t *testing.T) {
	for name, c := range map[string]struct {
		wait   time.Duration // between two polls; 0 makes only one
		failed bool
	}{
		"at the interval":     {consumer.Guidance.Chat, false},
		"below the interval":  {consumer.Guidance.Chat - time.Millisecond, true},
		"nothing to compare":  {0, true},
		"more than necessary": {time.Minute, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &recorder{TB: t}
				s := stage.New(r, stage.Options{
					Mode: consumer.Schedule, InMemory: true, Worker: consumer.Config{Intervals: consumer.Guidance},
				})
				id := s.Declare(schema.Chat, simulator.Never())
				client := s.Client()
				poll := func() {
					if _, err := client.Status(s.Ctx, id, time.Time{}); err != nil {
						t.Fatal(err)
					}
				}
				poll()
				if c.wait > 0 {
					time.Sleep(c.wait)
					poll()
				}
				if s.CheckIntervals(); r.failed != c.failed {
					t.Errorf("the check failed: %v, want %v", r.failed, c.failed)
				}
			})
		})
	}
}
