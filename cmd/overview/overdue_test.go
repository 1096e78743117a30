package overview_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"statusworker/cmd/overview"
	"statusworker/consumer"
	"statusworker/schema"
)

// The test passes the time to the count, and no reservation falls due while it runs.
func TestOverdueReservationsAreCounted(t *testing.T) {
	t.Parallel()
	s := newStage(t, consumer.Schedule)
	now := time.Now()
	hold := func(due time.Time) {
		id := uuid.NewString()
		_, err := s.JS.PublishMsg(s.Ctx, &nats.Msg{Subject: ns.HoldSubject(schema.Chat, id), Header: nats.Header{
			"Nats-Schedule":        {"@at " + due.UTC().Format(time.RFC3339Nano)},
			"Nats-Schedule-Target": {ns.PollSubject(schema.Chat, id)},
		}})
		check(t, err)
	}
	count := func(at time.Time, want overview.Overdue) {
		t.Helper()
		got, err := overview.CountOverdue(s.Ctx, s.JS, ns, at)
		check(t, err)
		if *got != want {
			t.Errorf("overdue %+v, want %+v", *got, want)
		}
	}
	count(now, overview.Overdue{})
	hold(now.Add(2 * time.Hour))
	count(now.Add(time.Hour), overview.Overdue{})
	for i := range 3 {
		hold(now.Add(time.Hour - time.Duration(i)*time.Minute))
	}
	count(now.Add(time.Hour), overview.Overdue{Count: 1, FirstSeconds: 120}) // two are due for less
	count(now.Add(61*time.Minute+time.Second), overview.Overdue{Count: 3, FirstSeconds: 181})
	for range overview.MaxOverdue {
		hold(now.Add(time.Hour))
	}
	got, err := overview.CountOverdue(s.Ctx, s.JS, ns, now.Add(90*time.Minute))
	if err != nil || !got.More || got.Count > overview.MaxOverdue {
		t.Errorf("overdue %+v, error %v, want at most %d and more", got, err, overview.MaxOverdue)
	}
	if o := s.take().Overdue; o == nil || *o != (overview.Overdue{}) {
		t.Errorf("overdue %+v in the overview, want none", o)
	}
}
