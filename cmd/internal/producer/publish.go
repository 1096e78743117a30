// Package producer publishes declared messages whose interaction is neither in flight nor processed.
package producer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sirupsen/logrus"

	"statusworker/cmd/broker/adapter"
	"statusworker/cmd/broker/api"
	"statusworker/cmd/broker/permission"
	"statusworker/cmd/internal/connect"
	"statusworker/cmd/internal/producer/source"
	"statusworker/schema"
)

const (
	// window is the maximum number of messages in flight to the broker. With messages of 64 KiB that is 32 MB.
	window = 512
	// ackTimeout is how long a publish waits for its acknowledgement. Then it is repeated: the broker rejects the
	// repetition if the message was stored. While it has not stored it, it may reject it, too: see [Producer.unproven].
	ackTimeout = 5 * time.Second
	// lookups is the maximum number of concurrent lookups. Many share one write to the connection.
	lookups = 256
	// acceptTimeout is how long the broker may accept nothing before the command gives up. A leader that cannot store
	// what it has received ceases to be the leader within 20 s.
	acceptTimeout = 30 * time.Second
	// deniedGrace is how long to wait for earlier acknowledgements after a publish was denied.
	deniedGrace = time.Second
)

// Producer declares messages in three steps, each in a goroutine:
//
//  1. It reads and validates a message, and looks up its interaction.
//  2. It publishes the message, unless the interaction is in flight or processed.
//  3. It counts the result when the broker has answered.
//
// All steps keep the order of the input. The channels between them are bounded, so that memory does not grow with the
// input.
type Producer struct {
	js       jetstream.JetStream
	names    schema.Namespace
	progress *Progress
	timeout  time.Duration // acceptTimeout, unless a test sets another
	places   []place       // where interactions are looked up

	// failingSince is when the broker stopped accepting messages. It is zero while the broker accepts them.
	failingSince time.Time
}

// Open returns a Producer. It uses the connection and the prefix of js. It waits until the broker answers, and reports
// if the user lacks the permission to look up interactions. It returns [jetstream.ErrStreamNotFound] if nothing is
// provisioned.
func Open(
	ctx context.Context, js jetstream.JetStream, n schema.Namespace, log logrus.FieldLogger, report func(string),
) (*Producer, error) {
	js, err := api.Of(js).JetStream(js.Conn(),
		jetstream.WithPublishAsyncMaxPending(window+2), jetstream.WithPublishAsyncTimeout(ackTimeout))
	if err != nil {
		return nil, err
	}
	err = connect.Settled(ctx, js, log, func(ctx context.Context, js jetstream.JetStream) error {
		_, err := js.Stream(ctx, n.StreamDeclared())
		return err
	})
	if err != nil {
		return nil, err
	}
	places, err := readablePlaces(ctx, js, n, log, report)
	if err != nil {
		return nil, err
	}
	return &Producer{js: js, names: n, timeout: acceptTimeout, places: places}, nil
}

// pending is a message that is not settled yet.
type pending struct {
	source.Candidate
	identifier string
	msg        *nats.Msg
	lookup     chan error    // its result
	settled    chan struct{} // closed when the broker has answered
	future     jetstream.PubAckFuture
	err        error
}

// Run declares all messages of the source, and counts the results in progress. When ctx ends, it stops reading and
// waits for the messages in flight. When leave ends too, it does not wait.
func (d *Producer) Run(ctx, leave context.Context, from source.Source, progress *Progress) error {
	d.progress = progress
	reading, stopReading := context.WithCancelCause(ctx)
	defer stopReading(nil)
	// The broker reports a denied publish separately: the publish itself gets no answer.
	denied, deny := context.WithCancel(context.Background())
	defer deny()
	defer permission.OnDenied(d.js.Conn(), func(err error) {
		stopReading(connect.ExplainDenied(err))
		time.AfterFunc(deniedGrace, deny)
	}, d.subjects()...)()
	candidates := make(chan source.Candidate, window)
	read := make(chan error, 1)
	go func() {
		// A read may block forever, so Run does not wait for it after ctx has ended.
		read <- from.Send(reading, candidates)
		close(candidates)
	}()
	lookedUp := make(chan pending, lookups)
	go d.look(reading, leave, candidates, lookedUp)
	published := make(chan pending, window-2)
	go d.publish(lookedUp, published)
	for s := range published {
		err := s.err
		if err == nil {
			err = await(leave, denied.Done(), s.future)
		}
		if (transient(err) || d.unproven(err)) && reading.Err() == nil {
			if err = d.retry(reading, s, err); transient(err) && ctx.Err() == nil {
				stopReading(ErrNotAccepted)
			}
		}
		d.settle(s.Candidate, err)
		close(s.settled)
	}
	if cause := context.Cause(reading); errors.Is(cause, nats.ErrPermissionViolation) {
		return cause
	}
	if errors.Is(context.Cause(reading), ErrNotAccepted) {
		return fmt.Errorf("%w for %s: stopped after %d messages; run the command again when the broker recovers",
			ErrNotAccepted, d.timeout, d.progress.Counts().Read)
	}
	if ctx.Err() != nil {
		return nil
	}
	return <-read
}

// subjects returns the subjects on which a Producer publishes.
func (d *Producer) subjects() []string {
	all := []string{d.names.SubjectsDeclared()}
	for _, p := range d.places {
		all = append(all, p.requests(d.js)...)
	}
	return all
}

// look validates candidates, and starts the lookups of valid ones. When ctx ends it takes no more. It finishes the
// lookups that it has started, unless leave ends too.
func (d *Producer) look(ctx, leave context.Context, from <-chan source.Candidate, to chan<- pending) {
	defer close(to)
	// The latest message of each identifier: no lookup finds a message that is in flight and not stored yet.
	latest := map[string]chan struct{}{}
	for {
		var c source.Candidate
		var more bool
		select {
		case <-ctx.Done():
			return
		case c, more = <-from:
		}
		if !more || ctx.Err() != nil {
			return
		}
		d.progress.read()
		declared, err := schema.Decode(c.Message)
		if c.Problem != nil {
			err = c.Problem
		}
		if err != nil {
			d.progress.invalid(c, err)
			continue
		}
		// No Nats-Msg-Id: an interaction can be declared again after it has ended, and the broker would drop the
		// duplicate.
		s := pending{
			Candidate: c, identifier: declared.Identifier, lookup: make(chan error, 1), settled: make(chan struct{}),
			msg: nats.NewMsg(d.names.DeclaredSubject(declared.Type, declared.Identifier)),
		}
		s.msg.Data = c.Message
		before := latest[s.identifier]
		if len(latest) >= 2*window {
			maps.DeleteFunc(latest, func(_ string, settled chan struct{}) bool { return isClosed(settled) })
		}
		latest[s.identifier] = s.settled
		go func() { s.lookup <- d.lookUp(leave, s.identifier, before) }()
		to <- s // the reader drains the channel
	}
}

// lookUp returns an error if declaring an interaction changes nothing. It first waits until the previous message of
// the interaction is settled.
func (d *Producer) lookUp(ctx context.Context, identifier string, before <-chan struct{}) error {
	if before != nil {
		select {
		case <-before:
		case <-ctx.Done():
			return errStopped
		}
	}
	return lookUp(ctx, d.js, d.places, identifier)
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// publish publishes messages of interactions that are neither in flight nor processed. It does not wait for
// acknowledgements.
func (d *Producer) publish(from <-chan pending, to chan<- pending) {
	defer close(to)
	for s := range from {
		if s.err = <-s.lookup; s.err == nil {
			s.future, s.err = d.js.PublishMsgAsync(s.msg)
		}
		to <- s // the reader drains the channel
	}
}

// await waits for the broker's answer, for at most ackTimeout. It returns earlier if the publish was denied.
func await(leave context.Context, denied <-chan struct{}, f jetstream.PubAckFuture) error {
	select {
	case <-f.Ok():
		return nil
	case err := <-f.Err():
		return err
	default:
	}
	select {
	case <-f.Ok():
		return nil
	case err := <-f.Err():
		return err
	case <-leave.Done():
		return errStopped
	case <-denied:
		return errDenied
	}
}

// unproven reports whether the broker rejected a message because one is on its subject, and a lookup can show whether
// that one is stored. The leader of a replicated stream also rejects it because of a message that it has not stored
// yet, and may lose.
func (d *Producer) unproven(err error) bool {
	return adapter.MaxPerSubject(err) &&
		slices.ContainsFunc(d.places, func(p place) bool { return p.stream == d.names.StreamDeclared() })
}

// retry repeats the lookup and the publish until the broker answers, or has accepted nothing for too long. It returns
// the last error. If the broker rejects a message for that long because another one is on its subject, the other one is
// stored, and the interaction is already waiting.
func (d *Producer) retry(ctx context.Context, s pending, first error) error {
	if transient(first) && d.failingSince.IsZero() {
		d.failingSince = time.Now()
		d.progress.report(fmt.Sprintf("the broker accepts no messages: waiting for up to %s (%s)",
			schema.Duration(d.timeout), whyNot(d.names, first)))
	}
	since := d.failingSince
	if since.IsZero() {
		since = time.Now()
	}
	policy := backoff.NewExponentialBackOff(backoff.WithInitialInterval(50*time.Millisecond),
		backoff.WithMaxInterval(2*time.Second), backoff.WithMaxElapsedTime(0))
	var last error
	_ = backoff.Retry(func() error { // when ctx ends, last is the error before
		if last = lookUp(ctx, d.js, d.places, s.identifier); last == nil {
			bounded, cancel := context.WithTimeout(ctx, ackTimeout)
			defer cancel()
			_, last = d.js.PublishMsg(bounded, s.msg)
		}
		again := transient(last) || adapter.MaxPerSubject(last)
		if last != nil && (!again || time.Since(since) > d.timeout) {
			return backoff.Permanent(last)
		}
		return last
	}, backoff.WithContext(policy, ctx))
	return last
}

// settle counts the result of a message, and reports it if it was not declared.
func (d *Producer) settle(c source.Candidate, err error) {
	switch {
	case err == nil:
		d.failingSince = time.Time{}
		d.progress.declared(c)
	case AlreadyWaiting(err):
		d.failingSince = time.Time{}
		d.progress.waiting(c)
	case AlreadyProcessed(err):
		d.failingSince = time.Time{}
		d.progress.processed(c)
	default:
		d.progress.failed(c, errors.New(whyNot(d.names, err)))
	}
}
