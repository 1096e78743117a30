package main

import (
	"errors"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/sirupsen/logrus"

	"statusworker/schema"
)

// letInWithin is how long a worker whose credentials are refused at a reconnect tries on.
const letInWithin = 2 * time.Minute

// door is where a connection that was lost is let in again, or not. Credentials that are refused there may be new ones
// that have not come yet: files are read again at each attempt. Those in variables only change with a new process, so that
// after a while the connection is closed, which ends the worker with an error. What else keeps it from coming back is told
// now and then.
type door struct {
	log    logrus.FieldLogger
	hint   func(error) string
	within time.Duration
	closed chan struct{}
	close  func()

	mu      sync.Mutex
	since   time.Time // the first refusal
	failure error     // of the last attempt that failed
	told    map[string]time.Time
}

func newDoor(log logrus.FieldLogger, hint func(error) string) *door {
	closed := make(chan struct{})
	return &door{log: log, hint: hint, within: letInWithin, closed: closed, close: sync.OnceFunc(func() { close(closed) }), told: map[string]time.Time{}}
}

// heard takes what NATS says, or what goes wrong on the way, beside all requests. It tells of it once.
func (d *door) heard(nc interface{ Close() }, connected bool, err error) {
	switch op := (*net.OpError)(nil); {
	case unwelcome(err):
		d.refused(nc, err)
	case !connected && !errors.Is(err, nats.ErrPermissionViolation):
		d.failed(err) // see remind
	case errors.As(err, &op) && op.Op == "write" && op.Timeout():
		d.log.WithError(err).Warn("NATS takes nothing in: a write has timed out")
	case errors.As(err, &op) && op.Op == "write":
		d.log.WithError(err).Debug("could not write to NATS") // the connection is lost, which is told where it is noticed
	case d.again(err, time.Now()):
		d.log.WithError(err).Error("NATS refused something")
	}
}

// toldMost bounds how many refusals are remembered.
const toldMost = 100

// again tells whether a refusal is to be told now: the same one every half minute at most.
func (d *door) again(err error, now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	what := err.Error()
	if last, ok := d.told[what]; ok && now.Sub(last) < sayEvery {
		return false
	}
	if len(d.told) >= toldMost {
		clear(d.told)
	}
	d.told[what] = now
	return true
}

func (d *door) refused(nc interface{ Close() }, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	switch {
	case d.since.IsZero():
		d.since = now
		d.log.WithError(err).Warnf("NATS does not let this process in again: trying for %s; %s", schema.Duration(d.within), d.hint(err))
	case now.Sub(d.since) >= d.within:
		d.log.WithError(err).Errorf("NATS has not let this process in again for %s; %s", schema.Duration(d.within), d.hint(err))
		go nc.Close() // it waits for the handler that calls this
	}
}

func (d *door) failed(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failure = err
}

func (d *door) passed() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.since, d.failure = time.Time{}, nil
}

// remind tells every so often that there is no connection, and why, until it is closed.
func (d *door) remind(nc *nats.Conn, at string, every time.Duration) {
	looking := time.NewTicker(every)
	defer looking.Stop()
	for before := false; ; {
		select {
		case <-d.closed:
			return
		case <-looking.C:
		}
		lost := nc.Status() == nats.RECONNECTING
		if lost && before { // the loss has been told
			err := nc.LastError()
			d.mu.Lock()
			if err == nil {
				err = d.failure
			}
			d.mu.Unlock()
			d.log.WithError(err).Warn("still no connection to NATS at " + at)
		}
		before = lost
	}
}

// unwelcome tells whether a server refuses the credentials.
func unwelcome(err error) bool {
	return certificateRefused(err) || errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) || errors.Is(err, nats.ErrAuthRevoked) ||
		errors.Is(err, nats.ErrAccountAuthExpired)
}

// certificateRefused tells whether a server does not take the client's certificate, or wants one: an alert of TLS, of which
// crypto/tls gives nothing but the text.
func certificateRefused(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error" && strings.Contains(op.Error(), "certificate")
}
