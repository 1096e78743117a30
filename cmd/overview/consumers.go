package overview

import (
	"cmp"
	"context"
	"encoding/json"
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
	// Unread is the number of outcomes that it has not acknowledged. Out is how many of these are pending deliveries.
	Unread uint64 `json:"unread"`
	Out    int    `json:"out"`
	// Expiring is how many of Unread the broker deletes within ExpiringSeconds, a quarter of the maximum age of
	// outcomes. Both are 0 if outcomes do not expire.
	Expiring        uint64  `json:"expiring"`
	ExpiringSeconds float64 `json:"expiringSeconds"`
	// PausedUntil is when a consumer that an operator has paused delivers again.
	PausedUntil *time.Time `json:"pausedUntil,omitempty"`
}

const (
	// expireSoon is the last part of the maximum age in which unread outcomes are reported.
	expireSoon = 4
	// MaxConsumers is the largest number of durable consumers of outcomes that are shown.
	MaxConsumers = 100
)

// CountConsumers reads the durable consumers of the outcomes stream, sorted by name, and makes the broker count their
// outcomes that will expire soon after at.
func CountConsumers(ctx context.Context, js jetstream.JetStream, outcomes jetstream.Stream, at time.Time) (
	[]Consumer, error,
) {
	maxAge := outcomes.CachedInfo().Config.MaxAge
	soon := maxAge / expireSoon
	infos, err := durables(ctx, js, schema.StreamOutcomes)
	if err != nil {
		return nil, err
	}
	var all []Consumer
	for _, info := range infos {
		c := Consumer{
			Name: info.Name, Unread: info.NumPending + uint64(info.NumAckPending), Out: info.NumAckPending,
			ExpiringSeconds: soon.Seconds(), PausedUntil: pausedUntil(info),
		}
		if maxAge > 0 && c.Unread > 0 {
			filters := info.Config.FilterSubjects
			if info.Config.FilterSubject != "" {
				filters = []string{info.Config.FilterSubject}
			}
			young, err := messages(ctx, js, filters, at.Add(soon-maxAge))
			if err != nil {
				return nil, err
			}
			c.Expiring = c.Unread - min(c.Unread, young)
		}
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b Consumer) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
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
		subject := jetstream.DefaultAPIPrefix + "CONSUMER.LIST." + stream
		m, err := permission.RequestWithContext(ctx, js.Conn(), subject, request)
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
