package producer

import (
	"errors"
	"fmt"

	"statusworker/cmd/broker/adapter"
	"statusworker/cmd/internal/cli"
	"statusworker/schema"
)

// ErrBrokerGone says that the rest was not tried.
var ErrBrokerGone = errors.New("the broker accepts nothing")

// errDenied says that the user may not publish.
var errDenied = errors.New("the user lacks a right")

// errLeft says that the broker's answer was not waited for.
var errLeft = errors.New("left before the broker answered")

// whyNot says in one line why the broker did not take a message in.
func whyNot(err error) string {
	if adapter.Full(err) {
		return fmt.Sprintf("the stream %s is full: workers take in less than is declared, or none runs, see "+
			"`statusworker status`; its bounds are those of `statusworker provision` (%v)", schema.StreamDeclared, err)
	}
	return cli.OneLine(err)
}

// AlreadyWaiting reports whether an interaction is in flight: by its lookup, or because the broker refused its message
// where one is stored and not yet taken in.
func AlreadyWaiting(err error) bool { return errors.Is(err, errInFlight) || adapter.MaxPerSubject(err) }

// transient reports whether the same publish may succeed in a moment: no answer, no connection, a cluster that elects,
// a stream that is full until workers take something in.
func transient(err error) bool {
	if err == nil || AlreadyWaiting(err) {
		return false
	}
	return adapter.Retryable(err)
}
