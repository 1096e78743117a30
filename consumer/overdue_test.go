package consumer_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"statusworker/cmd/broker/fake"
	"statusworker/consumer"
	"statusworker/consumer/redelivery"
	"statusworker/integration/stage"
	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/statusclient/simulator"
)

// overdue finds the reservations that are overdue at a time of the broker.
func (s *testStage) overdue(at time.Time, after time.Duration) (found []redelivery.Overdue) {
	s.T.Helper()
	for o, err := range redelivery.FindOverdue(s.Ctx, s.Broker, ns, at, after) {
		s.Check(err)
		found = append(found, o)
	}
	return found
}

// overdueNow finds the reservations whose time has passed by half a second: a broker with storage has published them.
func (s *testStage) overdueNow() []redelivery.Overdue {
	s.T.Helper()
	state, err := s.Broker.Stream(s.Ctx, ns.StreamPolls())
	s.Check(err)
	return s.overdue(state.Now, 500*time.Millisecond)
}

func storedAgain(workers []*stage.Worker) (n uint64) {
	for _, w := range workers {
		n += w.Stats().StoredAgain
	}
	return n
}

// What falls due while the broker cannot store anything is polled afterwards, by any worker, and has the same outcome.
func TestStorageLimit(t *testing.T) {
	t.Parallel()
	s := onServer(t, consumer.Schedule, func(c *consumer.Config) {
		c.OverdueAfter, c.NotFoundGrace = 2*time.Second, time.Second
	})
	workers := []*stage.Worker{s.Start(), s.Start()}
	const n = 60
	want := map[string]int{}
	var pending []string
	for i := range n {
		typ := schema.Types()[i%3]
		switch {
		case i%15 == 0:
			// Unknown to the vendor: its reservations count refusals. Five of them would be doubted when the others
			// have ended.
			id := uuid.NewString()
			s.DeclareAs(typ, id)
			want[ns.FailedSubject(schema.NotFound, id)] = 1
		case i%5 == 1:
			id := s.Declare(typ, simulator.Failed(schema.StatusProcessingFailed, 2*time.Second))
			want[ns.FailedSubject(schema.ProcessingFailed, id)] = 1
		default: // half of them have ended when the limit is reached: their tombstones may be overdue
			id := s.Declare(typ, simulator.Processed(0))
			if i%2 == 0 {
				s.Vendor.Declare(id, simulator.Never()) // until then
				pending = append(pending, id)
			}
			for _, to := range (schema.Declared{Type: typ}).Destinations() {
				want[ns.ProcessedSubject(to, id)] = 1
			}
		}
	}
	s.Until("all to be taken in and polled", func() bool {
		var takenIn, polls uint64
		for _, w := range workers {
			takenIn, polls = takenIn+w.Stats().TakenIn, polls+w.Stats().Polls
		}
		return takenIn == n && polls >= n
	})
	s.Check(s.Server.LimitStorage(1))
	s.Until("a reservation to be overdue", func() bool { return len(s.overdueNow()) > 0 })
	overdue := s.overdueNow()
	for _, id := range pending {
		s.Vendor.Declare(id, simulator.Processed(0))
	}
	s.Check(s.Server.LimitStorage(-1))

	if got := s.CountOutcomes(len(want)); !maps.Equal(got, want) {
		t.Errorf("outcomes %v\nwant %v", got, want)
	}
	s.WaitDrained()
	s.CheckIntervals()
	if got := s.CountOutcomes(len(want)); !maps.Equal(got, want) {
		t.Errorf("outcomes in the end %v\nwant %v", got, want)
	}
	again := storedAgain(workers)
	if again == 0 {
		t.Error("no reservation was stored again")
	}
	t.Logf("interactions=%d overdue_at_the_limit=%d stored_again=%d polls=%d", n, len(overdue), again, s.Vendor.Count())
}

// reserve makes a reservation of a worker.
func reserve(typ schema.Type, number string, at, generation time.Time, more broker.Header) broker.Publication {
	id := uuid.NewString()
	h := broker.Header{
		schema.HeaderPoll: {number}, schema.HeaderGeneration: {generation.Format(time.RFC3339Nano) + " 17 2"},
	}
	maps.Copy(h, more)
	return broker.Publication{
		Subject: ns.HoldSubject(typ, id), Data: stage.Declaration(typ, id), Header: h,
		Schedule: broker.Schedule{At: at, Target: ns.PollSubject(typ, id)},
	}
}

// A reservation that is stored again is the same as before. Several workers store each of them once, and do not touch
// what is not a reservation.
func TestOverdueReservationsAreStoredAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := inMemory(t, consumer.Schedule, func(c *consumer.Config) { c.OverdueAfter = time.Second })
		// Due messages are compared, and not polled.
		s.Fake.Inject(fake.Fault{Op: fake.Pull, Object: ns.StreamPolls(), Err: broker.ErrNoAnswer, Times: 1 << 20})
		generation := time.Now().Add(-time.Hour).UTC()
		at := time.Now().Add(2 * time.Second)
		refusals := schema.Refusals{StatusCode: 404, Count: 2, Since: generation.Add(time.Minute)}
		header := func(name, value string) broker.Header { return broker.Header{name: {value}} }
		changes := broker.Header{schema.HeaderHistory: {
			"1 2026-11-27T01:02:03.456Z processing", "4 2026-11-27T01:02:18.456Z fileUploading",
		}}
		refused := header(schema.HeaderRefusals, refusals.String())
		ours := map[string]broker.Publication{
			"the first":        reserve(schema.Audio, "1", at, generation, nil),
			"with a history":   reserve(schema.Chat, "7", at, generation, changes),
			"with refusals":    reserve(schema.Transcript, "8", at, generation, refused),
			"with a trace":     reserve(schema.Chat, "9", at, generation, header(schema.HeaderTraceparent, trace)),
			"a tombstone":      reserve(schema.Audio, "10", at, generation, header(schema.HeaderTombstone, "true")),
			"a large document": reserve(schema.Audio, "11", at, generation, nil),
		}
		tombstone, large := ours["a tombstone"], ours["a large document"]
		tombstone.Data, large.Data = nil, append(large.Data, strings.Repeat(" ", 60_000)...)
		ours["a tombstone"], ours["a large document"] = tombstone, large
		foreign := reserve(schema.Chat, "none", at, generation, nil)
		unscheduled := reserve(schema.Audio, "1", at, generation, nil)
		unscheduled.Schedule = broker.Schedule{}
		for _, p := range append([]broker.Publication{unscheduled, foreign}, slices.Collect(maps.Values(ours))...) {
			s.PublishMessage(p)
		}
		s.Fake.SetFull(true)
		s.Until("all schedules to be overdue", func() bool { return len(s.overdueNow()) == len(ours)+1 })
		s.Fake.SetFull(false)

		workers := []*stage.Worker{s.Start(), s.Start(), s.Start()}
		for name, p := range ours {
			s.wantDue(name, p)
		}
		for _, w := range workers {
			w.End()
		}
		if again := storedAgain(workers); again != uint64(len(ours)) {
			t.Errorf("%d were stored again, want %d", again, len(ours))
		}
		for _, p := range []broker.Publication{foreign, unscheduled} {
			if _, err := s.Broker.Last(s.Ctx, ns.StreamPolls(), p.Subject); err != nil {
				t.Errorf("%s is no longer stored: %v", p.Subject, err)
			}
		}
	})
}

// wantDue waits until a reservation has fallen due, and compares its due message.
func (s *testStage) wantDue(name string, reservation broker.Publication) {
	s.T.Helper()
	var due broker.Message
	s.Until(name+" to be due", func() bool {
		var err error
		due, err = s.Broker.Last(s.Ctx, ns.StreamPolls(), reservation.Schedule.Target)
		return err == nil
	})
	for header, want := range reservation.Header {
		if got := due.Header[header]; !slices.Equal(got, want) {
			s.T.Errorf("%s: header %s is %q, want %q", name, header, got, want)
		}
	}
	if string(due.Data) != string(reservation.Data) {
		s.T.Errorf("%s: data of %d bytes, want the %d that were stored", name, len(due.Data), len(reservation.Data))
	}
}

// The search finds overdue reservations behind some that are not due yet, and reads few of the others.
func TestFindOverdueReadsFew(t *testing.T) {
	t.Parallel()
	s := onServer(t, consumer.Schedule, nil)
	now := time.Now()
	hold := func(due time.Time) string {
		id := uuid.NewString()
		p := broker.Publication{
			Subject:  ns.HoldSubject(schema.Audio, id),
			Schedule: broker.Schedule{At: due, Target: ns.PollSubject(schema.Audio, id)},
		}
		s.PublishMessage(p)
		return p.Subject
	}
	find := func(at time.Time) (found []string) {
		t.Helper()
		for _, o := range s.overdue(at, time.Minute) {
			found = append(found, o.Message.Subject)
		}
		return found
	}
	// The search gets a later time. Nothing falls due while the test runs.
	far, near, later := now.Add(3*time.Hour), now.Add(time.Hour), now.Add(90*time.Minute)
	var want []string
	hold(far)
	want = append(want, hold(near), hold(near))
	hold(far)
	want = append(want, hold(near))
	for range 20 {
		hold(far)
	}
	hold(near) // behind too many that are not due
	requests := make(chan *nats.Msg, 100)
	_, err := s.NC.ChanSubscribe("$JS.API.STREAM.MSG.GET."+ns.StreamPolls(), requests)
	s.Check(err)
	if got := find(later); !slices.Equal(got, want) {
		t.Errorf("overdue %v, want %v", got, want)
	}
	s.Check(s.NC.Flush())
	if n := len(requests); n < len(want) || n > len(want)+8 {
		t.Errorf("%d messages read to find %d", n, len(want))
	}
	// Due messages in front of them do not hide them.
	polls, err := s.JS.Stream(s.Ctx, ns.StreamPolls())
	s.Check(err)
	s.Check(polls.Purge(s.Ctx))
	for range 3 {
		s.Publish(ns.PollSubject(schema.Chat, uuid.NewString()), "{}")
	}
	want = []string{hold(near), hold(near)}
	s.Publish(ns.PollSubject(schema.Chat, uuid.NewString()), "{}")
	want = append(want, hold(near))
	if got := find(later); !slices.Equal(got, want) {
		t.Errorf("overdue %v, want %v", got, want)
	}
	if got := find(now); got != nil {
		t.Errorf("overdue %v, all of which were just stored", got)
	}
}
