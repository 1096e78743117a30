package producer

import (
	"errors"
	"fmt"

	"statusworker/cmd/broker/adapter"
	"statusworker/cmd/internal/cli"
	"statusworker/schema"
)

// ErrNotAccepted means that the broker has accepted nothing for too long, and the remaining messages were not tried.
var ErrNotAccepted = errors.New("the broker has accepted no message")

// errDenied means that the user may not publish.
var errDenied = errors.New("missing permission")

// errStopped means that the command stopped before the broker answered.
var errStopped = errors.New("stopped before the broker answered")

// whyNot returns in one line why the broker did not accept a message.
func whyNot(n schema.Namespace, err error) string {
	if adapter.Full(err) {
		return fmt.Sprintf("stream %s is full: no worker runs, or workers take in less than is declared (see "+
			"`statusworker status`); `statusworker provision` sets its limits (%v)", n.StreamDeclared(), err)
	}
	return cli.OneLine(err)
}

// AlreadyWaiting reports whether an interaction is in flight: its lookup found it, or the broker rejected its message
// because an earlier one has not been taken in yet.
func AlreadyWaiting(err error) bool { return errors.Is(err, errInFlight) || adapter.MaxPerSubject(err) }

// AlreadyProcessed reports whether an interaction has processed events: a worker ignores its declared messages.
func AlreadyProcessed(err error) bool { return errors.Is(err, errProcessed) }

// transient reports whether the same publish may succeed soon: no answer, no connection, no leader, or a full stream.
func transient(err error) bool {
	if err == nil || AlreadyWaiting(err) || AlreadyProcessed(err) {
		return false
	}
	return adapter.Retryable(err)
}
