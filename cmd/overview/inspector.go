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

// Inspector takes overviews of one stage. Its methods may be called from any goroutine.
type Inspector struct {
	js  jetstream.JetStream
	now func() time.Time

	mu      sync.Mutex
	counted *counted
	again   time.Time // when to count the next time
}

// pauseOfCounting is how many times as long as counting took nothing is counted.
const pauseOfCounting = 50

// New makes an inspector. Now is for the pace of counting.
func New(js jetstream.JetStream, now func() time.Time) *Inspector {
	return &Inspector{js: js, now: now}
}

// Take asks the broker how things are. What is missing is told in the overview; an error means that the broker could
// not be asked.
func (v *Inspector) Take(ctx context.Context) (Overview, error) { return v.take(ctx, true) }

// Look is Take without counting outcomes, which takes the right to create consumers: for a worker, which has not got
// it.
func (v *Inspector) Look(ctx context.Context) (Overview, error) { return v.take(ctx, false) }

func (v *Inspector) take(ctx context.Context, countOutcomes bool) (Overview, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	t := &taking{js: v.js}
	mode, err := provisioning.Detect(ctx, v.js)
	if err != nil {
		return Overview{}, err
	}
	t.overview.Redelivery = mode
	if err := t.lanes(ctx); err != nil {
		return Overview{}, err
	}
	if t.suspicious {
		if t.overview.Report, err = provisioning.Inspect(
			ctx,
			v.js,
			consumer.Topology(consumer.Config{}, consumer.Choices{Mode: mode}),
		); err != nil {
			return Overview{}, err
		}
	}
	if err := t.workers(ctx); err != nil {
		return Overview{}, err
	}
	outcomes, err := t.stream(ctx, schema.StreamOutcomes)
	if err != nil {
		return Overview{}, err
	}
	if t.overview.At.IsZero() {
		t.overview.At = v.now().UTC() // nothing is there whose broker could have told
	}
	if began := v.now(); v.counted == nil || !began.Before(v.again) {
		c, err := count(
			ctx,
			v.js,
			t.overview.At,
			t.overview.Waiting != nil && *t.overview.Waiting <= MaxCounted,
			countOutcomes && outcomes != nil,
		)
		if err != nil {
			return Overview{}, err
		}
		ended := v.now()
		v.counted, v.again = c, ended.Add(pauseOfCounting*ended.Sub(began))
	}
	v.counted.into(&t.overview)
	slices.Sort(t.overview.Missing)
	return t.overview, nil
}

// taking is an overview while it is taken.
type taking struct {
	js       jetstream.JetStream
	overview Overview
	// suspicious says that a consumer may pass over what is stored, or that there may be one that does not belong
	// there.
	suspicious bool
}

// stream reads a stream's state; nil where it is not there.
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

// consumer reads a consumer's state; nil where it is not there.
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

// lanes reads what waits in the intake and in each lane.
func (t *taking) lanes(ctx context.Context) error {
	var intake *jetstream.ConsumerInfo
	var err error
	if t.overview.Redelivery != consumer.Nak {
		// Before its stream: what it has settled by then is gone from there.
		if intake, err = t.consumer(ctx, schema.StreamDeclared, schema.ConsumerIntake); err != nil {
			return err
		}
	}
	declared, err := t.stream(ctx, schema.StreamDeclared)
	if err != nil {
		return err
	}
	if declared == nil {
		t.overview.Missing = []string{streamName(schema.StreamDeclared)} // its consumer goes without saying
	}
	from := declared
	if t.overview.Redelivery != consumer.Nak {
		if from, err = t.stream(ctx, schema.StreamPolls); err != nil {
			return err
		}
		if declared != nil {
			t.intake(declared.CachedInfo(), intake)
		}
	}
	consumers := 0
	for _, typ := range schema.Types() {
		l := Lane{Type: typ}
		if from != nil {
			there, err := t.lane(ctx, from, &l)
			if err != nil {
				return err
			}
			if there {
				consumers++
			}
		}
		t.overview.Lanes = append(t.overview.Lanes, l)
	}
	t.suspicious = t.suspicious || from != nil && from.CachedInfo().State.Consumers > consumers
	if t.overview.Redelivery == consumer.Schedule && from != nil {
		// What the stream holds is due, out, or held back. The counts are some moments apart.
		held := from.CachedInfo().State.Msgs
		for _, l := range t.overview.Lanes {
			held -= min(held, l.Due+uint64(l.Out))
		}
		t.overview.Waiting = &held
		if t.overview.Overdue, err = CountOverdue(ctx, t.js, from.CachedInfo().TimeStamp); err != nil {
			return err
		}
	}
	return nil
}

func (t *taking) intake(declared *jetstream.StreamInfo, c *jetstream.ConsumerInfo) {
	if c == nil {
		t.suspicious = declared.State.Consumers > 0
		return
	}
	t.overview.Intake = &Intake{
		Waiting:     c.NumPending,
		Out:         c.NumAckPending,
		Redelivered: c.NumRedelivered,
		PausedUntil: pausedUntil(c),
	}
	t.suspicious = declared.State.Consumers > 1
	if declared.State.Msgs == 0 {
		return
	}
	passed := provisioning.Settled(c, declared.State.FirstSeq)
	t.suspicious = t.suspicious || passed
	if !passed || c.NumPending+uint64(c.NumAckPending) > 0 {
		t.overview.Intake.WaitingSeconds = seconds(declared.TimeStamp.Sub(declared.State.FirstTime))
	}
}

// lane reads what waits in a lane. It tells whether there is its consumer.
func (t *taking) lane(ctx context.Context, from jetstream.Stream, l *Lane) (there bool, err error) {
	stream, state := from.CachedInfo().Config.Name, from.CachedInfo().State
	c, err := t.consumer(ctx, stream, schema.PollConsumer(l.Type))
	if err != nil || c == nil {
		return false, err
	}
	l.Due, l.Out, l.Redelivered, l.PausedUntil = c.NumPending, c.NumAckPending, c.NumRedelivered, pausedUntil(c)
	idle := l.Due == 0 && l.Out == 0
	if idle && (state.Msgs == 0 || !provisioning.Settled(c, state.FirstSeq)) {
		return true, nil
	}
	subject, err := schema.SubjectPattern(stream, l.Type)
	if err != nil {
		return true, err
	}
	first, err := from.GetMsg(ctx, 1, jetstream.WithGetMsgSubject(subject))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return true, nil // acked meanwhile
	}
	if err != nil {
		return true, fmt.Errorf("reading the first message of %s on %s: %w", stream, subject, err)
	}
	t.suspicious = t.suspicious || provisioning.Settled(c, first.Sequence)
	if idle {
		return true, nil
	}
	generation := first.Time // of what no worker stored
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

// pausedUntil is nil where the consumer is not paused, or not any more.
func pausedUntil(c *jetstream.ConsumerInfo) *time.Time {
	if !c.Paused {
		return nil
	}
	return c.Config.PauseUntil
}

// seconds is an age to a tenth of a second. What was stored after the state was read is 0 old.
func seconds(d time.Duration) float64 { return math.Round(max(0, d.Seconds())*10) / 10 }
