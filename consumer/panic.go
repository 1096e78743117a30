package consumer

import (
	"context"
	"fmt"
	"path"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/schema/lifecycle"
)

const (
	// maxPanics is at how many deliveries in a row an interaction may make its worker panic. Then it becomes a dead
	// letter.
	maxPanics = 3
	// maxFrames is how many functions of the stack the dead letter has.
	maxFrames = 8
	// maxPanicText is how many bytes of the panic's own text it has.
	maxPanicText = 300
	// maxPanicCounts bounds how many messages are remembered that made this worker panic.
	maxPanicCounts = 1024
)

// panicked ends a delivery that made the worker panic: the interaction waits for its next poll, or, where that has
// happened too often or its deadline has passed, becomes a dead letter. The reservation carries how often it was; of a
// message without one (in the intake, before the reservation is stored, with delayed naks) each worker counts what it
// sees itself.
func (w *Worker) panicked(ctx context.Context, l *lane, d *delivery, cause string) (err error) {
	defer func() {
		if again := recover(); again != nil {
			err = fmt.Errorf("a delivery on %s panicked again while it was ended: %v", l.name, again)
		}
	}()
	if d.origin.Stream == "" {
		originOf(d)
	}
	d.lane = l // the intake works with that of the interaction's type
	reserved := d.reserved.Sequence != 0
	switch {
	case reserved:
		d.panics++
	case d.settled:
		return nil // the interaction is in another stored message
	default:
		d.panics = w.panics.add(messageOf(d))
	}
	switch age := w.clock.Now().Sub(d.at.Generation); {
	case d.panics >= maxPanics || age > w.cfg.Deadline:
		return w.internalError(ctx, l, d, cause)
	case reserved || w.Mode() == Nak:
		return w.redeliver(ctx, d, time.Time{})
	}
	w.giveBack(d, func() error { return d.nakAfter(w.cfg.Intervals.Shortest()) })
	return nil
}

// internalError dead-letters an interaction that makes workers panic. It touches no more of its message than it must.
func (w *Worker) internalError(ctx context.Context, l *lane, d *delivery, cause string) error {
	d.identifier = schema.DeadLetterToken(d.msg.Subject, d.origin.Sequence)
	if l.typ == "" {
		if over, err := w.goesOnElsewhere(ctx, d); err != nil || over {
			return err
		}
	}
	o := schema.Outcome{
		Identifier: d.identifier, Reason: schema.InternalError, Observed: w.clock.Now(), Origin: d.origin,
		Detail: fmt.Sprintf("a worker panicked at %d deliveries of it in a row: %s", d.panics, cause),
	}
	if kind, _, _ := schema.SplitSubject(d.msg.Subject); schema.Type(kind).Valid() {
		o.Type = schema.Type(kind)
	}
	if declared, ok := declarationOf(d); ok {
		o.Declaration, o.Success = declared.Declaration, declared.Destinations()
	} else {
		o.Payload = d.msg.Data
	}
	if err := w.publish(ctx, d, o); err != nil {
		return err
	}
	if l.typ != "" {
		w.cfg.Observer.Ended(l.typ, w.clock.Now().Sub(d.at.Generation))
	}
	return w.hold.finish(ctx, d)
}

// goesOnElsewhere acknowledges a declared message that begins no generation, or that was taken in before the panic, and tells
// whether it did.
func (w *Worker) goesOnElsewhere(ctx context.Context, d *delivery) (bool, error) {
	snapshot, err := w.stored.around(ctx, d, w.clock.Now().Sub(d.at.Generation))
	if err != nil {
		return false, err
	}
	if snapshot.Reservation, err = w.stored.reservation(ctx, d.identifier); err != nil {
		return false, err
	}
	if snapshot.Due, err = w.stored.due(ctx, d.identifier); err != nil {
		return false, err
	}
	switch verdict, _ := snapshot.TakeIn(declaredOf(d)); verdict {
	case lifecycle.TakenIn, lifecycle.Twice, lifecycle.Processed:
		w.declaredBefore(d, verdict)
		return true, d.ack()
	}
	return false, nil
}

// declarationOf reads the declared message of a delivery, unless that is what panics.
func declarationOf(d *delivery) (declared schema.Declared, ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	declared, err := schema.DecodeFrom(d.msg.Subject, d.msg.Data)
	return declared, err == nil
}

// panicAt says on one line which panic is being recovered, and in which functions it came. Only a deferred function may
// call it.
func panicAt(recovered any) string {
	what := fmt.Sprint(recovered)
	at := []string{schema.Printable(what[:min(len(what), maxPanicText)])}
	callers := make([]uintptr, 64)
	frames := runtime.CallersFrames(callers[:runtime.Callers(2, callers)])
	for below, more := false, true; more && len(at) <= maxFrames; {
		var f runtime.Frame
		f, more = frames.Next()
		switch {
		case f.Function == "runtime.gopanic":
			below = true
		case below && !strings.HasPrefix(f.Function, "runtime."):
			at = append(at, fmt.Sprintf("%s (%s:%d)", f.Function, path.Base(f.File), f.Line))
		}
	}
	return strings.Join(at, ", at ")
}

// panicsIn is how often the polls before made their worker panic, by the headers of a due message.
func panicsIn(h broker.Header) int {
	text := h.Get(schema.HeaderPanics)
	if text == "" { // as nearly always
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return min(max(n, 0), maxPanics)
}

// messageKey names a stored message.
type messageKey struct {
	stream   string
	sequence uint64
}

func messageOf(d *delivery) messageKey {
	return messageKey{d.msg.Stream, d.msg.Sequence}
}

// panicCounts remembers how often messages made this worker panic in a row.
type panicCounts struct {
	mu    sync.Mutex
	known map[messageKey]int
}

func (p *panicCounts) add(m messageKey) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known == nil || len(p.known) >= maxPanicCounts {
		p.known = map[messageKey]int{}
	}
	p.known[m]++
	return p.known[m]
}

// forgetPanics ends a row of panics: this delivery has made none.
func (w *Worker) forgetPanics(d *delivery) {
	d.panics = 0
	if d.reserved.Sequence == 0 {
		w.panics.forget(d)
	}
}

func (p *panicCounts) forget(d *delivery) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.known) > 0 {
		delete(p.known, messageOf(d))
	}
}
