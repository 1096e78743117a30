package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/provisioning"
	"statusworker/cmd/internal/advice"
	"statusworker/cmd/overview"
	"statusworker/publisher"
	"statusworker/schema/topology"
)

// judgeAccount judges how much of the account's limits is used.
func (t *trial) judgeAccount(r right) Finding {
	subject := r.tries[0].subject
	if t.refused[subject] {
		return skipped("the user may not publish to "+subject, "allow it to check the limits; workers do not need it",
			checkAccount)[0]
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

// fit judges whether the streams and consumers are within the account's limits, as if they were created now: a server
// that restarts does not restore a stream that the limits do not allow, and no change of it is accepted.
func (x *broker) fit(ctx context.Context, js jetstream.JetStream, set topology.Set) Finding {
	if x.trial.refused[x.api.Subject("INFO")] {
		return skipped("the limits of the account are unknown", "see "+checkAccount, checkFit)[0]
	}
	set = set.Add(publisher.Topology(publisher.Choices{MaxAge: publisher.DefaultMaxAge}))
	exceeded, err := provisioning.Exceeded(ctx, js, set, provisioning.Judge)
	if err != nil {
		return skipped(err.Error(), "", checkFit)[0]
	}
	return judgeFit(exceeded)
}

func judgeFit(exceeded []provisioning.Excess) Finding {
	if len(exceeded) == 0 {
		return pass(checkFit, "the account's limits allow the streams and consumers")
	}
	texts := make([]string, len(exceeded))
	for i, e := range exceeded {
		texts[i] = advice.Exceeded(e)
	}
	return bad(Fail, checkFit,
		"raise the limits, or set the flags with `statusworker provision --update`; NATS does not restore at a "+
			"restart what the limits do not allow",
		"%s", strings.Join(texts, ". "))
}

// The used shares of a limit from which a check warns, and fails.
const (
	warnShare = 0.8
	failShare = 0.97
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
	return judgeUses(checkAccount,
		"raise the account's limits, or keep outcomes for a shorter time (--max-age of `statusworker provision`)", uses)
}

// use is the use of a limit; 0 is no limit.
type use struct {
	what        string
	used, limit uint64
}

// none is the text of a finding if there are no limits, or no objects of the kind that is checked.
const none = "none"

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
		case share >= failShare:
			result = Fail
		case share >= warnShare && result == Pass:
			result = Warn
		}
	}
	if len(words) == 0 {
		return pass(check, none)
	}
	f := pass(check, "%s", strings.Join(words, ", "))
	if result != Pass {
		f.Result, f.Fix = result, fix
	}
	return f
}

// judgeStreamLimits judges how full streams are; those that do not exist are nil. At its limit, the stream of declared
// messages rejects new ones, and the stream of outcomes deletes its oldest. That of reservations would delete its
// oldest as well, so the intake is blocked before that.
func judgeStreamLimits(declared, polls, outcomes *jetstream.StreamInfo, provision string) Finding {
	uses := func(what string, s *jetstream.StreamInfo) []use {
		if s == nil {
			return nil
		}
		return []use{
			{what, s.State.Msgs, uint64(max(0, s.Config.MaxMsgs))},
			{"bytes of " + what, s.State.Bytes, uint64(max(0, s.Config.MaxBytes))},
		}
	}
	waiting := judgeUses(checkStreamLimits,
		"start more workers, or raise the limits (`"+provision+" --update` with --declared-max-msgs or "+
			"--declared-max-bytes): at a limit, declared messages are rejected",
		uses("declared messages", declared))
	raise := "raise the limit (`" + provision + " --update` with --polls-max-bytes)"
	reserved := judgeUses(checkStreamLimits,
		raise+" at once: at the limit, reservations are deleted, and their interactions are lost",
		uses("reservations", polls))
	if reserved.Result == Warn {
		reserved.Result = Fail // what is lost is lost
	}
	if reserved.Result == Pass && polls != nil && overview.NoRoom(polls) {
		reserved.Result, reserved.Fix = Warn, raise+", or wait until interactions end: what is left is reserved for "+
			"the growth of what is stored, so the intake is blocked, and declared messages wait; nothing is lost"
	}
	ended := judgeUses(checkStreamLimits,
		"`"+provision+" --update`, with --outcomes-max-bytes for more bytes: at a limit, the oldest outcomes are "+
			"deleted before their age, or new ones are rejected",
		uses("outcomes", outcomes))
	if ended.Result == Fail {
		ended.Result = Warn
	}
	return merged(waiting, reserved, ended)
}

// merged returns one finding for several of the same check, with the worst result.
func merged(findings ...Finding) Finding {
	all := pass(findings[0].Check, none)
	var found, fixes []string
	for _, f := range findings {
		if f.Result == Pass && f.Found == none {
			continue
		}
		found = append(found, f.Found)
		if f.Fix != "" {
			fixes = append(fixes, f.Fix)
		}
		if all.Result == Pass || f.Result == Fail {
			all.Result = f.Result
		}
	}
	if len(found) > 0 {
		all.Found, all.Fix = strings.Join(found, ", "), strings.Join(fixes, "; ")
	}
	return all
}
