package provisioning

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/schema/broker"
	"statusworker/schema/topology"
)

// Report has problems that configurations do not show.
type Report struct {
	Foreign     []Foreign     `json:"foreign,omitempty"`
	Undelivered []Undelivered `json:"undelivered,omitempty"`
}

// Foreign is a work queue with consumers that are not in the set. The consumers in the set never get the messages that
// these take. A stream that sources or mirrors the queue has such a consumer.
type Foreign struct {
	Stream    string `json:"stream"`
	Consumers int    `json:"consumers"`
}

func (f Foreign) String() string {
	return fmt.Sprintf("%s: %d foreign consumers, for example of a stream that sources it; no worker gets the "+
		"messages that they take", topology.StreamObject(f.Stream), f.Consumers)
}

// Undelivered is the first message in a work queue that its consumer regards as settled, and so never delivers. More
// may follow it. The cause is a restore, a deleted stream that sourced the queue, or a full disk.
type Undelivered struct {
	Stream   string    `json:"stream"`
	Consumer string    `json:"consumer"`
	Sequence uint64    `json:"sequence"`
	Stored   time.Time `json:"stored"`
}

func (u Undelivered) String() string {
	return fmt.Sprintf("%s: does not deliver stored messages, the first with sequence %d, stored at %s",
		topology.ConsumerObject(u.Stream, u.Consumer), u.Sequence, u.Stored.UTC().Format(time.RFC3339))
}

// settledWithin is how long the broker may take to delete an acknowledged message.
const settledWithin = time.Second

// Inspect looks for consumers that are not in the set, and for messages that those in the set do not deliver. It
// changes nothing. It reports only what a second inspection, after one second, confirms.
func Inspect(ctx context.Context, js jetstream.JetStream, set topology.Set) (Report, error) {
	first, err := inspect(ctx, js, set)
	if err != nil || len(first.Foreign) == 0 && len(first.Undelivered) == 0 {
		return Report{}, err
	}
	select {
	case <-time.After(settledWithin):
	case <-ctx.Done():
		return Report{}, ctx.Err()
	}
	second, err := inspect(ctx, js, set)
	if err != nil {
		return Report{}, err
	}
	return Report{
		Foreign: slices.DeleteFunc(second.Foreign, func(f Foreign) bool {
			return !slices.ContainsFunc(first.Foreign, func(before Foreign) bool { return before.Stream == f.Stream })
		}),
		Undelivered: slices.DeleteFunc(second.Undelivered, func(u Undelivered) bool {
			return !slices.ContainsFunc(first.Undelivered, func(before Undelivered) bool {
				return before.Stream == u.Stream && before.Consumer == u.Consumer && before.Sequence == u.Sequence
			})
		}),
	}, nil
}

func inspect(ctx context.Context, js jetstream.JetStream, set topology.Set) (Report, error) {
	var r Report
	for _, s := range set.Streams {
		if s.Retention != jetstream.WorkQueuePolicy {
			continue
		}
		// Read the consumers before the stream, so that the stream no longer has what they have settled.
		own, err := consumersOf(ctx, js, s.Name, set.Consumers)
		if err != nil {
			return Report{}, err
		}
		unwanted, err := consumersOf(ctx, js, s.Name, set.Unwanted)
		if err != nil {
			return Report{}, err
		}
		stream, err := js.Stream(ctx, s.Name)
		if Absent(err) {
			continue
		}
		if err != nil {
			return Report{}, fmt.Errorf("reading stream %s: %w", s.Name, err)
		}
		if n := stream.CachedInfo().State.Consumers - len(own) - len(unwanted); n > 0 {
			r.Foreign = append(r.Foreign, Foreign{s.Name, n})
		}
		for _, c := range own {
			u, err := undelivered(ctx, stream, c)
			if err != nil {
				return Report{}, err
			}
			if u != nil {
				r.Undelivered = append(r.Undelivered, *u)
			}
		}
	}
	return r, nil
}

// consumersOf reads the consumers of a stream, as far as they exist.
func consumersOf(
	ctx context.Context, js jetstream.JetStream, stream string, of []topology.Consumer,
) ([]*jetstream.ConsumerInfo, error) {
	var infos []*jetstream.ConsumerInfo
	for _, c := range of {
		if c.Stream != stream {
			continue
		}
		have, err := js.Consumer(ctx, stream, c.Config.Durable)
		if Absent(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", topology.ConsumerObject(stream, c.Config.Durable), err)
		}
		infos = append(infos, have.CachedInfo())
	}
	return infos, nil
}

// undelivered returns the first stored message of a consumer if the consumer does not deliver it, or nil.
func undelivered(ctx context.Context, stream jetstream.Stream, c *jetstream.ConsumerInfo) (*Undelivered, error) {
	info := stream.CachedInfo()
	u := Undelivered{Stream: c.Stream, Consumer: c.Name, Sequence: info.State.FirstSeq, Stored: info.State.FirstTime}
	if info.State.Msgs == 0 || !CountsAsAcked(c, u.Sequence) {
		return nil, nil
	}
	if filter := c.Config.FilterSubject; filter != "" {
		m, err := stream.GetMsg(ctx, 1, jetstream.WithGetMsgSubject(filter))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading the first message of %s on %s: %w", c.Stream, filter, err)
		}
		u.Sequence, u.Stored = m.Sequence, m.Time
	}
	if !CountsAsAcked(c, u.Sequence) {
		return nil, nil
	}
	return &u, nil
}

// CountsAsAcked reports whether a consumer counts the message with this sequence as acknowledged: see
// [broker.ConsumerState.CountsAsAcked].
func CountsAsAcked(c *jetstream.ConsumerInfo, sequence uint64) bool {
	state := broker.ConsumerState{
		AckFloor: c.AckFloor.Stream, AckPending: uint64(c.NumAckPending), Delivered: c.Delivered.Stream,
	}
	return state.CountsAsAcked(sequence)
}
