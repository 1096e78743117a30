package consumer

import (
	"context"
	"time"

	"github.com/sirupsen/logrus"

	"statusworker/schema"
)

// watchPolls keeps the anchor, and stores overdue reservations again, until ctx ends. The more workers there are, the
// less often each of them looks, so that the load on the broker does not depend on their number.
func (w *Worker) watchPolls(ctx context.Context) error {
	a := anchor{w: w}
	for {
		a.keep(ctx)
		every := w.cfg.OverdueAfter / 2 * time.Duration(max(1, w.fleet.Alive()))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(every/2 + time.Duration(w.cfg.Jitter()*float64(every))):
		}
		stored, err := w.reservations.StoreAgain(ctx)
		if stored > 0 {
			w.count.storedAgain.Add(uint64(stored))
			w.log.WithFields(logrus.Fields{"reservations": stored, "overdue_by": schema.Duration(w.cfg.OverdueAfter)}).
				Warn("overdue reservations stored again")
		}
		if err != nil && ctx.Err() == nil {
			w.warn("overdue reservations", err)
		}
	}
}
