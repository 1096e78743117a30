package interaction

import (
	"context"
	"errors"
	"fmt"
	"time"

	"statusworker/consumer"
	"statusworker/schema/broker"
	"statusworker/schema/lifecycle"
)

// Lane is the NATS consumer that delivers an interaction's next message to a worker. It is empty for an interaction
// that has ended, or whose type is unknown.
type Lane struct{ Stream, Consumer string }

// Lane returns the lane of the interaction.
func (i Interaction) Lane() Lane {
	schedule := i.Redelivery == string(consumer.Schedule)
	switch i.State {
	case lifecycle.StateDeclared:
		if schedule {
			return Lane{i.Namespace.StreamDeclared(), i.Namespace.ConsumerIntake()}
		}
	case lifecycle.StateWaiting, lifecycle.StateDue:
	default:
		return Lane{}
	}
	if !i.Type.Valid() {
		return Lane{}
	}
	if schedule {
		return Lane{i.Namespace.StreamPolls(), i.Namespace.PollConsumer(i.Type)}
	}
	return Lane{i.Namespace.StreamDeclared(), i.Namespace.PollConsumer(i.Type)}
}

// pausedUntil returns until when the consumer of an interaction's lane is paused, or nil. It reads each lane once.
func (f *Finder) pausedUntil(
	ctx context.Context, read map[Lane]*time.Time, i Interaction,
) (*time.Time, error) {
	lane := i.Lane()
	if lane == (Lane{}) {
		return nil, nil
	}
	if until, known := read[lane]; known {
		return until, nil
	}
	state, err := f.broker.Consumer(ctx, lane.Stream, lane.Consumer)
	if err != nil && !errors.Is(err, broker.ErrConsumerNotFound) {
		return nil, fmt.Errorf("reading the consumer %s: %w", lane.Consumer, err)
	}
	read[lane] = timeOf(state.PausedUntil)
	return read[lane], nil
}
