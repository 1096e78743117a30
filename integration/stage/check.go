package stage

import "statusworker/schema"

// WaitPolls returns when the vendor has received n polls in all.
func (s *Stage) WaitPolls(n int) {
	s.T.Helper()
	s.Check(s.Vendor.WaitPolls(s.Ctx, n))
}

// WaitPollsOf waits until the vendor has received n polls of an interaction.
func (s *Stage) WaitPollsOf(id string, n int) {
	s.T.Helper()
	s.Check(s.Vendor.WaitPollsOf(s.Ctx, id, n))
}

// WaitDrained waits until no message of an interaction is left in the streams of the mode, not even a tombstone.
func (s *Stage) WaitDrained() {
	s.T.Helper()
	for _, name := range s.Mode.Streams(ns) {
		s.Until(name+" to be empty", func() bool {
			state, err := s.Broker.Stream(s.Ctx, name)
			s.Check(err)
			return state.Messages == 0
		})
	}
}

// CheckIntervals logs the mean and the shortest time between two polls of an interaction, by type. It fails the test if
// the vendor received two polls of an interaction closer together than its interval. It also fails if no interaction
// was polled twice, or one whose type the stage does not know: then it proves nothing.
func (s *Stage) CheckIntervals() {
	s.T.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	compared := false
	for _, typ := range schema.Types() {
		gap, id, ok := s.Vendor.MinGapOf(func(id string) bool { return s.types[id] == typ })
		if !ok {
			continue
		}
		compared = true
		interval := s.Config.Intervals.Of(typ)
		if mean, n := s.Vendor.MeanGapOf(func(id string) bool { return s.types[id] == typ }); n > 0 {
			s.T.Logf("type=%s mean_gap=%.3fs min_gap=%.3fs interval=%.3fs", typ, mean.Seconds(), gap.Seconds(),
				interval.Seconds())
		}
		if gap < interval {
			s.T.Errorf("%s was polled twice within %s, the interval is %s", id, gap, interval)
		}
	}
	if !compared {
		s.T.Error("no interaction was polled twice: there is no gap to compare with the interval")
	}
	if _, id, ok := s.Vendor.MinGapOf(func(id string) bool { return !s.types[id].Valid() }); ok {
		s.T.Errorf("%s was polled twice, and its type is unknown", id)
	}
}
