package consumer

import (
	"sync/atomic"
	"time"

	"statusworker/consumer/breaker"
	"statusworker/schema"
)

// Stats are what a worker did since it was made.
type Stats struct {
	// TakenIn is how many declared messages got their first reservation, DeclaredTwice how many changed nothing because
	// the interaction was declared before and had no outcome when they were stored, DeclaredAgain how often one waited
	// for the end of an earlier generation.
	TakenIn, DeclaredTwice, DeclaredAgain uint64
	// DeclaredProcessed is how many were dropped because the interaction has processed events.
	DeclaredProcessed uint64
	// Polls is how many status requests were made.
	Polls uint64
	// Waits deliveries wait for their next poll.
	Waits uint64
	// Dropped deliveries belong to interactions that have ended, or whose next poll somebody else holds; Skipped ones
	// were not polled because it was too late for this poll, or because the worker rests.
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
	// RateLimitWaiting deliveries wait for the rate limit, of which Share polls a second are this worker's; 0 where
	// there is none.
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
		TakenIn:           c.takenIn.Load(),
		DeclaredTwice:     c.declaredTwice.Load(),
		DeclaredAgain:     c.declaredAgain.Load(),
		DeclaredProcessed: c.declaredProcessed.Load(),
		Polls:             c.polls.Load(),
		Waits:             c.waits.Load(),
		Dropped:           c.dropped.Load(),
		Skipped:           c.skipped.Load(),
		StoredAgain:       c.storedAgain.Load(),
		UnknownStatus:     c.unknownStatusCount.Load(),
		Faults:            c.faults.Load(),
		Panics:            c.panics.Load(),
		Pauses:            w.breaker.Pauses(),
		Lanes:             map[schema.Type]LaneStats{},
		Slots:             w.cfg.Concurrency,
		SlotsUsed:         w.slots.usedNow(),
		Share:             w.limiter.Share(),
		Alive:             w.fleet.Alive(),
		RoundTrip:         w.clock.RoundTrip(),
	}
	if w.reservations != nil {
		s.RefusedReservations = w.reservations.Refused()
	}
	s.ClockSteps, s.ClockStep = w.clock.Steps()
	s.RateLimitWaiting = w.limiter.Waiting()
	oldest := w.oldest.ages()
	for _, l := range w.lanes {
		if l.typ != "" {
			s.Lanes[l.typ] = LaneStats{
				Polling:        int(l.polling.Load()),
				WaitingForSlot: l.waiting.Load(),
				TakenIn:        l.takenIn.Load(),
				Oldest:         time.Duration(oldest[l.typ] * float64(time.Second)),
			}
		}
	}
	return s
}
