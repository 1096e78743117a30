package doctor

import (
	"fmt"
	"strings"

	"statusworker/consumer"
	"statusworker/schema"
)

// The checks of the configuration.
const (
	checkIntervals = "intervals"
	checkDeadline  = "deadline"
	checkGrace     = "not-found grace"
	checkStatuses  = "failed statuses"
	checkShutdown  = "shutdown time-out"
	checkStretch   = "stretch"
	checkRateLimit = "budget"
)

// judgeTiming says whether the worker's times go together.
func judgeTiming(cfg consumer.Config, h held) []Finding {
	return []Finding{
		judgeIntervals(cfg.Intervals),
		judgeDeadline(cfg),
		judgeGrace(cfg),
		showFailedStatuses(cfg),
		judgeShutdown(cfg),
		judgeStretch(cfg),
		judgeRateLimit(cfg, h),
	}
}

// showFailedStatuses shows what no other check sees: a name that the vendor never gives ends nothing.
func showFailedStatuses(cfg consumer.Config) Finding {
	if len(cfg.FailedStatuses) == 0 {
		return pass(checkStatuses, "none")
	}
	var names []string
	for _, s := range cfg.FailedStatuses {
		names = append(names, schema.Quote(string(s)))
	}
	return pass(checkStatuses, "%s", strings.Join(names, ", "))
}

func judgeIntervals(have consumer.Intervals) Finding {
	var words, short []string
	for _, t := range schema.Types() {
		words = append(words, fmt.Sprintf("%s %s", t, schema.Duration(have.Of(t))))
		if have.Of(t) < consumer.Guidance.Of(t) {
			short = append(
				short,
				fmt.Sprintf("--%s-interval to %s or more", t, schema.Duration(consumer.Guidance.Of(t))),
			)
		}
	}
	if len(short) > 0 {
		return bad(
			Warn,
			checkIntervals,
			"set "+strings.Join(short, ", ")+" before it meets the vendor itself",
			"%s: shorter than the vendor's guidance, as is allowed on this machine",
			strings.Join(words, ", "),
		)
	}
	return pass(checkIntervals, "%s", strings.Join(words, ", "))
}

func judgeDeadline(cfg consumer.Config) Finding {
	first := cfg.Intervals.Longest() + cfg.RequestTimeout
	if cfg.Deadline <= first { // one that is no longer than the interval itself is refused
		return bad(
			Warn,
			checkDeadline,
			fmt.Sprintf(
				"set --deadline ($STATUSWORKER_DEADLINE) to more than %s, the longest interval and the request time-out",
				schema.Duration(first),
			),
			"%s: an interaction whose first poll takes long is given up at it",
			schema.Duration(cfg.Deadline),
		)
	}
	return pass(checkDeadline, "%s", schema.Duration(cfg.Deadline))
}

func judgeGrace(cfg consumer.Config) Finding {
	if cfg.NotFoundGrace >= cfg.Deadline {
		return bad(
			Warn,
			checkGrace,
			"set --not-found-grace ($STATUSWORKER_NOT_FOUND_GRACE) to less than the deadline",
			"%s, not less than the deadline of %s: what the vendor does not know ends as deadline_exceeded",
			schema.Duration(cfg.NotFoundGrace),
			schema.Duration(cfg.Deadline),
		)
	}
	return pass(checkGrace, "%s", schema.Duration(cfg.NotFoundGrace))
}

func judgeShutdown(cfg consumer.Config) Finding {
	if cfg.ShutdownTimeout < cfg.RequestTimeout {
		return bad(
			Warn,
			checkShutdown,
			"set --shutdown-timeout ($STATUSWORKER_SHUTDOWN_TIMEOUT) to at least the request time-out",
			"%s, less than the request time-out of %s: polls are cut off at every stop, and made again",
			schema.Duration(cfg.ShutdownTimeout),
			schema.Duration(cfg.RequestTimeout),
		)
	}
	return pass(
		checkShutdown,
		"%s, the request time-out is %s",
		schema.Duration(cfg.ShutdownTimeout),
		schema.Duration(cfg.RequestTimeout),
	)
}

func judgeStretch(cfg consumer.Config) Finding {
	const fix = "set --stretch-limit ($STATUSWORKER_STRETCH_LIMIT) "
	switch {
	case cfg.Stretch == 0:
		return pass(checkStretch, "off")
	case cfg.StretchLimit >= cfg.Deadline:
		return bad(
			Warn,
			checkStretch,
			fix+"to less than the deadline",
			"waits of up to %s, not less than the deadline of %s: the last poll before it can be far away",
			schema.Duration(cfg.StretchLimit),
			schema.Duration(cfg.Deadline),
		)
	case cfg.StretchLimit <= cfg.Intervals.Longest():
		return bad(
			Warn,
			checkStretch,
			fix+"to more than the longest interval, or --stretch to 0",
			"waits of up to %s, not more than the interval of %s: it does nothing",
			schema.Duration(cfg.StretchLimit),
			schema.Duration(cfg.Intervals.Longest()),
		)
	}
	return pass(checkStretch, "%g of the age, up to %s", cfg.Stretch, schema.Duration(cfg.StretchLimit))
}

// judgeRateLimit compares the rate limit with the least that is needed: each interaction polled once in the longest
// wait.
func judgeRateLimit(cfg consumer.Config, h held) Finding {
	if cfg.MaxPollsPerSecond == 0 {
		return pass(checkRateLimit, "no bound")
	}
	if !h.known {
		return skipped("it is not known how much is held back", "", checkRateLimit)[0]
	}
	wait := cfg.Intervals.Longest()
	if cfg.Stretch > 0 {
		wait = max(wait, cfg.StretchLimit)
	}
	need := float64(h.count) / wait.Seconds()
	if need > cfg.MaxPollsPerSecond {
		return bad(
			Warn,
			checkRateLimit,
			"raise --max-polls-per-second ($STATUSWORKER_MAX_POLLS_PER_SECOND), or use --stretch: polls come late, and so do outcomes",
			"%g polls/s; the %d interactions that are held back take %s polls/s at least",
			cfg.MaxPollsPerSecond,
			h.count,
			rate(need),
		)
	}
	return pass(
		checkRateLimit,
		"%g polls/s; the %d interactions that are held back take %s at least",
		cfg.MaxPollsPerSecond,
		h.count,
		rate(need),
	)
}

// rate writes polls a second with two digits that count.
func rate(r float64) string {
	if r >= 100 {
		return fmt.Sprintf("%.0f", r)
	}
	return fmt.Sprintf("%.2g", r)
}
