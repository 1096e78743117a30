package consumer

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
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
	// Begin tells whether this delivery may be polled, after making sure that the interaction comes back if it is and the
	// worker dies.
	Begin(ctx context.Context, d *redelivery.Delivery) (redelivery.Verdict, error)
	// Keep keeps others from polling while the request is out, and ends the context that is returned, which is that of
	// the request, where it cannot. The function that is returned ends that.
	Keep(ctx context.Context, d *redelivery.Delivery) (request context.Context, let func())
	// Redeliver ends a delivery after which the interaction waits: one interval, or until notBefore if that is later.
	Redeliver(ctx context.Context, d *redelivery.Delivery, notBefore time.Time) error
	// Finish ends a delivery whose outcome is stored.
	Finish(ctx context.Context, d *redelivery.Delivery) error
}

// New makes a worker on streams and consumers that fit [Topology] in this mode; it does not check that they do. It changes nothing.
// The error is a [*ConfigError], or says that the broker could not be asked.
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
		Now: cfg.Now, Log: cfg.Log, Shortest: cfg.Intervals.Shortest(), Longest: cfg.Intervals.Longest(), Slack: redelivery.MaxSlack,
		Grace: cfg.NotFoundGrace,
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

// First tells whether this worker's key came first when it last looked at those that are alive: of what one worker can tell
// for all, it tells. While workers come and go it may be none for some seconds, or two.
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

// Stats are what a worker did since it was made.
type Stats struct {
	// TakenIn is how many declared messages got their first reservation, DeclaredTwice how many changed
	// nothing because the interaction was declared before and had no outcome when they were stored, DeclaredAgain how often one
	// waited for the end of an earlier generation.
	TakenIn, DeclaredTwice, DeclaredAgain uint64
	// DeclaredProcessed is how many were dropped because the interaction has processed events.
	DeclaredProcessed uint64
	// Polls is how many status requests were made.
	Polls uint64
	// Waits deliveries wait for their next poll.
	Waits uint64
	// Dropped deliveries belong to interactions that have ended, or whose next poll somebody else holds; Skipped ones were not polled
	// because it was too late for this poll, or because the worker rests.
	Dropped, Skipped uint64
	// RefusedReservations is how often the broker refused a reservation, whatever came of it.
	RefusedReservations uint64
	// StoredAgain is how many overdue reservations were stored again, see [redelivery.FindOverdue].
	StoredAgain uint64
	// Unknown counts statuses that the vendor's documentation does not know.
	UnknownStatus uint64
	// Faults are deliveries that ended in an error, most often of the broker; they come back. Panics are among them.
	Faults, Panics uint64

	// Pauses counts rests that began, by cause.
	Pauses map[breaker.Failure]uint64
	// Lanes has the lanes that poll.
	Lanes map[schema.Type]LaneStats
	// Slots is how many deliveries can be worked on at once, and SlotsUsed how many are, or may come.
	Slots, SlotsUsed int
	// RateLimitWaiting deliveries wait for the rate limit, of which Share polls a second are this worker's; 0 where there is none.
	RateLimitWaiting int
	Share            float64
	// Alive is how many workers there were when this one last counted; 0 before.
	Alive int
	// RoundTrip is how long the broker's quickest answer took when its clock was last measured.
	RoundTrip time.Duration
	// ClockSteps counts steps of the broker's clock, or from one leader's to another's, and ClockStep is the last one:
	// more than 0 forward.
	ClockSteps uint64
	ClockStep  time.Duration
}

// LaneStats are what there is to say of a lane now, but TakenIn, which counts since the worker was made.
type LaneStats struct {
	Polling        int
	WaitingForSlot bool
	TakenIn        uint64
	// Oldest is the age of the oldest interaction that was polled lately.
	Oldest time.Duration
}

type counters struct {
	takenIn, declaredTwice, declaredAgain atomic.Uint64
	declaredProcessed                     atomic.Uint64
	polls, waits                          atomic.Uint64
	dropped, skipped, unknownStatusCount  atomic.Uint64
	faults, panics, storedAgain           atomic.Uint64
}

// Stats reads the counters.
func (w *Worker) Stats() Stats {
	c := &w.count
	s := Stats{
		TakenIn: c.takenIn.Load(), DeclaredTwice: c.declaredTwice.Load(), DeclaredAgain: c.declaredAgain.Load(), DeclaredProcessed: c.declaredProcessed.Load(),
		Polls: c.polls.Load(), Waits: c.waits.Load(),
		Dropped: c.dropped.Load(), Skipped: c.skipped.Load(), StoredAgain: c.storedAgain.Load(),
		UnknownStatus: c.unknownStatusCount.Load(), Faults: c.faults.Load(), Panics: c.panics.Load(),
		Pauses: w.breaker.Pauses(), Lanes: map[schema.Type]LaneStats{}, Slots: w.cfg.Concurrency, SlotsUsed: w.slots.usedNow(), Share: w.limiter.Share(),
		Alive: w.fleet.Alive(), RoundTrip: w.clock.RoundTrip(),
	}
	if w.reservations != nil {
		s.RefusedReservations = w.reservations.Refused()
	}
	s.ClockSteps, s.ClockStep = w.clock.Steps()
	s.RateLimitWaiting = w.limiter.Waiting()
	oldest := w.oldest.ages()
	for _, l := range w.lanes {
		if l.typ != "" {
			s.Lanes[l.typ] = LaneStats{Polling: int(l.polling.Load()), WaitingForSlot: l.waiting.Load(), TakenIn: l.takenIn.Load(),
				Oldest: time.Duration(oldest[l.typ] * float64(time.Second))}
		}
	}
	return s
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

// stillAfter is how long a loop may give no sign of life, where it does not wait for the vendor or the rate limit: far longer
// than any time-out in it, and than a delivery may keep its slot: a request, its outcome, and the answers of the broker.
const stillAfter = 2 * time.Minute

// Alive says whether the worker's loops go round; the error names one that does not. A vendor in trouble, a rate limit and a
// broker that is away do not count: a worker that waits for them is alive.
func (w *Worker) Alive() error {
	now := w.cfg.Now()
	for _, l := range w.lanes {
		last := l.heartbeat.last.Load()
		if still := now.Sub(time.Unix(0, last)); last > 0 && still > stillAfter && !l.heartbeat.parked.Load() {
			return fmt.Errorf("lane %s has not moved for %s", l.name, still.Round(time.Second))
		}
	}
	return nil
}

// Progress is when the loop that is furthest behind last gave a sign of life; zero before they run.
func (w *Worker) Progress() time.Time {
	var first time.Time
	for _, l := range w.lanes {
		if l.heartbeat.parked.Load() {
			continue
		}
		last := l.heartbeat.last.Load()
		if last == 0 {
			return time.Time{}
		}
		if at := time.Unix(0, last); first.IsZero() || at.Before(first) {
			first = at
		}
	}
	if first.IsZero() {
		return w.cfg.Now() // all wait for the vendor or the rate limit
	}
	return first
}

// Ready says whether the worker can take in and poll what there is, as far as the broker goes; the error says why not.
func (w *Worker) Ready() error {
	for _, l := range w.lanes {
		if l.heartbeat.last.Load() == 0 {
			return fmt.Errorf("consumer %s/%s is not pulled from yet", l.stream, l.name)
		}
		if why := l.trouble.Load(); why != nil {
			return errors.New(*why)
		}
	}
	return nil
}

// complaints keeps the log readable when the same thing goes wrong again and again: each kind is logged once, and then
// at most every half minute with the number of times.
type complaints struct {
	now func() time.Time
	mu  sync.Mutex
	of  map[string]*complaint
}

type complaint struct {
	logged time.Time
	since  int
}

const complainEvery = 30 * time.Second

func (w *Worker) complain(kind string, err error) {
	c := &w.complaints
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil {
		c.of = map[string]*complaint{}
	}
	k := c.of[kind]
	if k == nil {
		k = &complaint{}
		c.of[kind] = k
	}
	k.since++
	if w.cfg.Away != nil && w.cfg.Away() {
		return // nothing works without a connection
	}
	if now := c.now(); k.logged.IsZero() || now.Sub(k.logged) >= complainEvery {
		w.log.WithFields(logrus.Fields{"what": kind, "times": k.since}).WithError(err).Warn("something went wrong; the work goes on, and what was not done comes back")
		k.logged, k.since = now, 0
	}
}

// unknown remembers which statuses were logged.
type unknownStatus struct {
	mu   sync.Mutex
	seen map[schema.Status]bool
}

const maxUnknownStatus = 100

// first tells whether s is new. After a hundred values nothing is.
func (u *unknownStatus) first(s schema.Status) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.seen[s] || len(u.seen) >= maxUnknownStatus {
		return false
	}
	if u.seen == nil {
		u.seen = map[schema.Status]bool{}
	}
	u.seen[s] = true
	return true
}
