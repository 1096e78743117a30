package explore

import (
	"maps"
	"slices"
	"time"

	"statusworker/cmd/broker/fake"
)

// odd are times that no timer of the product has, so that an operation and a timer do not happen at the same instant.
const odd = 137 * time.Microsecond

// Times of faults: a moment, longer than a request to the broker waits (4 s), and longer than AckWait (10 s).
const (
	moment   = 250*time.Millisecond + odd
	tooLong  = 4600*time.Millisecond + odd
	muchLate = 12*time.Second + odd
	// way is how long a poll is on its way to the vendor. With a clock that is ahead by maxAhead it is less than half a
	// slack, the margin for both.
	way      = 150 * time.Millisecond
	usualWay = 90 * time.Millisecond // less than the guard, so that no answer is necessary
	maxAhead = 300 * time.Millisecond
)

// menu are the faults that may happen to an operation.
func menu(o *operation) []Fate {
	switch o.kind {
	case poll:
		faults := []Fate{{Dies: Before}, {Stops: moment}, {Stops: tooLong}, {Stops: muchLate}, {Way: way}}
		for _, name := range vendorNames {
			faults = append(faults, Fate{Vendor: name})
		}
		return faults
	case answer:
		return []Fate{{Dies: Before}, {Stops: tooLong}, {Stops: muchLate}, {Hold: 2*time.Second + odd},
			{Hold: tooLong}, {Hold: 9*time.Second + odd}}
	case fake.Pull:
		return []Fate{{Silent: true}, {Dies: After}, {Stops: moment}, {Stops: tooLong}, {Stops: muchLate}}
	case fake.Ack, fake.Nak, fake.InProgress:
		faults := []Fate{{Lost: true}, {Lost: true, Redelivers: moment}, {Hold: moment}, {Hold: tooLong},
			{Hold: muchLate}, {Again: moment}, {Again: tooLong}, {Dies: Before}, {Dies: After}}
		if o.keepable {
			faults = append(faults, Fate{Keeps: true})
		}
		return faults
	case fake.Publish, fake.AckConfirmed, fake.Delete:
		faults := []Fate{{Lost: true}, {Silent: true}, {Hold: moment}, {Hold: tooLong}, {Hold: muchLate},
			{Again: moment}, {Again: tooLong}, {Dies: Before}, {Dies: After}, {Stops: moment},
			{Stops: tooLong}, {Stops: muchLate}}
		if o.conditional {
			faults = append(faults, Fate{Rejected: true})
		}
		if o.kind == fake.Publish {
			faults = append(faults, Fate{Commits: moment}, Fate{Commits: tooLong})
		}
		return faults
	}
	faults := []Fate{{Lost: true}, {Hold: moment}, {Dies: Before}, {Stops: tooLong}, {Stops: muchLate}}
	if o.readsMessages() {
		faults = append(faults, Fate{Stale: moment}, Fate{Stale: tooLong}, Fate{Stale: muchLate})
	}
	return faults
}

var vendorNames = slices.Sorted(maps.Keys(vendorFaults))

// brief is a menu with the fewest faults: one for each kind of effect.
func brief(o *operation) []Fate {
	switch o.kind {
	case poll:
		return []Fate{{Dies: Before}, {Stops: muchLate}, {Vendor: "404"}, {Vendor: "503"}, {Vendor: "nothing"}}
	case answer:
		return []Fate{{Dies: Before}, {Stops: muchLate}, {Hold: tooLong}}
	case fake.Pull:
		return []Fate{{Silent: true}, {Dies: After}, {Stops: muchLate}}
	case fake.Ack, fake.Nak, fake.InProgress:
		faults := []Fate{{Lost: true}, {Hold: muchLate}, {Dies: Before}}
		if o.keepable {
			faults = append(faults, Fate{Keeps: true})
		}
		return faults
	case fake.Publish, fake.AckConfirmed, fake.Delete:
		faults := []Fate{{Lost: true}, {Silent: true}, {Hold: tooLong}, {Dies: Before}, {Dies: After},
			{Stops: muchLate}}
		if o.conditional {
			faults = append(faults, Fate{Rejected: true})
		}
		if o.kind == fake.Publish {
			faults = append(faults, Fate{Commits: tooLong})
		}
		return faults
	}
	faults := []Fate{{Lost: true}, {Stops: tooLong}}
	if o.readsMessages() {
		faults = append(faults, Fate{Stale: tooLong})
	}
	return faults
}
