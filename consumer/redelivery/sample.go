package redelivery

import (
	"maps"
	"sync"
	"time"
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

// memory remembers values at this worker, because the broker stores only the declared message. An entry expires: other
// workers handle the interaction, too. A value beyond the limit is remembered when there is room.
type memory[K comparable, V any] struct {
	maxAge time.Duration // of an entry
	limit  int           // of the number of entries

	mu    sync.Mutex
	known map[K]remembered[V]
	// cleared is when expired entries were last removed.
	cleared time.Time
}

type remembered[V any] struct {
	value V
	noted time.Time
}

// of returns the value of a key.
func (m *memory[K, V]) of(key K, now time.Time) (value V, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.known[key]
	if !ok || now.Sub(e.noted) > m.maxAge {
		return value, false
	}
	return e.value, true
}

// note records the value of a key.
func (m *memory[K, V]) note(key K, value V, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known == nil {
		m.known = map[K]remembered[V]{}
	}
	if _, ok := m.known[key]; !ok && len(m.known) >= m.limit {
		if now.Sub(m.cleared) < m.maxAge/8 {
			return // not at every note: it reads all entries
		}
		m.cleared = now
		maps.DeleteFunc(m.known, func(_ K, old remembered[V]) bool { return now.Sub(old.noted) > m.maxAge })
		if len(m.known) >= m.limit {
			return
		}
	}
	m.known[key] = remembered[V]{value, now}
}

// forget removes a key.
func (m *memory[K, V]) forget(key K) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.known, key)
}
