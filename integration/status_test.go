package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"statusworker/cmd/overview"
	"statusworker/consumer"
	"statusworker/integration/harness"
	"statusworker/schema"
)

func TestSingleStatus(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, mode consumer.Mode) {
		newScenario(t, setting{
			name: "status/" + string(mode), url: harness.StartServer(t).URL, mode: mode,
		}).showsItsStatus()
	})
}

// showsItsStatus checks the output of `statusworker status` with three workers, after one of them was killed, and after
// the others have stopped.
func (s *scenario) showsItsStatus() {
	s.t.Helper()
	s.declareAll(processed(time.Second))
	s.declareAll(s.confirmable(failing(schema.Chat, time.Second)))
	want := map[string]uint64{}
	for _, kinds := range s.want {
		for _, kind := range kinds {
			want[kind]++
		}
	}
	s.startThree()
	harness.Check(s.t, s.oracle.Await(s.ctx, s.want))
	v := s.awaitStatus("three workers and every outcome", func(v overview.Overview) bool {
		return len(v.Workers) == 3 && fmt.Sprint(kindsOf(v.Outcomes.LastHour)) == fmt.Sprint(want)
	})
	polls := uint64(0)
	for _, w := range v.Workers {
		if w.State != schema.Working || w.Host == "" || w.Version == "" || w.Problem != "" {
			s.t.Errorf("worker %+v", w)
		}
		polls += w.Polls
	}
	if polls == 0 || v.Redelivery != s.mode || len(v.Missing) != 0 || len(v.Advice) != 0 {
		s.t.Errorf("overview %+v", v)
	}
	s.workers[0].Kill()
	s.awaitAnnounced(2)
	s.awaitStatus("two workers, after one was killed", func(v overview.Overview) bool { return len(v.Workers) == 2 })
	s.finish()
	// A worker that stops deletes its announcement.
	v = s.status()
	if len(v.Workers) != 0 || len(v.Advice) != 1 {
		s.t.Errorf("workers %+v, advice %q; want no worker, one advice", v.Workers, v.Advice)
	}
	if got := kindsOf(v.Outcomes.Stored); fmt.Sprint(got) != fmt.Sprint(want) {
		s.t.Errorf("stored %v, want %v", got, want)
	}
}

// awaitAnnounced waits until the broker stores the announcements of n workers.
func (s *scenario) awaitAnnounced(n uint64) {
	s.t.Helper()
	harness.Check(s.t, harness.Eventually(s.ctx, fmt.Sprintf("%d announcements", n), func(ctx context.Context) error {
		stream, err := s.js.Stream(ctx, ns.StreamWorkers())
		if err == nil && stream.CachedInfo().State.Msgs != n {
			err = fmt.Errorf("%d are stored", stream.CachedInfo().State.Msgs)
		}
		return err
	}))
}

// status runs `statusworker status -o json`.
func (s *scenario) status() overview.Overview {
	s.t.Helper()
	code, output := harness.RunWorker(s.t, []string{"NATS_URL=" + s.url}, "status", "-o", "json")
	// Log messages come first, such as one about a cluster that elects its leader.
	last := output[strings.LastIndexByte(strings.TrimSpace(output), '\n')+1:]
	var v overview.Overview
	if err := json.Unmarshal([]byte(last), &v); code != 0 || err != nil {
		s.t.Fatalf("statusworker status: exit code %d (%v), want 0; output:\n%s", code, err, output)
	}
	return v
}

func (s *scenario) awaitStatus(what string, is func(overview.Overview) bool) overview.Overview {
	s.t.Helper()
	var v overview.Overview
	harness.Check(s.t, harness.Eventually(s.ctx, what, func(context.Context) error {
		if v = s.status(); !is(v) {
			return fmt.Errorf("the status is %+v", v)
		}
		return nil
	}))
	return v
}

// kindsOf returns the counts by kind of outcome, without those that are 0.
func kindsOf(c overview.Counts) map[string]uint64 {
	kinds := map[string]uint64{}
	for d, n := range c.Processed {
		if n > 0 {
			kinds["processed."+string(d)] = n
		}
	}
	for r, n := range c.Failed {
		if n > 0 {
			kinds["failed."+string(r)] = n
		}
	}
	return kinds
}
