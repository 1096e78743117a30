package fake

import (
	"context"
	"fmt"
	"slices"
	"time"

	"statusworker/schema/broker"
)

// pullMargin is how long after its expiry a pull waits for an answer.
const pullMargin = time.Second

type puller struct {
	b                *Broker
	stream, consumer string
}

// Puller implements [broker.Broker].
func (b *Broker) Puller(stream, consumer string) broker.Puller { return puller{b, stream, consumer} }

// Close implements [broker.Puller]. It does nothing.
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
			Cause: fmt.Errorf("pulling %d messages: must be 1 to %d", n, broker.MaxPull),
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
	if err := p.deliver(n, wait, f.Lost == Answer, take); err != nil {
		return failed(err)
	}
	return nil
}

// deliver makes a request and calls take for its deliveries, unless they are lost.
func (p puller) deliver(n int, wait time.Duration, lost bool, take func(broker.Delivery)) error {
	r, c := p.ask(n)
	if c == nil {
		return broker.ErrNoAnswer
	}
	for deadline := time.Now().Add(wait); ; {
		got, ended, err := p.collect(c, r, !time.Now().Before(deadline))
		if !lost {
			for _, d := range got {
				take(d)
			}
		}
		switch {
		case err != nil:
			return err
		case ended && lost:
			return p.silence(time.Until(deadline))
		case ended:
			return nil
		}
		done := func() bool { return len(r.inbox) > 0 || r.ended != nil }
		p.b.await(context.Background(), time.Until(deadline), done)
	}
}

// silence waits for an answer that does not arrive.
func (p puller) silence(wait time.Duration) error {
	if p.b.await(context.Background(), wait+pullMargin, nil) {
		return broker.ErrClosed
	}
	return broker.ErrNoAnswer
}

// ask makes a request. The consumer is nil if it does not exist.
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

// collect returns the new deliveries of a request, and ends the request if it has expired.
func (p puller) collect(c *consumer, r *request, expired bool) (got []broker.Delivery, ended bool, err error) {
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	p.b.advance()
	got, r.inbox = r.inbox, nil
	err = r.ended
	if p.b.closed {
		err = broker.ErrClosed
	}
	ended = expired || r.left == 0 || err != nil
	if ended {
		c.waiting = slices.DeleteFunc(c.waiting, func(w *request) bool { return w == r })
	}
	return got, ended, err
}
