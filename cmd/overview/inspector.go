package overview

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/provisioning"
	"statusworker/consumer"
	"statusworker/schema"
	"statusworker/schema/lifecycle"
)

// Inspector takes overviews of the streams, consumers and workers of one namespace. Its methods are safe for concurrent
// use.
type Inspector struct {
	js    jetstream.JetStream
	names schema.Namespace
	now   func() time.Time

	mu      sync.Mutex
	counted *counted
	again   time.Time // when to count again
	reading reading
}

// countPause is for how many times the duration of a count the next one is delayed.
const countPause = 50

// New returns an inspector, which sends no request until [Inspector.Take]. By the clock now it decides when to count
// again.
func New(js jetstream.JetStream, n schema.Namespace, now func() time.Time) *Inspector {
	return &Inspector{js: js, names: n, now: now}
}

// Take reads the state of the streams, consumers and workers from the broker. Missing streams and consumers are no
// error: see [Overview.Missing]. An error means that a request failed; then the overview is not complete.
func (v *Inspector) Take(ctx context.Context) (Overview, error) { return v.take(ctx, true) }

// TakeWithoutOutcomes is Take without the numbers of outcomes. Counting these needs the permission to create consumers,
// which a worker does not have. It succeeds without the permission to list the consumers of outcomes.
func (v *Inspector) TakeWithoutOutcomes(ctx context.Context) (Overview, error) {
	return v.take(ctx, false)
}

func (v *Inspector) take(ctx context.Context, countOutcomes bool) (Overview, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	t := &taking{js: v.js, names: v.names, overview: Overview{Namespace: v.names}}
	if v.counted == nil || !v.now().Before(v.again) {
		t.counting = &counting{js: v.js, names: v.names, now: v.now}
	}
	mode, err := provisioning.Detect(ctx, v.js, v.names)
	if err != nil {
		return Overview{}, err
	}
	t.overview.Redelivery = mode
	if err := t.lanes(ctx); err != nil {
		return Overview{}, err
	}
	if t.suspicious {
		set := consumer.Topology(consumer.Config{Namespace: v.names}, consumer.Choices{Mode: mode})
		if t.overview.Report, err = provisioning.Inspect(ctx, v.js, set); err != nil {
			return Overview{}, err
		}
	}
	if err := t.workers(ctx); err != nil {
		return Overview{}, err
	}
	outcomes, err := t.stream(ctx, t.names.StreamOutcomes())
	if err != nil {
		return Overview{}, err
	}
	if t.overview.At.IsZero() {
		t.overview.At = v.now().UTC() // no stream exists whose state has the broker's time
	}
	if t.counting != nil {
		c, err := t.counting.end(ctx, t.overview.At, t.overview.Lanes, countOutcomes && outcomes != nil)
		if err != nil {
			return Overview{}, err
		}
		v.counted, v.again = c, v.now().Add(countPause*t.counting.took)
	}
	v.counted.into(&t.overview)
	if err := v.reading.read(ctx, v.js, v.now, outcomes, t.overview.At, countOutcomes); err != nil {
		return Overview{}, err
	}
	t.overview.Consumers, t.overview.Denied = v.reading.consumers, v.reading.denied
	slices.Sort(t.overview.Missing)
	return t.overview, nil
}

// taking is an overview that is being taken.
type taking struct {
	js       jetstream.JetStream
	names    schema.Namespace
	overview Overview
	// counting is nil if the numbers of an earlier count are used.
	counting *counting
	// suspicious is true if a consumer may not deliver stored messages, or if there may be a foreign consumer.
	suspicious bool
	// afterDelivered is the sequence after the last declared message that the intake's consumer has delivered.
	afterDelivered uint64
}

// stream reads the state of a stream, or records it as missing and returns nil.
func (t *taking) stream(ctx context.Context, name string) (jetstream.Stream, error) {
	s, err := t.js.Stream(ctx, name)
	if provisioning.Absent(err) {
		t.overview.Missing = append(t.overview.Missing, streamName(name))
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading stream %s: %w", name, err)
	}
	if ts := s.CachedInfo().TimeStamp; ts.After(t.overview.At) {
		t.overview.At = ts
	}
	return s, nil
}

// consumer reads the state of a consumer, or records it as missing and returns nil.
func (t *taking) consumer(ctx context.Context, stream, name string) (*jetstream.ConsumerInfo, error) {
	c, err := t.js.Consumer(ctx, stream, name)
	if provisioning.Absent(err) {
		t.overview.Missing = append(t.overview.Missing, "consumer "+stream+"/"+name)
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading consumer %s/%s: %w", stream, name, err)
	}
	return c.CachedInfo(), nil
}

// lanes reads the intake and the lanes.
func (t *taking) lanes(ctx context.Context) error {
	from, err := t.declared(ctx)
	if err != nil {
		return err
	}
	if t.overview.Redelivery != consumer.Nak {
		declared := from
		if from, err = t.polls(ctx); err != nil {
			return err
		}
		if from != nil && t.overview.Intake != nil {
			t.overview.Intake.NoRoom = NoRoom(from.CachedInfo())
		}
		if err := t.awaiting(ctx, declared, from); err != nil {
			return err
		}
	}
	consumers := 0
	for _, typ := range schema.Types() {
		l := Lane{Type: typ}
		if from != nil {
			exists, err := t.lane(ctx, from, &l)
			if err != nil {
				return err
			}
			if exists {
				consumers++
			}
		}
		t.overview.Lanes = append(t.overview.Lanes, l)
	}
	if from == nil {
		return nil
	}
	t.suspicious = t.suspicious || from.CachedInfo().State.Consumers > consumers
	if t.overview.Redelivery == consumer.Schedule {
		return t.waiting(ctx, from.CachedInfo())
	}
	return nil
}

// polls reads the stream of polls, and counts its messages by lane if that does not take the broker too long.
func (t *taking) polls(ctx context.Context) (jetstream.Stream, error) {
	polls, err := t.stream(ctx, t.names.StreamPolls())
	if err == nil && polls != nil && t.counting != nil && polls.CachedInfo().State.Msgs <= MaxCounted {
		err = t.counting.countLanes(ctx)
	}
	return polls, err
}

// declared reads the stream of declared messages and, with reservations, the intake.
func (t *taking) declared(ctx context.Context) (declared jetstream.Stream, err error) {
	var intake *jetstream.ConsumerInfo
	if t.overview.Redelivery != consumer.Nak {
		// Read the consumer before its stream, so that the stream no longer has what the consumer has settled.
		if intake, err = t.consumer(ctx, t.names.StreamDeclared(), t.names.ConsumerIntake()); err != nil {
			return nil, err
		}
	}
	if declared, err = t.stream(ctx, t.names.StreamDeclared()); err != nil {
		return nil, err
	}
	switch {
	case declared == nil:
		t.overview.Missing = []string{streamName(t.names.StreamDeclared())} // without its consumer
	case t.overview.Redelivery != consumer.Nak:
		t.intake(declared.CachedInfo(), intake)
	}
	return declared, nil
}

// waiting reads how many reservations wait, and how many are overdue.
func (t *taking) waiting(ctx context.Context, polls *jetstream.StreamInfo) (err error) {
	// Every other message of the stream is due or pending. See [counted.into] for the number if lanes are counted.
	n := polls.State.Msgs
	for _, l := range t.overview.Lanes {
		n -= min(n, l.Due+uint64(l.Unacked))
	}
	t.overview.Waiting = &n
	t.overview.Overdue, err = CountOverdue(ctx, t.js, t.names, polls.TimeStamp)
	return err
}

// lane reads the state of a lane, and reports whether its consumer exists.
func (t *taking) lane(ctx context.Context, from jetstream.Stream, l *Lane) (exists bool, err error) {
	stream, state := from.CachedInfo().Config.Name, from.CachedInfo().State
	c, err := t.consumer(ctx, stream, t.names.PollConsumer(l.Type))
	if err != nil || c == nil {
		return false, err
	}
	l.Due, l.Unacked, l.Redelivered, l.PausedUntil = c.NumPending, c.NumAckPending, c.NumRedelivered, pausedUntil(c)
	idle := l.Due == 0 && l.Unacked == 0
	if idle && (state.Msgs == 0 || !provisioning.CountsAsAcked(c, state.FirstSeq)) {
		return true, nil
	}
	subject, err := t.names.SubjectPattern(stream, l.Type)
	if err != nil {
		return true, err
	}
	first, err := from.GetMsg(ctx, 1, jetstream.WithGetMsgSubject(subject))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return true, nil // acked in the meantime
	}
	if err != nil {
		return true, fmt.Errorf("reading the first message of %s on %s: %w", stream, subject, err)
	}
	t.suspicious = t.suspicious || provisioning.CountsAsAcked(c, first.Sequence)
	if idle {
		return true, nil
	}
	generation := first.Time // if no worker stored the message
	r := lifecycle.ReadReserved(first.Header, first.Sequence, first.Time)
	if t.overview.Redelivery == consumer.Schedule {
		l.DueSeconds = seconds(c.TimeStamp.Sub(first.Time))
		if !r.Foreign() {
			generation = r.Generation
		}
	}
	if !r.Tombstone {
		l.OldestSeconds = seconds(c.TimeStamp.Sub(generation))
	}
	return true, nil
}

// pausedUntil returns until when a consumer is paused, or nil.
func pausedUntil(c *jetstream.ConsumerInfo) *time.Time {
	if !c.Paused {
		return nil
	}
	return c.Config.PauseUntil
}

// seconds rounds an age to tenths of a second. It is 0 for a message that was stored after the state was read.
func seconds(d time.Duration) float64 { return math.Round(max(0, d.Seconds())*10) / 10 }
