// Package desk is for the operator who looks after dead letters: it reads, filters, replays and deletes them, however many
// there are, without holding more than a few in memory.
//
// # Replaying
//
// A dead letter is replayed by publishing the declared message that led to it again, and deleted when the broker has
// acknowledged that. Interrupted anywhere and done again, it neither loses nor doubles anything, because of what is looked for
// first. Every declared message begins a life, named by the moment at which it was stored, and a dead letter knows the life
// that it ended. So before anything is published, the desk looks for a newer life of the same interaction in the streams that an
// interaction goes through, in the order in which it does: declared, waiting, ended. It is stored in the next place
// before it leaves the one before, so a newer life cannot be missed. Where there is one, the dead letter was replayed
// before (or the interaction was declared again), and is only deleted.
//
// A life ends in a dead letter a moment before the last that is pending of it is a tombstone; a worker that dies between
// the two leaves one more poll. The desk waits until that is over: declaring the interaction meanwhile could make that poll
// end in a second dead letter.
package desk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/schema"
	"statusworker/schema/topology"
)

// Desk works on the dead letters of one broker. It is safe for concurrent use.
type Desk struct {
	js       jetstream.JetStream
	declared jetstream.Stream
	polls    jetstream.Stream // nil with delayed naks
	outcomes jetstream.Stream
	// endingFor is how long Replay waits for a life that is just ending.
	endingFor time.Duration
}

// endingFor is longer than the guidance of any type with all that is added to it.
const endingFor = time.Minute

// New makes a desk on the streams that `statusworker provision` made. The error is of the broker, and wraps
// [jetstream.ErrStreamNotFound] where a stream is missing.
func New(ctx context.Context, js jetstream.JetStream) (*Desk, error) {
	d := &Desk{js: js, endingFor: endingFor}
	for _, s := range []struct {
		name     string
		stream   *jetstream.Stream
		optional bool
	}{{schema.StreamOutcomes, &d.outcomes, false}, {schema.StreamDeclared, &d.declared, false}, {schema.StreamPolls, &d.polls, true}} {
		stream, err := js.Stream(ctx, s.name)
		if s.optional && topology.Absent(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading stream %s: %w", s.name, err)
		}
		*s.stream = stream
	}
	return d, nil
}

// Letter is a dead letter with where it is stored.
type Letter struct {
	schema.DeadLetter
	Sequence uint64
	Subject  string
	Stored   time.Time
	// Raw is the event as it is stored.
	Raw []byte
	// Problem says why the message is no dead letter of this stage; nothing but Reason and Identifier is known then, from
	// the subject.
	Problem error
}

func readLetter(subject string, sequence uint64, stored time.Time, raw []byte) Letter {
	l := Letter{Sequence: sequence, Subject: subject, Stored: stored, Raw: raw}
	if l.DeadLetter, l.Problem = schema.DecodeDeadLetter(subject, raw); l.Problem != nil {
		kind, token, _ := schema.SplitSubject(subject)
		l.Reason, l.Identifier = schema.Reason(kind), token
	}
	return l
}

const (
	// readAhead is how many dead letters the broker sends ahead of who reads them.
	readAhead = 128
	// readPatience is how long the next one may take before it is asked whether there is one.
	readPatience = 2 * time.Second
)

// Each calls take with every dead letter that matches, in the order in which they were stored, up to the last one that
// was there when it was called. It ends with the error of take, of ctx or of the broker.
func (d *Desk) Each(ctx context.Context, f Filter, take func(Letter) error) error {
	if err := f.Check(); err != nil {
		return err
	}
	info, err := d.outcomes.Info(ctx)
	if err != nil {
		return fmt.Errorf("reading stream %s: %w", schema.StreamOutcomes, err)
	}
	last, now := info.State.LastSeq, info.TimeStamp
	if now.IsZero() {
		now = time.Now()
	}
	cfg := jetstream.OrderedConsumerConfig{FilterSubjects: f.subjects(), DeliverPolicy: jetstream.DeliverAllPolicy}
	switch {
	case f.Sequence > 0:
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, f.Sequence
		last = min(last, f.Sequence)
	case f.NewerThan > 0:
		from := now.Add(-f.NewerThan)
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &from
	}
	consumer, err := d.js.OrderedConsumer(ctx, schema.StreamOutcomes, cfg)
	if err != nil {
		return fmt.Errorf("reading dead letters: %w", err)
	}
	if consumer.CachedInfo().NumPending == 0 {
		return nil
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(readAhead))
	if err != nil {
		return fmt.Errorf("reading dead letters: %w", err)
	}
	defer messages.Stop()
	for ctx.Err() == nil {
		bounded, cancel := context.WithTimeout(ctx, readPatience)
		m, err := messages.Next(jetstream.NextContext(bounded))
		cancel()
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) {
			// What was still to come may have been deleted, or the broker is away for a while.
			if over, err := d.over(ctx, consumer); err != nil || over {
				return err
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("reading dead letters: %w", err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return fmt.Errorf("reading dead letters: %w", err)
		}
		if meta.Sequence.Stream > last {
			return nil
		}
		if l := readLetter(m.Subject(), meta.Sequence.Stream, meta.Timestamp, m.Data()); f.matches(l, now) {
			if err := take(l); err != nil {
				return err
			}
		}
		if meta.NumPending == 0 {
			return nil
		}
	}
	return ctx.Err()
}

// over tells whether the consumer has given all there is. While the broker is away nobody knows.
func (d *Desk) over(ctx context.Context, consumer jetstream.Consumer) (bool, error) {
	bounded, cancel := context.WithTimeout(ctx, readPatience)
	defer cancel()
	info, err := consumer.Info(bounded)
	switch {
	case err == nil:
		return info.NumPending == 0, nil
	case ctx.Err() != nil:
		return false, ctx.Err()
	}
	return false, nil // the ordered consumer makes itself anew when the broker is back
}

// Delete deletes one dead letter. One that is not there any more is deleted.
func (d *Desk) Delete(ctx context.Context, l Letter) error {
	err := d.outcomes.DeleteMsg(ctx, l.Sequence)
	if err == nil {
		return nil
	}
	// The broker's error for a message that is gone says no more than that it failed.
	if _, found := d.outcomes.GetMsg(ctx, l.Sequence); errors.Is(found, jetstream.ErrMsgNotFound) {
		return nil
	}
	return fmt.Errorf("deleting the dead letter %d of %s: %w", l.Sequence, l.Identifier, err)
}

// Filter says which dead letters are meant. What is empty does not count; the zero value means all.
type Filter struct {
	// Identifiers are the last tokens of subjects: interaction identifiers, or the tokens of invalid messages.
	Identifiers []string
	Reasons     []schema.Reason
	Types       []schema.Type
	// OlderThan and NewerThan are ages, by when the dead letters were stored.
	OlderThan, NewerThan time.Duration
	// Sequence is the one dead letter that is stored there.
	Sequence uint64
}

// FilterError says which part of a filter is wrong, with which value, and what is allowed.
type FilterError struct{ Field, Value, Want string }

func (e *FilterError) Error() string {
	return fmt.Sprintf("filter: %s is %s: want %s", e.Field, schema.Quote(e.Value), e.Want)
}

// Empty tells whether f means all dead letters.
func (f Filter) Empty() bool {
	return len(f.Identifiers) == 0 && len(f.Reasons) == 0 && len(f.Types) == 0 && f.OlderThan == 0 && f.NewerThan == 0 && f.Sequence == 0
}

// Check says what is wrong with f; the error is a [*FilterError].
func (f Filter) Check() error {
	for _, id := range f.Identifiers {
		if schema.CheckDeadLetterToken(id) != nil {
			return &FilterError{"Identifiers", id, "an interaction identifier, or the last token of an invalid message's dead letter such as seq-17"}
		}
	}
	for _, r := range f.Reasons {
		if !slices.Contains(schema.Reasons(), r) {
			return &FilterError{"Reasons", string(r), "one of " + join(schema.Reasons())}
		}
	}
	for _, t := range f.Types {
		if !t.Valid() {
			return &FilterError{"Types", string(t), "one of " + join(schema.Types())}
		}
	}
	if f.OlderThan < 0 {
		return &FilterError{"OlderThan", f.OlderThan.String(), "an age of more than 0"}
	}
	if f.NewerThan < 0 {
		return &FilterError{"NewerThan", f.NewerThan.String(), "an age of more than 0"}
	}
	if f.NewerThan > 0 && f.OlderThan >= f.NewerThan {
		return &FilterError{"OlderThan", f.OlderThan.String(), "less than NewerThan, which is " + f.NewerThan.String()}
	}
	return nil
}

func join[T ~string](all []T) string {
	texts := make([]string, len(all))
	for i, v := range all {
		texts[i] = string(v)
	}
	return strings.Join(texts, ", ")
}

// fewSubjects is how many filter subjects the broker is given at most; more are sorted out here.
const fewSubjects = 64

// subjects are the filter subjects by which the broker sorts out most of what is not meant. None covers another.
func (f Filter) subjects() []string {
	all := map[string]bool{}
	switch ids, reasons := len(f.Identifiers), len(f.Reasons); {
	case ids > 0 && ids <= fewSubjects:
		for _, id := range f.Identifiers {
			all[schema.FailedSubject("*", id)] = true
		}
	case reasons > 0:
		for _, r := range f.Reasons {
			all[schema.FailedSubject(r, "*")] = true
		}
	default:
		return []string{schema.SubjectsFailed}
	}
	var subjects []string
	for s := range all {
		subjects = append(subjects, s)
	}
	return subjects
}

// matches tells whether a dead letter is meant.
func (f Filter) matches(l Letter, now time.Time) bool {
	age := now.Sub(l.Stored)
	return (len(f.Identifiers) == 0 || slices.Contains(f.Identifiers, l.Identifier)) &&
		(len(f.Reasons) == 0 || slices.Contains(f.Reasons, l.Reason)) &&
		(len(f.Types) == 0 || slices.Contains(f.Types, l.Type)) &&
		(f.OlderThan == 0 || age > f.OlderThan) && (f.NewerThan == 0 || age < f.NewerThan) &&
		(f.Sequence == 0 || f.Sequence == l.Sequence)
}
