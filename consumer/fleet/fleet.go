package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"statusworker/consumer/clock"
	"statusworker/schema"
	"statusworker/schema/broker"
)

// Broker is what a fleet needs of the broker.
type Broker interface {
	Publish(ctx context.Context, p broker.Publication) (broker.Ack, error)
	Subjects(ctx context.Context, stream, filter string) (map[string]uint64, error)
}

const (
	// answerWithin is how long the broker may take to answer: an announcement, of two requests, is over before the next
	// one is due.
	answerWithin = schema.AnnounceEvery / 2
	// joinAfter is how long after its first announcement a worker takes a share at the earliest: by then every other
	// worker has counted it, and taken its own share down. The slowest one counted just before, counts again after
	// AnnounceEvery, and gets the answer within answerWithin.
	joinAfter = schema.AnnounceEvery + answerWithin
)

// Config says which worker it is. All fields are required.
type Config struct {
	Broker Broker
	// Self is what all announcements of the worker have: Worker, Host, Version, Started and RateLimit. A RateLimit of 0
	// is none.
	Self schema.Announcement
	// Look gives what a worker announces of its state now: State, Cause, Until, Detail, Polls and Oldest.
	Look func() schema.Announcement
	Now  func() time.Time
}

// Fleet is a worker among the others.
type Fleet struct {
	Config
	limiter *Limiter // nil where there is no rate limit

	// began is when the first announcement was stored, or the first after its predecessor had gone; zero before. asked
	// is when the last one that was stored was sent.
	began, asked time.Time
	// polls were made by at; rate is how many a second in the time before.
	polls uint64
	at    time.Time
	rate  float64

	alive atomic.Int64
	first atomic.Bool
}

// New makes the fleet of a worker that has not announced itself yet. It asks the broker nothing.
func New(c Config) *Fleet {
	f := &Fleet{Config: c, at: c.Now()}
	if c.Self.RateLimit > 0 {
		f.limiter = newLimiter(c.Now)
	}
	return f
}

// Limiter keeps the worker within its share. It is nil where there is no rate limit, which is a limiter as well.
func (f *Fleet) Limiter() *Limiter { return f.limiter }

// Alive is how many workers there were at the last count, this one among them; 0 before.
func (f *Fleet) Alive() int { return int(f.alive.Load()) }

// First tells whether this worker's key came first at the last count.
func (f *Fleet) First() bool { return f.first.Load() }

// Keep announces the worker until ctx ends, and hands over the errors. Its own error is [broker.ErrClosed].
func (f *Fleet) Keep(ctx context.Context, failed func(error)) error {
	ticker := time.NewTicker(schema.AnnounceEvery)
	defer ticker.Stop()
	for {
		switch err := f.announce(ctx); {
		case errors.Is(err, broker.ErrClosed):
			return err // lanes that wait for the vendor or a share do not find out
		case err != nil && ctx.Err() == nil:
			failed(err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// Leave announces the worker's end, after [Fleet.Keep]. Where the broker does not store it, the last announcement goes
// by itself.
func (f *Fleet) Leave(ctx context.Context) {
	a := f.Look()
	a.State, a.Cause, a.Until, a.Detail = schema.Stopped, "", nil, ""
	_ = f.put(ctx, a) // see above
}

// announce takes the share that is due among those who are there, and stores an announcement.
func (f *Fleet) announce(ctx context.Context) error {
	counted := f.count(ctx)
	if now := f.Now(); counted == nil && f.limiter != nil && !f.began.IsZero() && now.Sub(f.began) >= joinAfter {
		f.limiter.set(f.Self.RateLimit / float64(f.Alive()))
	}
	asked := f.Now()
	if err := f.put(ctx, f.Look()); err != nil {
		return err
	}
	now := f.Now()
	if f.began.IsZero() || clock.Passed(f.asked, now) > schema.AnnouncementMaxAge {
		// The others do not know it, or do not know it any more, and have shared its part among them.
		f.began = now
		if f.limiter != nil {
			f.limiter.suspend()
		}
	}
	f.asked = asked
	return counted
}

// count counts the workers that have announced themselves lately, and this one. What is asked for are the bucket's
// subjects: that takes no consumer, and so no right to create one.
func (f *Fleet) count(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	subjects, err := f.Broker.Subjects(ctx, schema.StreamWorkers, schema.SubjectsWorkers)
	if err != nil {
		return fmt.Errorf("counting the workers: %w", err)
	}
	mine, first, alive := schema.WorkerSubject(f.Self.Worker), true, 1
	for subject := range subjects {
		first = first && mine <= subject
		if subject != mine {
			alive++
		}
	}
	f.first.Store(first)
	f.alive.Store(int64(alive))
	return nil
}

func (f *Fleet) put(ctx context.Context, a schema.Announcement) error {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	a.Worker, a.Host, a.Version = f.Self.Worker, f.Self.Host, f.Self.Version
	a.Started, a.RateLimit, a.Share = f.Self.Started, f.Self.RateLimit, f.limiter.Share()
	now := f.Now()
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
	p := broker.Publication{Subject: schema.WorkerSubject(a.Worker), Data: data}
	if _, err := f.Broker.Publish(ctx, p); err != nil {
		return fmt.Errorf("announcing the worker: %w", err)
	}
	return nil
}
