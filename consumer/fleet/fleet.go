package consumer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"statusworker/consumer/clock"
	"statusworker/schema"
)

// fleet is this worker among the others: it announces itself, and takes its share of the rate limit.
type fleet struct {
	js      jetstream.JetStream
	workers jetstream.Stream // the bucket
	worker  *Worker
	self    schema.Announcement // what does not change

	// began is when the first announcement was stored, or the first after its predecessor had faded; zero before. stored
	// is when the last one was.
	began, stored time.Time
	// polls were made by at; rate is how many a second in the time before.
	polls uint64
	at    time.Time
	rate  float64
	// counted is how many workers there were at the last look, and first says that this one's key came first of them.
	counted atomic.Int64
	first   atomic.Bool
}

const (
	// announceTimeout is how long the broker may take to store an announcement, or to count them.
	announceTimeout = 2 * time.Second
	// joinAfter is how long after its first announcement a worker polls, where there is a rate limit: by then every other
	// worker has seen it, and taken its own share down.
	joinAfter = schema.AnnounceEvery + announceTimeout
)

func newFleet(ctx context.Context, w *Worker) (*fleet, error) {
	workers, err := w.js.Stream(ctx, schema.StreamWorkers)
	if err != nil {
		return nil, fmt.Errorf("reading stream %s: %w", schema.StreamWorkers, err)
	}
	now := w.cfg.Now()
	return &fleet{js: w.js, workers: workers, worker: w, at: now, self: schema.Announcement{
		Worker: nuid.Next(), Host: w.cfg.Host, Version: w.cfg.Version, Started: now.UTC(), RateLimit: w.cfg.MaxPollsPerSecond,
	}}, nil
}

// keep announces the worker until ctx ends. Where the broker cannot be asked, the worker keeps its last share.
func (f *fleet) keep(ctx context.Context) error {
	ticker := time.NewTicker(schema.AnnounceEvery)
	defer ticker.Stop()
	for {
		switch err := f.announce(ctx); {
		case errors.Is(err, nats.ErrConnectionClosed):
			return err // lanes that wait for the vendor or a share do not find out
		case err != nil && ctx.Err() == nil:
			f.worker.complain("announcement", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// announce stores an announcement, and takes the share that is due among those who are there.
func (f *fleet) announce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, announceTimeout)
	defer cancel()
	if err := f.put(ctx, f.worker.look()); err != nil {
		return err
	}
	now := f.worker.cfg.Now()
	if f.began.IsZero() || clock.Passed(f.stored, now) > schema.AnnouncementLife-announceTimeout {
		// The others do not know it, or do not know it any more, and have shared its part among them.
		f.began = now
		if f.worker.limiter != nil {
			f.worker.limiter.suspend()
		}
	}
	f.stored = now
	alive, err := f.alive(ctx)
	if err != nil {
		return err
	}
	f.counted.Store(int64(alive))
	if f.worker.limiter == nil || now.Sub(f.began) < joinAfter {
		return nil
	}
	share := f.self.RateLimit / float64(alive)
	if share == f.worker.limiter.share() {
		return nil
	}
	f.worker.limiter.set(share)
	return f.put(ctx, f.worker.look())
}

// alive counts the workers that have announced themselves lately, this one among them. What is asked for are the bucket's
// subjects: that takes no consumer, and so no right to create one.
func (f *fleet) alive(ctx context.Context) (int, error) {
	info, err := f.workers.Info(ctx, jetstream.WithSubjectFilter(schema.SubjectsWorkers))
	if err != nil {
		return 0, fmt.Errorf("counting the workers: %w", err)
	}
	mine, first := schema.WorkerSubject(f.self.Worker), true
	for subject := range info.State.Subjects {
		first = first && mine <= subject
	}
	f.first.Store(first)
	return max(1, len(info.State.Subjects)), nil
}

func (f *fleet) put(ctx context.Context, a schema.Announcement) error {
	a.Worker, a.Host, a.Version, a.Started, a.RateLimit = f.self.Worker, f.self.Host, f.self.Version, f.self.Started, f.self.RateLimit
	now := f.worker.cfg.Now()
	if took := now.Sub(f.at); took >= schema.AnnounceEvery/2 {
		f.rate = math.Round(float64(a.Polls-f.polls)/took.Seconds()*100) / 100
		f.polls, f.at = a.Polls, now
	}
	a.PollsPerSecond = f.rate
	a.At = now.UTC()
	data, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("announcing the worker: %w", err)
	}
	if _, err := f.js.Publish(ctx, schema.WorkerSubject(a.Worker), data); err != nil {
		return fmt.Errorf("announcing the worker: %w", err)
	}
	return nil
}

// leave announces the worker's end. Nobody waits for it: without it, the last announcement fades.
func (f *fleet) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, announceTimeout)
	defer cancel()
	a := f.worker.look()
	a.State, a.Cause, a.Until, a.Detail = schema.Stopped, "", nil, ""
	_ = f.put(ctx, a) // see above
}

// look says what an announcement says of the worker's doings.
func (w *Worker) look() schema.Announcement {
	r := w.breaker.State()
	a := schema.Announcement{State: r.State, Cause: string(r.Cause), Detail: r.Detail, Polls: w.count.polls.Load(), Share: w.limiter.share(), Oldest: w.oldest.ages()}
	if !r.Until.IsZero() {
		until := r.Until.UTC()
		a.Until = &until
	}
	return a
}

// oldest remembers the age of the oldest interaction that was polled lately. Every interaction is polled about once in its
// wait, so that over a wait or two the oldest of all has been seen by some worker.
type oldest struct {
	now    func() time.Time
	window time.Duration

	mu sync.Mutex
	of map[schema.Type]*seen
}

// seen is the greatest age in this window and in the one before.
type seen struct {
	began        time.Time
	last, before time.Duration
}

func (o *oldest) note(t schema.Type, age time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.of == nil {
		o.of = map[schema.Type]*seen{}
	}
	s := o.of[t]
	if s == nil {
		s = &seen{began: o.now()}
		o.of[t] = s
	}
	o.roll(s)
	s.last = max(s.last, age)
}

func (o *oldest) roll(s *seen) {
	switch past := o.now().Sub(s.began); {
	case past < o.window:
	case past < 2*o.window:
		s.began, s.last, s.before = s.began.Add(o.window), 0, s.last
	default:
		s.began, s.last, s.before = o.now(), 0, 0
	}
}

// ages gives the ages in seconds of the oldest of each lane that had any.
func (o *oldest) ages() map[schema.Type]float64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	ages := map[schema.Type]float64{}
	for t, s := range o.of {
		o.roll(s)
		if age := max(s.last, s.before); age > 0 {
			ages[t] = math.Round(age.Seconds()*10) / 10
		}
	}
	return ages
}
