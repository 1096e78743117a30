package consumer

import (
	"sync/atomic"
	"time"

	"statusworker/consumer/breaker"
	"statusworker/schema"
)

// Stats counts what a worker did since it was created.
type Stats struct {
	// TakenIn counts declared messages that got their first reservation.
	TakenIn uint64
	// DeclaredTwice counts declared messages that were dropped because the interaction had been declared before, and
	// the outcome of that declaration was stored after them. DeclaredProcessed counts those that were dropped because
	// the interaction had processed events when they were stored.
	DeclaredTwice, DeclaredProcessed uint64
	// DeclaredWaits counts deliveries of declared messages that were postponed because the tombstone or the last due
	// message of an ended generation was still stored. A message counts each time that it waits.
	DeclaredWaits uint64
	// Polls counts status requests, VendorFailures those that were failures of the vendor.
	Polls, VendorFailures uint64
	// Waits counts deliveries after which an interaction waits for its next poll.
	Waits uint64
	// Dropped counts deliveries of interactions that have ended, or whose next poll another worker has reserved.
	// NotPolled counts deliveries that were not polled, and whose interaction waits for its next poll: it was too early
	// or too late for a request, the worker was paused, or the rate limit was reached. With delayed naks it also counts
	// deliveries before the first interval has passed, and messages that wait for an outcome.
	Dropped, NotPolled uint64
	// IntakeBlocked means that no declared message is taken in, because the stream of reservations is full: see
	// [redelivery.Room].
	IntakeBlocked bool
	// RejectedReservations counts reservations that the broker rejected, including those that were stored at a retry.
	RejectedReservations uint64
	// StoredAgain counts overdue reservations that were stored again, see [redelivery.FindOverdue].
	StoredAgain uint64
	// Claimed counts stored messages that the broker did not deliver, and that this worker took to handle them.
	Claimed uint64
	// UnknownStatus counts answers with an unknown status that is not one of [Config.FailedStatuses].
	UnknownStatus uint64
	// DeliveryErrors counts deliveries that ended in an error (usually of the broker) or a panic; they are redelivered.
	// Panics counts those that ended in a panic.
	DeliveryErrors, Panics uint64

	// Pauses counts pauses, by cause.
	Pauses map[breaker.Failure]uint64
	// Lanes are the lanes that poll.
	Lanes map[schema.Type]LaneStats
	// Slots is the number of deliveries that can be handled at a time, SlotsUsed that of the occupied and reserved
	// ones.
	Slots, SlotsUsed int
	// RateLimitWaiting is the number of deliveries that wait for the rate limit, and RateLimitShare this worker's share
	// of it in polls per second. Both are 0 without a rate limit.
	RateLimitWaiting int
	RateLimitShare   float64
	// LiveWorkers is the number of live workers at the last count; 0 before.
	LiveWorkers int
	// RoundTrip is the time of the broker's fastest answer at the last measurement of its clock.
	RoundTrip time.Duration
	// ClockSteps counts steps of the broker's clock, also from one leader's to another's. ClockStep is the last one; it
	// is positive if the clock stepped forward.
	ClockSteps uint64
	ClockStep  time.Duration
}

// LaneStats is the state of a lane. TakenIn counts since the worker was created.
type LaneStats struct {
	Polling        int
	WaitingForSlot bool
	TakenIn        uint64
	// Oldest is the age of the oldest interaction that was polled recently.
	Oldest time.Duration
}

type counters struct {
	takenIn, declaredTwice, declaredWaits atomic.Uint64
	declaredProcessed                     atomic.Uint64
	polls, vendorFailures, waits          atomic.Uint64
	dropped, notPolled, unknownStatus     atomic.Uint64
	deliveryErrors, panics, storedAgain   atomic.Uint64
	claimed                               atomic.Uint64
}

// Stats returns the counters.
func (w *Worker) Stats() Stats {
	c := &w.count
	s := Stats{
		TakenIn:           c.takenIn.Load(),
		DeclaredTwice:     c.declaredTwice.Load(),
		DeclaredWaits:     c.declaredWaits.Load(),
		DeclaredProcessed: c.declaredProcessed.Load(),
		Polls:             c.polls.Load(),
		VendorFailures:    c.vendorFailures.Load(),
		Waits:             c.waits.Load(),
		Dropped:           c.dropped.Load(),
		NotPolled:         c.notPolled.Load(),
		StoredAgain:       c.storedAgain.Load(),
		Claimed:           c.claimed.Load(),
		UnknownStatus:     c.unknownStatus.Load(),
		DeliveryErrors:    c.deliveryErrors.Load(),
		Panics:            c.panics.Load(),
		Pauses:            w.breaker.Pauses(),
		Lanes:             map[schema.Type]LaneStats{},
		Slots:             w.cfg.Concurrency,
		SlotsUsed:         w.slots.usedNow(),
		RateLimitShare:    w.limiter.Share(),
		LiveWorkers:       w.fleet.LiveWorkers(),
		RoundTrip:         w.clock.RoundTrip(),
	}
	if w.reservations != nil {
		s.RejectedReservations = w.reservations.Rejected()
		s.IntakeBlocked = w.room.blocked()
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
