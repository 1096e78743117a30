package doctor

import "statusworker/consumer"

// Contradictions returns the findings about settings of a worker that do not fit together. They depend on no broker and
// no vendor.
func Contradictions(cfg consumer.Config) (found []Finding) {
	for _, f := range []Finding{judgeDeadline(cfg), judgeGrace(cfg), judgeShutdown(cfg), judgeStretch(cfg)} {
		if f.Result != Pass {
			found = append(found, f)
		}
	}
	return found
}
