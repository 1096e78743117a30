package fake

import (
	"context"
	"fmt"
	"slices"
	"time"

	"statusworker/schema/broker"
)

// pullMargin is how much longer than it should take a pull waits for an answer.
const pullMargin = time.Second

type puller struct {
	b                *Broker
	stream, consumer string
}

// Puller implements [broker.Broker].
func (b *Broker) Puller(stream, consumer string) broker.Puller { return puller{b, stream, consumer} }

// Close implements [broker.Puller]. There is nothing to end.
func (puller) Close() {}

// Pull implements [broker.Puller].
func (p puller) Pull(n int, wait time.Duration, take func(broker.Delivery)) error {
	b := p.b
	failed := func(kind error) error {
		return &broker.Error{Op: string(Pull), Object: p.stream + "/" + p.consumer, Kind: kind}
	}
	if n < 1 || n > broker.MaxPull {
		return &broker.Error{
			Op: string(Pull), Object: p.stream + "/" + p.consumer,
			Cause: fmt.Errorf("%d messages were asked for: want 1 to %d", n, broker.MaxPull),
		}
	}
	b.mu.Lock()
	b.advance()
	f, closed, stopped := b.fault(Pull, p.stream), b.closed, b.stopped
	b.mu.Unlock()
	switch {
	case closed:
		return failed(broker.ErrClosed)
	case f.Err != nil:
		return failed(f.Err)
	case f.Lost == Request, stopped:
		return failed(p.silence(wait))
	}
	if f.Delay > 0 {
		b.await(context.Background(), f.Delay, nil)
	}
	r, c := p.ask(n)
	if c == nil {
		return failed(broker.ErrNoAnswer)
	}
	for deadline := time.Now().Add(wait); ; {
		got, over, err := p.look(c, r, !time.Now().Before(deadline))
		if f.Lost != Answer {
			for _, d := range got {
				take(d)
			}
		}
		switch {
		case err != nil:
			return failed(err)
		case over && f.Lost == Answer:
			return failed(p.silence(time.Until(deadline)))
		case over:
			return nil
		}
		b.await(context.Background(), time.Until(deadline), func() bool { return len(r.inbox) > 0 || r.ended != nil })
	}
}

// silence waits for an answer that does not come.
func (p puller) silence(wait time.Duration) error {
	if p.b.await(context.Background(), wait+pullMargin, nil) {
		return broker.ErrClosed
	}
	return broker.ErrNoAnswer
}

// ask makes a request. There is no consumer where it goes nowhere.
func (p puller) ask(n int) (*request, *consumer) {
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	p.b.advance()
	r, c := &request{left: n}, p.b.stream(p.stream).consumer(p.consumer)
	if c != nil {
		c.waiting = append(c.waiting, r)
		c.serve()
	}
	return r, c
}

// look takes what has come for a request, and ends it where time is up.
func (p puller) look(c *consumer, r *request, late bool) (got []broker.Delivery, over bool, err error) {
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	p.b.advance()
	got, r.inbox = r.inbox, nil
	err = r.ended
	if p.b.closed {
		err = broker.ErrClosed
	}
	over = late || r.left == 0 || err != nil
	if over {
		c.waiting = slices.DeleteFunc(c.waiting, func(w *request) bool { return w == r })
	}
	return got, over, err
}
