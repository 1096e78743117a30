package lifecycle

import (
	"slices"
	"time"

	"statusworker/schema"
)

// ns is the namespace of the tests.
var ns = schema.DefaultNamespace

// Times of the walk: three generations, and times between and after them.
var (
	epoch       = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	generations = []time.Time{at(10), at(20), at(30)}
)

func at(hours int) time.Time { return epoch.Add(time.Duration(hours) * time.Hour) }

// reservedOptions returns all messages that may be stored as a reservation or as a due message.
func reservedOptions(numbers ...uint64) []*Reserved {
	replay := &Reserved{
		Position: Position{Generation: at(20), Number: 1}, Sequence: 1, Stored: at(21), Due: at(22), Replays: at(10),
	}
	all := []*Reserved{nil, {Sequence: 1, Stored: at(25)}, replay}
	for _, g := range generations {
		for _, n := range numbers {
			for _, tombstone := range []bool{false, true} {
				all = append(all, &Reserved{
					Position:  Position{Generation: g, Number: n},
					Sequence:  1,
					Stored:    g.Add(time.Hour),
					Due:       g.Add(2 * time.Hour),
					Tombstone: tombstone,
				})
			}
		}
	}
	return all
}

func dead(generation, stored time.Time, r schema.Reason) Outcome {
	return Outcome{
		Subject:    ns.FailedSubject(r, "i"),
		Stored:     stored,
		Reason:     r,
		Generation: generation,
		Source:     ns.DeclaredSubject(schema.Chat, "i"),
	}
}

func event(generation, stored time.Time, d schema.Destination) Outcome {
	return Outcome{Subject: ns.ProcessedSubject(d, "i"), Stored: stored, Destination: d, Generation: generation}
}

// outcomeOptions returns all sets of outcomes. Each generation has no outcome, a dead letter that was stored before or
// after the next generation was declared, one processed event, or both. Each set also exists with messages that are not
// outcomes of the interaction.
func outcomeOptions() [][]Outcome {
	sets := [][]Outcome{
		nil,
		{
			{Subject: ns.ProcessedSubject(schema.Unrouted, "i"), Stored: at(12), Destination: schema.Unrouted},
		},
		{
			dead(at(15), at(16), schema.InvalidMessage),
			{Subject: ns.FailedSubject(schema.NotFound, "i"), Stored: at(40), Reason: schema.NotFound},
		},
	}
	for _, g := range generations {
		var next [][]Outcome
		for _, with := range sets {
			for _, of := range [][]Outcome{
				nil,
				{dead(g, g.Add(5*time.Hour), schema.Rejected)},
				{dead(g, g.Add(15*time.Hour), schema.Rejected)},
				{event(g, g.Add(5*time.Hour), schema.ToTranscript)},
				{event(g, g.Add(5*time.Hour), schema.ToTranscript), event(g, g.Add(5*time.Hour), schema.ToCXAI)},
			} {
				next = append(next, slices.Concat(with, of))
			}
		}
		sets = next
	}
	for _, set := range sets {
		for i := range set {
			set[i].Sequence = uint64(i + 1)
		}
	}
	return sets
}
