package console

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"statusworker/cmd/internal/advice"
	"statusworker/cmd/internal/patience"
	"statusworker/cmd/internal/statusview"
	"statusworker/cmd/overview"
)

const (
	// takeEvery is the time between two overviews while a live page is open, idleEvery without one.
	takeEvery = 2 * time.Second
	idleEvery = 10 * time.Second
	// takeTimeout is how long the broker may send nothing.
	takeTimeout = 5 * time.Second
	// keepSamples is the number of samples of the charts, one every idleEvery.
	keepSamples = 180
)

// sample is a point of the charts.
type sample struct {
	at              time.Time
	polls, inFlight float64
}

// feed takes overviews, for all pages together.
type feed struct {
	inspector *overview.Inspector
	nc        *nats.Conn
	taking    sync.Mutex
	wake      chan struct{}

	mu       sync.Mutex
	view     statusview.View
	taken    time.Time
	samples  []sample
	changed  chan struct{} // closed at the next overview
	watchers int
}

func newFeed(inspector *overview.Inspector, nc *nats.Conn) *feed {
	return &feed{inspector: inspector, nc: nc, wake: make(chan struct{}, 1), changed: make(chan struct{})}
}

// run takes overviews until ctx ends.
func (f *feed) run(ctx context.Context) {
	for {
		f.refresh(ctx)
		select {
		case <-ctx.Done():
			return
		case <-time.After(f.pause()):
		case <-f.wake:
			select {
			case <-ctx.Done():
				return
			case <-time.After(f.pause()):
			}
		}
	}
}

// pause returns how long to wait for the next overview.
func (f *feed) pause() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	every := idleEvery
	if f.watchers > 0 {
		every = takeEvery
	}
	return time.Until(f.taken.Add(every))
}

// watch makes the feed take overviews more often, until done is called.
func (f *feed) watch() (done func()) {
	f.count(1)
	select {
	case f.wake <- struct{}{}:
	default:
	}
	return func() { f.count(-1) }
}

func (f *feed) count(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.watchers += n
}

// latest returns an overview that is not older than takeEvery, if the broker answers, and a channel that is closed at
// the next one.
func (f *feed) latest(ctx context.Context) (statusview.View, []sample, <-chan struct{}) {
	f.mu.Lock()
	old := time.Since(f.taken) > takeEvery
	f.mu.Unlock()
	if old {
		f.taking.Lock()
		f.mu.Lock()
		old = time.Since(f.taken) > takeEvery // another request may have taken one
		f.mu.Unlock()
		if old {
			f.take(ctx)
		}
		f.taking.Unlock()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.view, f.samples, f.changed
}

// refresh takes an overview now.
func (f *feed) refresh(ctx context.Context) {
	f.taking.Lock()
	defer f.taking.Unlock()
	f.take(ctx)
}

// take takes an overview. The caller has locked taking.
func (f *feed) take(ctx context.Context) {
	o, err := f.inspect(ctx)
	if ctx.Err() != nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.taken = time.Now()
	if err != nil {
		if f.view.Stale.IsZero() {
			f.view.Stale = f.view.At
			if f.view.Stale.IsZero() {
				f.view.Stale = f.taken
			}
		}
		f.view.Why = err
	} else {
		f.view = statusview.View{Overview: o}
		f.add(o)
	}
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *feed) inspect(ctx context.Context) (overview.Overview, error) {
	if !f.nc.IsConnected() {
		return overview.Overview{}, errDisconnected
	}
	ctx, cancel := patience.WithTimeout(ctx, takeTimeout)
	defer cancel()
	o, err := f.inspector.Take(ctx)
	o.Advice = advice.Overview(o)
	return o, err
}

// add adds a sample to the charts, at most one every idleEvery. The first ones may follow faster, so that the charts
// begin soon.
func (f *feed) add(o overview.Overview) {
	every := idleEvery
	n := len(f.samples)
	if n < keepSamples/10 {
		every = takeEvery
	}
	if n > 0 && f.taken.Sub(f.samples[n-1].at) < every*9/10 {
		return
	}
	s := sample{at: f.taken, inFlight: float64(inFlight(o))}
	for _, w := range o.Workers {
		s.polls += w.PollsPerSecond
	}
	// A new array: pages read the old one.
	f.samples = append(append([]sample(nil), f.samples[max(0, len(f.samples)-keepSamples+1):]...), s)
}

// inFlight returns how many interactions wait, are due, or are with a worker.
func inFlight(o overview.Overview) uint64 {
	n := uint64(0)
	if o.Waiting != nil {
		n = *o.Waiting
	}
	if o.Intake != nil {
		n += o.Intake.Waiting + uint64(o.Intake.Unacked)
	}
	for _, l := range o.Lanes {
		n += l.Due + uint64(l.Unacked)
	}
	return n
}
