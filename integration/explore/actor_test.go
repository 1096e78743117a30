package explore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"statusworker/consumer"
	"statusworker/publisher"
	"statusworker/publisher/dlq"
	"statusworker/schema/broker"
	"statusworker/statusclient"
	"statusworker/statusclient/simulator"
)

// actor is a worker, or an operator with the dead-letter commands.
type actor struct {
	name string
	slot int // of a worker; -1 for an operator
	// restarts is how many workers the slot had before.
	restarts int

	dead     bool          // killed, under the engine's lock
	killed   chan struct{} // closed when it is killed
	starting atomic.Bool
	ended    chan struct{}
	err      error // of its end
	stop     context.CancelFunc
	leave    context.CancelFunc

	way atomic.Int64 // how long the next request is on its way to the vendor
	// waits means that a message that it has pulled waited for one of its goroutines.
	waits atomic.Bool

	// The explorer's.
	stoppedUntil time.Time
	terminated   time.Time // when it got SIGTERM
	counts       map[string]int
}

// restartsAfter is how long after the end of a worker the next one starts in its place.
const restartsAfter = 2 * time.Second

func (x *engine) newActor(name string, slot int) *actor {
	return &actor{
		name: name, slot: slot, killed: make(chan struct{}), ended: make(chan struct{}), counts: map[string]int{},
	}
}

// startWorker starts a worker in a slot.
func (x *engine) startWorker(slot int) {
	restarts := 0
	if before := x.workers[slot]; before != nil {
		restarts = before.restarts + 1
	}
	a := x.newActor(fmt.Sprintf("w%d.%d", slot, restarts), slot)
	a.restarts = restarts
	x.oracle.starts = append(x.oracle.starts, time.Now())
	x.workers[slot] = a
	x.actors = append(x.actors, a)
	ctx, stop := context.WithCancel(x.stage.Ctx)
	leave, kill := context.WithCancel(x.stage.Ctx)
	a.stop, a.leave = stop, kill
	ahead := x.world.Ahead[slot%len(x.world.Ahead)]
	now := func() time.Time { return time.Now().Add(ahead) }
	status := client{x: x, a: a, Client: x.stage.ClientWith(statusclient.Config{
		Token: simulator.DefaultToken, Timeout: x.stage.Config.RequestTimeout, Now: now,
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := x.stage.Dial(ctx, network, address)
			return slowWay{c, a}, err
		},
	})}
	cfg := x.world.Config
	jitter := x.world.Jitter[slot%len(x.world.Jitter)]
	cfg.Now = now
	cfg.Jitter = func() float64 { return jitter }
	a.starting.Store(true)
	go func() {
		defer close(a.ended)
		a.err = x.work(ctx, leave, a, status, cfg)
	}()
}

// work starts a worker as often as necessary, and runs it.
func (x *engine) work(ctx, leave context.Context, a *actor, status client, cfg consumer.Config) error {
	p := x.port(a)
	for ctx.Err() == nil {
		outcomes, err := publisher.New(ctx, p, ns, cfg.Log)
		if err == nil {
			var w *consumer.Worker
			if w, err = consumer.New(ctx, p, x.world.Mode, status, outcomes, cfg); err == nil {
				a.starting.Store(false)
				return w.Run(ctx, leave)
			}
		}
		if errors.Is(err, broker.ErrClosed) {
			return err
		}
		select {
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	return nil
}

// port is the broker of an actor.
func (x *engine) port(a *actor) broker.Broker {
	p := port{x, a}
	if x.world.Break != nil {
		return x.world.Break(p)
	}
	return p
}

// kill ends an actor at once. What it has sent may still arrive.
func (x *engine) kill(a *actor) {
	x.mu.Lock()
	if a.dead {
		x.mu.Unlock()
		return
	}
	a.dead = true
	x.mu.Unlock()
	x.oracle.hinders(a, "")
	close(a.killed)
	a.leave()
	a.stop()
	var left []*operation
	for _, o := range x.pending {
		if o.actor != a || o.inTransit() {
			left = append(left, o)
		} else {
			x.drop(o)
		}
	}
	x.pending = left
	if a.slot >= 0 && !x.ending {
		x.restarts = append(x.restarts, restart{at: time.Now().Add(restartsAfter), slot: a.slot})
	}
}

type restart struct {
	at   time.Time
	slot int
}

// stops reports whether an actor is stopped.
func (a *actor) stops(now time.Time) bool { return now.Before(a.stoppedUntil) }

// operate runs a command of the dead-letter queue.
func (x *engine) operate(e Event) {
	x.operators++
	a := x.newActor(fmt.Sprintf("op%d", x.operators), -1)
	x.actors = append(x.actors, a)
	ctx, cancel := context.WithTimeout(x.stage.Ctx, time.Minute)
	a.stop, a.leave = cancel, cancel
	go func() {
		defer close(a.ended)
		a.err = command(ctx, x.port(a), e)
	}()
}

func command(ctx context.Context, b dlq.Broker, e Event) error {
	q, err := dlq.NewForDeletion(ctx, b, ns)
	if err != nil {
		return err
	}
	s, err := q.Select(ctx, dlq.Filter{Names: []string{e.ID}})
	if err != nil {
		return err
	}
	report := func(dlq.DeadLetter, dlq.Result) {}
	if e.Kind == Purges {
		return q.Purge(ctx, s, false, report)
	}
	return q.Replay(ctx, s, false, report)
}
