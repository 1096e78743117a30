package fake

import (
	"context"
	"errors"
	"maps"
	"time"

	"statusworker/schema/broker"
)

// errSilent is the result of an operation that the broker does not answer.
var errSilent = errors.New("no answer")

// Publish implements [broker.Broker].
func (b *Broker) Publish(ctx context.Context, p broker.Publication) (broker.Ack, error) {
	return b.publish(ctx, []broker.Publication{p}, func(broker.Ack, error) {})
}

// PublishAll implements [broker.Broker].
func (b *Broker) PublishAll(ctx context.Context, all []broker.Publication) (broker.Ack, error) {
	return b.publish(ctx, all, func(broker.Ack, error) {})
}

// publish publishes one message, or a batch, on the stream that has the first subject.
func (b *Broker) publish(ctx context.Context, all []broker.Publication, then result) (broker.Ack, error) {
	var subjects []string
	for _, p := range all {
		subjects = append(subjects, p.Subject)
	}
	var ack broker.Ack // may be set after publish has returned an error
	err := b.requestLater(ctx, Publish, func(answer func(error)) {
		answered := func(a broker.Ack, err error) {
			ack = a
			answer(err)
			then(a, err)
		}
		for _, s := range b.streams {
			switch {
			case !matchesAny(s.Subjects, subjects[0]):
				continue
			case len(all) == 1:
				s.publish(all[0], answered)
			default:
				s.publishAll(all, answered)
			}
			return
		}
		answered(broker.Ack{}, broker.ErrNoAnswer)
	}, subjects...)
	if err != nil {
		return broker.Ack{}, err
	}
	return ack, nil
}

// read makes an operation on a stream, if it exists.
func (b *Broker) read(ctx context.Context, op Op, name string, do func(*stream) error) error {
	return b.request(ctx, op, func() error {
		s := b.stream(name)
		if s == nil {
			return broker.ErrStreamNotFound
		}
		if b.stale > 0 && op.reads() {
			s = s.before(b.stale)
		}
		return do(s)
	}, name)
}

// one makes an operation that returns one message.
func (b *Broker) one(ctx context.Context, op Op, name string, find func(*stream) *message) (broker.Message, error) {
	var m broker.Message
	err := b.read(ctx, op, name, func(s *stream) error {
		found := find(s)
		if found == nil {
			return broker.ErrNotFound
		}
		m = found.copy()
		return nil
	})
	if err != nil {
		return broker.Message{}, err
	}
	return m, nil
}

// Last implements [broker.Broker].
func (b *Broker) Last(ctx context.Context, name, subjects string) (broker.Message, error) {
	return b.one(ctx, Last, name, func(s *stream) *message { return s.lastOn(subjects) })
}

// Get implements [broker.Broker].
func (b *Broker) Get(ctx context.Context, name string, sequence uint64) (broker.Message, error) {
	return b.one(ctx, Get, name, func(s *stream) *message {
		if m := s.nextOn(nil, sequence); m != nil && m.Sequence == sequence {
			return m
		}
		return nil
	})
}

// Next implements [broker.Broker].
func (b *Broker) Next(ctx context.Context, name, subjects string, from uint64) (broker.Message, error) {
	return b.one(ctx, Next, name, func(s *stream) *message { return s.nextOn([]string{subjects}, from) })
}

// Scan implements [broker.Broker].
func (b *Broker) Scan(ctx context.Context, name string, r broker.Range, do func(broker.Message) error) error {
	var found []broker.Message
	err := b.read(ctx, Scan, name, func(s *stream) error {
		s.each(r, func(m *message) { found = append(found, m.copy()) })
		return nil
	})
	if err != nil {
		return err
	}
	for _, m := range found {
		if ctx.Err() != nil {
			return &broker.Error{Op: string(Scan), Object: name, Kind: broker.ErrNoAnswer, Cause: ctx.Err()}
		}
		if err := do(m); err != nil {
			return err
		}
	}
	return nil
}

// Count implements [broker.Broker].
func (b *Broker) Count(ctx context.Context, name string, r broker.Range) (uint64, error) {
	n := uint64(0)
	err := b.read(ctx, Count, name, func(s *stream) error {
		s.each(r, func(*message) { n++ })
		return nil
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// each calls do for each message of a range.
func (s *stream) each(r broker.Range, do func(*message)) {
	for m := s.nextOn(r.Subjects, r.From); m != nil; m = s.nextOn(r.Subjects, m.Sequence+1) {
		if !m.Time.Before(r.Since) {
			do(m)
		}
	}
}

// Subjects implements [broker.Broker].
func (b *Broker) Subjects(ctx context.Context, name, filter string) (map[string]uint64, error) {
	counts := map[string]uint64{}
	err := b.read(ctx, Subjects, name, func(s *stream) error {
		for _, m := range s.messages {
			if matches(filter, m.Subject) {
				counts[m.Subject]++
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return maps.Clone(counts), nil
}

// Delete implements [broker.Broker].
func (b *Broker) Delete(ctx context.Context, name string, sequence uint64) error {
	return b.read(ctx, Delete, name, func(s *stream) error {
		switch {
		case s.DenyDelete:
			return errors.New("message delete not permitted")
		case !s.remove(sequence):
			return broker.ErrNotFound
		}
		return nil
	})
}

// Stream implements [broker.Broker].
func (b *Broker) Stream(ctx context.Context, name string) (broker.StreamState, error) {
	var state broker.StreamState
	err := b.read(ctx, Stream, name, func(s *stream) error {
		state = broker.StreamState{
			Messages: uint64(len(s.messages)), Bytes: s.bytes, First: s.last + 1, Last: s.last,
			MaxBytes: s.MaxBytes, Consumers: len(s.consumers), DirectGets: s.DirectGets,
			AtomicBatches: s.AtomicBatches, Now: b.now(), Leader: b.leader,
		}
		if len(s.messages) > 0 {
			state.First, state.FirstTime = s.messages[0].Sequence, s.messages[0].Time
		}
		return nil
	})
	if err != nil {
		return broker.StreamState{}, err
	}
	return state, nil
}

// Consumer implements [broker.Broker].
func (b *Broker) Consumer(ctx context.Context, name, consumer string) (broker.ConsumerState, error) {
	var state broker.ConsumerState
	err := b.read(ctx, Consumer, name, func(s *stream) error {
		c := s.consumer(consumer)
		if c == nil {
			return broker.ErrConsumerNotFound
		}
		state = broker.ConsumerState{
			Pending: c.pending, AckPending: uint64(len(c.out)), Delivered: c.next - 1, AckFloor: c.floor(),
			AckWait: c.AckWait, Now: b.now(),
		}
		return nil
	})
	if err != nil {
		return broker.ConsumerState{}, err
	}
	return state, nil
}

// Ack implements [broker.Broker].
func (b *Broker) Ack(d broker.Delivery) error {
	return b.settle(Ack, d, func(c *consumer) { c.ack(d.Sequence) })
}

// AckConfirmed implements [broker.Broker].
func (b *Broker) AckConfirmed(ctx context.Context, d broker.Delivery) error {
	return b.request(ctx, AckConfirmed, func() error {
		if c := b.stream(d.Stream).consumer(d.Consumer); c == nil || !c.ack(d.Sequence) {
			return errSilent
		}
		return nil
	}, d.Subject)
}

// Nak implements [broker.Broker].
func (b *Broker) Nak(d broker.Delivery, delay time.Duration) error {
	return b.settle(Nak, d, func(c *consumer) { c.nak(d.Sequence, delay) })
}

// InProgress implements [broker.Broker].
func (b *Broker) InProgress(d broker.Delivery) error {
	return b.settle(InProgress, d, func(c *consumer) { c.inProgress(d.Sequence) })
}

func (b *Broker) settle(op Op, d broker.Delivery, do func(*consumer)) error {
	return b.send(op, d.Subject, func() {
		if c := b.stream(d.Stream).consumer(d.Consumer); c != nil {
			do(c)
		}
	})
}

// Claim implements [broker.Broker].
func (b *Broker) Claim(stream, consumer string, m broker.Message) broker.Delivery {
	return broker.Delivery{Message: m, Stream: stream, Consumer: consumer, Count: 2}
}
