package consumer_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"statusworker/consumer"
	"statusworker/schema"
)

func TestConfigNamesTheField(t *testing.T) {
	const concurrency = "4 to 4096: at least one for the intake and one for each lane"
	for name, c := range map[string]struct {
		cfg  consumer.Config
		want consumer.ConfigError
	}{
		"audio": {
			consumer.Config{Intervals: consumer.Intervals{Audio: 49 * time.Millisecond}},
			consumer.ConfigError{Field: "Intervals.Audio", Value: "49ms", Want: "at least 50ms"},
		},
		"chat": {
			consumer.Config{Intervals: consumer.Intervals{Chat: -time.Second}},
			consumer.ConfigError{Field: "Intervals.Chat", Value: "-1s", Want: "at least 50ms"},
		},
		"transcript": {
			consumer.Config{Intervals: consumer.Intervals{Transcript: 1}},
			consumer.ConfigError{Field: "Intervals.Transcript", Value: "1ns", Want: "at least 50ms"},
		},
		"so long that sums overflow": {
			consumer.Config{Intervals: consumer.Intervals{Audio: 1 << 62}, Deadline: 1<<63 - 1},
			consumer.ConfigError{Field: "Intervals.Audio", Value: "1281023h53m38.427387904s", Want: "at most 3650d"},
		},
		"request timeout": {
			consumer.Config{RequestTimeout: -1},
			consumer.ConfigError{Field: "RequestTimeout", Value: "-1ns", Want: "at least 1ms"},
		},
		"request timeout of an hour": {
			consumer.Config{RequestTimeout: time.Hour},
			consumer.ConfigError{Field: "RequestTimeout", Value: "1h", Want: "at most 1m"},
		},
		"deadline": {
			consumer.Config{Deadline: time.Microsecond},
			consumer.ConfigError{Field: "Deadline", Value: "1µs", Want: "at least 1ms"},
		},
		"deadline of an interval": {
			consumer.Config{Deadline: 30 * time.Second},
			consumer.ConfigError{Field: "Deadline", Value: "30s", Want: "more than 30s, the longest interval: " +
				"otherwise every interaction is dead-lettered at its first poll"},
		},
		"grace": {
			consumer.Config{NotFoundGrace: -time.Hour},
			consumer.ConfigError{Field: "NotFoundGrace", Value: "-1h", Want: "at least 1ms"},
		},
		"shutdown": {
			consumer.Config{ShutdownTimeout: -1},
			consumer.ConfigError{Field: "ShutdownTimeout", Value: "-1ns", Want: "at least 1ms"},
		},
		"too few": {
			consumer.Config{Concurrency: 3},
			consumer.ConfigError{Field: "Concurrency", Value: "3", Want: concurrency},
		},
		"too many": {
			consumer.Config{Concurrency: 4097},
			consumer.ConfigError{Field: "Concurrency", Value: "4097", Want: concurrency},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var bad *consumer.ConfigError
			if err := c.cfg.Check(); !errors.As(err, &bad) || *bad != c.want {
				t.Errorf("Check returned %v, want %+v", err, c.want)
			}
			// New checks it before anything else: no broker is required.
			_, err := consumer.New(context.Background(), nil, consumer.Schedule, nil, nil, c.cfg)
			if !errors.As(err, &bad) || *bad != c.want {
				t.Errorf("New returned %v, want %+v", err, c.want)
			}
		})
	}
}

// A documented status has its documented meaning, in whatever case it is configured.
func TestFailedStatusesAreUnknown(t *testing.T) {
	for status, ok := range map[schema.Status]bool{
		"transcriptionFailed": true, "a b": true, "é": true, schema.Status(strings.Repeat("s", 64)): true,
		"": false, " a": false, "a ": false, "a\nb": false, "a\x00": false,
		schema.Status(strings.Repeat("s", 65)): false, "processing": false, "Processing": false,
		"PROCESSED": false, "processingfailed": false,
	} {
		err := consumer.Config{FailedStatuses: []schema.Status{"fine", status}}.Check()
		var bad *consumer.ConfigError
		if errors.As(err, &bad) == ok || bad != nil && (bad.Field != "FailedStatuses" || bad.Value != string(status)) {
			t.Errorf("%q: %v, want accepted %t", status, err, ok)
		}
	}
}

func TestConfigAccepts(t *testing.T) {
	const least = 50 * time.Millisecond
	for name, cfg := range map[string]consumer.Config{
		"nothing set": {},
		"the least": {
			Intervals:      consumer.Intervals{Audio: least, Chat: least, Transcript: least},
			RequestTimeout: time.Millisecond, Deadline: least + time.Millisecond, NotFoundGrace: time.Millisecond,
			ShutdownTimeout: time.Millisecond, Concurrency: 4,
		},
		"the most": {Concurrency: 4096},
	} {
		if err := cfg.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestGuidanceIsTheVendors(t *testing.T) {
	want := map[schema.Type]time.Duration{
		schema.Audio: 30 * time.Second, schema.Chat: 5 * time.Second, schema.Transcript: 5 * time.Second,
	}
	three := consumer.Intervals{Audio: 1, Chat: 2, Transcript: 3}
	for i, typ := range schema.Types() {
		if got := consumer.Guidance.Of(typ); got != want[typ] {
			t.Errorf("the guidance for %s is %s, want %s", typ, got, want[typ])
		}
		if got := three.Of(typ); got != time.Duration(i+1) {
			t.Errorf("the interval for %s is %d, want %d", typ, got, i+1)
		}
	}
}
