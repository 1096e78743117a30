package dlq

import (
	"context"
	"slices"
	"strings"

	"statusworker/schema"
	"statusworker/schema/broker"
)

// Count is the number of dead letters of a reason.
type Count struct {
	// Reason is empty for messages that are not dead letters of statusworker, if the broker counted them.
	Reason schema.Reason
	N      int
}

// Count counts the dead letters of a selection by reason, without the reasons that have none. The broker counts them,
// unless the filter has names, types or a detail: then all dead letters that may match are read.
func (s *Selection) Count(ctx context.Context) ([]Count, error) {
	f := s.filter
	if len(f.Names) > 0 || len(f.Types) > 0 || f.Detail != "" {
		return s.countRead(ctx)
	}
	reasons := f.Reasons
	if len(reasons) == 0 {
		reasons = schema.Reasons()
	}
	var counts []Count
	sum := 0
	for _, r := range slices.Compact(slices.Sorted(slices.Values(reasons))) {
		n, err := s.countOn(ctx, s.queue.names.FailedSubject(r, "*"))
		if err != nil {
			return nil, err
		}
		if sum += n; n > 0 {
			counts = append(counts, Count{r, n})
		}
	}
	if len(f.Reasons) > 0 {
		return counts, nil
	}
	all, err := s.countOn(ctx, f.subjects(s.queue.names, nil)[0])
	if all > sum {
		counts = append(counts, Count{N: all - sum})
	}
	return counts, err
}

// countOn returns the number of messages of the selection on subjects.
func (s *Selection) countOn(ctx context.Context, subjects string) (int, error) {
	end := broker.Range{Subjects: []string{subjects}, From: s.last + 1}
	if !s.to.IsZero() {
		end.From, end.Since = 0, s.to
	}
	n := 0
	for _, part := range []struct {
		broker.Range
		sign int
	}{{broker.Range{Subjects: end.Subjects, Since: s.from}, 1}, {end, -1}} {
		err := s.queue.retry(ctx, func(ctx context.Context) error {
			found, err := s.queue.broker.Count(ctx, s.queue.names.StreamOutcomes(), part.Range)
			n += part.sign * int(found)
			return err
		})
		if err != nil {
			return 0, err
		}
	}
	return max(0, n), nil
}

// countRead reads and counts the dead letters.
func (s *Selection) countRead(ctx context.Context) (counts []Count, err error) {
	err = s.Each(ctx, func(l DeadLetter) error {
		i := slices.IndexFunc(counts, func(c Count) bool { return c.Reason == l.Reason })
		if i < 0 {
			i, counts = len(counts), append(counts, Count{Reason: l.Reason})
		}
		counts[i].N++
		return nil
	})
	slices.SortFunc(counts, func(a, b Count) int { return strings.Compare(string(a.Reason), string(b.Reason)) })
	return counts, err
}
