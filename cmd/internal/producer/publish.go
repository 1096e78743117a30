package producer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sirupsen/logrus"

	"statusworker/cmd/broker/permission"
	"statusworker/cmd/internal/connect"
	"statusworker/schema"
)

const (
	// window is how many messages may be on their way to the broker. With messages of 64 KiB they are 32 MB.
	window = 512
	// ackWithin is how long one publish waits for its ack. After that its fate is unknown, and it is made again:
	// the broker refuses it if it was stored.
	ackWithin = 5 * time.Second
	// lookups is how many interactions are looked up at once. Many share a write to the connection.
	lookups = 256
	// patience is how long a broker may take nothing in before the rest is given up.
	patience = 30 * time.Second
	// deniedGrace is how long acks may still come after a publish was refused.
	deniedGrace = time.Second
)

// Producer publishes messages in three steps, each a goroutine: read, validated and looked up; published, where they
// are not in flight; settled when the broker has answered. All keep the order of the input. Between them are bounded
// windows, so that memory does not grow with the input.
type Producer struct {
	js       jetstream.JetStream
	progress *Progress
	patience time.Duration
	// places are where it is looked up whether an interaction is in flight.
	places []place

	// troubleSince is when the broker began to take nothing in; zero while it does.
	troubleSince time.Time
}

// Open makes a Producer. It waits until the broker answers, and reports where the user has no right to look up what is
// in flight. The error is [jetstream.ErrStreamNotFound] where nothing is provisioned.
func Open(ctx context.Context, nc *nats.Conn, log logrus.FieldLogger, report func(string)) (*Producer, error) {
	js, err := jetstream.New(
		nc,
		jetstream.WithPublishAsyncMaxPending(window+2),
		jetstream.WithPublishAsyncTimeout(ackWithin),
	)
	if err != nil {
		return nil, fmt.Errorf("using JetStream: %w", err)
	}
	err = connect.Settled(ctx, js, log, func(ctx context.Context, js jetstream.JetStream) error {
		_, err := js.Stream(ctx, schema.StreamDeclared)
		return err
	})
	if err != nil {
		return nil, err
	}
	among, err := placesToLook(ctx, js, log, report)
	if err != nil {
		return nil, err
	}
	return &Producer{js: js, patience: patience, places: among}, nil
}

// sent is a message that is on its way.
type sent struct {
	candidate
	identifier string
	msg        *nats.Msg
	lookup     chan error    // its result
	settled    chan struct{} // closed when the broker has answered
	future     jetstream.PubAckFuture
	err        error
}

// Run declares everything that the source gives, and counts in progress what becomes of it. When ctx ends it reads no
// more and waits for what is on its way; when leave ends as well, it does not wait.
func (d *Producer) Run(ctx, leave context.Context, from Source, progress *Progress) error {
	d.progress = progress
	reading, stopReading := context.WithCancelCause(ctx)
	defer stopReading(nil)
	// Refusals do not come as answers to the publishes that they are about.
	denied, deny := context.WithCancel(context.Background())
	defer deny()
	defer permission.OnDenied(d.js.Conn(), func(err error) {
		stopReading(connect.ExplainDenied(err))
		time.AfterFunc(deniedGrace, deny)
	}, d.subjects()...)()
	candidates := make(chan candidate, window)
	read := make(chan error, 1)
	go func() {
		// It may hang in a read that nothing interrupts: it is not waited for when ctx ends.
		read <- from.give(reading, candidates)
		close(candidates)
	}()
	looked := make(chan sent, lookups)
	go d.look(reading, leave, candidates, looked)
	onTheWay := make(chan sent, window-2)
	go d.send(looked, onTheWay)
	for s := range onTheWay {
		err := s.err
		if err == nil {
			err = await(leave, denied.Done(), s.future)
		}
		if transient(err) && reading.Err() == nil {
			if err = d.retry(reading, s, err); transient(err) && ctx.Err() == nil {
				stopReading(ErrBrokerGone)
			}
		}
		d.settle(s.candidate, err)
		close(s.settled)
	}
	if cause := context.Cause(reading); errors.Is(cause, nats.ErrPermissionViolation) {
		return cause
	}
	if errors.Is(context.Cause(reading), ErrBrokerGone) {
		return fmt.Errorf(
			"%w for %s: given up after %d of the messages; run it again when the broker is well to declare the rest",
			ErrBrokerGone,
			d.patience,
			d.progress.Counts().Read,
		)
	}
	if ctx.Err() != nil {
		return nil
	}
	return <-read
}

// subjects are those that it publishes on.
func (d *Producer) subjects() []string {
	all := []string{schema.SubjectsDeclared}
	for _, p := range d.places {
		all = append(all, p.right())
	}
	return all
}

// look validates candidates and begins to look up what is valid. When ctx ends it takes no more; what was begun is
// finished, unless leave ends as well.
func (d *Producer) look(ctx, leave context.Context, from <-chan candidate, to chan<- sent) {
	defer close(to)
	// The last ones with their identifiers: what is on its way is not stored yet, and no lookup finds it.
	latest := map[string]chan struct{}{}
	for {
		var c candidate
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
		declared, err := schema.Decode(c.message)
		if c.problem != nil {
			err = c.problem
		}
		if err != nil {
			d.progress.refused(c, err)
			continue
		}
		// No Nats-Msg-Id: a message must be declarable again, and the broker remembers ids longer than it waits.
		s := sent{
			candidate: c, identifier: declared.Identifier, lookup: make(chan error, 1), settled: make(chan struct{}),
			msg: nats.NewMsg(schema.DeclaredSubject(declared.Type, declared.Identifier)),
		}
		s.msg.Data = c.message
		before := latest[s.identifier]
		if len(latest) >= 2*window {
			maps.DeleteFunc(latest, func(_ string, settled chan struct{}) bool { return isClosed(settled) })
		}
		latest[s.identifier] = s.settled
		go func() { s.lookup <- d.lookUp(leave, s.identifier, before) }()
		to <- s // its reader reads to the end
	}
}

// lookUp returns errInFlight where an interaction is in flight, once the one before it with its identifier is settled.
func (d *Producer) lookUp(ctx context.Context, identifier string, before <-chan struct{}) error {
	if before != nil {
		select {
		case <-before:
		case <-ctx.Done():
			return errLeft
		}
	}
	return inFlight(ctx, d.js.Conn(), d.places, identifier)
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// send publishes what is not in flight, without waiting for the acks.
func (d *Producer) send(from <-chan sent, to chan<- sent) {
	defer close(to)
	for s := range from {
		if s.err = <-s.lookup; s.err == nil {
			s.future, s.err = d.js.PublishMsgAsync(s.msg)
		}
		to <- s // its reader reads to the end
	}
}

// await waits for the broker's answer. It comes, or its time-out does, within ackWithin; where the user may not
// publish, it does not.
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
		return errLeft
	case <-denied:
		return errDenied
	}
}

// retry looks up and publishes again until the broker answers, or has taken nothing in for too long. It returns the
// last error.
func (d *Producer) retry(ctx context.Context, s sent, first error) error {
	if d.troubleSince.IsZero() {
		d.troubleSince = time.Now()
		d.progress.report(fmt.Sprintf("the broker accepts nothing at the moment: waiting for %s at most (%s)",
			schema.Duration(d.patience), whyNot(first)))
	}
	policy := backoff.NewExponentialBackOff(backoff.WithInitialInterval(50*time.Millisecond),
		backoff.WithMaxInterval(2*time.Second), backoff.WithMaxElapsedTime(0))
	var last error
	_ = backoff.Retry(func() error { // last says more: when ctx ends, what went wrong before
		bounded, cancel := context.WithTimeout(ctx, ackWithin)
		defer cancel()
		if last = inFlight(bounded, d.js.Conn(), d.places, s.identifier); last == nil {
			_, last = d.js.PublishMsg(bounded, s.msg)
		}
		if last != nil && (!transient(last) || time.Since(d.troubleSince) > d.patience) {
			return backoff.Permanent(last)
		}
		return last
	}, backoff.WithContext(policy, ctx))
	return last
}

// settle counts what became of a message, and names it where it was not declared.
func (d *Producer) settle(c candidate, err error) {
	switch {
	case err == nil:
		d.troubleSince = time.Time{}
		d.progress.declared(c)
	case AlreadyWaiting(err):
		d.troubleSince = time.Time{}
		d.progress.waiting(c)
	default:
		d.progress.failed(c, errors.New(whyNot(err)))
	}
}
