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

// Broker is what a fleet asks of the broker.
type Broker interface {
	Publish(ctx context.Context, p broker.Publication) (broker.Ack, error)
	Subjects(ctx context.Context, stream, filter string) (map[string]uint64, error)
}

const (
	// answerWithin limits a request, so that an announcement, of two requests, ends before the next one.
	answerWithin = schema.AnnounceEvery / 2
	// joinAfter is the minimum time between the first announcement of a worker and its first share. By then every other
	// worker has counted it and reduced its own share: the slowest one counted just before, counts again after
	// AnnounceEvery, and gets the answer within answerWithin.
	joinAfter = schema.AnnounceEvery + answerWithin
)

// Config describes the worker. All fields are required.
type Config struct {
	Broker    Broker
	Namespace schema.Namespace
	// Self has the fields that are the same in all announcements: Worker, Host, Version, Started and RateLimit. A
	// RateLimit of 0 is none.
	Self schema.Announcement
	// Current returns the current values of the other fields: State, Cause, Until, Detail, Polls and Oldest.
	Current func() schema.Announcement
	Now     func() time.Time
}

// Fleet is the membership of one worker in the fleet.
type Fleet struct {
	Config
	limiter *Limiter // nil without a rate limit

	// began is when the first announcement was stored, or the first one after a time without a stored announcement;
	// zero before. asked is when the last stored announcement was sent.
	began, asked time.Time
	// polls is the number of polls at the time at; rate is the number per second before that.
	polls uint64
	at    time.Time
	rate  float64

	liveWorkers atomic.Int64
	first       atomic.Bool
	// joined is true when every other worker has counted this one.
	joined atomic.Bool
}

// New makes the membership of a worker that has not announced itself yet. It sends no request.
func New(c Config) *Fleet {
	f := &Fleet{Config: c, at: c.Now()}
	if c.Self.RateLimit > 0 {
		f.limiter = newLimiter(c.Now)
	}
	return f
}

// Limiter returns the limiter of the worker's share. Without a rate limit it is nil, which is a valid limiter.
func (f *Fleet) Limiter() *Limiter { return f.limiter }

// LiveWorkers is the number of live workers at the last count, including this one; 0 before.
func (f *Fleet) LiveWorkers() int { return int(f.liveWorkers.Load()) }

// First reports whether this worker's key was the first at the last count.
func (f *Fleet) First() bool { return f.first.Load() }

// Joined reports whether every other live worker counts this one, so that each knows its share of what they divide.
func (f *Fleet) Joined() bool { return f.joined.Load() }

// Keep announces the worker until ctx ends, and passes errors to failed. Its own error is [broker.ErrClosed].
func (f *Fleet) Keep(ctx context.Context, failed func(error)) error {
	ticker := time.NewTicker(schema.AnnounceEvery)
	defer ticker.Stop()
	for {
		switch err := f.announce(ctx); {
		case errors.Is(err, broker.ErrClosed):
			return err // lanes that wait for the vendor or a share do not notice that the connection is closed
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

// Leave announces the end of the worker, after [Fleet.Keep].
func (f *Fleet) Leave(ctx context.Context) {
	a := f.Current()
	a.State, a.Cause, a.Until, a.Detail = schema.Stopped, "", nil, ""
	_ = f.put(ctx, a) // without it, the last announcement expires
}

// announce counts the workers, takes the share, and stores an announcement.
func (f *Fleet) announce(ctx context.Context) error {
	counted := f.count(ctx)
	if now := f.Now(); counted == nil && !f.began.IsZero() && now.Sub(f.began) >= joinAfter {
		f.joined.Store(true)
		if f.limiter != nil {
			f.limiter.set(f.Self.RateLimit / float64(f.LiveWorkers()))
		}
	}
	asked := f.Now()
	if err := f.put(ctx, f.Current()); err != nil {
		return err
	}
	now := f.Now()
	if f.began.IsZero() || clock.Passed(f.asked, now) > schema.AnnouncementMaxAge {
		// The others do not count this worker (yet, or any more), and have divided its share among themselves.
		f.began = now
		f.joined.Store(false)
		if f.limiter != nil {
			f.limiter.suspend()
		}
	}
	f.asked = asked
	return counted
}

// count counts the live workers, including this one. It reads the subjects of the bucket, which requires neither a
// consumer nor the permission to create one.
func (f *Fleet) count(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	subjects, err := f.Broker.Subjects(ctx, f.Namespace.StreamWorkers(), f.Namespace.SubjectsWorkers())
	if err != nil {
		return fmt.Errorf("counting the workers: %w", err)
	}
	mine, first, alive := f.Namespace.WorkerSubject(f.Self.Worker), true, 1
	for subject := range subjects {
		first = first && mine <= subject
		if subject != mine {
			alive++
		}
	}
	f.first.Store(first)
	f.liveWorkers.Store(int64(alive))
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
	p := broker.Publication{Subject: f.Namespace.WorkerSubject(a.Worker), Data: data}
	if _, err := f.Broker.Publish(ctx, p); err != nil {
		return fmt.Errorf("announcing the worker: %w", err)
	}
	return nil
}
