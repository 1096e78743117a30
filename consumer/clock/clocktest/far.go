// Package clocktest has a broker with a clock, for tests of measurements.
package clocktest

import (
	"context"
	"time"

	"statusworker/schema/broker"
)

// Far is a broker whose clock differs from this process's, with delays of requests and answers. This process's time
// advances only during requests, and when a test changes Local.
type Far struct {
	Local time.Time
	// Offset is how far the broker's clock is ahead.
	Offset time.Duration
	// Leader is the name of the server.
	Leader string
	// There and Back are the delays of requests and answers, used in turn.
	There, Back []time.Duration
	// Asked counts the requests.
	Asked  int
	Err    error
	NoTime bool
}

// NewFar makes a broker without delays.
func NewFar(offset time.Duration) *Far {
	return &Far{
		Local: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Offset: offset,
		There: make([]time.Duration, 3), Back: make([]time.Duration, 3),
	}
}

// Now is this process's time.
func (f *Far) Now() time.Time { return f.Local }

// Broker is the broker's time.
func (f *Far) Broker() time.Time { return f.Local.Add(f.Offset) }

// Stream returns a state with only the time.
func (f *Far) Stream(context.Context, string) (broker.StreamState, error) {
	i := f.Asked % len(f.There)
	f.Asked++
	f.Local = f.Local.Add(f.There[i])
	state := broker.StreamState{Now: f.Broker().Round(0).UTC(), Leader: f.Leader}
	f.Local = f.Local.Add(f.Back[i])
	if f.NoTime {
		state.Now = time.Time{}
	}
	return state, f.Err
}
