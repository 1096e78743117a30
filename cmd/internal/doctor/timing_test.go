package doctor

import (
	"testing"
	"time"

	"statusworker/consumer"
	"statusworker/schema"
)

func TestJudgeTiming(t *testing.T) {
	for _, tt := range []struct {
		name    string
		change  func(*consumer.Config)
		waiting waiting
		warns   string // the check; all others pass
		value   string
	}{
		{name: "defaults", change: func(*consumer.Config) {}},
		{name: "a short audio interval", change: func(c *consumer.Config) { c.Intervals.Audio = time.Second },
			warns: checkIntervals, value: "--audio-interval to 30s"},
		{name: "longer than the guidance", change: func(c *consumer.Config) { c.Intervals.Audio = time.Hour }},
		{name: "a deadline before the end of the first poll", warns: checkDeadline, value: "more than 40s",
			change: func(c *consumer.Config) { c.Deadline, c.NotFoundGrace = 40*time.Second, 30*time.Second }},
		{name: "a deadline just after the first poll",
			change: func(c *consumer.Config) { c.Deadline, c.NotFoundGrace = 41*time.Second, 30*time.Second }},
		{name: "a grace as long as the deadline", change: func(c *consumer.Config) { c.NotFoundGrace = 24 * time.Hour },
			warns: checkGrace, value: "--not-found-grace"},
		{name: "a short shutdown", change: func(c *consumer.Config) { c.ShutdownTimeout = 9 * time.Second },
			warns: checkShutdown, value: "--shutdown-timeout"},
		{name: "stretch", change: func(c *consumer.Config) { c.Stretch = 0.1 }},
		{name: "stretch beyond the deadline", warns: checkStretch, value: "less than the deadline",
			change: func(c *consumer.Config) { c.Stretch, c.StretchLimit = 0.1, 24*time.Hour }},
		{name: "stretch without effect", warns: checkStretch, value: "--stretch to 0",
			change: func(c *consumer.Config) { c.Stretch, c.StretchLimit = 0.1, 30*time.Second }},
		{name: "a sufficient rate limit", waiting: million,
			change: func(c *consumer.Config) { c.MaxPollsPerSecond = 33400 }},
		{name: "a rate limit that is too low", waiting: million, warns: checkRateLimit, value: "33333 polls/s",
			change: func(c *consumer.Config) { c.MaxPollsPerSecond = 33300 }},
		{name: "a rate limit that is sufficient with stretch", waiting: million,
			change: func(c *consumer.Config) { c.MaxPollsPerSecond, c.Stretch = 1700, 0.1 }},
	} {
		cfg := usual
		tt.change(&cfg)
		for _, f := range judgeTiming(cfg, tt.waiting) {
			if f.Check == tt.warns {
				judged(t, tt.name, f, Warn, tt.value)
			} else if f.Check != checkRateLimit || tt.waiting.known {
				judged(t, tt.name, f, Pass)
			}
		}
	}
	limited := usual
	limited.MaxPollsPerSecond = 1
	judged(t, "an unknown number of interactions", judgeRateLimit(limited, waiting{}), Skip)
	judged(t, "no rate limit", judgeRateLimit(usual, waiting{}), Pass, none)
}

var (
	usual = consumer.Config{
		Intervals: consumer.Guidance, RequestTimeout: 10 * time.Second, Deadline: 24 * time.Hour,
		NotFoundGrace: 5 * time.Minute, ShutdownTimeout: 20 * time.Second, StretchLimit: 10 * time.Minute,
	}
	million = waiting{known: true, count: 1e6}
)

func TestFailedStatusesAreShown(t *testing.T) {
	judged(t, "none", showFailedStatuses(consumer.Config{}), Pass, none)
	two := consumer.Config{FailedStatuses: []schema.Status{"transcriptionFailed", "gone"}}
	judged(t, "two", showFailedStatuses(two), Pass, schema.Quote("transcriptionFailed"), schema.Quote("gone"))
}
