package permission

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"weak"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// maxRemembered bounds the refused publishes that are remembered of a connection, and the refused subscriptions.
const maxRemembered = 256

// record is what the server has refused on one connection.
type record struct {
	mu        sync.Mutex
	count     uint64 // of the publishes that were refused
	publishes []*Violation
	// subscriptions stay refused until the client makes them again, when it reconnects.
	subscriptions []refusedSubscription
	waiting       map[*waiter]struct{}
}

type refusedSubscription struct {
	*Violation
	reconnects uint64 // of the connection until then
}

// waiter is somebody who wants to hear of a violation at once.
type waiter struct {
	concerns func(*Violation) bool
	hear     func(*Violation)
}

var (
	recordsMu sync.Mutex
	records   = map[weak.Pointer[nats.Conn]]*record{}
)

// recordOf is the record of a connection. The first call puts it in front of the connection's error handler, which
// hears all that it heard before.
func recordOf(nc *nats.Conn) *record {
	recordsMu.Lock()
	defer recordsMu.Unlock()
	key := weak.Make(nc)
	if r, ok := records[key]; ok {
		return r
	}
	r := &record{waiting: map[*waiter]struct{}{}}
	records[key] = r
	runtime.AddCleanup(nc, func(key weak.Pointer[nats.Conn]) {
		recordsMu.Lock()
		defer recordsMu.Unlock()
		delete(records, key)
	}, key)
	next := nc.ErrorHandler()
	nc.SetErrorHandler(func(nc *nats.Conn, sub *nats.Subscription, err error) {
		r.note(nc, err)
		if next != nil {
			next(nc, sub, err)
		}
	})
	return r
}

// note remembers a violation, once.
func (r *record) note(nc *nats.Conn, err error) {
	v := parse(err)
	if v == nil {
		return
	}
	reconnects := nc.Stats().Reconnects
	r.mu.Lock()
	defer r.mu.Unlock()
	same := func(other *Violation) bool { return other.err == v.err } // the error handler comes after LastError
	if v.Operation == Subscribe {
		if slices.ContainsFunc(r.subscriptions, func(s refusedSubscription) bool { return same(s.Violation) }) {
			return
		}
		r.subscriptions = append(r.subscriptions, refusedSubscription{v, reconnects})
		r.subscriptions = r.subscriptions[max(0, len(r.subscriptions)-maxRemembered):]
	} else {
		if slices.ContainsFunc(r.publishes, same) {
			return
		}
		r.count++
		r.publishes = append(r.publishes, v)
		r.publishes = r.publishes[max(0, len(r.publishes)-maxRemembered):]
	}
	for w := range r.waiting {
		if w.concerns(v) {
			w.hear(v)
		}
	}
}

// Mark is a moment in the life of a connection: the beginning of requests.
type Mark struct {
	nc     *nats.Conn
	record *record
	before uint64
}

// Begin marks the moment before requests are made.
func Begin(nc *nats.Conn) Mark {
	r := recordOf(nc)
	r.note(nc, nc.LastError()) // an earlier one, whose report may still be on its way to the error handler
	r.mu.Lock()
	defer r.mu.Unlock()
	return Mark{nc: nc, record: r, before: r.count}
}

// Denied is the last violation since the mark that concerns requests on these subjects, which may have wildcards; nil
// where there is none. A subscription for answers that was refused before concerns them as well, until the client
// reconnects. What the server had refused before it answered a flush is known.
func (m Mark) Denied(subjects ...string) error {
	m.record.note(m.nc, m.nc.LastError())
	reconnects, concerns := m.nc.Stats().Reconnects, concerning(m.nc, subjects)
	m.record.mu.Lock()
	defer m.record.mu.Unlock()
	since := m.record.publishes
	if n := m.record.count - m.before; n < uint64(len(since)) {
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

// concerning tells of violations whether they concern requests on some subjects.
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

// OnDenied calls hear for each violation from now on that concerns requests on these subjects, until stop is called. It
// must not block.
func OnDenied(nc *nats.Conn, hear func(error), subjects ...string) (stop func()) {
	r := recordOf(nc)
	w := &waiter{concerns: concerning(nc, subjects), hear: func(v *Violation) { hear(v) }}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting[w] = struct{}{}
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.waiting, w)
	}
}

// Guard calls do, which makes requests on these subjects. Where the server refuses one of them, the context of do ends
// at once, and the error is the violation: nobody answers such a request. An answer of the broker is never replaced.
func Guard(ctx context.Context, nc *nats.Conn, do func(context.Context) error, subjects ...string) error {
	mark := Begin(nc)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer OnDenied(nc, func(error) { cancel() }, subjects...)()
	return mark.Explain(do(ctx), subjects...)
}

// Explain gives the violation since the mark that explains why requests on these subjects failed with err, or err if
// there is none. It never replaces an answer of the broker.
func (m Mark) Explain(err error, subjects ...string) error {
	if err == nil || answered(err) {
		return err
	}
	if denied := m.Denied(subjects...); denied != nil {
		return denied
	}
	return err
}

// answered tells whether an error is the broker's answer to a request.
func answered(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) || errors.Is(err, nats.ErrNoResponders)
}
