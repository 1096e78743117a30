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
	checkShutdown  = "shutdown timeout"
	checkStretch   = "stretch"
	checkRateLimit = "rate limit"
)

// judgeTiming judges whether the worker's times are consistent.
func judgeTiming(cfg consumer.Config, w waiting) []Finding {
	return []Finding{
		judgeIntervals(cfg.Intervals),
		judgeDeadline(cfg),
		judgeGrace(cfg),
		showFailedStatuses(cfg),
		judgeShutdown(cfg),
		judgeStretch(cfg),
		judgeRateLimit(cfg, w),
	}
}

// showFailedStatuses shows the statuses, because no check can find a misspelled one.
func showFailedStatuses(cfg consumer.Config) Finding {
	if len(cfg.FailedStatuses) == 0 {
		return pass(checkStatuses, none)
	}
	var names []string
	for _, s := range cfg.FailedStatuses {
		names = append(names, schema.Quote(string(s)))
	}
	return pass(checkStatuses, "%s", strings.Join(names, ", "))
}

func judgeIntervals(have consumer.Intervals) Finding {
	var all, short []string
	for _, t := range schema.Types() {
		all = append(all, fmt.Sprintf("%s %s", t, schema.Duration(have.Of(t))))
		if guidance := consumer.Guidance.Of(t); have.Of(t) < guidance {
			short = append(short, fmt.Sprintf("--%s-interval to %s or more", t, schema.Duration(guidance)))
		}
	}
	if len(short) > 0 {
		return bad(Warn, checkIntervals, "set "+strings.Join(short, ", ")+" before you poll ElevateAI",
			"%s: below ElevateAI's guidance, which is allowed for a vendor on this machine only",
			strings.Join(all, ", "))
	}
	return pass(checkIntervals, "%s", strings.Join(all, ", "))
}

func judgeDeadline(cfg consumer.Config) Finding {
	first := cfg.Intervals.Longest() + cfg.RequestTimeout
	if cfg.Deadline <= first { // the worker rejects one that is no longer than the interval alone
		return bad(Warn, checkDeadline,
			"set --deadline ($STATUSWORKER_DEADLINE) to more than "+schema.Duration(first)+
				", the longest interval plus the request timeout",
			"%s: an interaction can reach its deadline during its first poll", schema.Duration(cfg.Deadline))
	}
	return pass(checkDeadline, "%s", schema.Duration(cfg.Deadline))
}

func judgeGrace(cfg consumer.Config) Finding {
	grace := schema.Duration(cfg.NotFoundGrace)
	if cfg.NotFoundGrace >= cfg.Deadline {
		return bad(Warn, checkGrace,
			"set --not-found-grace ($STATUSWORKER_NOT_FOUND_GRACE) to less than the deadline",
			"%s, not less than the deadline of %s: interactions that ElevateAI does not know end as deadline_exceeded",
			grace, schema.Duration(cfg.Deadline))
	}
	return pass(checkGrace, "%s", grace)
}

func judgeShutdown(cfg consumer.Config) Finding {
	shutdown, request := schema.Duration(cfg.ShutdownTimeout), schema.Duration(cfg.RequestTimeout)
	if cfg.ShutdownTimeout < cfg.RequestTimeout {
		return bad(Warn, checkShutdown,
			"set --shutdown-timeout ($STATUSWORKER_SHUTDOWN_TIMEOUT) to at least the request timeout",
			"%s, less than the request timeout of %s: a shutdown can cancel polls, which are then repeated",
			shutdown, request)
	}
	return pass(checkShutdown, "%s, the request timeout is %s", shutdown, request)
}

func judgeStretch(cfg consumer.Config) Finding {
	const fix = "set --stretch-limit ($STATUSWORKER_STRETCH_LIMIT) "
	limit := schema.Duration(cfg.StretchLimit)
	switch {
	case cfg.Stretch == 0:
		return pass(checkStretch, "off")
	case cfg.StretchLimit >= cfg.Deadline:
		return bad(Warn, checkStretch, fix+"to less than the deadline",
			"waits up to %s, not less than the deadline of %s: the last poll can be long before the deadline",
			limit, schema.Duration(cfg.Deadline))
	case cfg.StretchLimit <= cfg.Intervals.Longest():
		return bad(Warn, checkStretch, fix+"to more than the longest interval, or --stretch to 0",
			"waits up to %s, not more than the interval of %s: it has no effect",
			limit, schema.Duration(cfg.Intervals.Longest()))
	}
	return pass(checkStretch, "%g of the age, up to %s", cfg.Stretch, limit)
}

// judgeRateLimit compares the rate limit with the lowest rate that is sufficient: one poll of each waiting interaction
// in the longest wait.
func judgeRateLimit(cfg consumer.Config, w waiting) Finding {
	if cfg.MaxPollsPerSecond == 0 {
		return pass(checkRateLimit, none)
	}
	if !w.known {
		return skipped("the number of waiting interactions is unknown", "", checkRateLimit)[0]
	}
	wait := cfg.Intervals.Longest()
	if cfg.Stretch > 0 {
		wait = max(wait, cfg.StretchLimit)
	}
	need := float64(w.count) / wait.Seconds()
	f := pass(checkRateLimit, "%g polls/s; the %d waiting interactions need at least %s polls/s",
		cfg.MaxPollsPerSecond, w.count, rate(need))
	if need > cfg.MaxPollsPerSecond {
		f.Result = Warn
		f.Found += ": polls and outcomes are late"
		f.Fix = "raise --max-polls-per-second ($STATUSWORKER_MAX_POLLS_PER_SECOND), or use --stretch"
	}
	return f
}

// rate formats polls per second with two significant digits.
func rate(r float64) string {
	if r >= 100 {
		return fmt.Sprintf("%.0f", r)
	}
	return fmt.Sprintf("%.2g", r)
}
