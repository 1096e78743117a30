package consumer_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/adapter"
	"statusworker/consumer"
	"statusworker/consumer/redelivery"
	"statusworker/integration/stage"
	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

// overdue are the reservations whose time passed by half a second: a broker that is well has published them.
func (s *testStage) overdue() (found []redelivery.Overdue) {
	s.T.Helper()
	polls, err := s.JS.Stream(s.Ctx, schema.StreamPolls)
	if err != nil {
		s.T.Fatal(err)
	}
	for o, err := range redelivery.FindOverdue(s.Ctx, adapter.New(s.JS), polls.CachedInfo().TimeStamp, 500*time.Millisecond) {
		if err != nil {
			s.T.Fatal(err)
		}
		found = append(found, o)
	}
	return found
}

func (s *testStage) limitStorage(bytes int64) {
	s.T.Helper()
	if err := s.Server.LimitStorage(bytes); err != nil {
		s.T.Fatal(err)
	}
}

// What falls due while the broker can store nothing is polled when it can, by whatever worker, and ends as it would
// have.
func TestStorageLimit(t *testing.T) {
	t.Parallel()
	s := onServer(t, consumer.Schedule, func(c *consumer.Config) {
		c.OverdueAfter, c.NotFoundGrace = 2*time.Second, time.Second
	})
	workers := []*stage.Worker{s.Start(), s.Start()}
	const n = 60
	want := map[string]int{}
	for i := range n {
		id, typ := uuid.NewString(), schema.Types()[i%3]
		switch {
		case i%15 == 0: // the vendor does not know it: its reservations count refusals. Five would be doubted when all others have ended
			want[schema.FailedSubject(schema.NotFound, id)] = 1
		case i%5 == 1:
			s.Vendor.Declare(id, simulator.Failed(schema.StatusProcessingFailed, 2*time.Second))
			want[schema.FailedSubject(schema.ProcessingFailed, id)] = 1
		default: // some have ended when the limit is reached: their tombstones are overdue
			s.Vendor.Declare(id, simulator.Processed(time.Duration(i%2)*5*time.Second))
			for _, to := range (schema.Declared{Type: typ}).Destinations() {
				want[schema.ProcessedSubject(to, id)] = 1
			}
		}
		s.DeclareAs(typ, id)
	}
	s.Until("all to be taken in and polled", func() bool {
		var st consumer.Stats
		for _, w := range workers {
			st.TakenIn, st.Polls = st.TakenIn+w.Stats().TakenIn, st.Polls+w.Stats().Polls
		}
		return st.TakenIn == n && st.Polls >= n
	})
	s.limitStorage(1)
	s.Until("reservations to be overdue", func() bool { return len(s.overdue()) > n/4 })
	stuck := s.overdue()
	s.limitStorage(-1)

	got := s.CountOutcomes(len(want))
	if !maps.Equal(got, want) {
		t.Errorf("outcomes %v\nwant %v", got, want)
	}
	s.WaitDrained()
	s.CheckIntervals()
	if got := s.CountOutcomes(len(want)); !maps.Equal(got, want) {
		t.Errorf("outcomes in the end %v\nwant %v", got, want)
	}
	again := uint64(0)
	for _, w := range workers {
		again += w.Stats().StoredAgain
	}
	if again == 0 {
		t.Error("no reservation was stored again")
	}
	t.Logf("interactions=%d overdue_at_the_limit=%d stored_again=%d polls=%d", n, len(stuck), again, s.Vendor.Count())
}

// A reservation that is stored again says what it said before. Several workers at once store each of them once, and
// leave alone what is no reservation.
func TestOverdueReservationsAreStoredAgain(t *testing.T) {
	t.Parallel()
	s := onServer(t, consumer.Schedule, func(c *consumer.Config) { c.OverdueAfter = time.Second })
	polls, err := s.JS.Stream(s.Ctx, schema.StreamPolls)
	if err != nil {
		t.Fatal(err)
	}
	for _, typ := range schema.Types() { // what falls due is looked at, and not polled
		if _, err := polls.PauseConsumer(s.Ctx, schema.PollConsumer(typ), time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	declared := time.Now().Add(-time.Hour).UTC().Truncate(0)
	// A moment in which all can be stored, before the limit.
	at := "@at " + time.Now().Add(2*time.Second).UTC().Format(time.RFC3339Nano)
	reservation := func(typ schema.Type, number string, more nats.Header) *nats.Msg {
		id := uuid.NewString()
		m := &nats.Msg{Subject: schema.HoldSubject(typ, id), Data: fmt.Appendf(nil, `{"interactionIdentifier":%q,"type":%q}`, id, typ), Header: nats.Header{
			"Nats-Schedule": {at}, "Nats-Schedule-Target": {schema.PollSubject(typ, id)},
			schema.HeaderPoll: {number}, schema.HeaderGeneration: {declared.Format(time.RFC3339Nano)},
			schema.HeaderSequence: {"17"}, schema.HeaderDeliveries: {"2"},
		}}
		maps.Copy(m.Header, more)
		return m
	}
	refusals := schema.Refusals{StatusCode: 404, Count: 2, Since: declared.Add(time.Minute)}
	ours := map[string]*nats.Msg{
		"the first":        reservation(schema.Audio, "1", nil),
		"with a status":    reservation(schema.Chat, "7", nats.Header{schema.HeaderStatus: {"processing"}}),
		"with refusals":    reservation(schema.Transcript, "8", nats.Header{schema.HeaderRefusals: {refusals.String()}}),
		"with a trace":     reservation(schema.Chat, "9", nats.Header{schema.HeaderTraceparent: {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}),
		"a tombstone":      reservation(schema.Audio, "10", nats.Header{schema.HeaderTombstone: {"true"}}),
		"a large document": reservation(schema.Audio, "11", nil),
	}
	ours["a tombstone"].Data = nil
	ours["a large document"].Data = append(ours["a large document"].Data, strings.Repeat(" ", 60_000)...)
	foreign := reservation(schema.Chat, "none", nil)
	kept := reservation(schema.Audio, "1", nil)
	kept.Header.Del("Nats-Schedule")
	kept.Header.Del("Nats-Schedule-Target")
	for _, m := range append([]*nats.Msg{kept, foreign}, slices.Collect(maps.Values(ours))...) {
		if _, err := s.JS.PublishMsg(s.Ctx, m); err != nil {
			t.Fatal(err)
		}
	}
	s.limitStorage(1)
	s.Until("all schedules to be overdue", func() bool { return len(s.overdue()) == len(ours)+1 })
	s.limitStorage(-1)

	workers := []*stage.Worker{s.Start(), s.Start(), s.Start()}
	for name, m := range ours {
		typ, id, _ := schema.SplitSubject(m.Subject)
		var due *jetstream.RawStreamMsg
		s.Until(name+" to be due", func() bool {
			due, err = polls.GetLastMsgForSubject(s.Ctx, schema.PollSubject(schema.Type(typ), id))
			return err == nil
		})
		for header, want := range m.Header {
			if strings.HasPrefix(header, "Statusworker-") || header == schema.HeaderTraceparent {
				if got := due.Header.Get(header); got != want[0] {
					t.Errorf("%s: header %s is %q, want %q", name, header, got, want[0])
				}
			}
		}
		if string(due.Data) != string(m.Data) {
			t.Errorf("%s: data of %d bytes, want the %d that were stored", name, len(due.Data), len(m.Data))
		}
	}
	again := uint64(0)
	for _, w := range workers {
		w.Stop()
		_ = w.Wait()
		again += w.Stats().StoredAgain
	}
	if again != uint64(len(ours)) {
		t.Errorf("%d were stored again, want %d", again, len(ours))
	}
	for _, m := range []*nats.Msg{foreign, kept} {
		if _, err := polls.GetLastMsgForSubject(s.Ctx, m.Subject); err != nil {
			t.Errorf("%s is not there any more: %v", m.Subject, err)
		}
	}
}

// What is overdue is found behind some reservations that wait for longer by right, and few others are read for it.
func TestFindOverdueReadsFew(t *testing.T) {
	t.Parallel()
	s := onServer(t, consumer.Schedule, nil)
	now := time.Now()
	hold := func(due time.Time) string {
		id := uuid.NewString()
		_, err := s.JS.PublishMsg(s.Ctx, &nats.Msg{Subject: schema.HoldSubject(schema.Audio, id), Header: nats.Header{
			"Nats-Schedule": {"@at " + due.UTC().Format(time.RFC3339Nano)}, "Nats-Schedule-Target": {schema.PollSubject(schema.Audio, id)},
		}})
		if err != nil {
			t.Fatal(err)
		}
		return schema.HoldSubject(schema.Audio, id)
	}
	// The clock is in the hands of the search: nothing of this falls due while the test runs.
	far, near := now.Add(3*time.Hour), now.Add(time.Hour)
	var want []string
	hold(far)
	want = append(want, hold(near), hold(near))
	hold(far)
	want = append(want, hold(near))
	for range 20 {
		hold(far)
	}
	hold(near) // behind too many that wait
	requests := make(chan *nats.Msg, 100)
	if _, err := s.NC.ChanSubscribe("$JS.API.STREAM.MSG.GET."+schema.StreamPolls, requests); err != nil {
		t.Fatal(err)
	}
	find := func(at time.Time) (found []string) {
		t.Helper()
		for o, err := range redelivery.FindOverdue(s.Ctx, adapter.New(s.JS), at, time.Minute) {
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, o.Message.Subject)
		}
		return found
	}
	if got := find(now.Add(90 * time.Minute)); !slices.Equal(got, want) {
		t.Errorf("overdue %v, want %v", got, want)
	}
	if err := s.NC.Flush(); err != nil {
		t.Fatal(err)
	}
	if n := len(requests); n < len(want) || n > len(want)+8 {
		t.Errorf("%d messages read to find %d", n, len(want))
	}
	// What is due in front of it, and stays there, hides nothing.
	polls, err := s.JS.Stream(s.Ctx, schema.StreamPolls)
	if err == nil {
		err = polls.Purge(s.Ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		s.Publish(schema.PollSubject(schema.Chat, uuid.NewString()), "{}")
	}
	want = []string{hold(near), hold(near)}
	s.Publish(schema.PollSubject(schema.Chat, uuid.NewString()), "{}")
	want = append(want, hold(near))
	if got := find(now.Add(90 * time.Minute)); !slices.Equal(got, want) {
		t.Errorf("overdue %v, want %v", got, want)
	}
	if got := find(now); got != nil {
		t.Errorf("overdue %v, all of which were just stored", got)
	}
}
