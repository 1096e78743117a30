package survey

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/consumer"
	"statusworker/schema"
	"statusworker/schema/lifecycle"
	"statusworker/schema/topology"
)

// Surveyor takes surveys of one stage. Its methods may be called from any goroutine.
type Surveyor struct {
	js  jetstream.JetStream
	now func() time.Time

	mu      sync.Mutex
	counted *counted
	again   time.Time // when to count the next time
}

// restOfCounting is how many times as long as counting took nothing is counted.
const restOfCounting = 50

// New makes a surveyor. Now is for the pace of counting.
func New(js jetstream.JetStream, now func() time.Time) *Surveyor { return &Surveyor{js: js, now: now} }

// Take asks the broker how things are. What is missing is told in the survey; an error means that the broker could not
// be asked.
func (v *Surveyor) Take(ctx context.Context) (Survey, error) { return v.take(ctx, true) }

// Look is Take without counting outcomes, which takes the right to create consumers: for a worker, which has not got it.
func (v *Surveyor) Look(ctx context.Context) (Survey, error) { return v.take(ctx, false) }

func (v *Surveyor) take(ctx context.Context, countOutcomes bool) (Survey, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	t := &taking{js: v.js}
	mode, err := consumer.Detect(ctx, v.js)
	if err != nil {
		return Survey{}, err
	}
	t.survey.HoldBack = mode
	if err := t.lanes(ctx); err != nil {
		return Survey{}, err
	}
	if t.suspicious {
		if t.survey.Report, err = topology.Inspect(ctx, v.js, consumer.Topology(consumer.Config{}, consumer.Choices{Mode: mode})); err != nil {
			return Survey{}, err
		}
	}
	if err := t.workers(ctx); err != nil {
		return Survey{}, err
	}
	outcomes, err := t.stream(ctx, schema.StreamOutcomes)
	if err != nil {
		return Survey{}, err
	}
	if t.survey.At.IsZero() {
		t.survey.At = v.now().UTC() // nothing is there whose broker could have told
	}
	if began := v.now(); v.counted == nil || !began.Before(v.again) {
		c, err := count(ctx, v.js, t.survey.At, t.survey.HeldBack != nil && *t.survey.HeldBack <= MostCounted, countOutcomes && outcomes != nil)
		if err != nil {
			return Survey{}, err
		}
		ended := v.now()
		v.counted, v.again = c, ended.Add(restOfCounting*ended.Sub(began))
	}
	v.counted.into(&t.survey)
	slices.Sort(t.survey.Missing)
	t.survey.Advice = Advise(t.survey)
	return t.survey, nil
}

// taking is a survey while it is taken.
type taking struct {
	js     jetstream.JetStream
	survey Survey
	// suspicious says that a consumer may pass over what is stored, or that there may be one that does not belong there.
	suspicious bool
}

// stream reads a stream's state; nil where it is not there.
func (t *taking) stream(ctx context.Context, name string) (jetstream.Stream, error) {
	s, err := t.js.Stream(ctx, name)
	if topology.Absent(err) {
		t.survey.Missing = append(t.survey.Missing, streamName(name))
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading stream %s: %w", name, err)
	}
	if ts := s.CachedInfo().TimeStamp; ts.After(t.survey.At) {
		t.survey.At = ts
	}
	return s, nil
}

// consumer reads a consumer's state; nil where it is not there.
func (t *taking) consumer(ctx context.Context, stream, name string) (*jetstream.ConsumerInfo, error) {
	c, err := t.js.Consumer(ctx, stream, name)
	if topology.Absent(err) {
		t.survey.Missing = append(t.survey.Missing, "consumer "+stream+"/"+name)
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
	if t.survey.HoldBack != consumer.Nak {
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
		t.survey.Missing = []string{streamName(schema.StreamDeclared)} // its consumer goes without saying
	}
	from := declared
	if t.survey.HoldBack != consumer.Nak {
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
		t.survey.Lanes = append(t.survey.Lanes, l)
	}
	t.suspicious = t.suspicious || from != nil && from.CachedInfo().State.Consumers > consumers
	if t.survey.HoldBack == consumer.Reserve && from != nil {
		// What the stream holds is due, out, or held back. The counts are some moments apart.
		held := from.CachedInfo().State.Msgs
		for _, l := range t.survey.Lanes {
			held -= min(held, l.Due+uint64(l.Out))
		}
		t.survey.HeldBack = &held
		if t.survey.Overdue, err = CountOverdue(ctx, t.js, from.CachedInfo().TimeStamp); err != nil {
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
	t.survey.Intake = &Intake{Waiting: c.NumPending, Out: c.NumAckPending, Redelivered: c.NumRedelivered, PausedUntil: pausedUntil(c)}
	t.suspicious = declared.State.Consumers > 1
	if declared.State.Msgs == 0 {
		return
	}
	passed := topology.Settled(c, declared.State.FirstSeq)
	t.suspicious = t.suspicious || passed
	if !passed || c.NumPending+uint64(c.NumAckPending) > 0 {
		t.survey.Intake.WaitingSeconds = seconds(declared.TimeStamp.Sub(declared.State.FirstTime))
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
	if idle && (state.Msgs == 0 || !topology.Settled(c, state.FirstSeq)) {
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
	t.suspicious = t.suspicious || topology.Settled(c, first.Sequence)
	if idle {
		return true, nil
	}
	generation := first.Time // of what no worker stored
	r := lifecycle.ReadReserved(first.Header, first.Sequence, first.Time)
	if t.survey.HoldBack == consumer.Reserve {
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
