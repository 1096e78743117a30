package doctor

import (
	"slices"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/consumer"
	"statusworker/schema"
)

const checkAnchor = "anchor message"

// judgeAnchor judges whether the anchor is stored, by the state of the polls stream with the number of anchors.
func judgeAnchor(polls *jetstream.StreamInfo, mode consumer.Mode, provision string) Finding {
	const costs = "after an outage, nats-server looks at all due interactions at nearly every pull, and the backlog " +
		"drains more slowly"
	switch {
	case mode == consumer.Nak:
		return pass(checkAnchor, "not needed: redelivery nak has no reservations")
	case !slices.Contains(polls.Config.Subjects, schema.SubjectAnchor):
		return bad(Warn, checkAnchor, "`"+provision+" --update`",
			"%s does not accept the subject %s: %s", schema.StreamPolls, schema.SubjectAnchor, costs)
	case polls.State.Subjects[schema.SubjectAnchor] == 0:
		return bad(Warn, checkAnchor, "`"+provision+"`, or start a worker: both store it",
			"%s has no message on %s: %s", schema.StreamPolls, schema.SubjectAnchor, costs)
	}
	return pass(checkAnchor, "stored on %s", schema.SubjectAnchor)
}
