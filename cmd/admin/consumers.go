package admin

import (
	"cmp"
	"slices"

	"statusworker/cmd/overview"
)

// maxConsumers is the largest number of durable consumers of outcomes in the metrics. Other services choose the number
// and the names of their consumers.
const maxConsumers = 20

var (
	descUnread = describe("outcomes_unread",
		"Outcomes that a durable consumer has not acknowledged, of at most 20 consumers. "+
			"Reported by one worker for all.", "consumer")
	descUnreadOldest = describe("outcomes_unread_oldest_seconds",
		"Age of the oldest outcome that a durable consumer has not acknowledged, or 0, of at most 20 consumers. "+
			"Reported by one worker for all.", "consumer")
	descOutcomesMaxAge = describe("outcomes_max_age_seconds",
		"Age at which the broker deletes outcomes, if there are durable consumers of outcomes. "+
			"Reported by one worker for all.")
)

// consumers reports the durable consumers of outcomes. If there are too many, it reports those whose unread outcomes
// are the oldest.
func (s sink) consumers(all []overview.Consumer) {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b overview.Consumer) int {
		return cmp.Compare(b.OldestSeconds, a.OldestSeconds)
	})
	for _, c := range all[:min(len(all), maxConsumers)] {
		s.gauge(descUnread, float64(c.Unread), c.Name)
		s.gauge(descUnreadOldest, c.OldestSeconds, c.Name)
	}
	if len(all) > 0 && all[0].MaxAgeSeconds > 0 {
		s.gauge(descOutcomesMaxAge, all[0].MaxAgeSeconds)
	}
}
