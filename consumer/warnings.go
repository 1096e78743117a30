package consumer

import (
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"statusworker/schema"
)

// warnings limits the log of repeated failures. Each operation is logged at its first failure, and then at most every
// warnEvery with the number of failures since.
type warnings struct {
	now func() time.Time
	mu  sync.Mutex
	of  map[string]*warning
}

type warning struct {
	logged   time.Time
	failures int // since then
}

const warnEvery = 30 * time.Second

// warn logs that an operation failed that will be retried, by this or another worker.
func (w *Worker) warn(operation string, err error) { w.warnWith(w.log, operation, err) }

// warnOf logs that an operation on a delivery failed.
func (w *Worker) warnOf(d *delivery, operation string, err error) {
	w.warnWith(w.log.WithField("interaction", d.logged()), operation, err)
}

// logged returns the identifier of the interaction for the log; of an invalid message, the last token of its dead
// letter's subject.
func (d *delivery) logged() string {
	return d.Namespace.DeadLetterToken(d.Message.Subject, d.Origin.Sequence)
}

func (w *Worker) warnWith(log logrus.FieldLogger, operation string, err error) {
	all := &w.warnings
	all.mu.Lock()
	defer all.mu.Unlock()
	if all.of == nil {
		all.of = map[string]*warning{}
	}
	one := all.of[operation]
	if one == nil {
		one = &warning{}
		all.of[operation] = one
	}
	one.failures++
	if w.cfg.Away != nil && w.cfg.Away() {
		return // without a connection every operation fails
	}
	if now := all.now(); one.logged.IsZero() || now.Sub(one.logged) >= warnEvery {
		log.WithFields(logrus.Fields{"operation": operation, "failures": one.failures}).WithError(err).
			Warn("operation failed; it will be retried")
		one.logged, one.failures = now, 0
	}
}

// unknownStatuses remembers which unknown statuses were logged.
type unknownStatuses struct {
	mu   sync.Mutex
	seen map[schema.Status]bool
}

const maxUnknownStatuses = 100

// first reports whether a status is new. After maxUnknownStatuses statuses it is always false.
func (u *unknownStatuses) first(s schema.Status) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.seen[s] || len(u.seen) >= maxUnknownStatuses {
		return false
	}
	if u.seen == nil {
		u.seen = map[schema.Status]bool{}
	}
	u.seen[s] = true
	return true
}
