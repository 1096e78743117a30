package clock

import (
	"context"
	"testing"
	"time"

	"statusworker/consumer/clock/clocktest"
	"statusworker/schema/broker"
)

// answering calls a function after each answer of the broker.
type answering struct {
	*clocktest.Far
	then func()
}

func (a *answering) Stream(ctx context.Context, stream string) (broker.StreamState, error) {
	state, err := a.Far.Stream(ctx, stream)
	a.then()
	return state, err
}

// If the broker's clock steps during a measurement, and a timestamp has shown the step, the clock stays doubtful: the
// measurement is from before the step.
func TestClockStepsWhileItIsMeasured(t *testing.T) {
	b := &answering{Far: clocktest.NewFar(time.Minute), then: func() {}}
	c := New(b.Now, b, "S")
	if err := c.Measure(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.Local, b.Asked = b.Local.Add(30*time.Second), 0
	b.then = func() {
		if b.Asked == samples {
			b.Offset += 20 * time.Second
			c.Notice(b.Broker())
		}
	}
	if err := c.Measure(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !c.Doubtful() {
		t.Error("the clock is not doubtful, though a timestamp showed that it is behind")
	}
	if err := c.Sure(t.Context()); err != nil || c.Doubtful() || !c.Now().Equal(b.Broker()) {
		t.Errorf("then it is doubtful: %v, behind by %s, %v", c.Doubtful(), b.Broker().Sub(c.Now()), err)
	}
}

// A measurement that shows a step is visible only together with the step: at no time does a poll that fell due because
// of the step seem not to be early.
func TestClockIsReplacedAtOnce(t *testing.T) {
	b := clocktest.NewFar(0)
	var look func()
	c := New(func() time.Time {
		if look != nil {
			do := look
			look = nil
			do()
			look = do
		}
		return b.Now()
	}, b, "S")
	if err := c.Measure(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.Local = b.Local.Add(time.Second)
	wanted := c.Due(b.Local.Add(5 * time.Second))
	b.Offset += 20 * time.Second
	fell, looks := b.Broker(), 0
	look = func() {
		if b.Asked < 2*samples {
			return
		}
		if looks++; looks == 1 {
			return // nothing is replaced yet
		}
		c.Notice(fell)
		if !c.Doubtful() && c.Early(wanted, fell, 5*time.Second) == 0 {
			t.Error("a poll that fell due by the step is not early")
		}
	}
	if err := c.Measure(t.Context()); err != nil || looks < 2 {
		t.Fatal(looks, err)
	}
}

// Waiting for the measurement of another goroutine ends with the context.
func TestClockSureEndsWithItsContext(t *testing.T) {
	b := &answering{Far: clocktest.NewFar(0), then: func() {}}
	c := New(b.Now, b, "S")
	if err := c.Measure(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.Notice(b.Broker().Add(time.Second))
	measuring, over := make(chan struct{}), make(chan struct{})
	asked := false
	b.then = func() {
		if !asked {
			asked = true
			close(measuring)
			<-over
		}
	}
	ended := make(chan error)
	go func() { ended <- c.Sure(context.Background()) }()
	<-measuring
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Sure(ctx); err == nil {
		t.Error("with an ended context there is no error")
	}
	close(over)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
