package clock

import (
	"context"
	"testing"
	"time"

	"statusworker/consumer/clock/clocktest"
	"statusworker/schema/broker"
)

// answering does something after each answer of the broker's.
type answering struct {
	*clocktest.Far
	then func()
}

func (a *answering) Stream(ctx context.Context, stream string) (broker.StreamState, error) {
	state, err := a.Far.Stream(ctx, stream)
	a.then()
	return state, err
}

// A clock that steps while it is measured stays doubtful where a stamp has shown the step: the measurement is from
// before.
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
		t.Error("the clock is not doubtful, though a stamp showed that it is behind")
	}
	if err := c.Sure(t.Context()); err != nil || c.Doubtful() || !c.Now().Equal(b.Broker()) {
		t.Errorf("then it is doubtful: %v, behind by %s, %v", c.Doubtful(), b.Broker().Sub(c.Now()), err)
	}
}

// A reader of a measurement that shows a step finds that there was one: at no moment a poll that fell due by the
// step is taken for one that is not early.
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
	wanted := c.Now().Add(5 * time.Second)
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

// Who waits for a measurement waits no longer than its own context lets it.
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
		t.Error("a measurement that was given up gave no error")
	}
	close(over)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
