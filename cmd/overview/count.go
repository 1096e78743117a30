package overview

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
	"golang.org/x/sync/errgroup"

	"statusworker/cmd/broker/permission"
	"statusworker/schema"
)

const (
	lastHour = time.Hour
	// countAtOnce is how many counts are requested concurrently.
	countAtOnce = 2
	// countWithin is how long one count may take.
	countWithin = 5 * time.Second
	// inactive is when the broker deletes a consumer that could not be deleted.
	inactive = 10 * time.Second
)

// counted has the numbers that the broker had to count.
type counted struct {
	at       time.Time
	waiting  map[schema.Type]uint64 // nil if not counted
	outcomes Outcomes
}

// into completes an overview. What waits in all lanes is the sum of the lanes, so that the numbers agree.
func (c *counted) into(s *Overview) {
	s.CountedAt, s.Outcomes = c.at, c.outcomes
	if s.Waiting == nil || c.waiting == nil {
		return
	}
	sum := uint64(0)
	for i := range s.Lanes {
		n := c.waiting[s.Lanes[i].Type]
		s.Lanes[i].Waiting = &n
		sum += n
	}
	s.Waiting = &sum
}

// counting makes the broker count for one overview, and measures how long that takes.
type counting struct {
	js    jetstream.JetStream
	names schema.Namespace
	now   func() time.Time
	took  time.Duration
	// lanes has the numbers of reservations and due messages, by type. It is nil if they are not counted.
	lanes map[schema.Type]uint64
}

func (c *counting) measure(count func() error) error {
	began := c.now()
	err := count()
	c.took += c.now().Sub(began)
	return err
}

// countLanes counts reservations and due messages by type. The caller must read how many are due afterwards: a
// reservation that falls due in between is in both numbers, so that no interaction is missing from their difference.
func (c *counting) countLanes(ctx context.Context) error {
	return c.measure(func() error {
		lanes := map[schema.Type]uint64{}
		for _, t := range schema.Types() {
			n, err := subjects(ctx, c.js, c.names.StreamPolls(), c.names.LaneSubjects(t))
			if err != nil {
				return err
			}
			lanes[t] = n
		}
		c.lanes = lanes
		return nil
	})
}

// end counts the outcomes, if requested, and returns the numbers for an overview with these lanes.
func (c *counting) end(ctx context.Context, at time.Time, lanes []Lane, outcomes bool) (*counted, error) {
	all := &counted{at: at, outcomes: Outcomes{Since: at.Add(-lastHour), LastHour: noCounts(), Stored: noCounts()}}
	if c.lanes != nil {
		all.waiting = map[schema.Type]uint64{}
		for _, l := range lanes {
			n := c.lanes[l.Type]
			all.waiting[l.Type] = n - min(n, l.Due+uint64(l.Unacked))
		}
	}
	if !outcomes {
		return all, nil
	}
	err := c.measure(func() (err error) {
		all.outcomes, err = CountOutcomes(ctx, c.js, c.names, at)
		return err
	})
	return all, err
}

// CountOutcomes makes the broker count all stored outcomes of a namespace, and those of the hour before at.
func CountOutcomes(
	ctx context.Context, js jetstream.JetStream, names schema.Namespace, at time.Time,
) (Outcomes, error) {
	o := Outcomes{Since: at.Add(-lastHour), LastHour: noCounts(), Stored: noCounts()}
	stream := names.StreamOutcomes()
	var mu sync.Mutex
	counting, ctx := errgroup.WithContext(ctx)
	counting.SetLimit(countAtOnce)
	for _, part := range []struct {
		since time.Time
		to    Counts
	}{{o.Since, o.LastHour}, {time.Time{}, o.Stored}} {
		for _, d := range schema.Destinations() {
			counting.Go(func() error {
				n, err := messages(ctx, js, stream, names.ProcessedSubject(d, "*"), part.since)
				mu.Lock()
				defer mu.Unlock()
				part.to.Processed[d] = n
				return err
			})
		}
		for _, r := range schema.Reasons() {
			counting.Go(func() error {
				n, err := messages(ctx, js, stream, names.FailedSubject(r, "*"), part.since)
				mu.Lock()
				defer mu.Unlock()
				part.to.Failed[r] = n
				return err
			})
		}
	}
	return o, counting.Wait()
}

func noCounts() Counts {
	c := Counts{Processed: map[schema.Destination]uint64{}, Failed: map[schema.Reason]uint64{}}
	for _, d := range schema.Destinations() {
		c.Processed[d] = 0
	}
	for _, r := range schema.Reasons() {
		c.Failed[r] = 0
	}
	return c
}

// subjects counts the subjects of a stream that match a pattern. An offset beyond the last subject makes the broker
// send an empty list with the number.
func subjects(ctx context.Context, js jetstream.JetStream, stream, pattern string) (uint64, error) {
	request, err := json.Marshal(map[string]any{"subjects_filter": pattern, "offset": math.MaxInt32})
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, countWithin)
	defer cancel()
	m, err := permission.RequestAPI(ctx, js, request, "STREAM.INFO", stream)
	if err != nil {
		return 0, fmt.Errorf("counting the subjects %s: %w", pattern, err)
	}
	var answer struct {
		Error *jetstream.APIError `json:"error"`
		Total uint64              `json:"total"`
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return 0, fmt.Errorf("counting the subjects %s: %w", pattern, err)
	}
	if answer.Error != nil {
		return 0, fmt.Errorf("counting the subjects %s: %w", pattern, answer.Error)
	}
	return answer.Total, nil
}

// messages counts the outcomes on a pattern that were stored since then, or all if it is zero. It creates a consumer in
// memory, reads its number of pending messages, and deletes it.
func messages(
	ctx context.Context, js jetstream.JetStream, stream, pattern string, since time.Time,
) (uint64, error) {
	cfg := jetstream.ConsumerConfig{
		Name: "status-" + nuid.Next(), Description: "Counts for `statusworker status`", FilterSubject: pattern,
		DeliverPolicy: jetstream.DeliverAllPolicy, AckPolicy: jetstream.AckNonePolicy,
		MemoryStorage: true, Replicas: 1, InactiveThreshold: inactive,
	}
	if !since.IsZero() {
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &since
	}
	c, err := js.CreateConsumer(ctx, stream, cfg)
	if err != nil {
		return 0, fmt.Errorf("counting the outcomes %s: %w", pattern, err)
	}
	n := c.CachedInfo().NumPending
	_ = js.DeleteConsumer(ctx, stream, cfg.Name) // otherwise it expires
	return n, nil
}
