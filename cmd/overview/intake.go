package overview

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/provisioning"
	"statusworker/consumer/redelivery"
	"statusworker/schema"
	"statusworker/schema/lifecycle"
)

// maxAwaiting is the maximum number of declared messages that are read to find one that does not wait for an outcome.
const maxAwaiting = 20

func (t *taking) intake(declared *jetstream.StreamInfo, c *jetstream.ConsumerInfo) {
	if c == nil {
		t.suspicious = declared.State.Consumers > 0
		return
	}
	t.overview.Intake = &Intake{
		Waiting:     c.NumPending,
		Unacked:     c.NumAckPending,
		Redelivered: c.NumRedelivered,
		PausedUntil: pausedUntil(c),
	}
	t.suspicious = declared.State.Consumers > 1
	if declared.State.Msgs == 0 {
		return
	}
	t.afterDelivered = c.Delivered.Stream + 1
	acked := provisioning.CountsAsAcked(c, declared.State.FirstSeq)
	t.suspicious = t.suspicious || acked
	if !acked || c.NumPending+uint64(c.NumAckPending) > 0 {
		t.overview.Intake.WaitingSeconds = seconds(declared.TimeStamp.Sub(declared.State.FirstTime))
	}
}

// NoRoom reports whether the intake is blocked because of the maximum size of the stream of reservations, or continues
// only when there is more room.
func NoRoom(polls *jetstream.StreamInfo) bool {
	maximum := polls.Config.MaxBytes
	return maximum > 0 && redelivery.Full(redelivery.Room(polls.State.Msgs, polls.State.Bytes, maximum), maximum, true)
}

// awaiting corrects the time for which the first declared message has waited. It skips messages of interactions that
// are already polled: they wait for an outcome, and are not late (see [lifecycle.Undecided]). After maxAwaiting of
// them, it takes the first message that was not delivered.
func (t *taking) awaiting(ctx context.Context, declared, polls jetstream.Stream) error {
	i := t.overview.Intake
	if declared == nil || polls == nil || i == nil || i.WaitingSeconds == 0 {
		return nil
	}
	i.WaitingSeconds = 0
	from := uint64(1)
	for n := 0; ; n++ {
		if n == maxAwaiting {
			from = max(from, t.afterDelivered)
		}
		m, err := declared.GetMsg(ctx, from, jetstream.WithGetMsgSubject(">"))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading the first message of %s: %w", declared.CachedInfo().Config.Name, err)
		}
		polled := false
		if n < maxAwaiting {
			if polled, err = isPolled(ctx, polls, t.names, m.Subject); err != nil {
				return err
			}
		}
		if !polled {
			i.WaitingSeconds = seconds(declared.CachedInfo().TimeStamp.Sub(m.Time))
			return nil
		}
		from = m.Sequence + 1
	}
}

// isPolled reports whether the interaction of a declared message has a reservation or a due message.
func isPolled(ctx context.Context, polls jetstream.Stream, n schema.Namespace, subject string) (bool, error) {
	_, identifier, ok := n.SplitSubject(subject)
	if !ok {
		return false, nil
	}
	if bad := schema.CheckIdentifier(identifier); bad != nil {
		return false, nil //nolint:nilerr // it is dead-lettered, and not polled
	}
	m, err := polls.GetLastMsgForSubject(ctx, n.WaitingSubjects(identifier))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading the reservation of %s: %w", identifier, err)
	}
	return !lifecycle.IsTombstone(m.Header), nil
}
