package main

import (
	"errors"
	"net"
	"regexp"
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
type watcher struct {
	log    logrus.FieldLogger
	hint   func(error) string
	within time.Duration
	now    func() time.Time
	closed chan struct{}
	close  func()

	mu      sync.Mutex
	since   time.Time // the first refusal of a row
	last    time.Time // the last one
	failure error     // of the last attempt that failed
	told    map[string]time.Time
}

func newWatcher(log logrus.FieldLogger, hint func(error) string) *watcher {
	closed := make(chan struct{})
	return &watcher{log: log, hint: hint, within: letInWithin, now: time.Now, closed: closed, close: sync.OnceFunc(func() { close(closed) }), told: map[string]time.Time{}}
}

// heard takes what NATS says, or what goes wrong on the way, beside all requests. What goes wrong on the way is told where the
// connection is found to be lost, or by remind.
func (d *watcher) heard(nc interface{ Close() }, connected bool, err error) {
	switch op := (*net.OpError)(nil); {
	case unwelcome(err):
		d.refused(nc, err)
	case !connected && !errors.Is(err, nats.ErrPermissionViolation):
		d.failed(err) // see remind
	case errors.As(err, &op) && op.Op == "write" && op.Timeout():
		d.log.WithError(err).Warn("NATS takes nothing in: a write has timed out")
	case errors.As(err, &op) && (op.Op == "write" || op.Op == "read"):
		d.log.WithError(err).Debug("a connection to NATS is lost")
	case d.again(err, d.now()):
		d.log.WithError(err).Error("NATS refused something")
	}
}

// maxTold bounds how many refusals are remembered.
const maxTold = 100

// again tells whether a refusal is to be told now: the same one every half minute at most.
func (d *watcher) again(err error, now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	what := kindOf(err)
	if last, ok := d.told[what]; ok && now.Sub(last) < sayEvery {
		return false
	}
	if len(d.told) >= maxTold {
		clear(d.told)
	}
	d.told[what] = now
	return true
}

var refusedSubject = regexp.MustCompile(`"(?:(\$JS\.API\.)|((?:[^".]*\.){3}))[^"]*"`)

// kindOf is what refusals of one right have in common: not the identifier or the sequence in the subject.
func kindOf(err error) string {
	return refusedSubject.ReplaceAllStringFunc(err.Error(), func(subject string) string {
		if match := refusedSubject.FindStringSubmatch(subject); match[1] == "" {
			return match[2]
		}
		return subject
	})
}

func (d *watcher) refused(nc interface{ Close() }, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	gap := now.Sub(d.last)
	d.last = now
	switch {
	case d.since.IsZero() || gap > d.within/2: // a server that was away in between is another matter
		d.since = now
		d.log.WithError(err).Warnf("NATS does not let this process in again: trying for %s; %s", schema.Duration(d.within), d.hint(err))
	case now.Sub(d.since) >= d.within:
		d.log.WithError(err).Errorf("NATS has not let this process in again for %s; %s", schema.Duration(d.within), d.hint(err))
		go nc.Close() // it waits for the handler that calls this
	}
}

func (d *watcher) failed(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failure = err
}

// why gives what keeps a connection from coming back.
func (d *watcher) why(nc *nats.Conn) error {
	if err := nc.LastError(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failure
}

func (d *watcher) passed() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.since, d.failure = time.Time{}, nil
}

// remind tells every so often that there is no connection, and why, until it is closed. It looks oftener: a handshake that a
// server refuses is told by nobody else.
func (d *watcher) remind(nc *nats.Conn, at string, every time.Duration) {
	looking := time.NewTicker(min(every, time.Second))
	defer looking.Stop()
	var told time.Time
	for {
		select {
		case <-d.closed:
			return
		case <-looking.C:
		}
		if nc.Status() != nats.RECONNECTING {
			told = time.Time{}
			continue
		}
		switch err := d.why(nc); {
		case unwelcome(err):
			d.refused(nc, err)
		case told.IsZero(): // the loss has been told
			told = time.Now()
		case time.Since(told) >= every:
			told = time.Now()
			d.log.WithError(err).Warn("still no connection to NATS at " + at)
		}
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
