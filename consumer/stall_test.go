package consumer_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"

	"statusworker/consumer"
	"statusworker/consumer/breaker"
	"statusworker/integration/stage"
	"statusworker/schema"
)

// leaping is a clock that advances while the process does not run.
type leaping struct{ ahead atomic.Int64 }

func (l *leaping) now() time.Time { return time.Now().Add(time.Duration(l.ahead.Load())) }

// hanging is a vendor that has not answered when the process stops. The requests in flight fail when it continues.
type hanging struct {
	clock   *leaping
	stalled time.Duration
	err     error
	asked   atomic.Int64
	all     chan struct{} // closed when hangingMany requests are in flight
}

// hangingMany is the number of requests in flight when the process stops.
const hangingMany = 6

func (h *hanging) Status(ctx context.Context, _ string, _ time.Time) (schema.Answer, error) {
	if h.asked.Add(1) == hangingMany {
		h.clock.ahead.Add(int64(h.stalled))
		close(h.all)
	}
	select {
	case <-h.all:
		return schema.Answer{}, h.err
	case <-ctx.Done():
		return schema.Answer{}, ctx.Err()
	}
}

// Requests that fail because the worker stalled are not counted as failures of the vendor.
func TestStallIsNotTheVendorsFailure(t *testing.T) {
	timeout := &schema.PollError{
		Fault: schema.FaultUnavailable, Detail: "no answer within 2s", Err: context.DeadlineExceeded,
	}
	broken := &schema.PollError{
		Fault: schema.FaultUnavailable, StatusCode: 200, Detail: "the answer broke off", Err: errors.New("EOF"),
	}
	answered := &schema.PollError{Fault: schema.FaultUnavailable, StatusCode: 503, Detail: "503"}
	for name, tt := range map[string]struct {
		stalled time.Duration
		err     error
		pauses  bool
	}{
		"stalled, then a time-out":          {40 * time.Second, timeout, false},
		"stalled for less than one":         {4 * time.Second, timeout, false},
		"stalled, then half an answer":      {40 * time.Second, broken, false},
		"stalled, then a 503":               {40 * time.Second, answered, true},
		"the vendor is slow":                {2 * time.Second, timeout, true},
		"the vendor breaks off its answers": {0, broken, true},
		"the vendor closes its connections": {0, timeout, true},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				log, entries := logtest.NewNullLogger()
				log.SetLevel(logrus.DebugLevel)
				h := &hanging{clock: &leaping{}, stalled: tt.stalled, err: tt.err, all: make(chan struct{})}
				s := inMemory(t, consumer.Schedule, func(c *consumer.Config) {
					c.Now, c.Log, c.Concurrency = h.clock.now, log, 16
				})
				for range hangingMany {
					s.DeclareAs(schema.Chat, uuid.NewString())
				}
				w := s.Start(stage.Ports{Client: h})
				s.Until("the requests", func() bool { return w.Stats().Waits >= hangingMany })
				if pauses := w.Stats().Pauses[breaker.Unavailable] > 0; pauses != tt.pauses {
					t.Errorf("after %d requests it pauses: %v, want %v (%+v)", h.asked.Load(), pauses, tt.pauses,
						w.Breaker())
				}
				failures, stalls := 0, 0
				for _, e := range entries.AllEntries() {
					switch {
					case e.Data["cause"] != nil:
						failures++
					case e.Data["lasted"] != nil:
						stalls++
					}
				}
				if failures > 0 != tt.pauses {
					t.Errorf("%d log messages have a cause, want some: %v", failures, tt.pauses)
				}
				if stalls > 1 || stalls == 1 == tt.pauses {
					t.Errorf("%d log messages about the stall", stalls)
				}
			})
		})
	}
}
