package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// A worker starts with settings that contradict each other, and logs a warning for each pair.
func TestRunWarnsOfContradictions(t *testing.T) {
	t.Parallel()
	at := nobody(t)
	for flags, want := range map[string][]string{
		"":                                          nil,
		"--deadline 6m --not-found-grace 5m59s":     nil,
		"--not-found-grace 24h":                     {"not-found grace"},
		"--deadline 5m":                             {"not-found grace"},
		"--deadline 40s --not-found-grace 30s":      {"deadline"},
		"--request-timeout 20s":                     nil,
		"--request-timeout 21s":                     {"shutdown timeout"},
		"--shutdown-timeout 9s":                     {"shutdown timeout"},
		"--stretch-limit 24h":                       nil,
		"--stretch 0.1 --stretch-limit 24h":         {"stretch"},
		"--stretch 0.1 --stretch-limit 30s":         {"stretch"},
		"--stretch 0.1 --stretch-limit 31s":         nil,
		"--deadline 40s --shutdown-timeout 1s":      {"deadline", "not-found grace", "shutdown timeout"},
		"--deadline 9m --stretch 1":                 {"stretch"},
		"--audio-interval 10m --stretch 0.5":        {"stretch"},
		"--audio-interval 10m --not-found-grace 1s": nil,
	} {
		c := worker(t, at, strings.Fields(flags)...).start()
		c.logs(`"waiting for NATS"`)
		c.stop()
		if code := c.end(); code != exitOK {
			t.Errorf("%s: exit code %d after a stop, want 0", flags, code)
		}
		var got []string
		for _, line := range c.stderr.lines() {
			var record struct{ Msg, Level, Check, Detail, Advice string }
			if err := json.Unmarshal([]byte(line), &record); err != nil {
				t.Fatalf("%v in %s", err, line)
			}
			if record.Msg != msgContradiction {
				continue
			}
			got = append(got, record.Check)
			if record.Level != "warning" || record.Detail == "" || !strings.Contains(record.Advice, "($STATUSWORKER_") {
				t.Errorf("%s: %s", flags, line)
			}
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("%s: warnings %q, want %q", flags, got, want)
		}
	}
}
