package dlq

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/schema/lifecycle"
)

const (
	// concurrency is the number of dead letters that are processed concurrently.
	concurrency = 32
	// endingFor is how long a replay or a purge waits for a generation to end, retryEvery its retry interval.
	endingFor  = time.Minute
	retryEvery = 500 * time.Millisecond
	// maxReadAge is the maximum time between the reads of a replay and its publish. It is less than the shortest poll
	// interval.
	maxReadAge = 2 * time.Second
	// maxWaiting is the maximum number of postponed dead letters. At the maximum, others have to wait.
	maxWaiting = 1000
)

// deletion is one call of Replay or Purge.
type deletion struct {
	*Queue
	dry    bool
	report Report
	// attempt replays or purges one dead letter if that is possible now. It is done when it has reported the dead
	// letter.
	attempt func(ctx context.Context, l DeadLetter, p *postponed) (done bool, err error)

	mu      sync.Mutex
	waiting []postponed
}

// postponed is a dead letter whose replay or purge is retried later.
type postponed struct {
	sequence uint64
	// until is when the retries end. Sent reports whether its declared message was published, perhaps without an
	// answer, and reported whether its wait was reported.
	until          time.Time
	sent, reported bool
}

// Replay declares the interactions of a selection again and deletes their dead letters. A dry run changes nothing and
// reports what it would do. Replay returns when every dead letter is reported. It returns an error if the broker does
// not answer or ctx ends: declared messages of dead letters that were not reported may have been published. The next
// replay detects them.
func (d *Queue) Replay(ctx context.Context, s *Selection, dry bool, report Report) error {
	r := &deletion{Queue: d, dry: dry, report: report}
	r.attempt = r.replay
	return r.run(ctx, s)
}

// Purge deletes the dead letters of a selection. A dry run only reports what it would do. A dead letter whose last poll
// is pending waits for that poll, which would store it again. So does one of an invalid message that is still stored.
func (d *Queue) Purge(ctx context.Context, s *Selection, dry bool, report Report) error {
	r := &deletion{Queue: d, dry: dry, report: report}
	r.attempt = r.purge
	return r.run(ctx, s)
}

// run attempts all dead letters of a selection, until each is reported.
func (r *deletion) run(ctx context.Context, s *Selection) error {
	err := concurrently(ctx, s.Each, r.first)
	for err == nil && len(r.waiting) > 0 {
		if err = pause(ctx, r.retryEvery); err != nil {
			break
		}
		round := r.waiting
		r.waiting = nil
		err = concurrently(ctx, func(_ context.Context, do func(postponed) error) error {
			for _, p := range round {
				if err := do(p); err != nil {
					return err
				}
			}
			return nil
		}, r.again)
	}
	return err
}

// concurrently calls do for every value of a source, several at the same time. It ends with the first error.
func concurrently[T any](
	ctx context.Context,
	from func(context.Context, func(T) error) error,
	do func(context.Context, T) error,
) error {
	g, ctx := errgroup.WithContext(ctx)
	todo := make(chan T)
	g.Go(func() error {
		defer close(todo)
		return from(ctx, func(v T) error {
			select {
			case todo <- v:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	})
	for range concurrency {
		g.Go(func() error {
			for v := range todo {
				if err := do(ctx, v); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// first makes the first attempt on a dead letter, and postpones it if necessary. If too many dead letters are
// postponed, it retries itself.
func (r *deletion) first(ctx context.Context, l DeadLetter) error {
	p := postponed{sequence: l.Sequence, until: time.Now().Add(r.endingFor)}
	for {
		done, err := r.attempt(ctx, l, &p)
		if done || err != nil {
			return err
		}
		r.mu.Lock()
		room := len(r.waiting) < maxWaiting
		if room {
			r.waiting = append(r.waiting, p)
		}
		r.mu.Unlock()
		if room {
			return nil
		}
		if err := pause(ctx, r.retryEvery); err != nil {
			return err
		}
	}
}

// again makes another attempt on a postponed dead letter.
func (r *deletion) again(ctx context.Context, p postponed) error {
	l, err := r.get(ctx, p.sequence)
	if err != nil {
		return err
	}
	if l == nil {
		r.report(DeadLetter{Sequence: p.sequence}, Result{Action: Gone})
		return nil
	}
	done, err := r.attempt(ctx, *l, &p)
	if done || err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting = append(r.waiting, p)
	return nil
}

// purge deletes one dead letter, unless a worker may store it again: its last poll is pending, or its invalid message
// is not acknowledged.
func (r *deletion) purge(ctx context.Context, l DeadLetter, p *postponed) (done bool, err error) {
	if l.Problem == nil {
		look := r.pending
		if l.Reason == schema.InvalidMessage {
			look = r.unacknowledged
		}
		f, err := look(ctx, l)
		if err != nil {
			return false, err
		}
		if f.verdict == lifecycle.Ending {
			return r.postpone(l, p, Result{Cause: f.cause, By: f.by})
		}
	}
	existed := true
	if !r.dry {
		if existed, err = r.delete(ctx, l.Sequence); err != nil {
			return false, err
		}
	}
	if !existed {
		return r.finish(l, Result{Action: Gone})
	}
	return r.finish(l, Result{Action: Deleted})
}

// replay replays one dead letter if that is possible now.
func (r *deletion) replay(ctx context.Context, l DeadLetter, p *postponed) (done bool, err error) {
	declared, err := r.original(l)
	if err != nil {
		return r.finish(l, Result{Action: Unchanged, Cause: Unusable, Err: err})
	}
	began := time.Now()
	f, err := r.inspect(ctx, l)
	if err != nil {
		return false, err
	}
	result := Result{Cause: f.cause, By: f.by}
	switch f.verdict {
	case deleted:
		return r.finish(l, Result{Action: Gone})
	case lifecycle.Unclear:
		result.Action = Unchanged
		return r.finish(l, result)
	case lifecycle.Ending:
		return r.postpone(l, p, result)
	case lifecycle.Later:
		result.Action = Superseded
		if p.sent {
			result = Result{Action: Replayed}
		}
		return r.remove(ctx, l, result)
	}
	if r.dry {
		return r.finish(l, Result{Action: Replayed})
	}
	if time.Since(began) > maxReadAge {
		return r.postpone(l, p, Result{Cause: TooSlow})
	}
	return r.declare(ctx, l, p, declared)
}

// declare publishes the declared message of a dead letter again.
func (r *deletion) declare(
	ctx context.Context, l DeadLetter, p *postponed, declared broker.Publication,
) (done bool, err error) {
	bounded, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	_, err = r.broker.Publish(bounded, declared)
	switch {
	case err == nil:
		return r.remove(ctx, l, Result{Action: Replayed})
	case ctx.Err() != nil:
		return false, ctx.Err()
	case errors.Is(err, broker.ErrMaxPerSubject):
		return r.postpone(l, p, Result{Cause: SubjectTaken})
	case errors.Is(err, broker.ErrDenied):
		return false, err
	case errors.Is(err, broker.ErrNoAnswer):
		p.sent = true // the message may be stored
		return r.postpone(l, p, Result{Cause: NotConfirmed, Err: err})
	case errors.Is(err, broker.ErrFull): // workers make room
		return r.postpone(l, p, Result{Cause: PublishFailed, Err: err})
	}
	return r.finish(l, Result{Action: Unchanged, Cause: PublishFailed, Err: err})
}

// finish reports a dead letter.
func (r *deletion) finish(l DeadLetter, result Result) (done bool, err error) {
	r.report(l, result)
	return true, nil
}

// postpone leaves a dead letter for another attempt, and reports that it waits. After its time it reports the dead
// letter as unchanged.
func (r *deletion) postpone(l DeadLetter, p *postponed, result Result) (done bool, err error) {
	if !r.dry && time.Now().Before(p.until) {
		if !p.reported {
			p.reported = true
			result.Action, result.Until = Waiting, p.until
			r.report(l, result)
		}
		return false, nil
	}
	result.Action = Unchanged
	return r.finish(l, result)
}

// remove deletes a dead letter that is obsolete, and reports it.
func (r *deletion) remove(ctx context.Context, l DeadLetter, result Result) (done bool, err error) {
	if !r.dry {
		if _, err := r.delete(ctx, l.Sequence); err != nil {
			return false, err
		}
	}
	return r.finish(l, result)
}

// original returns the declared message of a dead letter, or an error if it cannot be published again.
func (d *Queue) original(l DeadLetter) (broker.Publication, error) {
	if l.Problem != nil {
		return broker.Publication{}, l.Problem
	}
	subject, message, err := l.Declared(d.names)
	if err != nil {
		return broker.Publication{}, err
	}
	// No message ID: the broker would drop the message if it remembers the ID, even if nothing is stored.
	p := broker.Publication{Subject: subject, Data: message, Header: broker.Header{}}
	p.Header.Set(schema.HeaderReplays, l.Source.Stored.UTC().Format(time.RFC3339Nano))
	if l.Traceparent != "" {
		p.Header.Set(schema.HeaderTraceparent, l.Traceparent)
	}
	return p, nil
}
