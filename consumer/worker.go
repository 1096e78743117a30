package consumer

import (
	"context"
	"crypto/rand"
	"errors"
	"strconv"
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

// Worker takes in declared messages, polls what is due and publishes outcomes. It keeps no state but the broker's.
type Worker struct {
	broker   Broker
	cfg      Config
	log      logrus.FieldLogger
	status   StatusClient
	outcomes OutcomePublisher

	clock         *clock.Clock
	breaker       *breaker.Breaker
	limiter       *fleet.Limiter // nil where there is none
	oldest        oldest
	fleet         *fleet.Fleet
	slots         *slots
	count         counters
	complaints    complaints
	unknownStatus unknownStatus
	pulse         pulse
	panics        panicCounts

	redelivery redeliverer
	// One of them is the redelivery, and the other one nil.
	reservations *redelivery.Reservations
	naks         *redelivery.Naks

	lanes      []*lane
	deliveries sync.WaitGroup
	// jobs feeds as many goroutines as there are slots. They are kept, because a goroutine's stack has to grow anew in
	// each poll otherwise.
	jobs chan job
}

// redeliverer is a way to have interactions delivered again when their next poll is due, see package redelivery.
type redeliverer interface {
	// Begin tells whether this delivery may be polled, after making sure that the interaction comes back if it is and
	// the worker dies.
	Begin(ctx context.Context, d *redelivery.Delivery) (redelivery.Verdict, error)
	// Keep keeps others from polling while the request is out, and ends the context that is returned, which is that of
	// the request, where it cannot. The function that is returned ends that.
	Keep(ctx context.Context, d *redelivery.Delivery) (request context.Context, let func())
	// Redeliver ends a delivery after which the interaction waits: one interval, or until notBefore if that is later.
	Redeliver(ctx context.Context, d *redelivery.Delivery, notBefore time.Time) error
	// Finish ends a delivery whose outcome is stored.
	Finish(ctx context.Context, d *redelivery.Delivery) error
}

// New makes a worker on streams and consumers that fit [Topology] in this mode; it does not check that they do. It
// changes nothing. The error is a [*ConfigError], or says that the broker could not be asked.
func New(
	ctx context.Context, b Broker, mode Mode, status StatusClient, outcomes OutcomePublisher, cfg Config,
) (*Worker, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	if mode != Schedule && mode != Nak {
		return nil, &ConfigError{Field: "mode", Value: strconv.Quote(string(mode)), Want: "schedule or nak"}
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
	w.complaints.now = cfg.Now
	w.pulse.now = cfg.Now
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
	stream := mode.PollStream()
	w.clock = clock.New(w.cfg.Now, w.broker, stream)
	if err := w.clock.Measure(ctx); err != nil {
		return err
	}
	if mode == Schedule {
		w.reservations = redelivery.NewReservations(w.redeliveryConfig())
		w.redelivery = w.reservations
		if err := w.addLane(ctx, schema.StreamDeclared, schema.ConsumerIntake, "", w.takeIn); err != nil {
			return err
		}
	} else {
		w.naks = redelivery.NewNaks(w.redeliveryConfig())
		w.redelivery = w.naks
	}
	for _, t := range schema.Types() {
		if err := w.addLane(ctx, stream, schema.PollConsumer(t), t, nil); err != nil {
			return err
		}
	}
	w.slots = newSlots(w.cfg.Concurrency, len(w.lanes))
	w.fleet = fleet.New(fleet.Config{
		Broker: w.broker, Look: w.look, Now: w.cfg.Now, Self: schema.Announcement{
			Worker: rand.Text(), Host: w.cfg.Host, Version: w.cfg.Version, Started: w.cfg.Now().UTC(),
			RateLimit: w.cfg.MaxPollsPerSecond,
		},
	})
	w.limiter = w.fleet.Limiter()
	return nil
}

func (w *Worker) redeliveryConfig() redelivery.Config {
	return redelivery.Config{
		Broker: w.broker, Outcomes: w.outcomes, Clock: w.clock, Now: w.cfg.Now, Jitter: w.cfg.Jitter,
		Interval: w.cfg.Intervals.Of, RequestTimeout: w.cfg.RequestTimeout, Deadline: w.cfg.Deadline,
		Stretch: w.cfg.Stretch, StretchLimit: w.cfg.StretchLimit, OverdueAfter: w.cfg.OverdueAfter,
		RateLimit: w.cfg.MaxPollsPerSecond,
		// Long enough for another poll by the same worker of ten, and for a pause in between.
		RememberRefusals: 2*w.cfg.NotFoundGrace + 10*(w.cfg.Intervals.Longest()+time.Second) + maxDelay,
	}
}

// look is what an announcement says of what the worker does.
func (w *Worker) look() schema.Announcement {
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

// Mode is the way of holding back that the topology is made for.
func (w *Worker) Mode() Mode {
	if w.reservations != nil {
		return Schedule
	}
	return Nak
}

// ClockOffset is how far the broker's clock is ahead of this host's, as last measured.
func (w *Worker) ClockOffset() time.Duration { return w.clock.Offset() }

// Breaker says whether the worker keeps away from the vendor now, and why.
func (w *Worker) Breaker() breaker.State { return w.breaker.State() }

// First tells whether this worker's key came first when it last looked at those that are alive: of what one worker can
// tell for all, it tells. While workers come and go it may be none for some seconds, or two.
func (w *Worker) First() bool { return w.fleet.First() }

// TokenChanged tells the worker that there is another token: a rest because the vendor refused the one before ends, and
// the next poll finds out whether this one is accepted.
func (w *Worker) TokenChanged() { w.breaker.Cut(breaker.Unauthorized) }

// Run works until ctx ends, then pulls no more, finishes what is being polled within the shutdown time-out, hands back
// what it had not started, and returns nil. When leave ends as well, it stops at once: what was out comes back to
// another worker. An error means that the worker could not go on, for example because a consumer was deleted.
func (w *Worker) Run(ctx, leave context.Context) error {
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	w.jobs = make(chan job)
	var goroutines sync.WaitGroup
	for range w.cfg.Concurrency {
		goroutines.Go(func() {
			for j := range w.jobs {
				w.work(work, j)
			}
		})
	}
	pulls, pullCtx := errgroup.WithContext(ctx)
	for _, l := range w.lanes {
		pulls.Go(func() error { return w.pull(pullCtx, work, l) })
	}
	pulls.Go(func() error {
		w.clock.Keep(pullCtx, func(err error) { w.complain("clock", err) })
		return nil
	})
	pulls.Go(func() error { return w.fleet.Keep(pullCtx, func(err error) { w.complain("announcement", err) }) })
	pulls.Go(func() error { return w.pulse.run(pullCtx) })
	if w.reservations != nil {
		pulls.Go(func() error { return w.watchOverdue(pullCtx) })
	} else {
		pulls.Go(func() error {
			w.naks.Weigh(pullCtx, func(err error) { w.complain("weighing", err) })
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

// laneOf is the lane of a type.
func (w *Worker) laneOf(t schema.Type) *lane {
	for _, l := range w.lanes {
		if l.typ == t {
			return l
		}
	}
	panic("no lane of type " + string(t)) // there is one of each
}
