package permission

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"weak"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// maxRecorded limits the violations that are recorded of a connection, for each operation.
const maxRecorded = 256

// record has the violations of one connection.
type record struct {
	mu        sync.Mutex
	count     atomic.Uint64 // of denied publishes; changed only with the lock
	publishes []*Violation
	// subscriptions stay denied until the client subscribes again, when it reconnects.
	subscriptions []deniedSubscription
	listeners     map[*listener]struct{}
}

type deniedSubscription struct {
	*Violation
	reconnects uint64 // of the connection, when it was denied
}

// listener is called for each violation that concerns it.
type listener struct {
	concerns func(*Violation) bool
	call     func(*Violation)
}

var (
	recordsMu sync.Mutex
	records   = map[weak.Pointer[nats.Conn]]*record{}
)

// recordOf returns the record of a connection. The first call wraps the connection's error handler, which is still
// called for every error.
func recordOf(nc *nats.Conn) *record {
	recordsMu.Lock()
	defer recordsMu.Unlock()
	key := weak.Make(nc)
	if r, ok := records[key]; ok {
		return r
	}
	r := &record{listeners: map[*listener]struct{}{}}
	records[key] = r
	runtime.AddCleanup(nc, func(key weak.Pointer[nats.Conn]) {
		recordsMu.Lock()
		defer recordsMu.Unlock()
		delete(records, key)
	}, key)
	next := nc.ErrorHandler()
	nc.SetErrorHandler(func(nc *nats.Conn, sub *nats.Subscription, err error) {
		r.add(nc, err)
		if next != nil {
			next(nc, sub, err)
		}
	})
	return r
}

// add records a violation, once.
func (r *record) add(nc *nats.Conn, err error) {
	v := parse(err)
	if v == nil {
		return
	}
	reconnects := nc.Stats().Reconnects
	r.mu.Lock()
	defer r.mu.Unlock()
	// LastError returns a violation before the error handler does, as the identical error.
	same := func(other *Violation) bool { return other.err == v.err } //nolint:errorlint // identity is meant
	if v.Operation == Subscribe {
		if slices.ContainsFunc(r.subscriptions, func(s deniedSubscription) bool { return same(s.Violation) }) {
			return
		}
		r.subscriptions = append(r.subscriptions, deniedSubscription{v, reconnects})
		r.subscriptions = r.subscriptions[max(0, len(r.subscriptions)-maxRecorded):]
	} else {
		if slices.ContainsFunc(r.publishes, same) {
			return
		}
		r.count.Add(1)
		r.publishes = append(r.publishes, v)
		r.publishes = r.publishes[max(0, len(r.publishes)-maxRecorded):]
	}
	for l := range r.listeners {
		if l.concerns(v) {
			l.call(v)
		}
	}
}

// Recorder returns marks of one connection. It finds the record of the connection only once.
type Recorder struct {
	nc     *nats.Conn
	record *record
}

// Of returns the recorder of a connection.
func Of(nc *nats.Conn) Recorder { return Recorder{nc, recordOf(nc)} }

// Mark marks the moment before requests on a connection.
type Mark struct {
	Recorder
	before uint64
}

// Begin returns a mark. Violations before it do not count for the requests after it.
func Begin(nc *nats.Conn) Mark { return Of(nc).Begin() }

// Begin returns a mark. Violations before it do not count for the requests after it.
func (r Recorder) Begin() Mark {
	r.record.add(r.nc, r.nc.LastError()) // an earlier one, for which the error handler may not have been called yet
	return Mark{Recorder: r, before: r.record.count.Load()}
}

// Denied returns the last violation since the mark that concerns requests on these subjects, which may have wildcards,
// or nil. A subscription for answers that was denied before the mark counts as well, until the client reconnects. After
// a flush, Denied knows all violations that preceded it.
func (m Mark) Denied(subjects ...string) error {
	m.record.add(m.nc, m.nc.LastError())
	reconnects, concerns := m.nc.Stats().Reconnects, concerning(m.nc, subjects)
	m.record.mu.Lock()
	defer m.record.mu.Unlock()
	since := m.record.publishes
	if n := m.record.count.Load() - m.before; n < uint64(len(since)) {
		since = since[uint64(len(since))-n:]
	}
	for _, v := range slices.Backward(since) {
		if concerns(v) {
			return v
		}
	}
	for _, s := range slices.Backward(m.record.subscriptions) {
		if s.reconnects == reconnects && concerns(s.Violation) {
			return s.Violation
		}
	}
	return nil
}

// concerning returns a function that reports whether a violation concerns requests on these subjects.
func concerning(nc *nats.Conn, subjects []string) func(*Violation) bool {
	inbox := nc.Opts.InboxPrefix
	if inbox == "" {
		inbox = nats.InboxPrefix[:len(nats.InboxPrefix)-1]
	}
	return func(v *Violation) bool {
		if v.Operation == Subscribe {
			return matches(inbox+".>", v.Subject)
		}
		return slices.ContainsFunc(subjects, func(pattern string) bool { return matches(pattern, v.Subject) })
	}
}

// OnDenied calls do for each later violation that concerns requests on these subjects, until stop is called. do must
// not block.
func OnDenied(nc *nats.Conn, do func(error), subjects ...string) (stop func()) {
	r := recordOf(nc)
	l := &listener{concerns: concerning(nc, subjects), call: func(v *Violation) { do(v) }}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.listeners[l] = struct{}{}
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.listeners, l)
	}
}

// Guard calls do, which makes requests on these subjects. If the server denies one of them, Guard cancels the context
// of do and returns the violation, because such a request gets no answer. It never replaces an answer of the broker.
func Guard(ctx context.Context, nc *nats.Conn, do func(context.Context) error, subjects ...string) error {
	mark := Begin(nc)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer OnDenied(nc, func(error) { cancel() }, subjects...)()
	return mark.Explain(do(ctx), subjects...)
}

// Explain returns the violation since the mark that made requests on these subjects fail with err, or err if there is
// none. It never replaces an answer of the broker.
func (m Mark) Explain(err error, subjects ...string) error {
	if err == nil || answered(err) {
		return err
	}
	if denied := m.Denied(subjects...); denied != nil {
		return denied
	}
	return err
}

// answered reports whether an error is the broker's answer to a request.
func answered(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) || errors.Is(err, nats.ErrNoResponders)
}
