package conformance_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"statusworker/schema"
	"statusworker/schema/broker"
)

// ns is the namespace of the tests.
var ns = schema.DefaultNamespace

// on returns a subject of the case, of the name of one of its streams.
func (s *stage) on(subject string) string { return s.prefix + "." + subject }
func (s *stage) of(stream string) string  { return s.prefix + "_" + stream }

// put publishes a message, which must succeed and not be a duplicate.
func (s *stage) put(p broker.Publication) uint64 {
	s.Helper()
	ack, err := s.publish(p)
	if err != nil || ack.Duplicate {
		s.Fatalf("publish: %+v, error %v", ack, err)
	}
	return ack.Sequence
}

// publish publishes on subjects of the case.
func (s *stage) publish(p broker.Publication) (broker.Ack, error) {
	p.Subject = s.on(p.Subject)
	if p.If.Subjects != "" {
		p.If.Subjects = s.on(p.If.Subjects)
	}
	if p.Schedule.Target != "" {
		p.Schedule.Target = s.on(p.Schedule.Target)
	}
	return s.Publish(s.ctx, p)
}

// fails fails the test unless err is a *broker.Error of this kind, or without a kind for nil.
func (s *stage) fails(err error, kind error) {
	s.Helper()
	var e *broker.Error
	if !errors.As(err, &e) || !errors.Is(e.Kind, kind) {
		s.Errorf("error %v, want a *broker.Error of kind %v", err, kind)
	}
}

// last returns the sequence of the last message on subjects, or 0.
func (s *stage) last(stream, subjects string) uint64 {
	s.Helper()
	m, err := s.Last(s.ctx, s.of(stream), s.on(subjects))
	if err != nil {
		s.fails(err, broker.ErrNotFound)
	}
	return m.Sequence
}

// gone waits until no message is on subjects: on a replicated stream, acked messages remain visible for a short time.
func (s *stage) gone(stream, subjects string) {
	s.Helper()
	s.until("the removal of "+subjects, func() error {
		if n := s.last(stream, subjects); n != 0 {
			return fmt.Errorf("message %d is stored", n)
		}
		return nil
	})
}

// until calls do until it returns no error.
func (s *stage) until(what string, do func() error) {
	s.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		err := do()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			s.Fatalf("timeout waiting for %s: %v", what, err)
		}
	}
}

// now returns the broker's time.
func (s *stage) now(stream string) time.Time {
	s.Helper()
	var state broker.StreamState
	s.until("the state of the stream", func() (err error) {
		ctx, cancel := context.WithTimeout(s.ctx, 2*time.Second)
		defer cancel()
		state, err = s.Stream(ctx, s.of(stream))
		return err
	})
	return state.Now
}

// passes waits until the broker's time is after t.
func (s *stage) passes(stream string, t time.Time) {
	s.Helper()
	for {
		left := t.Sub(s.now(stream))
		if left < 0 {
			return
		}
		time.Sleep(left + time.Millisecond)
	}
}

// pull waits for n deliveries.
func (s *stage) pull(stream, consumer string, n int) []broker.Delivery {
	s.Helper()
	p := s.Puller(s.of(stream), consumer)
	defer p.Close()
	var got []broker.Delivery
	s.until(fmt.Sprintf("%d deliveries from %s", n, consumer), func() error {
		err := p.Pull(n-len(got), time.Second, func(d broker.Delivery) { got = append(got, d) })
		if err == nil && len(got) < n {
			err = fmt.Errorf("%d deliveries", len(got))
		}
		return err
	})
	return got
}

// none fails the test if a consumer delivers something in a short time.
func (s *stage) none(stream, consumer string) {
	s.Helper()
	p := s.Puller(s.of(stream), consumer)
	defer p.Close()
	err := p.Pull(1, 300*time.Millisecond, func(d broker.Delivery) {
		s.Errorf("%s was delivered (%d)", d.Subject, d.Count)
	})
	if err != nil {
		s.Error(err)
	}
}

// confirm acks a delivery and waits for the broker's answer.
func (s *stage) confirm(d broker.Delivery) {
	s.Helper()
	if err := s.AckConfirmed(s.ctx, d); err != nil {
		s.Error(err)
	}
}

// check fails the test if there is an error.
func (s *stage) check(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// least fails the test unless at least d passed between two times of the broker.
func (s *stage) least(from, to time.Time, d time.Duration) {
	s.Helper()
	if to.Sub(from) < d {
		s.Errorf("%v passed, want at least %v", to.Sub(from), d)
	}
}

// short returns a subject without the prefix of the case.
func (s *stage) short(subject string) string { return strings.TrimPrefix(subject, s.prefix+".") }
