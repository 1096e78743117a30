package dlq_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"statusworker/cmd/broker/fake"
	"statusworker/publisher/dlq"
	"statusworker/schema"
	"statusworker/schema/broker"
)

const always = 1 << 20

// faulty runs a test in a synctest bubble, with a fake broker that has one dead letter.
func faulty(t *testing.T, test func(t *testing.T, s *stage, b *fake.Broker)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := reserving(t)
		s.store(dead(schema.NotFound, uuid.NewString()))
		time.Sleep(time.Second) // of the bubble, so that no two messages are stored at the same time
		test(t, s, s.Broker.(*fake.Broker))
	})
}

// A dead letter whose declared message is not stored is left, with the broker's error.
func TestReplayWhenThePublishFails(t *testing.T) {
	t.Parallel()
	for kind, want := range map[error]dlq.Cause{
		broker.ErrNoAnswer: dlq.NotConfirmed, broker.ErrFull: dlq.PublishFailed, broker.ErrTooLarge: dlq.PublishFailed,
		broker.ErrMaxPerSubject: dlq.SubjectTaken,
	} {
		t.Run(string(want)+", "+kind.Error(), func(t *testing.T) {
			faulty(t, func(t *testing.T, s *stage, b *fake.Broker) {
				b.Inject(fake.Fault{Op: fake.Publish, Times: always, Err: kind})
				r := s.replay(s.queue(), dlq.Filter{}, false)
				if len(r.all) != 1 || r.all[0].Action != dlq.Unchanged || r.all[0].Cause != want ||
					want != dlq.SubjectTaken && !errors.Is(r.all[0].Err, kind) {
					t.Errorf("results %+v, want %s: %s", r.all, dlq.Unchanged, want)
				}
				if n := s.count(ns.StreamOutcomes(), ">"); n != 1 {
					t.Errorf("%d dead letters are stored, want 1", n)
				}
			})
		})
	}
}

// Full storage delays a replay, and does not end it: workers free storage.
func TestReplayWaitsWhileTheStorageIsFull(t *testing.T) {
	t.Parallel()
	faulty(t, func(t *testing.T, s *stage, b *fake.Broker) {
		d := s.queue()
		d.EndSoon(time.Minute, time.Second)
		b.SetFull(true)
		free := time.AfterFunc(5*time.Second, func() { b.SetFull(false) })
		defer free.Stop()
		r := s.replay(d, dlq.Filter{}, false)
		if len(r.all) != 1 || r.all[0].Action != dlq.Replayed {
			t.Errorf("got %+v, want it replayed once there is room", r.all)
		}
	})
}

// If the answer to a publish is lost, a second read finds the stored message, and the dead letter counts as replayed.
func TestReplayWhenTheAnswerIsLost(t *testing.T) {
	t.Parallel()
	faulty(t, func(t *testing.T, s *stage, b *fake.Broker) {
		b.Inject(fake.Fault{Op: fake.Publish, Lost: fake.Answer}, fake.Fault{Op: fake.Delete, Lost: fake.Request})
		d := s.queue()
		d.EndSoon(time.Minute, time.Second)
		r := s.replay(d, dlq.Filter{}, false)
		if left := b.Uninject(); left != 0 || len(r.all) != 1 || r.all[0].Action != dlq.Replayed {
			t.Errorf("results %+v and %d unused faults, want %s and none", r.all, left, dlq.Replayed)
		}
		if n, m := s.count(ns.StreamDeclared(), ">"), s.count(ns.StreamOutcomes(), ">"); n != 1 || m != 0 {
			t.Errorf("%d declared messages and %d dead letters are stored, want 1 and 0", n, m)
		}
	})
}

// A missing permission ends a replay without a change.
func TestReplayWithoutAPermission(t *testing.T) {
	t.Parallel()
	for _, op := range []fake.Op{fake.Publish, fake.Last, fake.Scan, fake.Delete} {
		t.Run(string(op), func(t *testing.T) {
			faulty(t, func(t *testing.T, s *stage, b *fake.Broker) {
				d := s.queue()
				selection, err := d.Select(s.ctx, dlq.Filter{})
				if err != nil {
					t.Fatal(err)
				}
				b.Inject(fake.Fault{Op: op, Times: always, Err: broker.ErrDenied})
				var r results
				err = d.Replay(s.ctx, selection, false, r.add)
				if !errors.Is(err, broker.ErrDenied) || len(r.all) != 0 {
					t.Errorf("error %v and results %+v, want ErrDenied and none", err, r.all)
				}
				b.Uninject()
				if n := s.count(ns.StreamOutcomes(), ">"); n != 1 {
					t.Errorf("%d dead letters are stored, want 1", n)
				}
			})
		})
	}
}

// Reads are retried, but not for longer than RetryFor.
func TestReadsAreRetried(t *testing.T) {
	t.Parallel()
	for _, filter := range []dlq.Filter{{}, {Names: []string{"@1"}}} {
		faulty(t, func(t *testing.T, s *stage, b *fake.Broker) {
			d := s.queue()
			d.RetryFor(10 * time.Second)
			selection, err := d.Select(s.ctx, filter)
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			read := func() error {
				return selection.Each(s.ctx, func(dlq.DeadLetter) error { n++; return nil })
			}
			b.Inject(fake.Fault{Times: 3, Err: broker.ErrNoAnswer})
			if err := read(); err != nil || n != 1 {
				t.Errorf("%+v: read %d, %v, want the dead letter", filter, n, err)
			}
			b.Inject(fake.Fault{Times: always, Err: broker.ErrNoAnswer})
			began := time.Now()
			if err := read(); !errors.Is(err, broker.ErrNoAnswer) || time.Since(began) < 10*time.Second {
				t.Errorf("%+v: gave up after %s with %v", filter, time.Since(began), err)
			}
		})
	}
}
