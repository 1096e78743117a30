package consumer

import (
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"statusworker/schema"
)

// complaints keeps the log readable when the same thing goes wrong again and again: each kind is logged once, and then
// at most every half minute with the number of times.
type complaints struct {
	now func() time.Time
	mu  sync.Mutex
	of  map[string]*complaint
}

type complaint struct {
	logged time.Time
	since  int
}

const complainEvery = 30 * time.Second

func (w *Worker) complain(kind string, err error) {
	c := &w.complaints
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil {
		c.of = map[string]*complaint{}
	}
	k := c.of[kind]
	if k == nil {
		k = &complaint{}
		c.of[kind] = k
	}
	k.since++
	if w.cfg.Away != nil && w.cfg.Away() {
		return // nothing works without a connection
	}
	if now := c.now(); k.logged.IsZero() || now.Sub(k.logged) >= complainEvery {
		w.log.WithFields(
			logrus.Fields{"what": kind, "times": k.since},
		).WithError(
			err,
		).Warn(
			"something went wrong; the work goes on, and what was not done comes back",
		)
		k.logged, k.since = now, 0
	}
}

// unknown remembers which statuses were logged.
type unknownStatus struct {
	mu   sync.Mutex
	seen map[schema.Status]bool
}

const maxUnknownStatus = 100

// first tells whether s is new. After a hundred values nothing is.
func (u *unknownStatus) first(s schema.Status) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.seen[s] || len(u.seen) >= maxUnknownStatus {
		return false
	}
	if u.seen == nil {
		u.seen = map[schema.Status]bool{}
	}
	u.seen[s] = true
	return true
}
