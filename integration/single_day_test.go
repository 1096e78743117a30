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

// What the vendor goes through in a day, in the order in which it comes. At 240 times life an hour is 15 s; the quiet
// hours are left out.
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

// A day on which everything goes wrong at the vendor, one after the other, with an answer in a hundred garbage all the
// while. Nothing is lost, nothing fails that the vendor processes, an outage costs a request a rest and worker, and the
// log of it all can be read.
func TestSingleDay(t *testing.T) {
	t.Parallel()
	server := harness.StartServer(t)
	tokenFile, rotate := tokenFolder(t, simulator.DefaultToken)
	s := newScenario(t, setting{
		name:   "day",
		url:    server.URL,
		mode:   consumer.Schedule,
		within: 4 * time.Minute,
		// Longer than all trouble together: whatever becomes a dead letter fails at the vendor.
		env: []string{
			"ELEVATEAI_API_TOKEN=",
			"ELEVATEAI_API_TOKEN_FILE=" + tokenFile,
			"STATUSWORKER_DEADLINE=10m",
			"STATUSWORKER_LOG_FORMAT=json",
		},
	})
	garbage := simulator.Fault{Kind: simulator.NotJSON}.Sometimes(0.01)
	s.vendor.SetFaults(garbage)
	for range dayWorkers {
		s.start()
	}

	all := dayCast()
	transcripts := map[string]bool{}
	for _, i := range all {
		s.expect(i)
		transcripts[i.identifier] = i.typ == schema.Transcript
	}
	declared := make(chan error, 1)
	go func() { declared <- s.declareAtRate(all, dayPerSecond) }()

	// stretch waits for what the day has next: it is a script in time, and nothing else happens at its marks.
	stretch := func(d time.Duration) {
		t.Helper()
		select {
		case <-time.After(d):
		case <-s.ctx.Done():
			t.Fatal(context.Cause(s.ctx))
		}
	}
	stretch(dayQuiet)
	before, began := s.vendor.Count(), time.Now()
	s.vendor.SetFaults(simulator.Refusal(http.StatusServiceUnavailable))
	stretch(dayOutage)
	outage := s.vendor.Polls()[before:]
	s.vendor.SetFaults(garbage)
	stretch(dayRecovery)

	before = s.vendor.Count()
	const renewed = "22222222-5157-4a75-8000-000000000000"
	s.vendor.SetToken(renewed)
	stretch(dayRevoked)
	refused := s.vendor.Count() - before
	rotate(renewed)
	stretch(dayRecovery)

	before = s.vendor.Count()
	s.vendor.SetFaults(simulator.Throttle(2 * time.Second))
	stretch(dayThrottled)
	throttled := s.vendor.Count() - before
	s.vendor.SetFaults(garbage)
	stretch(dayRecovery)

	s.vendor.SetFaults(simulator.Fault{Kind: simulator.Refused, Code: http.StatusInternalServerError,
		Only: func(id string) bool { return transcripts[id] }}, garbage)
	stretch(dayLaneFailing)
	s.vendor.SetFaults(garbage)
	harness.Check(t, <-declared)
	s.finish()

	// A worker finds out that there is an outage within a second of its last success, or after 64 failures in a row,
	// when as many again may be out. Then it makes one request a rest. The first rests last 1, 2, 4 and 8 s, less a
	// fifth at the shortest: four of them begin and end within 15 s, and a fifth may begin.
	const rests, slots = 5, 64
	late := 0
	for _, p := range outage {
		if p.At.Sub(began) > 2*time.Second {
			late++
		}
	}
	if late > dayWorkers*rests {
		t.Errorf(
			"%d requests after the first two seconds of the outage, want at most %d: one a rest and worker",
			late,
			dayWorkers*rests,
		)
	}
	if most := dayWorkers * (2*slots + rests); len(outage) > most {
		t.Errorf("%d requests during the outage, want at most %d", len(outage), most)
	}
	lines, letters := 0, 0 // dead letters have lines of their own
	for _, w := range s.workers {
		for line := range strings.Lines(w.Output()) {
			if strings.Contains(line, "dead letter") {
				letters++
				continue
			}
			lines++
			t.Log(strings.TrimSpace(line))
		}
	}
	note(
		t,
		"scenario=day outage_requests=%d after_two_seconds=%d revoked_requests=%d throttled_requests=%d workers=%d log_lines=%d dead_letter_lines=%d",
		len(outage),
		late,
		refused,
		throttled,
		dayWorkers,
		lines,
		letters,
	)
	if lines > 40 || letters == 0 || letters > 30*dayWorkers {
		t.Errorf("the workers logged %d lines, and %d about dead letters, want a log that can be read", lines, letters)
	}
}

// dayCast gives interactions of all types with lives of some seconds, one in seven of which fails at the vendor.
func dayCast() []interaction {
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
			what: string(
				reason,
			),
			identifier: uuid.NewString(),
			typ:        schema.Types()[round%3],
			script:     &script,
			kinds:      []string{"failed." + string(reason)},
		})
	}
	return all[:dayInteractions]
}

// declareAtRate publishes declared messages, so many a second.
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
			s.vendor.Declare(i.identifier, *i.script) // its life begins now
		}
		if err := s.publish(i); err != nil {
			return err
		}
	}
	return nil
}

// tokenFolder makes a folder with a token file as Kubernetes mounts a secret, and gives the file and what swaps in
// another token.
func tokenFolder(t *testing.T, token string) (file string, rotate func(token string)) {
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
