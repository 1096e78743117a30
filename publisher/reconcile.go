package publisher

import (
	"slices"

	"statusworker/schema"
)

// verdict is what reconcile decides.
type verdict struct {
	// missing outcomes are still to be published, the first of them expecting the sequence expected.
	missing  []schema.Outcome
	expected uint64
	// contradiction is the stored outcome that forbids them, or nil.
	contradiction *record
}

// reconcile decides what is left to do for the outcomes of one interaction when these are stored. All of wanted come
// from one life of one interaction: one dead letter, or processed events.
//
//	stored                              wanted              then
//	nothing, or only invalid messages   anything            publish
//	processed event, same destination   processed           that one is done
//	processed event                     dead letter         contradiction
//	dead letter, older life             anything            publish (declared again after it failed)
//	dead letter, same or newer life     same reason         done
//	dead letter, same or newer life     anything else       contradiction
//	invalid message, the same           invalid message     done
//	invalid message, another            invalid message     publish, unless a newer one came by the same subject
func reconcile(wanted []schema.Outcome, stored []record) verdict {
	var v verdict
	var processed []schema.Destination
	var failed, success *record
	invalid := wanted[0].Reason == schema.InvalidMessage
	life := wanted[0].Origin.Stored
	for i, r := range stored {
		v.expected = max(v.expected, r.sequence)
		switch {
		case r.reason == schema.InvalidMessage && !invalid:
		case slices.Contains(schema.Destinations(), r.destination):
			processed = append(processed, r.destination)
			if success == nil || r.life.Equal(life) || !success.life.Equal(life) {
				success = &stored[i]
			}
		case failed == nil || r.life.After(failed.life):
			failed = &stored[i]
		}
	}
	if invalid {
		// Each message has a dead letter of its own. A declared subject takes its next message when the one before is
		// settled, so a newer one from there tells that this one has its dead letter.
		if !slices.ContainsFunc(stored, func(r record) bool {
			return r.life.Equal(life) || r.source == wanted[0].Origin.Subject && r.life.After(life)
		}) {
			v.missing = wanted
		}
		return v
	}
	for _, o := range wanted {
		switch {
		case !o.Failed() && slices.Contains(processed, o.Destination):
		case o.Failed() && success != nil:
			return verdict{contradiction: success}
		case failed == nil || failed.life.Before(life), !o.Failed() && success != nil:
			v.missing = append(v.missing, o)
		case o.Reason == failed.reason:
		default:
			return verdict{contradiction: failed}
		}
	}
	return v
}
