package fake_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"statusworker/cmd/broker/fake"
	"statusworker/schema/broker"
)

// cmd/broker/conformance tests what the fake has in common with a server. These tests cover its faults.

var stream = broker.StreamConfig{
	Name: "S", Subjects: []string{"hold.*", "poll.*"}, WorkQueue: true, Schedules: true,
	Consumers: []broker.ConsumerConfig{{Name: "c", Filter: "poll.*", AckWait: 10 * time.Second, MaxAckPending: -1}},
}

// stage is a broker in a bubble of testing/synctest.
type stage struct {
	*testing.T
	*fake.Broker
	began time.Time
}

func bubble(t *testing.T, o fake.Options, do func(stage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := fake.New(o, stream)
		defer b.Close()
		do(stage{t, b, time.Now()})
	})
}

func (s stage) put(p broker.Publication) (uint64, error) {
	ctx, cancel := context.WithTimeout(s.Context(), time.Second)
	defer cancel()
	ack, err := s.Publish(ctx, p)
	return ack.Sequence, err
}

// at returns a time relative to the start of the test.
func (s stage) at(d time.Duration) time.Time { return s.began.Add(d) }

func (s stage) hold(d time.Duration, expected uint64) (uint64, error) {
	return s.put(broker.Publication{
		Subject: "hold.1", If: broker.Condition{Subjects: "hold.*", Last: expected},
		Schedule: broker.Schedule{At: s.at(d), Target: "poll.1"},
	})
}

// pull pulls one delivery, and returns when it came, relative to the start of the test.
func (s stage) pull(wait time.Duration) (d broker.Delivery, after time.Duration, err error) {
	err = s.Puller("S", "c").Pull(1, wait, func(got broker.Delivery) { d, after = got, time.Since(s.began) })
	return d, after, err
}

// comes fails the test unless a delivery comes at a time relative to the start of the test.
func (s stage) comes(want time.Duration) broker.Delivery {
	s.Helper()
	d, after, err := s.pull(time.Hour)
	if err != nil || after != want {
		s.Errorf("%s came after %v (%v), want %v", d.Subject, after, err, want)
	}
	return d
}

func (s stage) stored() (subjects []string) {
	for _, m := range s.Stored("S") {
		subjects = append(subjects, m.Subject)
	}
	return subjects
}

func (s stage) wants(subjects ...string) {
	s.Helper()
	if got := s.stored(); !slices.Equal(got, subjects) {
		s.Errorf("%v are stored, want %v", got, subjects)
	}
}

func TestFaultsOfAPublish(t *testing.T) {
	for name, c := range map[string]struct {
		fault  fake.Fault
		err    error
		after  time.Duration
		stored int // when publish returns; later is a minute later
		later  int
	}{
		"none": {fault: fake.Fault{Op: fake.Get}, stored: 1, later: 1},
		"another subject": {fault: fake.Fault{Op: fake.Publish, Object: "hold.*", Err: broker.ErrFull},
			stored: 1, later: 1},
		"the request is lost": {fault: fake.Fault{Op: fake.Publish, Lost: fake.Request}, err: broker.ErrNoAnswer,
			after: time.Second},
		"the answer is lost": {fault: fake.Fault{Object: "poll.*", Lost: fake.Answer}, err: broker.ErrNoAnswer,
			after: time.Second, stored: 1, later: 1},
		"it is rejected": {fault: fake.Fault{Op: fake.Publish, Err: broker.ErrRejected},
			err: broker.ErrRejected},
		"the broker is slow": {fault: fake.Fault{Op: fake.Publish, Delay: 900 * time.Millisecond},
			after: 900 * time.Millisecond, stored: 1, later: 1},
		"the broker is too slow": {fault: fake.Fault{Op: fake.Publish, Delay: 3 * time.Second},
			err: broker.ErrNoAnswer, after: time.Second, later: 1},
		"slow, and the answer is lost": {fault: fake.Fault{Delay: 100 * time.Millisecond, Lost: fake.Answer},
			err: broker.ErrNoAnswer, after: time.Second, stored: 1, later: 1},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, fake.Options{}, func(s stage) {
				s.Inject(c.fault)
				_, err := s.put(broker.Publication{Subject: "poll.1"})
				if !errors.Is(err, c.err) || time.Since(s.began) != c.after || len(s.stored()) != c.stored {
					s.Errorf("error %v after %v with %v stored, want %v after %v with %d", err,
						time.Since(s.began), s.stored(), c.err, c.after, c.stored)
				}
				time.Sleep(time.Minute)
				if len(s.stored()) != c.later {
					s.Errorf("%v are stored later, want %d", s.stored(), c.later)
				}
				left := s.Uninject()
				if _, err := s.put(broker.Publication{Subject: "poll.2"}); err != nil || left > 1 ||
					(left == 1) != (c.err == nil && c.after == 0) {
					s.Errorf("the next publish: error %v, with %d faults left", err, left)
				}
			})
		})
	}
}

func TestFaultsHappenAsOftenAsInjected(t *testing.T) {
	bubble(t, fake.Options{}, func(s stage) {
		s.Inject(fake.Fault{Op: fake.Publish, Times: 2, Err: broker.ErrRejected},
			fake.Fault{Op: fake.Publish, Err: broker.ErrFull})
		for i, want := range []error{broker.ErrRejected, broker.ErrRejected, broker.ErrFull, nil} {
			if _, err := s.put(broker.Publication{Subject: "poll.1"}); !errors.Is(err, want) {
				s.Errorf("publish %d: error %v, want %v", i, err, want)
			}
		}
	})
}

func TestFaultsOfSettlements(t *testing.T) {
	for name, c := range map[string]struct {
		settle func(stage, broker.Delivery) error
		fault  fake.Fault
		again  time.Duration // when it is redelivered; 0 is never
	}{
		"an ack": {settle: func(s stage, d broker.Delivery) error { return s.Ack(d) }},
		"an ack is lost": {settle: func(s stage, d broker.Delivery) error { return s.Ack(d) },
			fault: fake.Fault{Op: fake.Ack, Lost: fake.Request}, again: 10 * time.Second},
		"an ack is late": {settle: func(s stage, d broker.Delivery) error { return s.Ack(d) },
			fault: fake.Fault{Op: fake.Ack, Delay: 9 * time.Second}},
		"an ack is too late": {settle: func(s stage, d broker.Delivery) error { return s.Ack(d) },
			fault: fake.Fault{Op: fake.Ack, Delay: 11 * time.Second}, again: 10 * time.Second},
		"a nak": {settle: func(s stage, d broker.Delivery) error { return s.Nak(d, 3*time.Second) },
			again: 3 * time.Second},
		"a nak is lost": {settle: func(s stage, d broker.Delivery) error { return s.Nak(d, 3*time.Second) },
			fault: fake.Fault{Op: fake.Nak, Lost: fake.Request}, again: 10 * time.Second},
		"a nak is late": {settle: func(s stage, d broker.Delivery) error { return s.Nak(d, 3*time.Second) },
			fault: fake.Fault{Op: fake.Nak, Delay: 2 * time.Second}, again: 5 * time.Second},
		"in progress is late": {settle: func(s stage, d broker.Delivery) error { return s.InProgress(d) },
			fault: fake.Fault{Op: fake.InProgress, Delay: 4 * time.Second}, again: 14 * time.Second},
		"in progress": {settle: func(s stage, d broker.Delivery) error { return s.InProgress(d) },
			again: 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, fake.Options{}, func(s stage) {
				if _, err := s.put(broker.Publication{Subject: "poll.1"}); err != nil {
					s.Fatal(err)
				}
				d := s.comes(0)
				if c.fault.Op != "" {
					s.Inject(c.fault)
				}
				if err := c.settle(s, d); err != nil {
					s.Error(err)
				}
				if c.again > 0 {
					s.comes(c.again)
					return
				}
				if d, after, err := s.pull(time.Hour); d.Count > 0 || err != nil {
					s.Errorf("it was redelivered after %v, error %v", after, err)
				}
				s.wants()
			})
		})
	}
}

// A late ack settles a newer delivery of the message.
func TestLateAckSettlesANewerDelivery(t *testing.T) {
	bubble(t, fake.Options{}, func(s stage) {
		_, _ = s.put(broker.Publication{Subject: "poll.1"})
		s.Inject(fake.Fault{Op: fake.Ack, Delay: 15 * time.Second})
		if err := s.Ack(s.comes(0)); err != nil {
			s.Error(err)
		}
		s.comes(10 * time.Second)
		time.Sleep(6 * time.Second)
		s.wants()
	})
}

func TestFaultsOfAPull(t *testing.T) {
	bubble(t, fake.Options{}, func(s stage) {
		_, _ = s.put(broker.Publication{Subject: "poll.1"})
		s.Inject(fake.Fault{Op: fake.Pull, Lost: fake.Request}, fake.Fault{Op: fake.Pull, Lost: fake.Answer},
			fake.Fault{Op: fake.Pull, Err: broker.ErrConsumerNotFound})
		for i, want := range []error{broker.ErrNoAnswer, broker.ErrNoAnswer, broker.ErrConsumerNotFound} {
			if d, _, err := s.pull(time.Second); d.Count > 0 || !errors.Is(err, want) {
				s.Errorf("pull %d: %v, error %v, want %v", i, d, err, want)
			}
		}
		if d := s.comes(2*time.Second + 10*time.Second); d.Count != 2 {
			s.Errorf("the lost delivery was redelivered as delivery %d, want 2", d.Count)
		}
	})
}

// A schedule that replaces one that is firing is purged with it, and does not fire, even if it is due.
func TestReplacedWhileFiring(t *testing.T) {
	stored := 0
	o := fake.Options{FiringTakes: 40 * time.Millisecond, OnChange: func(c fake.Change) {
		if c.Message.Subject == "poll.1" && !c.Removed {
			stored++
		}
	}}
	bubble(t, o, func(s stage) {
		first, err := s.hold(time.Second, 0)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second + 10*time.Millisecond)
		if _, err := s.hold(time.Second, first); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if left := len(s.Stored("S")); stored != 1 || left != 1 {
			t.Errorf("%d due messages were stored, and %d messages are left, want 1 and 1", stored, left)
		}
	})
}
