package redelivery

import (
	"maps"
	"sync"
	"time"

	"statusworker/schema"
)

// dueSample remembers of some messages when they fall due again. With naks nothing else tells how late a delivery is:
// the broker does not say, and a worker keeps no state of what waits. It is a sample, because another worker may get
// the message, and because its size is bounded: of every so many sequences one is in it, more or fewer as they become
// many.
type dueSample struct {
	mu    sync.Mutex
	at    map[uint64]time.Time // by stream sequence
	every uint64
	// cleared is when what others took was last thrown out.
	cleared time.Time
}

const (
	maxDueSample = 512
	// dueSampleAge is how long after it fell due a message is taken to be another worker's.
	dueSampleAge = 5 * time.Minute
)

func (s *dueSample) note(sequence uint64, due, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at == nil {
		s.at, s.every = make(map[uint64]time.Time, maxDueSample), 1
	}
	if now.Sub(s.cleared) > time.Minute {
		s.cleared = now
		s.keep(func(_ uint64, at time.Time) bool { return now.Sub(at) <= dueSampleAge })
		if len(s.at) < maxDueSample/8 && s.every > 1 {
			s.every /= 2
		}
	}
	if sequence%s.every != 0 {
		return
	}
	s.at[sequence] = due
	for len(s.at) > maxDueSample {
		s.every *= 2
		s.keep(func(n uint64, _ time.Time) bool { return n%s.every == 0 })
	}
}

// keep throws out what is not to be kept.
func (s *dueSample) keep(wanted func(sequence uint64, at time.Time) bool) {
	for n, at := range s.at {
		if !wanted(n, at) {
			delete(s.at, n)
		}
	}
}

// take gives when a message fell due, or zero where it is not in the sample.
func (s *dueSample) take(sequence uint64) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	due := s.at[sequence]
	delete(s.at, sequence)
	return due
}

// refusedSample remembers which interactions were refused at this worker's last polls of them. Each worker counts for
// itself, and what does not fit is counted when there is room: a status that another worker got in between is not seen.
type refusedSample struct {
	life time.Duration // of an entry that is not noted again: others poll the interaction

	mu    sync.Mutex
	known map[string]refusedEntry
}

type refusedEntry struct {
	refusals schema.Refusals
	noted    time.Time
}

// maxRefused bounds how many interactions are remembered.
const maxRefused = 4096

// of gives the refusals of an interaction.
func (s *refusedSample) of(identifier string, now time.Time) schema.Refusals {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.known[identifier]
	if !ok || now.Sub(e.noted) > s.life {
		return schema.Refusals{}
	}
	return e.refusals
}

// note remembers the refusals of an interaction, or forgets it where there are none.
func (s *refusedSample) note(identifier string, e refusedEntry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.refusals.Count == 0 {
		delete(s.known, identifier)
		return
	}
	if s.known == nil {
		s.known = map[string]refusedEntry{}
	}
	if _, ok := s.known[identifier]; !ok && len(s.known) >= maxRefused {
		maps.DeleteFunc(s.known, func(_ string, old refusedEntry) bool { return e.noted.Sub(old.noted) > s.life })
		if len(s.known) >= maxRefused {
			return
		}
	}
	s.known[identifier] = e
}
