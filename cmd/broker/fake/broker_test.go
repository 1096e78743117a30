package fake_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"statusworker/cmd/broker/fake"
	"statusworker/schema/broker"
)

// A restart or a new leader can redeliver a pending delivery early.
func TestRestarts(t *testing.T) {
	settle := map[string]func(stage, broker.Delivery) error{
		"pending":     func(stage, broker.Delivery) error { return nil },
		"in progress": func(s stage, d broker.Delivery) error { return s.InProgress(d) },
		"delayed":     func(s stage, d broker.Delivery) error { return s.Nak(d, 20*time.Second+300*time.Millisecond) },
	}
	const early, passed = time.Second, time.Second + 500*time.Millisecond
	for name, c := range map[string]struct {
		do func(stage)
		// The time from the delivery to its redelivery, for a message that is a minute old.
		pending, inProgress, delayed time.Duration
		count                        uint64
	}{
		"restart": {func(s stage) { s.Restart() }, passed, 10 * time.Second, 20 * time.Second, 2},
		"step down": {
			func(s stage) { s.StepDown() }, passed, 10 * time.Second, 20*time.Second + 300*time.Millisecond, 2},
		"crash":     {func(s stage) { s.Crash() }, early, early, early, 1},
		"redeliver": {func(s stage) { s.Redeliver("S", "c", 1) }, early, early, early, 2},
	} {
		for state, again := range map[string]time.Duration{
			"pending": c.pending, "in progress": c.inProgress, "delayed": c.delayed,
		} {
			t.Run(name+" while it is "+state, func(t *testing.T) {
				bubble(t, fake.Options{}, func(s stage) {
					_, _ = s.put(broker.Publication{Subject: "poll.1"})
					time.Sleep(time.Minute)
					if err := settle[state](s, s.comes(time.Minute)); err != nil {
						s.Error(err)
					}
					time.Sleep(time.Second)
					c.do(s)
					if d := s.comes(time.Minute + again); d.Count != c.count {
						s.Errorf("delivery %d, want %d", d.Count, c.count)
					}
				})
			})
		}
	}
}

// Requests to a stopped broker take effect when it starts again, even if their callers have given up.
func TestStoppedBroker(t *testing.T) {
	bubble(t, fake.Options{}, func(s stage) {
		if _, err := s.hold(5*time.Second, 0); err != nil {
			s.Fatal(err)
		}
		s.Stop()
		if _, err := s.put(broker.Publication{Subject: "poll.2"}); !errors.Is(err, broker.ErrNoAnswer) {
			s.Errorf("publish to a stopped broker: error %v, want %v", err, broker.ErrNoAnswer)
		}
		if _, _, err := s.pull(time.Second); !errors.Is(err, broker.ErrNoAnswer) {
			s.Errorf("pull from a stopped broker: error %v, want %v", err, broker.ErrNoAnswer)
		}
		time.Sleep(10 * time.Second)
		s.wants("hold.1")
		answered := make(chan error)
		go func() {
			_, err := s.Publish(s.Context(), broker.Publication{Subject: "poll.3"})
			answered <- err
		}()
		synctest.Wait()
		s.Start()
		if err := <-answered; err != nil {
			s.Error(err)
		}
		s.wants("poll.1", "poll.2", "poll.3")
		if d := s.comes(13 * time.Second); d.Subject != "poll.1" || d.Time.Sub(s.began) != 13*time.Second {
			s.Errorf("%s was stored after %v", d.Subject, d.Time.Sub(s.began))
		}
	})
}

func TestClosedBroker(t *testing.T) {
	bubble(t, fake.Options{}, func(s stage) {
		waits := make(chan error)
		go func() {
			_, _, err := s.pull(time.Hour)
			waits <- err
		}()
		synctest.Wait()
		s.Close()
		_, published := s.put(broker.Publication{Subject: "poll.1"})
		_, _, pulled := s.pull(0)
		for i, err := range []error{<-waits, published, pulled, s.Ack(broker.Delivery{})} {
			if !errors.Is(err, broker.ErrClosed) {
				s.Errorf("operation %d: error %v, want %v", i, err, broker.ErrClosed)
			}
		}
	})
}

// A schedule that fires late or slowly, and its effect on its subject.
func TestFirings(t *testing.T) {
	const due, late, takes = 5 * time.Second, 200 * time.Millisecond, 100 * time.Millisecond
	const seen = 50 * time.Millisecond
	for name, o := range map[string]fake.Options{
		"on time": {}, "late": {FiresLate: late}, "slow": {FiringTakes: takes}, "still visible": {FiredSeen: seen},
		"all of these": {FiresLate: late, FiringTakes: takes, FiredSeen: seen},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, o, func(s stage) {
				if _, err := s.hold(due, 0); err != nil {
					s.Fatal(err)
				}
				fired := due + o.FiresLate + o.FiringTakes
				s.comes(fired)
				_, err := s.hold(time.Hour, 0)
				if rejected := errors.Is(err, broker.ErrRejected); rejected != (o.FiredSeen > 0) {
					s.Errorf("the next reservation: error %v", err)
				}
				if o.FiredSeen == 0 {
					s.wants("poll.1", "hold.1")
					return
				}
				s.wants("hold.1", "poll.1")
				time.Sleep(o.FiredSeen)
				s.wants("poll.1")
				if _, err := s.hold(time.Hour, 0); err != nil {
					s.Error(err)
				}
			})
		})
	}
}

// A message that replaces a schedule while it fires is acknowledged, and then purged with it. One that replaces a fired
// schedule that is still visible stays.
func TestReplacedInTheLastInstant(t *testing.T) {
	for name, c := range map[string]struct {
		o      fake.Options
		stored []string
	}{
		"while it fires":     {fake.Options{FiringTakes: 100 * time.Millisecond}, []string{"poll.1"}},
		"after it has fired": {fake.Options{FiredSeen: 100 * time.Millisecond}, []string{"poll.1", "hold.1"}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, c.o, func(s stage) {
				first, err := s.hold(5*time.Second, 0)
				if err != nil {
					s.Fatal(err)
				}
				time.Sleep(5*time.Second + 50*time.Millisecond)
				if _, err := s.hold(time.Hour, first); err != nil {
					s.Error(err)
				}
				time.Sleep(time.Second)
				s.wants(c.stored...)
			})
		})
	}
}

// A schedule that fires while the storage is full is stuck until it is stored again or the stream has a new leader.
func TestFullStorage(t *testing.T) {
	for name, fix := range map[string]func(stage, uint64) error{
		"restart":        func(s stage, _ uint64) error { s.Restart(); return nil },
		"step down":      func(s stage, _ uint64) error { s.StepDown(); return nil },
		"it is replaced": func(s stage, first uint64) error { _, err := s.hold(time.Second, first); return err },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, fake.Options{}, func(s stage) {
				first, err := s.hold(5*time.Second, 0)
				if err != nil {
					s.Fatal(err)
				}
				s.SetFull(true)
				time.Sleep(10 * time.Second)
				if _, err := s.put(broker.Publication{Subject: "poll.2"}); !errors.Is(err, broker.ErrFull) {
					s.Errorf("publish with full storage: error %v, want %v", err, broker.ErrFull)
				}
				s.SetFull(false)
				time.Sleep(time.Hour)
				s.wants("hold.1")
				if err := fix(s, first); err != nil {
					s.Error(err)
				}
				s.comes(time.Hour + 10*time.Second)
				s.wants("poll.1")
			})
		})
	}
}

// Schedules fire, and messages are stamped, by the broker's clock.
func TestClock(t *testing.T) {
	for _, ahead := range []time.Duration{-2 * time.Second, 2 * time.Second, time.Hour} {
		t.Run(fmt.Sprint(ahead), func(t *testing.T) {
			bubble(t, fake.Options{}, func(s stage) {
				if _, err := s.hold(10*time.Second, 0); err != nil {
					s.Fatal(err)
				}
				s.SetClock(ahead)
				d := s.comes(max(0, 10*time.Second-ahead))
				state, err := s.Stream(s.Context(), "S")
				if want := time.Now().Add(ahead); err != nil || !state.Now.Equal(want) || !d.Time.Equal(want) ||
					!s.Now().Equal(want) {
					s.Errorf("stream state of %v, message of %v, error %v; want %v", state.Now, d.Time, err, want)
				}
			})
		})
	}
}

// A new leader has a name, and a clock of its own.
func TestStepDownTo(t *testing.T) {
	bubble(t, fake.Options{}, func(s stage) {
		if _, err := s.hold(10*time.Second, 0); err != nil {
			s.Fatal(err)
		}
		s.StepDownTo("n2", 3*time.Second)
		s.comes(7 * time.Second)
		state, err := s.Stream(s.Context(), "S")
		if err != nil || state.Leader != "n2" || !state.Now.Equal(time.Now().Add(3*time.Second)) {
			s.Errorf("stream state %+v, error %v", state, err)
		}
	})
}

// A replicated stream checks for duplicates before it checks the condition.
func TestReplicated(t *testing.T) {
	for _, replicated := range []bool{false, true} {
		bubble(t, fake.Options{Replicated: replicated}, func(s stage) {
			p := broker.Publication{Subject: "poll.1", ID: "one", If: broker.Condition{Subjects: "poll.*"}}
			if _, err := s.put(p); err != nil {
				s.Fatal(err)
			}
			ack, err := s.Publish(s.Context(), p)
			if errors.Is(err, broker.ErrRejected) == replicated || ack.Duplicate != replicated {
				s.Errorf("replicated %t: second publish: %+v, error %v", replicated, ack, err)
			}
			s.wants("poll.1")
		})
	}
}

// Publications set the broker's headers by their fields. The fake rejects such headers, because it would ignore them
// and a server would not.
func TestReservedHeadersAreRejected(t *testing.T) {
	bubble(t, fake.Options{}, func(s stage) {
		for _, name := range []string{broker.HeaderID, broker.HeaderExpected, broker.HeaderSchedule,
			broker.HeaderScheduler, "Nats-Rollup"} {
			if _, err := s.put(broker.Publication{Subject: "poll.1", Header: broker.Header{name: {"1"}}}); err == nil {
				s.Errorf("header %s was accepted", name)
			}
		}
		s.wants()
	})
}
