package doctor

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// judgeAccount says how much of the account's limits is used.
func (t *trial) judgeAccount(r right) Finding {
	subject := r.tries[0].subject
	if t.refused[subject] {
		return skipped("the user may not publish "+subject, "allow it to have the limits checked; a worker does not need it", checkAccount)[0]
	}
	var info jetstream.AccountInfo
	problem, ok := t.decode(subject, &info)
	if !ok || problem.Code != 0 {
		return skipped("no answer to "+subject+" "+problem.Description, "", checkAccount)[0]
	}
	tiers := map[string]jetstream.Tier{"": info.Tier}
	for name, tier := range info.Tiers {
		tiers[name] = tier
	}
	return judgeLimits(tiers)
}

// The shares of a limit that are worth a warning, and a failure.
const (
	nearly = 0.8
	full   = 0.97
)

func judgeLimits(tiers map[string]jetstream.Tier) Finding {
	var uses []use
	for name, t := range tiers {
		if name != "" {
			name = " (" + name + ")"
		}
		uses = append(uses, use{"storage" + name, t.Store, uint64(max(0, t.Limits.MaxStore))},
			use{"memory" + name, t.Memory, uint64(max(0, t.Limits.MaxMemory))})
	}
	return judgeUses(
		checkAccount,
		"raise the account's limits, or let outcomes go sooner (--max-age of `statusworker provision`)",
		uses,
	)
}

// use is how much of something is used; a limit of 0 is none.
type use struct {
	what        string
	used, limit uint64
}

// noLimits is what there is to say of uses without a limit, and where nothing was found.
const noLimits = "none"

func judgeUses(check, fix string, uses []use) Finding {
	result := Pass
	var words []string
	slices.SortFunc(uses, func(a, b use) int { return strings.Compare(a.what, b.what) })
	for _, u := range uses {
		if u.limit == 0 {
			continue
		}
		share := float64(u.used) / float64(u.limit)
		words = append(words, fmt.Sprintf("%s %d of %d (%.0f %%)", u.what, u.used, u.limit, 100*share))
		switch {
		case share >= full:
			result = Fail
		case share >= nearly && result == Pass:
			result = Warn
		}
	}
	if len(words) == 0 {
		return pass(check, noLimits)
	}
	f := pass(check, "%s", strings.Join(words, ", "))
	if result != Pass {
		f.Result, f.Fix = result, fix
	}
	return f
}

// judgeStreamLimits says how full the streams are: the one at whose limit producers are refused, and the one that lets
// its oldest go at it.
func judgeStreamLimits(declared, outcomes *jetstream.StreamInfo, provision string) Finding {
	uses := func(what string, s *jetstream.StreamInfo) []use {
		if s == nil {
			return nil
		}
		return []use{
			{what, s.State.Msgs, uint64(max(0, s.Config.MaxMsgs))},
			{"bytes of " + what, s.State.Bytes, uint64(max(0, s.Config.MaxBytes))},
		}
	}
	waiting := judgeUses(
		checkStreamLimits,
		"start more workers, or raise the bounds (`"+provision+" --update` with --declared-max-msgs or --declared-max-bytes): producers are refused at them",
		uses("declared messages", declared),
	)
	ended := judgeUses(
		checkStreamLimits,
		"`"+provision+" --update`, with --outcomes-max-bytes for more bytes: at a bound the oldest outcomes go before their age, or no more are stored",
		uses("outcomes", outcomes),
	)
	if ended.Result == Fail {
		ended.Result = Warn
	}
	switch {
	case ended.Result == Pass && ended.Found == noLimits:
		return waiting
	case waiting.Result == Pass && waiting.Found == noLimits:
		return ended
	case waiting.Result == Pass:
		waiting.Result = ended.Result
	}
	waiting.Found += ", " + ended.Found
	waiting.Fix = strings.Join(
		slices.DeleteFunc([]string{waiting.Fix, ended.Fix}, func(s string) bool { return s == "" }),
		"; ",
	)
	return waiting
}
