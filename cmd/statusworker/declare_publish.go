package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/internal/cli"
	"statusworker/cmd/internal/connect"
	"statusworker/schema"
	"statusworker/schema/permission"
	"statusworker/schema/topology"
)

const (
	// declareWindow is how many messages may be on their way to the broker. With messages of 64 KiB they are 32 MB.
	declareWindow = 512
	// declareAckWithin is how long one publish waits for its ack. After that its fate is unknown, and it is made again:
	// the broker refuses it if it was stored.
	declareAckWithin = 5 * time.Second
	// declareLookups is how many interactions are looked up at once. Many share a write to the connection.
	declareLookups = 256
	// declarePatience is how long a broker may take nothing in before the rest is given up.
	declarePatience = 30 * time.Second
	// deniedGrace is how long acks may still come after a publish was refused.
	deniedGrace = time.Second
)

// declaring publishes messages in three steps, each a goroutine: read, validated and looked up; published, where they are
// not in flight; settled when the broker has answered. All keep the order of the input. Between them are bounded windows, so
// that memory does not grow with the input.
type declaring struct {
	js       jetstream.JetStream
	progress *declareProgress
	patience time.Duration
	// places are where it is looked up whether an interaction is in flight.
	places []place

	// troubleSince is when the broker began to take nothing in; zero while it does.
	troubleSince time.Time
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

// errBrokerGone says that the rest was not tried.
var errBrokerGone = errors.New("the broker takes nothing in")

// errDenied says that the user may not publish.
var errDenied = errors.New("the user lacks a right")

// errLeft says that the broker's answer was not waited for.
var errLeft = errors.New("left before the broker answered")

// run declares everything that the source gives. When ctx ends it reads no more and waits for what is on its way; when
// leave ends as well, it does not wait.
func (d *declaring) run(ctx, leave context.Context, from source) error {
	reading, stopReading := context.WithCancelCause(ctx)
	defer stopReading(nil)
	// Refusals do not come as answers to the publishes that they are about.
	denied, deny := context.WithCancel(context.Background())
	defer deny()
	defer permission.OnDenied(d.js.Conn(), func(err error) {
		stopReading(connect.ExplainDenied(err))
		time.AfterFunc(deniedGrace, deny)
	}, d.subjects()...)()
	candidates := make(chan candidate, declareWindow)
	read := make(chan error, 1)
	go func() {
		// It may hang in a read that nothing interrupts: nobody waits for it when ctx ends.
		read <- from.give(reading, candidates)
		close(candidates)
	}()
	looked := make(chan sent, declareLookups)
	go d.look(reading, leave, candidates, looked)
	onTheWay := make(chan sent, declareWindow-2)
	go d.send(looked, onTheWay)
	for s := range onTheWay {
		err := s.err
		if err == nil {
			err = await(leave, denied.Done(), s.future)
		}
		if transient(err) && reading.Err() == nil {
			if err = d.retry(reading, s, err); transient(err) && ctx.Err() == nil {
				stopReading(errBrokerGone)
			}
		}
		d.settle(s.candidate, err)
		close(s.settled)
	}
	if cause := context.Cause(reading); errors.Is(cause, nats.ErrPermissionViolation) {
		return cause
	}
	if errors.Is(context.Cause(reading), errBrokerGone) {
		return fmt.Errorf("%w for %s: given up after %d of the messages; run it again when the broker is well to declare the rest",
			errBrokerGone, d.patience, d.progress.counts().read)
	}
	if ctx.Err() != nil {
		return nil
	}
	return <-read
}

// subjects are those that it publishes on.
func (d *declaring) subjects() []string {
	all := []string{schema.SubjectsDeclared}
	for _, p := range d.places {
		all = append(all, p.right())
	}
	return all
}

// look validates candidates and begins to look up what is valid. When ctx ends it takes no more; what was begun is finished,
// unless leave ends as well.
func (d *declaring) look(ctx, leave context.Context, from <-chan candidate, to chan<- sent) {
	defer close(to)
	// The last ones with their identifiers: what is on its way is not stored yet, and no lookup finds it.
	window := map[string]chan struct{}{}
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
		s := sent{candidate: c, identifier: declared.Identifier, msg: nats.NewMsg(schema.DeclaredSubject(declared.Type, declared.Identifier)),
			lookup: make(chan error, 1), settled: make(chan struct{})}
		s.msg.Data = c.message
		before := window[s.identifier]
		if len(window) >= 2*declareWindow {
			maps.DeleteFunc(window, func(_ string, settled chan struct{}) bool { return isClosed(settled) })
		}
		window[s.identifier] = s.settled
		go func() { s.lookup <- d.lookUp(leave, s.identifier, before) }()
		to <- s // whoever reads it reads to the end
	}
}

// lookUp returns errInFlight where an interaction is in flight, once the one before it with its identifier is settled.
func (d *declaring) lookUp(ctx context.Context, identifier string, before <-chan struct{}) error {
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
func (d *declaring) send(from <-chan sent, to chan<- sent) {
	defer close(to)
	for s := range from {
		if s.err = <-s.lookup; s.err == nil {
			s.future, s.err = d.js.PublishMsgAsync(s.msg)
		}
		to <- s // whoever reads it reads to the end
	}
}

// await waits for the broker's answer. It comes, or its time-out does, within declareAckWithin; where the user may not
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

// retry looks up and publishes again until the broker answers, or has taken nothing in for too long. It returns the last error.
func (d *declaring) retry(ctx context.Context, s sent, first error) error {
	if d.troubleSince.IsZero() {
		d.troubleSince = time.Now()
		d.progress.report(fmt.Sprintf("the broker takes nothing in at the moment: waiting for %s at most (%s)", schema.Duration(d.patience), whyNot(first)))
	}
	policy := backoff.NewExponentialBackOff(backoff.WithInitialInterval(50*time.Millisecond),
		backoff.WithMaxInterval(2*time.Second), backoff.WithMaxElapsedTime(0))
	var last error
	_ = backoff.Retry(func() error { // last says more: when ctx ends, what went wrong before
		bounded, cancel := context.WithTimeout(ctx, declareAckWithin)
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
func (d *declaring) settle(c candidate, err error) {
	switch {
	case err == nil:
		d.troubleSince = time.Time{}
		d.progress.declared(c)
	case alreadyWaiting(err):
		d.troubleSince = time.Time{}
		d.progress.waiting(c)
	default:
		d.progress.failed(c, errors.New(whyNot(err)))
	}
}

// whyNot says in one line why the broker did not take a message in.
func whyNot(err error) string {
	if topology.Full(err) {
		return fmt.Sprintf("the stream %s is full: workers take in less than is declared, or none runs, see `statusworker status`; its bounds are those of `statusworker provision` (%v)", schema.StreamDeclared, err)
	}
	return cli.OneLine(err)
}

// alreadyWaiting tells whether an interaction is in flight: by its lookup, or because the broker refused its message where
// one is stored and not yet taken in.
func alreadyWaiting(err error) bool { return errors.Is(err, errInFlight) || topology.Waits(err) }

// transient tells whether the same publish may succeed in a moment: no answer, no connection, a cluster that elects, a
// stream that is full until workers take something in.
func transient(err error) bool {
	if err == nil || alreadyWaiting(err) {
		return false
	}
	return topology.Unsettled(err)
}
