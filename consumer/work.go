package consumer

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/sirupsen/logrus"

	"statusworker/consumer/clock"
	"statusworker/consumer/redelivery"
	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/schema/lifecycle"
)

// job is a message with a slot, on its way to one of the worker's goroutines.
type job struct {
	ctx   context.Context // ends when the worker stops
	lane  *lane
	msg   broker.Delivery
	asked time.Time // when the pull was sent; the broker made this delivery at that time or later
	probe bool
}

// work handles one message and returns its slot. Errors and panics of one delivery do not affect others.
func (w *Worker) work(work context.Context, j job) {
	l := j.lane
	defer w.deliveries.Done()
	defer w.slots.give(l.index, 1)
	if j.probe {
		defer w.breaker.Release()
	}
	d := &delivery{Delivery: redelivery.Receive(l.settler, w.cfg.Namespace, j.msg, j.asked), lane: l, probe: j.probe}
	d.Type, d.Interval = l.typ, l.interval
	if j.ctx.Err() != nil { // it arrived after the worker was stopped
		w.giveBack(d, d.ReturnNow)
		return
	}
	if l.typ != "" && !lifecycle.IsTombstone(j.msg.Header) {
		if wait := w.limiter.Take(j.ctx); wait > 0 {
			w.count.notPolled.Add(1)
			w.giveBack(d, func() error { return d.NakAfter(wait) })
			return
		}
	}
	defer func() {
		if r := recover(); r != nil {
			w.count.panics.Add(1)
			w.count.deliveryErrors.Add(1)
			w.log.WithFields(logrus.Fields{
				"interaction": d.logged(), "subject": schema.Quote(j.msg.Subject), "panic": fmt.Sprint(r),
				"stack": string(debug.Stack()),
			}).Error("delivery panicked")
			if err := w.panicked(work, l, d, panicAt(r)); err != nil {
				w.warnOf(d, "settling a delivery that panicked", err)
			}
		}
	}()
	handle := l.handle
	if handle == nil {
		handle = w.deliver
	}
	if err := handle(work, d); err != nil {
		w.count.deliveryErrors.Add(1)
		if work.Err() == nil {
			w.warnOf(d, "handling a delivery of "+l.name, err)
		}
	}
}

// giveBack returns a delivery that was not handled to the broker, by a nak. After AckWait it sends nothing: the nak
// would apply to the redelivery, which another worker may have polled.
func (w *Worker) giveBack(d *delivery, nak func() error) {
	if clock.Passed(d.Asked, w.cfg.Now()) >= d.lane.ackWait {
		return
	}
	if err := nak(); err != nil {
		w.warnOf(d, "returning a delivery", err)
	}
}
