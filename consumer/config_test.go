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
	for _, c := range []struct {
		name   string
		change func(*consumer.Config)
		want   string
	}{
		{"audio", func(c *consumer.Config) { c.Intervals.Audio = 49 * time.Millisecond }, "consumer: Intervals.Audio is 49ms, want at least 50ms"},
		{"chat", func(c *consumer.Config) { c.Intervals.Chat = -time.Second }, "consumer: Intervals.Chat is -1s, want at least 50ms"},
		{"transcript", func(c *consumer.Config) { c.Intervals.Transcript = 1 }, "consumer: Intervals.Transcript is 1ns, want at least 50ms"},
		{"so much that times run over", func(c *consumer.Config) { c.Intervals.Audio, c.Deadline = 1<<62, 1<<63-1 }, "consumer: Intervals.Audio is 1281023h53m38.427387904s, want at most 3650d"},
		{"request timeout", func(c *consumer.Config) { c.RequestTimeout = -1 }, "consumer: RequestTimeout is -1ns, want at least 1ms"},
		{"request timeout of an hour", func(c *consumer.Config) { c.RequestTimeout = time.Hour }, "consumer: RequestTimeout is 1h, want at most 1m"},
		{"deadline", func(c *consumer.Config) { c.Deadline = time.Microsecond }, "consumer: Deadline is 1µs, want at least 1ms"},
		{"deadline of an interval", func(c *consumer.Config) { c.Deadline = 30 * time.Second }, "consumer: Deadline is 30s, want more than 30s, the longest interval: every interaction would be given up at its first poll"},
		{"grace", func(c *consumer.Config) { c.NotFoundGrace = -time.Hour }, "consumer: NotFoundGrace is -1h, want at least 1ms"},
		{"shutdown", func(c *consumer.Config) { c.ShutdownTimeout = -1 }, "consumer: ShutdownTimeout is -1ns, want at least 1ms"},
		{"too few", func(c *consumer.Config) { c.Concurrency = 3 }, "consumer: Concurrency is 3, want 4 to 4096: one for the intake and one for each lane at least"},
		{"too many", func(c *consumer.Config) { c.Concurrency = 4097 }, "consumer: Concurrency is 4097, want 4 to 4096: one for the intake and one for each lane at least"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var cfg consumer.Config
			c.change(&cfg)
			err := cfg.Check()
			if bad := (*consumer.ConfigError)(nil); !errors.As(err, &bad) || err.Error() != c.want {
				t.Errorf("Check gave %v, want %s", err, c.want)
			}
			// New looks at it before anything else: it needs no broker to refuse.
			if _, newErr := consumer.New(context.Background(), nil, consumer.Schedule, nil, nil, cfg); newErr == nil || newErr.Error() != c.want {
				t.Errorf("New gave %v, want %s", newErr, c.want)
			}
		})
	}
}

// A status that is documented means what the documentation says, in whatever case it is written here.
func TestFailedStatusesAreUndocumented(t *testing.T) {
	for status, ok := range map[schema.Status]bool{
		"transcriptionFailed": true, "a b": true, "é": true, schema.Status(strings.Repeat("s", 64)): true,
		"": false, " a": false, "a ": false, "a\nb": false, "a\x00": false, schema.Status(strings.Repeat("s", 65)): false,
		"processing": false, "Processing": false, "PROCESSED": false, "processingfailed": false,
	} {
		err := consumer.Config{FailedStatuses: []schema.Status{"fine", status}}.Check()
		if bad := (*consumer.ConfigError)(nil); errors.As(err, &bad) == ok || bad != nil && (bad.Field != "FailedStatuses" || bad.Value != string(status)) {
			t.Errorf("%q: %v, want accepted %t", status, err, ok)
		}
	}
}

func TestConfigAccepts(t *testing.T) {
	for name, cfg := range map[string]consumer.Config{
		"nothing set": {},
		"the least": {
			Intervals:      consumer.Intervals{Audio: 50 * time.Millisecond, Chat: 50 * time.Millisecond, Transcript: 50 * time.Millisecond},
			RequestTimeout: time.Millisecond, Deadline: 51 * time.Millisecond, NotFoundGrace: time.Millisecond, ShutdownTimeout: time.Millisecond, Concurrency: 4,
		},
		"the most": {Concurrency: 4096},
	} {
		if err := cfg.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestGuidanceIsTheVendors(t *testing.T) {
	want := map[schema.Type]time.Duration{schema.Audio: 30 * time.Second, schema.Chat: 5 * time.Second, schema.Transcript: 5 * time.Second}
	for _, typ := range schema.Types() {
		if got := consumer.Guidance.Of(typ); got != want[typ] {
			t.Errorf("the guidance for %s is %s, want %s", typ, got, want[typ])
		}
	}
	three := consumer.Intervals{Audio: 1, Chat: 2, Transcript: 3}
	for i, typ := range schema.Types() {
		if got := three.Of(typ); got != time.Duration(i+1) {
			t.Errorf("the interval for %s is %d, want %d", typ, got, i+1)
		}
	}
}
