package consumer

import (
	"context"
	"fmt"
	"path"
	"runtime"
	"strings"
	"sync"
	"time"

	"statusworker/consumer/redelivery"
	"statusworker/schema"
	"statusworker/schema/lifecycle"
)

const (
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
	reserved := d.Reserved()
	switch {
	case reserved:
		d.Panics++
	case d.Settled():
		return nil // the interaction is in another stored message
	default:
		d.Panics = w.panics.add(messageOf(d))
	}
	switch age := w.clock.Now().Sub(d.At.Generation); {
	case d.Panics >= redelivery.MaxPanics || age > w.cfg.Deadline:
		return w.internalError(ctx, l, d, cause)
	case reserved || w.Mode() == Nak:
		return w.redeliver(ctx, d, time.Time{})
	}
	w.giveBack(d, func() error { return d.NakAfter(w.cfg.Intervals.Shortest()) })
	return nil
}

// internalError dead-letters an interaction that makes workers panic. It touches no more of its message than it must.
func (w *Worker) internalError(ctx context.Context, l *lane, d *delivery, cause string) error {
	d.Identifier = schema.DeadLetterToken(d.Message.Subject, d.Origin.Sequence)
	if l.typ == "" {
		if over, err := w.goesOnElsewhere(ctx, d); err != nil || over {
			return err
		}
	}
	o := schema.Outcome{
		Identifier: d.Identifier, Reason: schema.InternalError, Observed: w.clock.Now(), Origin: d.Origin,
		Detail: fmt.Sprintf("a worker panicked at %d deliveries of it in a row: %s", d.Panics, cause),
	}
	if kind, _, _ := schema.SplitSubject(d.Message.Subject); schema.Type(kind).Valid() {
		o.Type = schema.Type(kind)
	}
	if declared, ok := declarationOf(d); ok {
		o.Declaration, o.Success = declared.Declaration, declared.Destinations()
	} else {
		o.Payload = d.Message.Data
	}
	if err := w.publish(ctx, d, o); err != nil {
		return err
	}
	if l.typ != "" {
		w.cfg.Observer.Ended(l.typ, w.clock.Now().Sub(d.At.Generation))
	}
	return w.redelivery.Finish(ctx, &d.Delivery)
}

// goesOnElsewhere acknowledges a declared message that begins no generation, or that was taken in before the panic, and
// tells whether it did.
func (w *Worker) goesOnElsewhere(ctx context.Context, d *delivery) (bool, error) {
	verdict, err := w.reservations.Judge(ctx, &d.Delivery)
	if err != nil {
		return false, err
	}
	switch verdict {
	case lifecycle.TakenIn, lifecycle.Twice, lifecycle.Processed:
		w.declaredBefore(d, verdict)
		return true, d.Ack()
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
	declared, err := d.Declared()
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

// messageKey names a stored message.
type messageKey struct {
	stream   string
	sequence uint64
}

func messageOf(d *delivery) messageKey {
	return messageKey{d.Message.Stream, d.Message.Sequence}
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
	d.Panics = 0
	if !d.Reserved() {
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
