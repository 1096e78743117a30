package consumer

import (
	"context"
	"time"

	"statusworker/schema"
)

// naks hold interactions back by delayed negative acks: for brokers without message schedules. The declared message
// itself is delivered again and again. It is polite while the broker lives; a broker that is killed forgets delays.
type naks struct {
	clock *brokerClock
	cfg   Config
}

const (
	// A delay loses its fraction of a second when the broker restarts: one second more makes up for it.
	nakSlack = time.Second
	// The AckWait of a lane is its guidance, the request time-out, and this.
	nakAckWaitMargin = 5 * time.Second
)

func (n *naks) ackWait(guidance time.Duration) time.Duration {
	return guidance + n.cfg.RequestTimeout + nakAckWaitMargin
}

// begin makes the broker count from now, and not from when the message was stored, should it restart.
func (n *naks) begin(_ context.Context, d *delivery) (bool, error) {
	received := n.cfg.Now()
	if err := originOf(d); err != nil {
		return false, err
	}
	if err := d.inProgress(); err != nil {
		return false, err
	}
	declared, err := n.declaration(d)
	if err != nil {
		return false, err
	}
	d.identifier = declared.Identifier
	// The poll must be over, and its outcome stored, before AckWait brings the message back.
	d.until = received.Add(n.ackWait(d.lane.guidance) - nakSlack)
	d.sendBy = received.Add(nakAckWaitMargin)
	// Polls are not counted here: it would take a state, or trust in the number of deliveries.
	if n.clock.time().Sub(d.at.life) < d.lane.guidance {
		d.sendBy = received // too young for its first poll
	}
	return true, nil
}

func (n *naks) declaration(d *delivery) (schema.Declared, error) {
	return schema.DecodeFrom(d.msg.Subject(), d.msg.Data())
}

func (n *naks) holdBack(_ context.Context, d *delivery, notBefore time.Time) error {
	if d.settled {
		return nil
	}
	jitter := time.Duration(n.cfg.Jitter() * jitterShare * float64(d.lane.guidance))
	wait := Wait(d.lane.guidance, n.clock.time().Sub(d.at.life), n.cfg.Stretch, n.cfg.StretchLimit)
	return d.nakAfter(max(wait+nakSlack, notBefore.Sub(n.cfg.Now())) + jitter)
}

// finish acks and waits for the broker's word. Without it the interaction is polled once more, and its outcome is found
// to be stored.
func (n *naks) finish(ctx context.Context, d *delivery) error {
	bounded, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	return d.doubleAck(bounded)
}
