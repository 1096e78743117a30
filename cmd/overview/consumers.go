package overview

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/permission"
	"statusworker/schema"
)

// Consumer is the state of a durable consumer of outcomes.
type Consumer struct {
	Name string `json:"name"`
	// Unread is the number of outcomes that it has not acknowledged. Unacked is how many of these were delivered to it.
	Unread  uint64 `json:"unread"`
	Unacked int    `json:"unacked"`
	// OldestSeconds is the age of the oldest of Unread, or 0.
	OldestSeconds float64 `json:"oldestSeconds"`
	// MaxAgeSeconds is the age at which the broker deletes outcomes; 0 if they do not expire.
	MaxAgeSeconds float64 `json:"maxAgeSeconds"`
	// PausedUntil is when a consumer that an operator has paused delivers again.
	PausedUntil *time.Time `json:"pausedUntil,omitempty"`
}

const (
	// expireSoon is the part of the maximum age from which unread outcomes are reported. The alert
	// StatusworkerOutcomesUnread has the same.
	expireSoon = 0.75
	// MaxConsumers is the largest number of durable consumers of outcomes that are read. By default, nats-server allows
	// as many for a stream.
	MaxConsumers = 1000
	// maxFilters is the largest number of filters of a consumer for which the first message is read. A consumer with
	// more, such as one for single interactions, may show an oldest outcome that is too young.
	maxFilters = 16
	// deniedPause is the pause after a request that the broker denied, because the server logs each violation.
	deniedPause = 5 * time.Minute
)

// ExpiresSoon reports whether the broker will soon delete an outcome that the consumer has not acknowledged.
func (c Consumer) ExpiresSoon() bool {
	return c.MaxAgeSeconds > 0 && c.OldestSeconds > expireSoon*c.MaxAgeSeconds
}

// LeftSeconds is when the broker deletes the oldest of Unread, if outcomes expire.
func (c Consumer) LeftSeconds() float64 { return max(0, c.MaxAgeSeconds-c.OldestSeconds) }

// reading has the durable consumers of outcomes that were read last.
type reading struct {
	consumers []Consumer
	denied    []string // the subject that the broker denied
	again     time.Time
}

// read reads the consumers again, unless that would take too much of the broker's time. Only if required, a missing
// permission is an error.
func (r *reading) read(
	ctx context.Context, js jetstream.JetStream, now func() time.Time, outcomes jetstream.Stream, at time.Time,
	required bool,
) error {
	began := now()
	if outcomes == nil {
		*r = reading{}
		return nil
	}
	if began.Before(r.again) {
		return nil
	}
	all, err := ReadConsumers(ctx, js, outcomes, at)
	switch v := (*permission.Violation)(nil); {
	case err == nil:
		*r = reading{consumers: all, again: now().Add(countPause * now().Sub(began))}
	case !required && errors.As(err, &v):
		*r = reading{denied: []string{v.Subject}, again: now().Add(deniedPause)}
	default:
		return err
	}
	return nil
}

// ReadConsumers reads the durable consumers of the outcomes stream, sorted by name, and the first outcome that each has
// not acknowledged.
func ReadConsumers(ctx context.Context, js jetstream.JetStream, outcomes jetstream.Stream, at time.Time) (
	[]Consumer, error,
) {
	infos, err := durables(ctx, js, outcomes.CachedInfo().Config.Name)
	if err != nil {
		return nil, err
	}
	var all []Consumer
	for _, info := range infos {
		c := Consumer{
			Name: info.Name, Unread: info.NumPending + uint64(info.NumAckPending), Unacked: info.NumAckPending,
			MaxAgeSeconds: outcomes.CachedInfo().Config.MaxAge.Seconds(), PausedUntil: pausedUntil(info),
		}
		if c.Unread > 0 {
			first, err := firstUnread(ctx, outcomes, info)
			if err != nil {
				return nil, fmt.Errorf("reading the first unread outcome of consumer %s: %w", schema.Quote(c.Name), err)
			}
			if !first.IsZero() {
				c.OldestSeconds = seconds(at.Sub(first))
			}
		}
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b Consumer) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// firstUnread returns when the first message was stored that a consumer has not settled, or the zero time.
func firstUnread(ctx context.Context, stream jetstream.Stream, c *jetstream.ConsumerInfo) (time.Time, error) {
	after := c.AckFloor.Stream
	if c.NumAckPending == 0 {
		after = max(after, c.Delivered.Stream)
	}
	filters := c.Config.FilterSubjects
	if len(filters) == 0 {
		filters = []string{cmp.Or(c.Config.FilterSubject, ">")}
	}
	var first time.Time
	for _, filter := range filters[:min(len(filters), maxFilters)] {
		m, err := stream.GetMsg(ctx, after+1, jetstream.WithGetMsgSubject(filter))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return first, err
		}
		if first.IsZero() || m.Time.Before(first) {
			first = m.Time
		}
	}
	return first, nil
}

// durables reads the state of the durable consumers of a stream, at most [MaxConsumers] of them.
func durables(ctx context.Context, js jetstream.JetStream, stream string) ([]*jetstream.ConsumerInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, countWithin)
	defer cancel()
	var all []*jetstream.ConsumerInfo
	for offset := 0; ; {
		request, err := json.Marshal(map[string]any{"offset": offset})
		if err != nil {
			return nil, err
		}
		m, err := permission.RequestAPI(ctx, js, request, "CONSUMER.LIST", stream)
		if err != nil {
			return nil, fmt.Errorf("reading the consumers of %s: %w", stream, err)
		}
		var answer struct {
			Error     *jetstream.APIError       `json:"error"`
			Total     int                       `json:"total"`
			Consumers []*jetstream.ConsumerInfo `json:"consumers"`
		}
		if err := json.Unmarshal(m.Data, &answer); err != nil {
			return nil, fmt.Errorf("reading the consumers of %s: %w", stream, err)
		}
		if answer.Error != nil {
			return nil, fmt.Errorf("reading the consumers of %s: %w", stream, answer.Error)
		}
		for _, info := range answer.Consumers {
			if info.Config.Durable != "" && len(all) < MaxConsumers {
				all = append(all, info)
			}
		}
		offset += len(answer.Consumers)
		if len(answer.Consumers) == 0 || offset >= answer.Total || len(all) == MaxConsumers {
			return all, nil
		}
	}
}
