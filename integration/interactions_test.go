package integration

import (
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"statusworker/consumer"
	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

// interaction is one that is declared, with its life at the vendor and what shall become of it.
type interaction struct {
	what       string
	identifier string
	typ        schema.Type
	differ     []schema.Flag // from their default
	// script is its life at the vendor; nil means that the vendor does not know it.
	script *simulator.Script
	// message replaces the declared message.
	message string
	kinds   []string
}

func (i interaction) declaration() []byte {
	if i.message != "" {
		return []byte(i.message)
	}
	message := fmt.Appendf(nil, `{"interactionIdentifier":%q,"type":%q`, i.identifier, i.typ)
	for _, f := range i.differ {
		message = fmt.Appendf(message, `,%q:%t`, f, !f.Default())
	}
	return append(message, '}')
}

// processed gives one interaction that is processed after a time, for each type and each route.
func processed(after time.Duration) []interaction {
	var all []interaction
	for _, typ := range schema.Types() {
		for n := range len(schema.Flags()) + 1 {
			script := simulator.Processed(after)
			i := interaction{what: "processed", identifier: uuid.NewString(), typ: typ, script: &script}
			if n > 0 {
				i.differ = schema.Flags()[n-1 : n]
			}
			declared, err := schema.Decode(i.declaration())
			if err != nil {
				panic(err) // the message is this file's own
			}
			for _, to := range declared.Destinations() {
				i.kinds = append(i.kinds, "processed."+string(to))
			}
			all = append(all, i)
		}
	}
	return all
}

// failedStatus is one that the vendor's documentation does not know, and that the workers are given as a failure.
const failedStatus = "transcriptionFailed"

// failing gives one interaction for each reason to fail. The vendor's failures come after a time, a missed deadline and
// an unknown identifier after scaledDeadline and scaledGrace.
func failing(typ schema.Type, after time.Duration) []interaction {
	var all []interaction
	add := func(reason schema.Reason, message string, script *simulator.Script) {
		all = append(all, interaction{
			what: string(reason), identifier: uuid.NewString(), typ: typ, script: script, message: message,
			kinds: []string{"failed." + string(reason)},
		})
	}
	for _, status := range schema.Statuses() {
		if status.Meaning() == schema.Failed {
			script := simulator.Failed(status, after)
			add(status.Reason(), "", &script)
		}
	}
	named := simulator.Constant(failedStatus)
	add(schema.VendorFailed, "", &named)
	never := simulator.Never()
	rejected := simulator.Never().With(simulator.Refusal(400))
	add(schema.NotFound, "", nil)
	add(schema.Rejected, "", &rejected)
	add(schema.DeadlineExceeded, "", &never)
	add(schema.InvalidMessage, `{"type":`, &never)
	return all
}

// confirmable leaves out what the vendor refuses where the refusals cannot be confirmed within a scenario's deadline:
// with delayed naks each of several workers counts them for itself.
func (s *scenario) confirmable(all []interaction) []interaction {
	return slices.DeleteFunc(all, func(i interaction) bool {
		return s.mode == consumer.Nak && (i.what == string(schema.NotFound) || i.what == string(schema.Rejected))
	})
}

// mixed gives n interactions in turn: every type and route, and every reason to fail (of all types). They end at the
// vendor after a time between a fifth of life and all of it.
func mixed(n int, life time.Duration) []interaction {
	var all []interaction
	types := schema.Types()
	for round := 0; len(all) < n; round++ {
		after := life * time.Duration(1+round%5) / 5
		// Twice as many are processed as fail.
		all = append(all, processed(after)...)
		all = append(all, processed(after)...)
		all = append(all, failing(types[round%len(types)], after)...)
	}
	return all[:n]
}

// lasting gives n interactions that end at the vendor one after the other, in equal steps, the first after one time and
// the last after another. One of ten is audio: chats and transcripts are polled three times as often. One of seven
// fails.
func lasting(n int, first, last time.Duration) []interaction {
	all := make([]interaction, n)
	for i := range all {
		all[i] = interaction{identifier: uuid.NewString(), typ: schema.Transcript, kinds: []string{"processed.cxai"}}
		switch {
		case i%10 == 0:
			all[i].typ = schema.Audio
		case i%2 == 0:
			all[i].typ = schema.Chat
		}
		switch {
		case i%7 == 3:
			all[i].kinds = []string{failed}
		case all[i].typ == schema.Audio:
			all[i].kinds = append(all[i].kinds, "processed.transcript")
		}
		script := all[i].end(first + (last-first)*time.Duration(i)/time.Duration(n))
		all[i].script = &script
	}
	return all
}

const failed = "failed.processing_failed"

// end is a life that ends after a time, in the way that is expected.
func (i interaction) end(after time.Duration) simulator.Script {
	if slices.Contains(i.kinds, failed) {
		return simulator.Failed(schema.StatusProcessingFailed, after)
	}
	return simulator.Processed(after)
}

// endless gives n interactions like [lasting] which do not end before [scenario.end].
func endless(n int) []interaction {
	all := lasting(n, 0, 0)
	for i := range all {
		never := simulator.Never()
		all[i].script = &never
	}
	return all
}

// many gives n chats with the same life, which ends as processed.
func many(n int, script simulator.Script) []interaction {
	all := make([]interaction, n)
	for i := range all {
		all[i] = interaction{identifier: uuid.NewString(), typ: schema.Chat, script: &script, kinds: []string{"processed.cxai"}}
	}
	return all
}

// ageless leaves out what ends by its age.
func ageless(all []interaction) []interaction {
	return slices.DeleteFunc(all, func(i interaction) bool { return i.what == string(schema.DeadlineExceeded) })
}

// slowed makes the vendor take its time for every answer about these.
func slowed(interactions []interaction, delay time.Duration) []interaction {
	all := slices.Clone(interactions)
	for n, i := range all {
		if i.script == nil {
			continue
		}
		script := simulator.Script{Steps: i.script.Steps, Faults: slices.Clone(i.script.Faults)}
		for f := range script.Faults {
			script.Faults[f].Delay = delay
		}
		script.Faults = append(
			script.Faults,
			simulator.Fault{Kind: simulator.Delayed, Delay: delay},
		) // the first that meets a poll counts
		all[n].script = &script
	}
	return all
}
