package redelivery

import (
	"context"
	"math"
	"sync/atomic"
	"time"

	"statusworker/schema"
	"statusworker/schema/lifecycle"
)

// Naks is redelivery by delayed negative acks, for brokers without message schedules. The declared message itself is
// delivered again and again. It keeps the poll interval, except in the cases that docs/reliability.md lists: for
// example, a broker that is killed forgets delays.
type Naks struct {
	cfg    Config
	stored stored
	due    dueSample
	// refused remembers the refusals of interactions at this worker's polls. Each worker counts for itself, and does
	// not see a status that another worker got in between.
	refused memory[string, schema.Refusals]
	// begins remembers the declared messages that begin a generation: see [Naks.judge].
	begins memory[message, struct{}]
	// waiting is the number of waiting interactions at the last count. fresh is the number of those that were never
	// delivered, the smaller of the last two counts, so that those that have just arrived do not count.
	waiting, fresh atomic.Uint64
}

const (
	// nakSlack covers the fraction of a second that a delay loses when the broker restarts.
	nakSlack = time.Second
	// nakAckWaitMargin is by how much AckWait is longer than the sum of the interval and the request timeout.
	nakAckWaitMargin = 5 * time.Second
	// maxRefused limits the interactions whose refusals are remembered.
	maxRefused = 4096
	// maxBegins limits the remembered declared messages. It suffices for the interactions that this mode can poll: some
	// hundreds of polls per second in each lane.
	maxBegins = 16384
	// beginsFor is for how long a declared message is remembered. It limits the polls that are not needed.
	beginsFor = 5 * time.Minute
)

// message identifies a declared message, even if its stream was created again.
type message struct {
	sequence uint64
	stored   int64 // Unix time in nanoseconds
}

func (d *Delivery) message() message { return message{d.Message.Sequence, d.Message.Time.UnixNano()} }

// NewNaks makes redelivery by delayed naks.
func NewNaks(cfg Config) *Naks {
	return &Naks{
		cfg: cfg, stored: stored{cfg},
		refused: memory[string, schema.Refusals]{maxAge: cfg.RememberRefusals, limit: maxRefused},
		begins:  memory[message, struct{}]{maxAge: beginsFor, limit: maxBegins},
	}
}

// NakAckWait is the AckWait of a consumer whose interactions wait by delayed naks.
func NakAckWait(interval, requestTimeout time.Duration) time.Duration {
	return interval + requestTimeout + nakAckWaitMargin
}

// Begin decides whether the declared message begins a generation, and sets SendBy and Until. With [Poll], the
// interaction may be polled until SendBy; SendBy has passed if the first interval has not. With any other verdict the
// delivery is settled. The error is a [*schema.MemberError] if the message is invalid: then the caller publishes a dead
// letter and calls Finish. After any other error the caller does nothing: the message is redelivered after AckWait.
//
// Begin sends in-progress first: a restarted broker then counts AckWait from now, and not from when the message was
// stored.
func (n *Naks) Begin(ctx context.Context, d *Delivery) (Verdict, error) {
	if err := d.InProgress(); err != nil {
		return "", err
	}
	young := n.cfg.Clock.Now().Sub(d.At.Generation) < d.Interval
	switch verdict, err := n.judge(ctx, d); {
	case err != nil:
		return "", err
	case verdict == lifecycle.Twice, verdict == lifecycle.Processed:
		return Verdict(verdict), d.Ack() // it begins no generation
	case verdict == lifecycle.Undecided:
		return Undecided, d.NakAfter(d.Interval)
	}
	d.Due = n.due.take(d.Origin.Sequence)
	d.Refusals, _ = n.refused.of(d.Identifier, n.cfg.Now())
	// The poll must end, and its outcome be stored, before the message is redelivered after AckWait, maybe to another
	// worker. The time counts from the pull: this process may not have run since then.
	d.Until = d.Asked.Add(NakAckWait(d.Interval, n.cfg.RequestTimeout) - nakSlack)
	d.SendBy = d.Asked.Add(nakAckWaitMargin - nakSlack + min(d.Interval, n.cfg.RequestTimeout))
	// Polls are not counted: that would require a state, or reliable numbers of deliveries.
	if young {
		d.SendBy = d.Asked // too late for a request, so that its first poll is after the interval
	}
	return Poll, nil
}

// judge decides about a declared message, and sets its identifier. The error of an invalid message is a
// [*schema.MemberError].
//
// A message that begins a generation is remembered, and nothing is read before its later polls. The read of declared
// messages has shown it as the first one, and that remains true. (A read that does not contain the message itself is
// old. The message is then not remembered.) An earlier declared message is removed only after the outcome that decides
// about it is stored, and the outcomes are read after that. If the worker misses an outcome all the same (the read is
// old, or another generation began because of an old read), it makes polls that are not needed until it reads again.
// The publisher finds that outcome, and stores no other.
func (n *Naks) judge(ctx context.Context, d *Delivery) (lifecycle.TakeIn, error) {
	now := n.cfg.Now()
	if _, ok := n.begins.of(d.message(), now); ok {
		_, d.Identifier, _ = n.cfg.Namespace.SplitSubject(d.Message.Subject) // that of a valid message
		return lifecycle.Reserve, nil
	}
	declared, err := d.Declared()
	if err != nil {
		return "", err
	}
	d.Identifier = declared.Identifier
	var snapshot lifecycle.Snapshot
	first := !d.Origin.Replays.IsZero() // other declared messages do not matter
	if !first {
		if snapshot.Declared, err = n.stored.first(ctx, d.Identifier); err != nil {
			return "", err
		}
		first = snapshot.Declared != nil && snapshot.Declared.Is(d.declared())
	}
	if snapshot.Outcomes, err = n.cfg.Outcomes.Outcomes(ctx, d.Identifier); err != nil {
		return "", err
	}
	verdict, _ := snapshot.TakeIn(d.declared())
	if first && verdict == lifecycle.Reserve {
		n.begins.note(d.message(), struct{}{}, now)
	}
	return verdict, nil
}

// Keep returns ctx, and a release that does nothing: AckWait is longer than a request.
func (n *Naks) Keep(ctx context.Context, _ *Delivery) (context.Context, func(Request)) {
	return ctx, func(Request) {}
}

// Renew returns false: the request may not be sent after SendBy, because the message will be redelivered.
func (n *Naks) Renew(context.Context, *Delivery) bool { return false }

// Redeliver returns the message to the broker by a nak, to be redelivered after the wait between two polls and a slack,
// or at notBefore if that is later. It does nothing if the delivery is settled. The error is the broker's.
func (n *Naks) Redeliver(_ context.Context, d *Delivery, notBefore time.Time) error {
	if d.settled {
		return nil
	}
	age := n.cfg.Clock.Now().Sub(d.At.Generation)
	wait := max(Wait(d.Interval, age, n.cfg.Stretch, n.cfg.StretchLimit), min(n.turn(), n.cfg.Deadline-age))
	delay := max(wait+nakSlack, notBefore.Sub(n.cfg.Now()))
	if age < d.Interval {
		delay += n.cfg.spread(d.Interval) // the first poll follows
	}
	now := n.cfg.Clock.Now()
	n.due.note(d.Origin.Sequence, now.Add(delay), now)
	if d.Refusals.Count > 0 {
		n.refused.note(d.Identifier, d.Refusals, n.cfg.Now())
	} else {
		n.refused.forget(d.Identifier)
	}
	return d.NakAfter(delay)
}

// turn is the time in which the fleet polls all waiting interactions once, with a margin. It is the minimum delay if a
// rate limit makes messages wait for their first delivery. The broker prefers redeliveries to first deliveries, so
// interactions that do not end would otherwise delay the first poll of all others.
func (n *Naks) turn() time.Duration {
	if n.cfg.RateLimit == 0 || n.fresh.Load() == 0 {
		return 0
	}
	return min(seconds(turnMargin*float64(n.waiting.Load())/n.cfg.RateLimit), maxTurn)
}

const (
	turnMargin = 1.1
	// maxTurn limits that delay, because the rate limit may be raised meanwhile.
	maxTurn = time.Hour
	// countEvery is how often the waiting interactions are counted, if there is a rate limit.
	countEvery = 5 * time.Second
	// countTimeout limits the count of one lane.
	countTimeout = 2 * time.Second
)

// Count counts the waiting interactions repeatedly until ctx ends, if there is a rate limit. It passes errors to
// failed.
func (n *Naks) Count(ctx context.Context, failed func(error)) {
	if n.cfg.RateLimit == 0 {
		return
	}
	names := n.cfg.Namespace
	ticker := time.NewTicker(countEvery)
	defer ticker.Stop()
	for before := uint64(0); ; {
		var waiting, fresh uint64
		known := true
		for _, t := range schema.Types() {
			bounded, cancel := context.WithTimeout(ctx, countTimeout)
			state, err := n.cfg.Broker.Consumer(bounded, names.StreamDeclared(), names.PollConsumer(t))
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
			n.fresh.Store(min(before, fresh)) // without those that have just arrived
			before = fresh
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// Finish acknowledges the message and waits for the broker's answer. If the ack is lost, the interaction is polled once
// more, and its outcome is found to be stored.
func (n *Naks) Finish(ctx context.Context, d *Delivery) error {
	n.refused.forget(d.Identifier)
	n.begins.forget(d.message())
	bounded, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	return d.AckConfirmed(bounded)
}

func seconds(s float64) time.Duration {
	return time.Duration(min(s, math.MaxInt64/4/float64(time.Second)) * float64(time.Second))
}
