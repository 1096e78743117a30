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
	// atOnce is how many dead letters are worked on at once.
	atOnce = 32
	// endingFor is how long a dead letter waits for its generation to end, lookEvery how often it looks.
	endingFor = time.Minute
	lookEvery = 500 * time.Millisecond
	// believedFor is how long what was seen is believed: less than the shortest guidance.
	believedFor = 2 * time.Second
	// mostWaiting bounds the dead letters that are put off. Where there are more, the rest waits for them.
	mostWaiting = 1000
)

// replaying is one replay.
type replaying struct {
	*Queue
	dry    bool
	report Report

	mu      sync.Mutex
	waiting []putOff
}

// putOff is a dead letter that is looked at again later.
type putOff struct {
	sequence uint64
	// until is when it is given up, sent tells whether its declared message was published (with or without an answer).
	until time.Time
	sent  bool
}

// Replay declares the interactions of a selection again and deletes their dead letters. A dry one changes nothing and
// reports what it would do. It ends with an error where the broker does not answer, and when ctx ends: what was not
// reported then may have been published, and is found to be by the next replay.
func (d *Queue) Replay(ctx context.Context, s *Selection, dry bool, report Report) error {
	r := &replaying{Queue: d, dry: dry, report: report}
	err := eachAtOnce(ctx, func(ctx context.Context, do func(DeadLetter) error) error { return s.Each(ctx, do) },
		func(ctx context.Context, l DeadLetter) error { return r.first(ctx, l) })
	for err == nil && len(r.waiting) > 0 {
		if err = pause(ctx, d.lookEvery); err != nil {
			break
		}
		round := r.waiting
		r.waiting = nil
		err = eachAtOnce(ctx, func(_ context.Context, do func(putOff) error) error {
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

// Purge deletes the dead letters of a selection.
func (d *Queue) Purge(ctx context.Context, s *Selection, dry bool, report Report) error {
	return eachAtOnce(ctx, func(ctx context.Context, do func(DeadLetter) error) error { return s.Each(ctx, do) },
		func(ctx context.Context, l DeadLetter) error {
			if dry {
				report(l, Result{What: Deleted})
				return nil
			}
			was, err := d.delete(ctx, l.Sequence)
			if err != nil {
				return err
			}
			if was {
				report(l, Result{What: Deleted})
			} else {
				report(l, Result{What: Gone})
			}
			return nil
		})
}

// eachAtOnce does something with all that a source gives, several at once. The first error ends it.
func eachAtOnce[T any](
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
	for range atOnce {
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

// first works on a dead letter for the first time. One that has to wait is put off; where too many are, it waits here.
func (r *replaying) first(ctx context.Context, l DeadLetter) error {
	p := putOff{sequence: l.Sequence, until: time.Now().Add(r.endingFor)}
	for {
		over, err := r.work(ctx, l, &p)
		if over || err != nil {
			return err
		}
		r.mu.Lock()
		room := len(r.waiting) < mostWaiting
		if room {
			r.waiting = append(r.waiting, p)
		}
		r.mu.Unlock()
		if room {
			return nil
		}
		if err := pause(ctx, r.lookEvery); err != nil {
			return err
		}
	}
}

// again works on a dead letter that was put off.
func (r *replaying) again(ctx context.Context, p putOff) error {
	l, err := r.get(ctx, p.sequence)
	if err != nil {
		return err
	}
	if l == nil {
		r.report(DeadLetter{Sequence: p.sequence}, Result{What: Gone})
		return nil
	}
	over, err := r.work(ctx, *l, &p)
	if over || err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting = append(r.waiting, p)
	return nil
}

// work replays one dead letter, where it can be done now. It is over when it is reported.
func (r *replaying) work(ctx context.Context, l DeadLetter, p *putOff) (over bool, err error) {
	declared, err := original(l)
	if err != nil {
		return r.over(l, Result{What: Left, Why: Unusable, Err: err})
	}
	looked := time.Now()
	f, err := r.look(ctx, l)
	if err != nil {
		return false, err
	}
	result := Result{Why: f.why, By: f.by}
	switch f.verdict {
	case gone:
		return r.over(l, Result{What: Gone})
	case lifecycle.Unclear:
		result.What = Left
		return r.over(l, result)
	case lifecycle.Ending:
		return r.put(l, p, result)
	case lifecycle.Later:
		result.What = Superseded
		if p.sent {
			result = Result{What: Replayed}
		}
		return true, r.done(ctx, l, result)
	}
	if r.dry {
		return r.over(l, Result{What: Replayed})
	}
	if time.Since(looked) > believedFor {
		return r.put(l, p, Result{Why: TooSlow})
	}
	return r.declare(ctx, l, p, declared)
}

// declare publishes the declared message of a dead letter again.
func (r *replaying) declare(ctx context.Context, l DeadLetter, p *putOff, declared broker.Publication) (bool, error) {
	bounded, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	_, err := r.broker.Publish(bounded, declared)
	switch {
	case err == nil:
		return true, r.done(ctx, l, Result{What: Replayed})
	case ctx.Err() != nil:
		return false, ctx.Err()
	case errors.Is(err, broker.ErrMaxPerSubject):
		return r.put(l, p, Result{Why: SubjectTaken})
	case errors.Is(err, broker.ErrDenied):
		return false, err
	case errors.Is(err, broker.ErrNoAnswer):
		p.sent = true // perhaps
		return r.put(l, p, Result{Why: NotConfirmed, Err: err})
	case errors.Is(err, broker.ErrFull): // workers make room
		return r.put(l, p, Result{Why: PublishFailed, Err: err})
	}
	return r.over(l, Result{What: Left, Why: PublishFailed, Err: err})
}

// over reports a dead letter.
func (r *replaying) over(l DeadLetter, result Result) (bool, error) {
	r.report(l, result)
	return true, nil
}

// put puts a dead letter off, or leaves it for this reason where its time is over.
func (r *replaying) put(l DeadLetter, p *putOff, result Result) (bool, error) {
	if !r.dry && time.Now().Before(p.until) {
		return false, nil
	}
	result.What = Left
	return r.over(l, result)
}

// done deletes a dead letter that is no longer wanted.
func (r *replaying) done(ctx context.Context, l DeadLetter, result Result) error {
	if !r.dry {
		if _, err := r.delete(ctx, l.Sequence); err != nil {
			return err
		}
	}
	r.report(l, result)
	return nil
}

// original is the declared message of a dead letter. The error says why it cannot be published again.
func original(l DeadLetter) (broker.Publication, error) {
	if l.Problem != nil {
		return broker.Publication{}, l.Problem
	}
	subject, message, err := l.Declared()
	if err != nil {
		return broker.Publication{}, err
	}
	// No ID: a broker that knows it says that the message is stored, also where it is not any more.
	p := broker.Publication{Subject: subject, Data: message, Header: broker.Header{}}
	p.Header.Set(schema.HeaderReplays, l.Source.Stored.UTC().Format(time.RFC3339Nano))
	if l.Traceparent != "" {
		p.Header.Set(schema.HeaderTraceparent, l.Traceparent)
	}
	return p, nil
}
