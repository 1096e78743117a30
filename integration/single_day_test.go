package integration

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"statusworker/consumer"
	"statusworker/integration/harness"
	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

// The phases of the day, in their order. At 240 times real time, an hour is 15 s. The quiet hours are left out.
const (
	dayWorkers      = 3
	dayInteractions = 2000
	dayPerSecond    = 33

	dayQuiet       = 8 * time.Second
	dayOutage      = 15 * time.Second // an hour
	dayRevoked     = 4 * time.Second
	dayThrottled   = 8 * time.Second
	dayLaneFailing = 10 * time.Second
	dayRecovery    = 6 * time.Second
)

// A day with all kinds of vendor failures, one after the other, and one percent invalid answers all the time. Nothing
// is lost, no interaction fails that the vendor processes, an outage costs one request for each pause of a worker, and
// the log stays short.
func TestSingleDay(t *testing.T) {
	t.Parallel()
	server := harness.StartServer(t)
	tokenFile, rotate := mountToken(t, simulator.DefaultToken)
	s := newScenario(t, setting{
		name: "day",
		url:  server.URL,
		mode: consumer.Schedule,
		// Longer than all failures together: an interaction gets a dead letter only if it fails at the vendor.
		env: []string{
			"ELEVATEAI_API_TOKEN=",
			"ELEVATEAI_API_TOKEN_FILE=" + tokenFile,
			"STATUSWORKER_DEADLINE=10m",
			"STATUSWORKER_LOG_FORMAT=json",
		},
	})
	invalid := simulator.Fault{Kind: simulator.NotJSON}.Sometimes(0.01)
	s.vendor.SetFaults(invalid)
	for range dayWorkers {
		s.start()
	}

	all := interactionsOfDay()
	transcripts := map[string]bool{}
	for _, i := range all {
		s.expect(i)
		transcripts[i.identifier] = i.typ == schema.Transcript
	}
	declared := make(chan error, 1)
	go func() { declared <- s.declareAtRate(all, dayPerSecond) }()

	// phase waits until a phase is over. The phases are a script in time, so that there is no event to wait for.
	phase := func(d time.Duration) {
		t.Helper()
		select {
		case <-time.After(d):
		case <-s.ctx.Done():
			t.Fatal(context.Cause(s.ctx))
		}
	}
	phase(dayQuiet)
	before := s.vendor.Count()
	s.vendor.SetFaults(simulator.Refusal(http.StatusServiceUnavailable))
	for _, w := range s.workers {
		_, err := w.AwaitLine(s.ctx, `"polling paused"`)
		harness.Check(t, err)
	}
	const inFlight = time.Second // requests that a worker sent before it paused
	detected := time.Now().Add(inFlight)
	phase(inFlight + dayOutage)
	outage := s.vendor.Polls()[before:]
	s.vendor.SetFaults(invalid)
	phase(dayRecovery)

	before = s.vendor.Count()
	const renewed = "22222222-5157-4a75-8000-000000000000"
	s.vendor.SetToken(renewed)
	phase(dayRevoked)
	refused := s.vendor.Count() - before
	rotate(renewed)
	phase(dayRecovery)

	before = s.vendor.Count()
	s.vendor.SetFaults(simulator.Throttle(2 * time.Second))
	phase(dayThrottled)
	throttled := s.vendor.Count() - before
	s.vendor.SetFaults(invalid)
	phase(dayRecovery)

	s.vendor.SetFaults(simulator.Fault{Kind: simulator.Refused, Code: http.StatusInternalServerError,
		Only: func(id string) bool { return transcripts[id] }}, invalid)
	phase(dayLaneFailing)
	s.vendor.SetFaults(invalid)
	harness.Check(t, <-declared)
	s.finish()

	// A worker pauses after 64 failures in a row at most, when as many polls again may be in flight. Then it makes one
	// request for each pause. The first pauses last 1, 2, 4 and 8 s, or up to a fifth less: at most five begin within
	// 15 s.
	const pauses, slots = 5, 64
	late := 0
	for _, p := range outage {
		if p.At.After(detected) {
			late++
		}
	}
	if late > dayWorkers*pauses {
		t.Errorf("%d requests during the outage after all workers had paused, want at most %d", late, dayWorkers*pauses)
	}
	if limit := dayWorkers * (2*slots + pauses); len(outage) > limit {
		t.Errorf("%d requests during the outage, want at most %d", len(outage), limit)
	}
	lines, deadLetterLines := 0, 0
	for _, w := range s.workers {
		for line := range strings.Lines(w.Output()) {
			switch {
			case strings.Contains(line, "dead letter"):
				deadLetterLines++
				continue
			case strings.Contains(line, "it will be retried"):
				// One a minute for each operation that fails, or that takes too long on a slow machine.
			default:
				lines++
			}
			t.Log(strings.TrimSpace(line))
		}
	}
	note(
		t,
		"scenario=day outage_requests=%d after_the_pauses=%d revoked_requests=%d throttled_requests=%d workers=%d "+
			"log_lines=%d dead_letter_lines=%d",
		len(outage),
		late,
		refused,
		throttled,
		dayWorkers,
		lines,
		deadLetterLines,
	)
	if lines > 40 || deadLetterLines == 0 || deadLetterLines > 30*dayWorkers {
		t.Errorf("%d log lines, want at most 40; %d about dead letters, want 1 to %d",
			lines, deadLetterLines, 30*dayWorkers)
	}
}

// interactionsOfDay returns interactions of all types that end within seconds. One in seven fails at the vendor.
func interactionsOfDay() []interaction {
	var all []interaction
	for round := 0; len(all) < dayInteractions; round++ {
		after := time.Duration(2+round%7) * time.Second
		all = append(all, processed(after)...)
		status, reason := schema.StatusProcessingFailed, schema.ProcessingFailed
		if round%2 == 0 {
			status, reason = schema.StatusFileDownloadFailed, schema.FileDownloadFailed
		}
		script := simulator.Failed(status, after)
		all = append(all, interaction{
			what:       string(reason),
			identifier: uuid.NewString(),
			typ:        schema.Types()[round%3],
			script:     &script,
			kinds:      []string{"failed." + string(reason)},
		})
	}
	return all[:dayInteractions]
}

// declareAtRate publishes declared messages at a rate.
func (s *scenario) declareAtRate(all []interaction, perSecond int) error {
	ticker := time.NewTicker(time.Second / time.Duration(perSecond))
	defer ticker.Stop()
	for _, i := range all {
		select {
		case <-ticker.C:
		case <-s.ctx.Done():
			return context.Cause(s.ctx)
		}
		if i.script != nil {
			s.vendor.Declare(i.identifier, *i.script) // its script starts now
		}
		if err := s.publish(i); err != nil {
			return err
		}
	}
	return nil
}

// mountToken creates a directory with a token file, like the volume of a Kubernetes secret. It returns the file, and a
// function that replaces the token.
func mountToken(t *testing.T, token string) (file string, rotate func(token string)) {
	t.Helper()
	dir := t.TempDir()
	version := 0
	rotate = func(token string) {
		t.Helper()
		version++
		name := fmt.Sprintf("..v%d", version)
		harness.Check(t, errors.Join(
			os.Mkdir(filepath.Join(dir, name), 0o700),
			os.WriteFile(filepath.Join(dir, name, "token"), []byte(token+"\n"), 0o600),
			os.Symlink(name, filepath.Join(dir, "..new")),
			os.Rename(filepath.Join(dir, "..new"), filepath.Join(dir, "..data"))))
	}
	rotate(token)
	file = filepath.Join(dir, "token")
	harness.Check(t, os.Symlink(filepath.Join("..data", "token"), file))
	return file, rotate
}
