package connect

import (
	"errors"
	"net"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/sirupsen/logrus"

	"statusworker/cmd/broker/api"
	"statusworker/schema"
)

// The log messages of a watcher.
const (
	msgRejected   = "NATS rejected the credentials on reconnect; retrying"
	msgGivenUp    = "NATS still rejects the credentials; closing the connection"
	msgWriteHangs = "a write to NATS timed out"
	msgBroken     = "a connection to NATS broke"
	msgDenied     = "NATS rejected a request"
	msgStillNone  = "still no connection to NATS"
)

// retryRejected is how long reconnecting is retried while NATS rejects the credentials.
const retryRejected = 2 * time.Minute

// watcher logs the events of a connection, and closes it if NATS keeps rejecting its credentials. Credentials in files
// are read again at each attempt: they may be in rotation, so a rejection is retried for retryRejected. Credentials in
// variables only change with a new process: closing the connection ends the worker with an error. The watcher also logs
// every logEvery why a connection does not come back.
type watcher struct {
	log    logrus.FieldLogger
	hint   func(error) string
	api    api.Prefix
	within time.Duration
	now    func() time.Time
	closed chan struct{}
	close  func()

	mu      sync.Mutex
	since   time.Time // the first of consecutive rejections
	last    time.Time // the latest of them
	failure error     // of the latest attempt to connect
	logged  map[string]time.Time
}

func newWatcher(log logrus.FieldLogger, hint func(error) string, prefix api.Prefix) *watcher {
	closed := make(chan struct{})
	return &watcher{
		log: log, hint: hint, api: prefix, within: retryRejected, now: time.Now,
		closed: closed, close: sync.OnceFunc(func() { close(closed) }), logged: map[string]time.Time{},
	}
}

// heard handles an asynchronous error: one that NATS sends, or one of the connection. The loss of a connection is
// logged by its handler and by remind.
func (w *watcher) heard(nc interface{ Close() }, connected bool, err error) {
	switch op := (*net.OpError)(nil); {
	case CredentialsRejected(err):
		w.rejected(nc, err)
	case !connected && !errors.Is(err, nats.ErrPermissionViolation):
		w.failed(err) // see remind
	case errors.As(err, &op) && op.Op == "write" && op.Timeout():
		w.log.WithError(err).Warn(msgWriteHangs)
	case errors.As(err, &op) && (op.Op == "write" || op.Op == "read"):
		w.log.WithError(err).Debug(msgBroken)
	case w.due(err, w.now()):
		w.log.WithError(err).Error(msgDenied)
	}
}

// maxLogged limits how many kinds of rejections are remembered.
const maxLogged = 100

// due reports whether to log a rejection now: at most one of each kind every logEvery.
func (w *watcher) due(err error, now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	kind := w.kindOf(err)
	if last, ok := w.logged[kind]; ok && now.Sub(last) < logEvery {
		return false
	}
	if len(w.logged) >= maxLogged {
		clear(w.logged)
	}
	w.logged[kind] = now
	return true
}

var deniedSubject = regexp.MustCompile(`"((?:[^".]*\.){3})[^"]*"`)

// kindOf returns a rejection without the identifier or sequence in its subject, which differ for each interaction.
func (w *watcher) kindOf(err error) string {
	return deniedSubject.ReplaceAllStringFunc(err.Error(), func(subject string) string {
		if strings.HasPrefix(subject, `"`+string(w.api)) || strings.HasPrefix(subject, `"`+string(api.Default)) {
			return subject
		}
		return deniedSubject.FindStringSubmatch(subject)[1]
	})
}

// rejected handles a rejection of the credentials.
func (w *watcher) rejected(nc interface{ Close() }, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	gap := now.Sub(w.last)
	w.last = now
	log := w.log.WithError(err).WithFields(logrus.Fields{"within": schema.Duration(w.within), "advice": w.hint(err)})
	switch {
	case w.since.IsZero() || gap > w.within/2: // an old rejection does not count: the server was unreachable in between
		w.since = now
		log.Warn(msgRejected)
	case now.Sub(w.since) >= w.within:
		log.Error(msgGivenUp)
		go nc.Close() // Close waits for the handler that calls this
	}
}

func (w *watcher) failed(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failure = err
}

// why returns why a connection does not come back.
func (w *watcher) why(nc *nats.Conn) error {
	if err := nc.LastError(); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failure
}

// reconnected forgets earlier rejections.
func (w *watcher) reconnected() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.since, w.failure = time.Time{}, nil
}

// remind logs regularly that there is no connection, and why, until the connection is closed. It checks more often than
// it logs: nothing else reports a handshake that a server rejects.
func (w *watcher) remind(nc *nats.Conn, servers string, every time.Duration) {
	ticker := time.NewTicker(min(every, time.Second))
	defer ticker.Stop()
	var logged time.Time
	for {
		select {
		case <-w.closed:
			return
		case <-ticker.C:
		}
		if nc.Status() != nats.RECONNECTING {
			logged = time.Time{}
			continue
		}
		switch err := w.why(nc); {
		case CredentialsRejected(err):
			w.rejected(nc, err)
		case logged.IsZero(): // the loss is logged already
			logged = time.Now()
		case time.Since(logged) >= every:
			logged = time.Now()
			w.log.WithError(err).WithField("servers", servers).Warn(msgStillNone)
		}
	}
}

// CredentialsRejected reports whether a server rejects the credentials, or the client's certificate.
func CredentialsRejected(err error) bool {
	return certificateRejected(err) || errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) ||
		errors.Is(err, nats.ErrAuthRevoked) || errors.Is(err, nats.ErrAccountAuthExpired)
}

// certificateRejected reports whether a server rejects the client's certificate, or requires one. That is a TLS alert,
// of which crypto/tls only exposes the text.
func certificateRejected(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error" && strings.Contains(op.Error(), "certificate")
}
