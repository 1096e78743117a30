package consumer

import (
	"context"
	"time"

	"github.com/sirupsen/logrus"

	"statusworker/schema"
)

// watchOverdue stores overdue reservations again until ctx ends.
func (w *Worker) watchOverdue(ctx context.Context) error {
	for w.awaitSearch(ctx) {
		stored, err := w.reservations.StoreAgain(ctx)
		if stored > 0 {
			w.count.storedAgain.Add(uint64(stored))
			w.log.WithFields(logrus.Fields{
				"reservations": stored, "overdue_by_at_least": schema.Duration(w.cfg.OverdueAfter),
			}).Warn("overdue reservations stored again")
		}
		if err != nil && ctx.Err() == nil {
			w.warn("storing overdue reservations again", err)
		}
	}
	return nil
}

// awaitSearch waits until the next search for something that the fleet searches for twice in OverdueAfter. The more
// workers there are, the less often each of them searches, so that the load on the broker does not depend on their
// number. It returns false when ctx has ended.
func (w *Worker) awaitSearch(ctx context.Context) bool {
	every := w.cfg.OverdueAfter / 2 * time.Duration(max(1, w.fleet.LiveWorkers()))
	return wait(ctx, every/2+time.Duration(w.cfg.Jitter()*float64(every)))
}
