package redelivery

import (
	"maps"
	"sync"
	"time"

	"statusworker/schema"
)

// dueSample remembers when some messages fall due again. With naks nothing else shows how late a delivery is. It has
// only every n-th sequence, to limit its size. An entry is useless if another worker gets the message.
type dueSample struct {
	mu    sync.Mutex
	at    map[uint64]time.Time // by stream sequence
	every uint64
	// cleared is when expired entries were last removed.
	cleared time.Time
}

const (
	maxDueSample = 512
	// dueSampleAge is how long after it fell due an entry expires: another worker has got the message.
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

// keep removes the entries that are not wanted.
func (s *dueSample) keep(wanted func(sequence uint64, at time.Time) bool) {
	for n, at := range s.at {
		if !wanted(n, at) {
			delete(s.at, n)
		}
	}
}

// take returns when a message fell due, and removes it; zero if it is not in the sample.
func (s *dueSample) take(sequence uint64) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	due := s.at[sequence]
	delete(s.at, sequence)
	return due
}

// refusedSample remembers the refusals of interactions at this worker's polls. Each worker counts for itself, and does
// not see a status that another worker got in between. Interactions beyond the limit are counted when there is room.
type refusedSample struct {
	maxAge time.Duration // of an entry: other workers poll the interaction

	mu    sync.Mutex
	known map[string]refusedEntry
	// cleared is when expired entries were last removed.
	cleared time.Time
}

type refusedEntry struct {
	refusals schema.Refusals
	noted    time.Time
}

// maxRefused limits the remembered interactions.
const maxRefused = 4096

// of returns the refusals of an interaction.
func (s *refusedSample) of(identifier string, now time.Time) schema.Refusals {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.known[identifier]
	if !ok || now.Sub(e.noted) > s.maxAge {
		return schema.Refusals{}
	}
	return e.refusals
}

// note records the refusals of an interaction, or removes it if there are none.
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
		if e.noted.Sub(s.cleared) < s.maxAge/8 {
			return // not at every refusal: it reads all entries
		}
		s.cleared = e.noted
		maps.DeleteFunc(s.known, func(_ string, old refusedEntry) bool { return e.noted.Sub(old.noted) > s.maxAge })
		if len(s.known) >= maxRefused {
			return
		}
	}
	s.known[identifier] = e
}
