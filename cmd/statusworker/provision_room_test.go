package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"statusworker/cmd/broker/adapter"
	"statusworker/cmd/internal/doctor"
	"statusworker/cmd/overview"
	"statusworker/consumer/redelivery"
	"statusworker/schema"
	brokers "statusworker/schema/broker"
)

// A maximum size must have room for the growth of what is stored. When nothing else fits, `status` and `doctor` report
// it.
func TestProvisionKeepsRoomForReservations(t *testing.T) {
	t.Parallel()
	_, url := account(t, "jetstream { max_streams: 9 }")
	provision := func(flags ...string) *call {
		return command(t, append([]string{"provision", "--nats-url", url}, flags...)...)
	}
	provision().exits(exitOK)
	js := connectTo(t, url)
	b := adapter.New(js)
	for range 600 {
		id := uuid.NewString()
		_, err := b.Publish(t.Context(), brokers.Publication{
			Subject: ns.HoldSubject(schema.Audio, id), Data: make([]byte, 60_000),
			Schedule: brokers.Schedule{At: time.Now().Add(time.Hour), Target: ns.PollSubject(schema.Audio, id)},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	state, err := b.Stream(t.Context(), ns.StreamPolls())
	if err != nil {
		t.Fatal(err)
	}
	least := redelivery.MinMaximum(state.Messages, state.Bytes)
	polls := func(size int64) string { return fmt.Sprint("--polls-max-bytes=", size) }
	for range 2 { // also of a stream with a maximum size
		bad := provision("--update", polls(least-1)).rejects("--polls-max-bytes ($STATUSWORKER_POLLS_MAX_BYTES)")
		if !strings.Contains(bad.Error(), fmt.Sprint(least)) {
			t.Errorf("%v does not have the least size %d", bad, least)
		}
		provision("--update", polls(least)).exits(exitOK)
	}
	says(t, "again", &provision(polls(least)).exits(exitOK).stdout, "nothing to change")

	var o overview.Overview
	c := command(t, "status", "--nats-url", url, "-o", "json").exits(exitOK)
	if err := json.Unmarshal([]byte(c.stdout.String()), &o); err != nil {
		t.Fatal(err)
	}
	advised := func(a string) bool { return strings.Contains(a, "--polls-max-bytes") }
	if o.Intake == nil || !o.Intake.NoRoom || !slices.ContainsFunc(o.Advice, advised) {
		t.Errorf("intake %+v with advice %q, want it to have no room", o.Intake, o.Advice)
	}
	if f := finding(t, url, "stream limits"); f.Result != doctor.Warn || !strings.Contains(f.Fix, "--polls-max-bytes") {
		t.Errorf("doctor: %+v", f)
	}
	provision("--update", polls(2*least)).exits(exitOK)
	if f := finding(t, url, "stream limits"); f.Result != doctor.Pass {
		t.Errorf("with more room, doctor: %+v", f)
	}
}
