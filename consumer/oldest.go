package consumer

import (
	"math"
	"sync"
	"time"

	"statusworker/schema"
)

// oldest remembers the age of the oldest interaction that was polled recently. Every interaction is polled about once
// per wait, so within two waits some worker has polled the oldest one.
type oldest struct {
	now    func() time.Time
	window time.Duration

	mu sync.Mutex
	of map[schema.Type]*seen
}

// seen is the greatest age in the current window and in the one before it.
type seen struct {
	began        time.Time
	last, before time.Duration
}

func (o *oldest) note(t schema.Type, age time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.of == nil {
		o.of = map[schema.Type]*seen{}
	}
	s := o.of[t]
	if s == nil {
		s = &seen{began: o.now()}
		o.of[t] = s
	}
	o.roll(s)
	s.last = max(s.last, age)
}

func (o *oldest) roll(s *seen) {
	switch past := o.now().Sub(s.began); {
	case past < o.window:
	case past < 2*o.window:
		s.began, s.last, s.before = s.began.Add(o.window), 0, s.last
	default:
		s.began, s.last, s.before = o.now(), 0, 0
	}
}

// ages returns the age in seconds of the oldest interaction of each lane that polled any.
func (o *oldest) ages() map[schema.Type]float64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	ages := map[schema.Type]float64{}
	for t, s := range o.of {
		o.roll(s)
		if age := max(s.last, s.before); age > 0 {
			ages[t] = math.Round(age.Seconds()*10) / 10
		}
	}
	return ages
}
