package faults

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/integration/harness"
	"statusworker/schema/broker"
)

// A schedule on a server whose clock is ahead fires earlier by that time: the clock of the harness has an effect on
// what the broker does.
func TestShiftedClock(t *testing.T) {
	if *flagDuration == smoke {
		t.Skipf("SKIPPED: it builds nats-server with another standard library: set -duration to more than %s", smoke)
	}
	const ahead = 20 * time.Second
	folder := t.TempDir()
	port := harness.FreePorts(t, 1)[0]
	config := filepath.Join(folder, "nats.conf")
	text := fmt.Sprintf("listen: 127.0.0.1:%d\njetstream { store_dir: %q }\n", port, filepath.Join(folder, "data"))
	harness.Check(t, os.WriteFile(config, []byte(text), 0o600))
	n := newProgram(t, folder, "shifted")
	harness.Check(t, n.start(shiftedServer(t), []string{fmt.Sprintf("%s=%d", clockVariable, ahead)}, "-c", config))

	ctx := harness.Context(t, time.Minute)
	js := harness.JetStream(t, fmt.Sprintf("nats://127.0.0.1:%d", port))
	var stream jetstream.Stream
	harness.Check(t, harness.Eventually(ctx, "a stream with schedules", func(ctx context.Context) (err error) {
		stream, err = js.CreateStream(ctx, jetstream.StreamConfig{
			Name: "SCHEDULES", Subjects: []string{"hold", "due"}, AllowMsgSchedules: true,
		})
		return err
	}))
	began := time.Now()
	due := began.Add(ahead + 2*time.Second).UTC()
	m := nats.NewMsg("hold")
	m.Header.Set(broker.HeaderSchedule, "@at "+due.Format(time.RFC3339Nano))
	m.Header.Set(broker.HeaderScheduleTarget, "due")
	_, err := js.PublishMsg(ctx, m)
	harness.Check(t, err)
	harness.Check(t, harness.Eventually(ctx, "the schedule to fire", func(ctx context.Context) error {
		_, err := stream.GetLastMsgForSubject(ctx, "due")
		return err
	}))
	// It is due in 22 s by the clock of this process, and in 2 s by that of the server.
	if took := time.Since(began); took < 1500*time.Millisecond || took > ahead/2 {
		t.Errorf("the schedule fired after %s, want 2s", took)
	}
}
