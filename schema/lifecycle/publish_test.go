package lifecycle

import (
	"slices"
	"time"

	"statusworker/schema"
)

func (w *walk) publish(s Snapshot) {
	for _, g := range append([]time.Time{at(15)}, generations...) {
		for _, replays := range []time.Time{{}, at(10), at(20)} {
			if !replays.Before(g) {
				continue
			}
			chat := schema.Outcome{
				Identifier: "i",
				Type:       schema.Audio,
				Origin: schema.Origin{
					Stored: g, Subject: ns.DeclaredSubject(schema.Chat, "i"), Replays: replays,
				},
			}
			rejected, notFound, transcript, cxai, unrouted, invalid := chat, chat, chat, chat, chat, chat
			rejected.Reason, notFound.Reason, invalid.Reason = schema.Rejected, schema.NotFound, schema.InvalidMessage
			transcript.Destination, cxai.Destination = schema.ToTranscript, schema.ToCXAI
			unrouted.Destination = schema.Unrouted
			for _, wanted := range [][]schema.Outcome{
				{rejected}, {notFound}, {transcript, cxai}, {cxai}, {unrouted}, {invalid},
			} {
				w.events++
				w.plan(s, wanted)
			}
		}
	}
}

func (w *walk) plan(s Snapshot, wanted []schema.Outcome) {
	w.t.Helper()
	plan := s.Publish(wanted...)
	var last uint64
	for _, o := range s.Outcomes {
		last = max(last, o.Sequence)
	}
	if plan.Expected != last && plan.Verdict == Store {
		w.fail(s, "the plan expects sequence %d, want %d", plan.Expected, last)
	}
	if len(plan.Missing) > 0 != (plan.Verdict == Store) {
		w.fail(s, "verdict %s with %d missing", plan.Verdict, len(plan.Missing))
	}
	g := wanted[0].Origin.Stored
	if wanted[0].Reason != schema.InvalidMessage {
		again := without(s).Publish(wanted...)
		if again.Verdict != plan.Verdict || len(again.Missing) != len(plan.Missing) {
			w.fail(s, "verdict %s, but %s without messages that are not outcomes", plan.Verdict, again.Verdict)
		}
		w.halfSuccess(s, wanted, plan)
	}
	switch plan.Verdict {
	case Store:
		w.store(s, wanted, plan)
	case Stored:
		for _, o := range wanted {
			if !slices.ContainsFunc(s.Outcomes, func(stored Outcome) bool {
				return stored.Subject == ns.OutcomeSubject(o) && (!o.Failed() || !stored.Generation.Before(g))
			}) {
				w.fail(s, "verdict %s, but %s is not stored", plan.Verdict, ns.OutcomeSubject(o))
			}
		}
	case Contradicted, Superseded:
		if plan.By.Subject == "" || wanted[0].Reason == schema.InvalidMessage {
			w.fail(s, "verdict %s by %+v", plan.Verdict, plan.By)
		}
	default:
		w.fail(s, "unknown verdict %q", plan.Verdict)
	}
	if len(s.Outcomes) == 0 && plan.Verdict != Store {
		w.fail(s, "no outcome is stored, and the verdict is %s", plan.Verdict)
	}
}

// store applies a plan, and checks what is stored afterwards.
func (w *walk) store(s Snapshot, wanted []schema.Outcome, plan Plan) {
	after := s
	after.Outcomes = slices.Clone(s.Outcomes)
	for i, o := range plan.Missing {
		if slices.ContainsFunc(s.Outcomes, func(stored Outcome) bool {
			return o.Destination != "" && stored.Destination == o.Destination && stored.Generation.IsZero()
		}) {
			w.fail(s, "%s is stored a second time", ns.OutcomeSubject(o))
		}
		after.Outcomes = append(after.Outcomes, Outcome{
			Subject:     ns.OutcomeSubject(o),
			Sequence:    plan.Expected + uint64(i) + 1,
			Stored:      at(60),
			Destination: o.Destination,
			Reason:      o.Reason,
			Generation:  o.Origin.Stored,
			Source:      o.Origin.Subject,
		})
	}
	w.oneOutcome(s, after, wanted[0])
	if again := after.Publish(wanted...); again.Verdict != Stored {
		w.fail(after, "verdict %s after the missing outcomes are stored, want %s", again.Verdict, Stored)
	}
}

// halfSuccess checks that a generation with one of its processed events gets the other, whatever else is stored.
func (w *walk) halfSuccess(s Snapshot, wanted []schema.Outcome, plan Plan) {
	g := wanted[0].Origin.Stored
	half := w.half(s, g)
	own := slices.ContainsFunc(
		s.Outcomes,
		func(o Outcome) bool { return counts(o) && o.Reason != "" && o.Generation.Equal(g) },
	)
	if plan.HalfSuccess != (half && wanted[0].Failed()) {
		w.fail(s, "HalfSuccess is %t for %s", plan.HalfSuccess, ns.OutcomeSubject(wanted[0]))
	}
	if half && !wanted[0].Failed() && !own && plan.Verdict != Store && plan.Verdict != Stored {
		w.fail(s, "verdict %s while one processed event of the generation is stored", plan.Verdict)
	}
}

// oneOutcome checks that a generation gets no second outcome, and none after another generation was processed, or was
// dead-lettered after the message of this generation.
func (w *walk) oneOutcome(before, after Snapshot, wanted schema.Outcome) {
	g := wanted.Origin.Stored
	if wanted.Reason == schema.InvalidMessage {
		return
	}
	for _, o := range before.Outcomes {
		switch {
		case !counts(o):
		case o.Generation.Equal(g) && (wanted.Failed() || o.Reason != ""):
			w.fail(after, "generation %v gets a second outcome %s", g, ns.OutcomeSubject(wanted))
		case o.Generation.After(g) && o.Reason != "" && !w.half(before, g):
			w.fail(after, "generation %v gets an outcome after a later generation", g)
		case !o.Generation.Equal(g) && o.Destination != "" && !w.half(before, g):
			w.fail(after, "generation %v gets an outcome after another generation was processed", g)
		case o.Reason != "" && decides(o, Declared{Stored: g, Replays: wanted.Origin.Replays}) && !w.half(before, g):
			w.fail(after, "generation %v gets an outcome after the dead letter %+v", g, o)
		}
	}
}

// half reports whether a processed event of the generation is stored: then the other may always be stored.
func (w *walk) half(s Snapshot, g time.Time) bool {
	return slices.ContainsFunc(s.Outcomes, func(o Outcome) bool { return o.Destination != "" && o.Generation.Equal(g) })
}
