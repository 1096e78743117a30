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
	// maxFrames limits the functions of the stack in the dead letter.
	maxFrames = 8
	// maxPanicText limits the bytes of the panic's text in it.
	maxPanicText = 300
	// maxPanicCounts limits the remembered messages that made this worker panic.
	maxPanicCounts = 1024
)

// panicked settles a delivery that made the worker panic. The interaction waits for its next poll. After too many
// panics, or after its deadline, it is dead-lettered. The reservation carries the number of panics. For a message
// without one (in the intake, before the reservation is stored, with delayed naks) each worker counts its own.
func (w *Worker) panicked(ctx context.Context, l *lane, d *delivery, cause string) (err error) {
	defer func() {
		if again := recover(); again != nil {
			err = fmt.Errorf("settling a delivery of %s that panicked: another panic: %v", l.name, again)
		}
	}()
	reserved := d.Reserved()
	switch {
	case reserved:
		d.Panics++
	case d.Settled():
		return nil // another message of the interaction is stored
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

// internalError dead-letters an interaction that makes workers panic. It uses as little of its message as possible.
func (w *Worker) internalError(ctx context.Context, l *lane, d *delivery, cause string) error {
	d.Identifier = d.Namespace.DeadLetterToken(d.Message.Subject, d.Origin.Sequence)
	if l.typ == "" {
		if taken, err := w.settleIfTakenIn(ctx, d); err != nil || taken {
			return err
		}
	}
	o := schema.Outcome{
		Identifier: d.Identifier, Reason: schema.InternalError, Observed: w.clock.Now(), History: d.History(),
		Origin: d.Origin,
		Detail: fmt.Sprintf("a worker panicked at %d consecutive deliveries: %s", d.Panics, cause),
	}
	if kind, _, _ := d.Namespace.SplitSubject(d.Message.Subject); schema.Type(kind).Valid() {
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

// settleIfTakenIn settles a declared message that was taken in before the panic, that begins no generation, or that
// waits for the outcome of another generation. It returns whether the message is one of these.
func (w *Worker) settleIfTakenIn(ctx context.Context, d *delivery) (bool, error) {
	verdict, err := w.reservations.Judge(ctx, &d.Delivery)
	if err != nil {
		return false, err
	}
	switch verdict {
	case lifecycle.TakenIn, lifecycle.Twice, lifecycle.Processed:
		w.declaredBefore(d, verdict)
		return true, d.Ack()
	case lifecycle.Undecided:
		return true, d.NakAfter(w.cfg.Intervals.Shortest())
	}
	return false, nil
}

// declarationOf reads the declared message of a delivery, unless reading it panics.
func declarationOf(d *delivery) (declared schema.Declared, ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	declared, err := d.Declared()
	return declared, err == nil
}

// panicAt describes the recovered panic and its functions in one line. Only a deferred function may call it.
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

// messageKey identifies a stored message.
type messageKey struct {
	stream   string
	sequence uint64
}

func messageOf(d *delivery) messageKey {
	return messageKey{d.Message.Stream, d.Message.Sequence}
}

// panicCounts counts the panics in a row that messages caused in this worker.
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

// forgetPanics resets the count of panics, because this delivery caused none.
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
