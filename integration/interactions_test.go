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

// interaction is a declared interaction, with its script at the vendor and its expected outcomes.
type interaction struct {
	what       string // for messages
	identifier string
	typ        schema.Type
	differ     []schema.Flag // flags that are not at their default
	// script is nil if the vendor does not know the interaction.
	script *simulator.Script
	// message replaces the declared message.
	message string
	kinds   []string // of the expected outcomes
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

// processed returns an interaction for each type and each route. The vendor has processed it after the given time.
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
				panic(err) // only a bug in declaration can cause this
			}
			for _, to := range declared.Destinations() {
				i.kinds = append(i.kinds, "processed."+string(to))
			}
			all = append(all, i)
		}
	}
	return all
}

// failedStatus is a status that the vendor does not document, and that the workers are configured to treat as failed.
const failedStatus = "transcriptionFailed"

// failing returns an interaction for each reason to fail. A failure at the vendor comes after the given time, a missed
// deadline after scaledDeadline, and an unknown identifier after scaledGrace.
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

// confirmable removes interactions that the vendor refuses, if the refusals cannot be confirmed within the deadline:
// with delayed naks, each worker counts refusals for itself.
func (s *scenario) confirmable(all []interaction) []interaction {
	return slices.DeleteFunc(all, func(i interaction) bool {
		return s.mode == consumer.Nak && (i.what == string(schema.NotFound) || i.what == string(schema.Rejected))
	})
}

// mixed returns n interactions with every type and route, and every reason to fail. They end at the vendor within
// longest, none before a fifth of it.
func mixed(n int, longest time.Duration) []interaction {
	var all []interaction
	types := schema.Types()
	for round := 0; len(all) < n; round++ {
		after := longest * time.Duration(1+round%5) / 5
		// Twice as many are processed as fail.
		all = append(all, processed(after)...)
		all = append(all, processed(after)...)
		all = append(all, failing(types[round%len(types)], after)...)
	}
	return all[:n]
}

// lasting returns n interactions that end at the vendor at equal intervals between first and last. One in ten is audio,
// because chats and transcripts are polled more often. One in seven fails.
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

// end returns a script that ends after a time as expected.
func (i interaction) end(after time.Duration) simulator.Script {
	if slices.Contains(i.kinds, failed) {
		return simulator.Failed(schema.StatusProcessingFailed, after)
	}
	return simulator.Processed(after)
}

// endless returns n interactions like those of [lasting] that do not end before [scenario.end].
func endless(n int) []interaction {
	all := lasting(n, 0, 0)
	for i := range all {
		never := simulator.Never()
		all[i].script = &never
	}
	return all
}

// chat returns a chat.
func chat(script *simulator.Script, kinds ...string) interaction {
	return interaction{identifier: uuid.NewString(), typ: schema.Chat, script: script, kinds: kinds}
}

// many returns n chats with the same script, which ends with processed.
func many(n int, script simulator.Script) []interaction {
	all := make([]interaction, n)
	for i := range all {
		all[i] = chat(&script, "processed.cxai")
	}
	return all
}

// ageless removes the interactions that miss their deadline.
func ageless(all []interaction) []interaction {
	return slices.DeleteFunc(all, func(i interaction) bool { return i.what == string(schema.DeadlineExceeded) })
}

// slowed returns the interactions with a delay of every response of the vendor.
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
		// The first fault that applies to a poll is used.
		script.Faults = append(script.Faults, simulator.Fault{Kind: simulator.Delayed, Delay: delay})
		all[n].script = &script
	}
	return all
}
