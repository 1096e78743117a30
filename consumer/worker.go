package consumer

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"

	"statusworker/consumer/breaker"
	"statusworker/consumer/clock"
	"statusworker/consumer/fleet"
	"statusworker/consumer/redelivery"
	"statusworker/schema"
)

// Worker takes in declared messages, polls what is due, and publishes outcomes. All durable state is at the broker.
type Worker struct {
	broker   Broker
	cfg      Config
	log      logrus.FieldLogger
	status   StatusClient
	outcomes OutcomePublisher

	clock   *clock.Clock
	breaker *breaker.Breaker
	limiter *fleet.Limiter // nil without a rate limit
	oldest  oldest
	fleet   *fleet.Fleet
	slots   *slots
	count   counters
	stalls  stallDetector
	room    room
	panics  panicCounts

	warnings        warnings
	unknownStatuses unknownStatuses

	redelivery redeliverer
	// One of them is the redelivery, the other one is nil.
	reservations *redelivery.Reservations
	naks         *redelivery.Naks

	lanes      []*lane
	deliveries sync.WaitGroup
	// jobs feeds as many goroutines as there are slots. They are reused, because the stack of a new goroutine would
	// have to grow at each poll.
	jobs chan job
}

// redeliverer makes the broker deliver interactions again when their next poll is due, see package redelivery.
type redeliverer interface {
	// Begin reports whether this delivery may be polled. Before a poll it makes sure that the interaction is delivered
	// again if the worker dies.
	Begin(ctx context.Context, d *redelivery.Delivery) (redelivery.Verdict, error)
	// Renew postpones the next poll, because it was too late to send the request. It reports whether the request may
	// be sent now.
	Renew(ctx context.Context, d *redelivery.Delivery) bool
	// Keep returns the context of the request. It keeps other workers from polling while the request is in flight. If
	// it cannot, it cancels that context. The caller calls release when the request has ended.
	Keep(ctx context.Context, d *redelivery.Delivery) (request context.Context, release func(redelivery.Request))
	// Redeliver ends a delivery after which the interaction waits: one interval, or until notBefore if that is later.
	Redeliver(ctx context.Context, d *redelivery.Delivery, notBefore time.Time) error
	// Finish settles a delivery whose outcome is stored.
	Finish(ctx context.Context, d *redelivery.Delivery) error
}

// New makes a worker for streams and consumers that match [Topology] in this mode, which it does not check. It changes
// nothing at the broker. The error is a [*ConfigError], or an error of the broker.
func New(
	ctx context.Context, b Broker, mode Mode, status StatusClient, outcomes OutcomePublisher, cfg Config,
) (*Worker, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	if mode != Schedule && mode != Nak {
		return nil, &ConfigError{Field: "mode", Value: string(mode), Want: "schedule or nak"}
	}
	cfg = cfg.withDefaults()
	w := &Worker{broker: b, cfg: cfg, log: cfg.Log, status: status, outcomes: outcomes}
	w.breaker = breaker.New(breaker.Config{
		Now:      cfg.Now,
		Log:      cfg.Log,
		Shortest: cfg.Intervals.Shortest(),
		Longest:  cfg.Intervals.Longest(),
		Slack:    redelivery.MaxSlack,
		Grace:    cfg.NotFoundGrace,
	})
	w.warnings.now = cfg.Now
	w.stalls.now = cfg.Now
	w.oldest.now = cfg.Now
	w.oldest.window = cfg.Intervals.Longest()
	if cfg.Stretch > 0 {
		w.oldest.window = max(w.oldest.window, cfg.StretchLimit)
	}

	if err := w.open(ctx, mode); err != nil {
		return nil, err
	}
	return w, nil
}

func (w *Worker) open(ctx context.Context, mode Mode) error {
	names := w.cfg.Namespace
	stream := mode.PollStream(names)
	w.clock = clock.New(w.cfg.Now, w.broker, stream)
	if err := w.clock.Measure(ctx); err != nil {
		return err
	}
	if mode == Schedule {
		w.reservations = redelivery.NewReservations(w.redeliveryConfig())
		w.redelivery = w.reservations
		if err := w.addLane(ctx, names.StreamDeclared(), names.ConsumerIntake(), "", w.takeIn); err != nil {
			return err
		}
	} else {
		w.naks = redelivery.NewNaks(w.redeliveryConfig())
		w.redelivery = w.naks
	}
	for _, t := range schema.Types() {
		if err := w.addLane(ctx, stream, names.PollConsumer(t), t, nil); err != nil {
			return err
		}
	}
	w.slots = newSlots(w.cfg.Concurrency, len(w.lanes))
	w.fleet = fleet.New(fleet.Config{
		Broker: w.broker, Namespace: names, Current: w.announcement, Now: w.cfg.Now, Self: schema.Announcement{
			Worker: rand.Text(), Host: w.cfg.Host, Version: w.cfg.Version, Started: w.cfg.Now().UTC(),
			RateLimit: w.cfg.MaxPollsPerSecond,
		},
	})
	w.limiter = w.fleet.Limiter()
	return nil
}

func (w *Worker) redeliveryConfig() redelivery.Config {
	return redelivery.Config{
		Broker: w.broker, Namespace: w.cfg.Namespace, Outcomes: w.outcomes, Clock: w.clock,
		Now: w.cfg.Now, Jitter: w.cfg.Jitter,
		Interval: w.cfg.Intervals.Of, RequestTimeout: w.cfg.RequestTimeout, Deadline: w.cfg.Deadline,
		Stretch: w.cfg.Stretch, StretchLimit: w.cfg.StretchLimit, OverdueAfter: w.cfg.OverdueAfter,
		RateLimit: w.cfg.MaxPollsPerSecond,
		// Long enough for this worker to poll it again if it is one of ten workers, with a pause in between.
		RememberRefusals: 2*w.cfg.NotFoundGrace + 10*(w.cfg.Intervals.Longest()+time.Second) + maxDelay,
	}
}

// Namespace returns the namespace of the worker.
func (w *Worker) Namespace() schema.Namespace { return w.cfg.Namespace }

// announcement returns the current values of this worker's announcement; package fleet adds the rest.
func (w *Worker) announcement() schema.Announcement {
	b := w.breaker.State()
	a := schema.Announcement{
		State: b.State, Cause: string(b.Cause), Detail: b.Detail, Polls: w.count.polls.Load(), Oldest: w.oldest.ages(),
	}
	if !b.Until.IsZero() {
		until := b.Until.UTC()
		a.Until = &until
	}
	return a
}

// Mode is the mode of redelivery that the streams are made for.
func (w *Worker) Mode() Mode {
	if w.reservations != nil {
		return Schedule
	}
	return Nak
}

// ClockOffset is how far the broker's clock is ahead of this host's, by the last measurement.
func (w *Worker) ClockOffset() time.Duration { return w.clock.Offset() }

// Breaker is the state of the circuit breaker.
func (w *Worker) Breaker() breaker.State { return w.breaker.State() }

// First reports whether this worker's key was the first among those of the live workers at the last count. The first
// worker reports what one worker can report for all. While workers start and stop, for some seconds none is the first,
// or two are.
func (w *Worker) First() bool { return w.fleet.First() }

// TokenChanged ends a pause that began because the vendor rejected the token. The next poll shows whether the vendor
// accepts the new one.
func (w *Worker) TokenChanged() { w.breaker.Cut(breaker.Unauthorized) }

// Run works until ctx ends. Then it stops pulling, finishes the polls in flight within the shutdown timeout, returns
// other deliveries to the broker, and returns nil. When leave ends as well, it stops at once: the broker redelivers
// what was in flight to another worker. An error means that the worker could not continue, for example a
// [*DeletedError].
func (w *Worker) Run(ctx, leave context.Context) error {
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	w.jobs = make(chan job)
	var goroutines sync.WaitGroup
	for range w.cfg.Concurrency {
		goroutines.Go(func() {
			// All contexts that are derived from one share its lock and its set of children, and each poll derives
			// three.
			own, stop := context.WithCancel(work)
			defer stop()
			for j := range w.jobs {
				w.work(own, j)
			}
		})
	}
	pulls, pullCtx := errgroup.WithContext(ctx)
	for _, l := range w.lanes {
		pulls.Go(func() error { return w.pull(pullCtx, l) })
	}
	pulls.Go(func() error {
		w.clock.Keep(pullCtx, func(err error) { w.warn("measuring the broker's clock", err) })
		return nil
	})
	pulls.Go(func() error { return w.fleet.Keep(pullCtx, func(err error) { w.warn("announcing the worker", err) }) })
	pulls.Go(func() error { return w.stalls.run(pullCtx) })
	if w.reservations != nil {
		pulls.Go(func() error { return w.watchOverdue(pullCtx) })
		pulls.Go(func() error { return w.watchUndelivered(pullCtx) })
	} else {
		pulls.Go(func() error {
			w.naks.Count(pullCtx, func(err error) { w.warn("counting waiting interactions", err) })
			return nil
		})
	}

	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-pullCtx.Done()
		timer := time.NewTimer(w.cfg.ShutdownTimeout)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-leave.Done():
		case <-work.Done():
		}
		stopWork()
	}()
	err := pulls.Wait()
	w.deliveries.Wait()
	close(w.jobs)
	goroutines.Wait()
	if leave.Err() == nil {
		w.fleet.Leave(context.WithoutCancel(ctx))
	}
	stopWork()
	<-stopped
	if err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// laneOf returns the lane of a type.
func (w *Worker) laneOf(t schema.Type) *lane {
	for _, l := range w.lanes {
		if l.typ == t {
			return l
		}
	}
	panic("no lane of type " + string(t)) // there is one of each
}
