package desk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/schema"
)

// Result is what became of a dead letter that was to be replayed.
type Result string

// The results.
const (
	// Replayed: the declared message was published again, and the dead letter deleted.
	Replayed Result = "replayed"
	// Superseded: the interaction was declared again since, by an earlier replay or by its producer; the dead letter was
	// deleted.
	Superseded Result = "superseded"
	// Ending: the life that the dead letter belongs to is still ending; nothing was done.
	Ending Result = "still ending"
	// Impossible: there is nothing to declare again; nothing was done.
	Impossible Result = "impossible"
	// Failed: the broker could not be asked or did not take it; it is not known how far it came, and the same call again
	// goes on from there.
	Failed Result = "failed"
)

// Done tells whether the dead letter is gone.
func (r Result) Done() bool { return r == Replayed || r == Superseded }

// sighting is a stored message of an interaction.
type sighting struct {
	life time.Time
	// over says that nothing is polled for it any more: a tombstone, or an outcome.
	over bool
	// processed is an outcome that handed results on.
	processed bool
}

// next is what a replay does next.
type next string

const (
	publish   next = "publish"
	supersede next = "supersede"
	await     next = "await"
)

// decide says what to do about the dead letter of a life when these messages of its interaction are stored elsewhere.
func decide(life time.Time, seen []sighting) next {
	then := publish
	for _, s := range seen {
		switch {
		case s.processed, s.life.After(life):
			return supersede
		case !s.over: // of this life, or of one before: two chains of polls must not meet
			then = await
		}
	}
	return then
}

const (
	// attemptTimeout is how long the broker may take for one answer.
	attemptTimeout = 3 * time.Second
	endingEvery    = 250 * time.Millisecond
)

// Replay publishes the declared message of a dead letter again and deletes the dead letter. See the package comment for
// what it looks for first. An error comes with [Failed], [Ending] and [Impossible], and says why. Trouble of the broker is
// waited out for as long as ctx allows.
func (d *Desk) Replay(ctx context.Context, l Letter) (Result, error) {
	if l.Problem != nil {
		return Impossible, l.Problem
	}
	subject, message, err := l.Declared()
	if err != nil {
		return Impossible, err
	}
	m := &nats.Msg{Subject: subject, Data: message, Header: nats.Header{
		schema.HeaderSupersedes: {l.Source.Stored.UTC().Format(time.RFC3339Nano)},
	}}
	if l.Traceparent != "" {
		m.Header[schema.HeaderTraceparent] = []string{l.Traceparent}
	}

	published := false // perhaps: a publish without an answer may have been stored
	var giveUp time.Time
	result := Failed
	step := func() error {
		for {
			seen, err := d.look(ctx, l)
			if err != nil {
				return err
			}
			switch decide(l.Source.Stored, seen) {
			case await:
				if now := time.Now(); giveUp.IsZero() {
					giveUp = now.Add(d.endingFor)
				} else if now.After(giveUp) {
					result = Ending
					return backoff.Permanent(errEnding)
				}
			case supersede:
				if result = Superseded; published {
					result = Replayed
				}
				return nil
			case publish:
				// No Nats-Msg-Id: what fails again may be replayed again, sooner than the broker forgets ids.
				published = true
				err := d.publish(ctx, m)
				if err == nil {
					result = Replayed
					return nil
				}
				if !refusedAsStored(err) {
					return err
				}
				published = false // nothing was stored, because something is: look what
			}
			select {
			case <-time.After(endingEvery):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	if err := retry(ctx, step); err != nil {
		if result != Ending {
			result = Failed
		}
		return result, fmt.Errorf("replaying the dead letter %d of %s: %w", l.Sequence, l.Identifier, err)
	}
	if err := retry(ctx, func() error { return d.Delete(ctx, l) }); err != nil {
		return Failed, err
	}
	return result, nil
}

var errEnding = errors.New("the interaction is still ending: its last poll is reserved, or its declared message is stored still; run it again in a minute")

// retry waits out what may pass: no answer, no connection, an election.
func retry(ctx context.Context, do func() error) error {
	policy := backoff.NewExponentialBackOff(backoff.WithInitialInterval(50*time.Millisecond), backoff.WithMaxInterval(2*time.Second), backoff.WithMaxElapsedTime(0))
	var last error
	err := backoff.Retry(func() error {
		if last = do(); last == nil || transient(last) && ctx.Err() == nil {
			return last
		}
		return backoff.Permanent(last)
	}, backoff.WithContext(policy, ctx))
	if err != nil && last != nil {
		return last // it says more than that ctx has ended
	}
	return err
}

// transient tells whether the same request may be answered in a moment.
func transient(err error) bool {
	var api *jetstream.APIError
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, nats.ErrNoResponders) ||
		errors.Is(err, jetstream.ErrNoStreamResponse) || errors.Is(err, nats.ErrDisconnected) || errors.Is(err, nats.ErrConnectionReconnecting) ||
		errors.As(err, &api) && api.Code == 503
}

// storedAlready is the broker's code for a message on a subject that has one; also where a stream is full.
const storedAlready jetstream.ErrorCode = 10077

func refusedAsStored(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == storedAlready
}

func (d *Desk) publish(ctx context.Context, m *nats.Msg) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	if _, err := d.js.PublishMsg(ctx, m); err != nil {
		return fmt.Errorf("publishing on %s: %w", m.Subject, err)
	}
	return nil
}

// look finds what is stored of the interaction of a dead letter, in the order in which an interaction moves.
func (d *Desk) look(ctx context.Context, l Letter) ([]sighting, error) {
	_, identifier, _ := schema.SplitSubject(l.Source.Subject)
	var seen []sighting
	declared, err := last(ctx, d.declared, schema.DeclaredSubject("*", identifier))
	if err != nil {
		return nil, err
	}
	if declared != nil {
		seen = append(seen, sighting{life: declared.Time})
	}
	if d.polls != nil {
		// Reservation and due message in one look: an interaction moves from one to the other and back.
		pending, err := last(ctx, d.polls, schema.OutcomeSubjects(identifier))
		if err != nil {
			return nil, err
		}
		if pending != nil {
			life, err := time.Parse(time.RFC3339Nano, pending.Header.Get(schema.HeaderFirstStored))
			if err != nil {
				life = pending.Time // nobody reserved it: it is polled as if it had been declared
			}
			seen = append(seen, sighting{life: life, over: pending.Header.Get(schema.HeaderTombstone) != ""})
		}
	}
	ended, err := d.ended(ctx, l, identifier)
	return append(seen, ended...), err
}

// ended finds the outcomes that were stored after the dead letter.
func (d *Desk) ended(ctx context.Context, l Letter, identifier string) ([]sighting, error) {
	newest, err := last(ctx, d.outcomes, schema.OutcomeSubjects(identifier))
	if err != nil {
		return nil, err
	}
	if newest == nil || newest.Sequence <= l.Sequence {
		return nil, nil
	}
	bounded, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	info, err := d.outcomes.Info(bounded, jetstream.WithSubjectFilter(schema.OutcomeSubjects(identifier)))
	if err != nil {
		return nil, fmt.Errorf("reading which outcomes %s has: %w", identifier, err)
	}
	var seen []sighting
	for subject := range info.State.Subjects {
		m, err := last(ctx, d.outcomes, subject)
		if err != nil {
			return nil, err
		}
		if m == nil || m.Sequence <= l.Sequence {
			continue
		}
		// A dead letter of an invalid message says nothing about an interaction that it may have meant, nor about one that came
		// by another subject.
		if o, ok := readOutcome(m); ok && (!o.invalid || l.Reason == schema.InvalidMessage && o.source == l.Source.Subject) {
			seen = append(seen, o.sighting)
		}
	}
	return seen, nil
}

// outcome is a sighting of an outcome, and which declared message it is about.
type outcome struct {
	sighting
	invalid bool
	source  string
}

func readOutcome(m *jetstream.RawStreamMsg) (outcome, bool) {
	var event struct {
		Data struct {
			Destination schema.Destination `json:"destination"`
			Reason      schema.Reason      `json:"reason"`
			DeclaredAt  time.Time          `json:"declaredAt"`
			Source      schema.Origin      `json:"source"`
		} `json:"data"`
	}
	if err := json.Unmarshal(m.Data, &event); err != nil {
		return outcome{}, false // not published by this stage
	}
	return outcome{
		sighting: sighting{life: event.Data.DeclaredAt, over: true, processed: event.Data.Destination != ""},
		invalid:  event.Data.Reason == schema.InvalidMessage,
		source:   event.Data.Source.Subject,
	}, true
}

// last reads the newest message that matches a subject from the stream's leader; nil where there is none.
func last(ctx context.Context, stream jetstream.Stream, subject string) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	m, err := stream.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading what is stored under %s: %w", subject, err)
	}
	return m, nil
}
