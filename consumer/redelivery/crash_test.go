package redelivery

import (
	"testing"
	"testing/synctest"
	"time"

	"statusworker/cmd/broker/fake"
)

// As TestStaleRedeliveryAfterAStep, and the broker has lost the state of its consumers: the stale message counts as
// delivered for the first time.
func TestStaleRedeliveryAfterAStepAndACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEarly(t)
		e.Inject(fake.Fault{Op: fake.Ack, Lost: fake.Request})
		stale := e.poll()
		polled := time.Now()
		e.StepDownTo("n2", 300*time.Millisecond)
		time.Sleep(time.Until(stale.next.at) - 200*time.Millisecond)
		if n := len(e.Stored(ns.StreamPolls())); n != 2 {
			t.Fatalf("%d messages, want the stale one and the next one", n)
		}
		e.Crash()
		for range 3 {
			v, _ := e.begin(0)
			if v == Poll && time.Since(polled) < chatInterval {
				t.Errorf("polled %s after the last poll; the interval is %s", time.Since(polled), chatInterval)
			}
			if v == Poll {
				break
			}
		}
	})
}
