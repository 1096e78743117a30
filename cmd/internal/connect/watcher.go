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

	"statusworker/schema"
)

// The messages of a watcher, which are the same each time.
const (
	msgRejected   = "NATS rejected the credentials on reconnect; retrying"
	msgGivenUp    = "NATS still rejects the credentials; closing the connection"
	msgWriteHangs = "a write to NATS timed out"
	msgBroken     = "a connection to NATS broke"
	msgRefused    = "NATS refused a request"
	msgStillNone  = "still no connection to NATS"
)

// retryRejected is how long a connection whose credentials are rejected at a reconnect is retried.
const retryRejected = 2 * time.Minute

// watcher logs what happens to a connection, and decides whether to keep one that is lost. Credentials that NATS
// rejects at a reconnect may be new ones that have not arrived yet: files are read again at each attempt. Those in
// variables change with a new process only. So the watcher closes the connection after a while, which ends the worker
// with an error. It logs now and then what else keeps the connection from coming back.
type watcher struct {
	log    logrus.FieldLogger
	hint   func(error) string
	within time.Duration
	now    func() time.Time
	closed chan struct{}
	close  func()

	mu      sync.Mutex
	since   time.Time // the first rejection of a row
	last    time.Time // the last one
	failure error     // of the last attempt that failed
	logged  map[string]time.Time
}

func newWatcher(log logrus.FieldLogger, hint func(error) string) *watcher {
	closed := make(chan struct{})
	return &watcher{
		log: log, hint: hint, within: retryRejected, now: time.Now,
		closed: closed, close: sync.OnceFunc(func() { close(closed) }), logged: map[string]time.Time{},
	}
}

// heard takes an error that NATS sends, or that the connection has, beside all requests. Errors of the connection are
// logged where its loss is noticed, or by remind.
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
		w.log.WithError(err).Error(msgRefused)
	}
}

// maxLogged bounds how many refusals are remembered.
const maxLogged = 100

// due reports whether to log a refusal now: one of a kind every half minute at most.
func (w *watcher) due(err error, now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	kind := kindOf(err)
	if last, ok := w.logged[kind]; ok && now.Sub(last) < logEvery {
		return false
	}
	if len(w.logged) >= maxLogged {
		clear(w.logged)
	}
	w.logged[kind] = now
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

// rejected takes a rejection of the credentials.
func (w *watcher) rejected(nc interface{ Close() }, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	gap := now.Sub(w.last)
	w.last = now
	log := w.log.WithError(err).WithFields(logrus.Fields{"within": schema.Duration(w.within), "advice": w.hint(err)})
	switch {
	case w.since.IsZero() || gap > w.within/2: // a server that was away in between is another matter
		w.since = now
		log.Warn(msgRejected)
	case now.Sub(w.since) >= w.within:
		log.Error(msgGivenUp)
		go nc.Close() // it waits for the handler that calls this
	}
}

func (w *watcher) failed(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failure = err
}

// why gives what keeps a connection from coming back.
func (w *watcher) why(nc *nats.Conn) error {
	if err := nc.LastError(); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failure
}

// reconnected ends a row of rejections.
func (w *watcher) reconnected() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.since, w.failure = time.Time{}, nil
}

// remind logs every so often that there is no connection, and why, until the connection is closed. It looks more often:
// nothing else reports a handshake that a server refuses.
func (w *watcher) remind(nc *nats.Conn, servers string, every time.Duration) {
	looking := time.NewTicker(min(every, time.Second))
	defer looking.Stop()
	var logged time.Time
	for {
		select {
		case <-w.closed:
			return
		case <-looking.C:
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

// certificateRejected reports whether a server rejects the client's certificate, or requires one: an alert of TLS, of
// which crypto/tls gives nothing but the text.
func certificateRejected(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error" && strings.Contains(op.Error(), "certificate")
}
