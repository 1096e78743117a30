package redelivery

import (
	"context"
	"math"
	"sync/atomic"
	"time"

	"statusworker/schema"
	"statusworker/schema/lifecycle"
)

// Naks keep interactions by delayed negative acks: for brokers without message schedules. The declared message itself
// is delivered again and again. It is polite while the broker lives; a broker that is killed forgets delays.
type Naks struct {
	cfg    Config
	stored stored
	due    dueSample
	// refused remembers refusals: the broker keeps nothing for a message but the message.
	refused refusedSample
	// waiting is how many interactions waited when the broker was last asked; fresh is how many of them had never been
	// delivered then, nor when it was asked before.
	waiting, fresh atomic.Uint64
}

const (
	// A delay loses its fraction of a second when the broker restarts: one second more makes up for it.
	nakSlack = time.Second
	// The AckWait of a lane is its guidance, the request time-out, and this.
	nakAckWaitMargin = 5 * time.Second
)

// NewNaks makes redelivery by delayed naks.
func NewNaks(cfg Config) *Naks {
	return &Naks{cfg: cfg, stored: stored{Config: cfg}, refused: refusedSample{life: cfg.RememberRefusals}}
}

// NakAckWait is the AckWait of a consumer whose interactions wait by delayed naks.
func NakAckWait(interval, requestTimeout time.Duration) time.Duration {
	return interval + requestTimeout + nakAckWaitMargin
}

// Begin makes the broker count from now, and not from when the message was stored, should it restart.
func (n *Naks) Begin(ctx context.Context, d *Delivery) (Verdict, error) {
	if err := d.InProgress(); err != nil {
		return "", err
	}
	declared, err := d.Declared()
	if err != nil {
		return "", err
	}
	d.Identifier = declared.Identifier
	young := n.cfg.Clock.Now().Sub(d.At.Generation) < d.Interval
	if young || d.Origin.Deliveries <= 1 {
		snapshot, err := n.stored.around(ctx, d)
		if err != nil {
			return "", err
		}
		if verdict, _ := snapshot.TakeIn(d.declared()); verdict == lifecycle.Twice || verdict == lifecycle.Processed {
			return Verdict(verdict), d.Ack() // it begins no generation
		}
	}
	d.Due = n.due.take(d.Origin.Sequence)
	d.Refusals = n.refused.of(d.Identifier, n.cfg.Now())
	// The poll must be over, and its outcome stored, before AckWait brings the message back, maybe to another worker.
	// That counts from when the message was asked for, and not from now: this process may have stood still in between.
	d.Until = d.Asked.Add(NakAckWait(d.Interval, n.cfg.RequestTimeout) - nakSlack)
	d.SendBy = d.Asked.Add(nakAckWaitMargin - nakSlack + min(d.Interval, n.cfg.RequestTimeout))
	// Polls are not counted here: it would take a state, or trust in the number of deliveries.
	if young {
		d.SendBy = d.Asked // too young for its first poll
	}
	return Poll, nil
}

// Keep has nothing to do: AckWait is longer than a request.
func (n *Naks) Keep(ctx context.Context, _ *Delivery) (context.Context, func()) {
	return ctx, func() {}
}

// Redeliver hands the message back with a delay.
func (n *Naks) Redeliver(_ context.Context, d *Delivery, notBefore time.Time) error {
	if d.settled {
		return nil
	}
	age := n.cfg.Clock.Now().Sub(d.At.Generation)
	wait := max(Wait(d.Interval, age, n.cfg.Stretch, n.cfg.StretchLimit), min(n.turn(), n.cfg.Deadline-age))
	delay := max(wait+nakSlack, notBefore.Sub(n.cfg.Now())) + n.cfg.jitter(d.Interval)
	now := n.cfg.Clock.Now()
	n.due.note(d.Origin.Sequence, now.Add(delay), now)
	n.refused.note(d.Identifier, refusedEntry{refusals: d.Refusals, noted: n.cfg.Now()})
	return d.NakAfter(delay)
}

// turn is how long the fleet takes to poll all that waits once, and a little more. Where there is a rate limit, and
// messages wait for their first delivery because of it, an interaction is held back for as long at least: the broker
// delivers again before it delivers anew, so that interactions that do not end would keep all others from their first
// poll.
func (n *Naks) turn() time.Duration {
	if n.cfg.RateLimit == 0 || n.fresh.Load() == 0 {
		return 0
	}
	return min(seconds(turnMargin*float64(n.waiting.Load())/n.cfg.RateLimit), maxTurn)
}

const (
	turnMargin = 1.1
	// maxTurn bounds what an interaction waits for a rate limit that may be raised meanwhile.
	maxTurn = time.Hour
	// weighEvery is how often the broker is asked how much waits, where there is a rate limit.
	weighEvery = 5 * time.Second
	// weighTimeout is how long the broker may take to answer that for one lane.
	weighTimeout = 2 * time.Second
)

// Weigh keeps up how much waits, until ctx ends, where there is a rate limit. It hands over what goes wrong.
func (n *Naks) Weigh(ctx context.Context, failed func(error)) {
	if n.cfg.RateLimit == 0 {
		return
	}
	ticker := time.NewTicker(weighEvery)
	defer ticker.Stop()
	for before := uint64(0); ; {
		var waiting, fresh uint64
		known := true
		for _, t := range schema.Types() {
			bounded, cancel := context.WithTimeout(ctx, weighTimeout)
			state, err := n.cfg.Broker.Consumer(bounded, schema.StreamDeclared, schema.PollConsumer(t))
			cancel()
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				failed(err)
				known = false
				continue
			}
			waiting += state.Pending + state.AckPending
			fresh += state.Pending
		}
		if known {
			n.waiting.Store(waiting)
			n.fresh.Store(min(before, fresh)) // not those that had just come
			before = fresh
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// Finish acks and waits for the broker's word. Without it the interaction is polled once more, and its outcome is found
// to be stored.
func (n *Naks) Finish(ctx context.Context, d *Delivery) error {
	n.refused.note(d.Identifier, refusedEntry{})
	bounded, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	return d.AckConfirmed(bounded)
}

func seconds(s float64) time.Duration {
	return time.Duration(min(s, math.MaxInt64/4/float64(time.Second)) * float64(time.Second))
}
