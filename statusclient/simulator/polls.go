package simulator

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"statusworker/schema"
)

// Poll is a status request and its answer.
type Poll struct {
	Identifier string
	// Number is the number of the poll of the interaction, from 1.
	Number int
	// At is when the host received the request if the system provides that, and otherwise when it was read.
	At time.Time
	// From is the client's address.
	From netip.AddrPort
	// StatusCode is the HTTP status of the answer, or 0 if a fault prevents the answer.
	StatusCode int
	// Status is the status in the answer, or empty.
	Status schema.Status
	// Fault is the fault of the poll, or empty: its kind, or the code of a refusal.
	Fault string
}

// Counts are the numbers of polls since the start.
type Counts struct {
	Polls  int
	Codes  map[int]int    // by the HTTP status of the answer; 0 is no answer
	Faults map[string]int // by Poll.Fault, without polls without a fault
}

// traffic is the data of the polls of an identifier that is kept without the log.
type traffic struct {
	polls       int
	first, last time.Time
	least       gap
	faulty      bool // a poll had a fault other than OtherStatus
}

// gap is the minimum time between two polls of an interaction.
type gap struct {
	length     time.Duration
	identifier string
	ok         bool
}

func (g *gap) narrow(length time.Duration, identifier string) {
	if !g.ok || length < g.length {
		*g = gap{length: length, identifier: identifier, ok: true}
	}
}

// arrived counts a poll, and returns its number. The caller holds the lock.
func (s *Simulator) arrived(identifier string, at time.Time) int {
	t := s.seen[identifier]
	if t == nil {
		t = &traffic{}
		s.seen[identifier] = t
	}
	t.polls++
	if t.polls == 1 {
		t.first = at
	} else {
		// Two concurrent requests can be counted in either order.
		length := at.Sub(t.last).Abs()
		t.least.narrow(length, identifier)
		s.least.narrow(length, identifier)
	}
	if at.After(t.last) {
		t.last = at
	}
	return t.polls
}

// note logs a poll, and wakes waiting goroutines. The caller holds the lock.
func (s *Simulator) note(p Poll) {
	s.counts.Polls++
	s.counts.Codes[p.StatusCode]++
	if p.Fault != "" {
		s.counts.Faults[p.Fault]++
	}
	if p.Status == "" || p.Fault != "" && p.Fault != string(OtherStatus) {
		s.seen[p.Identifier].faulty = true
	}
	if !s.cfg.CountOnly {
		s.log = append(s.log, p)
	}
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// OnPoll sets a hook that is called with every poll after it is logged and before it is answered. Hooks of several
// polls run concurrently. Nil removes the hook.
func (s *Simulator) OnPoll(hook func(Poll)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onPoll = hook
}

// Polls returns the log. It is empty with [Config.CountOnly].
func (s *Simulator) Polls() []Poll {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.log)
}

// PollsOf returns the polls of an interaction from the log.
func (s *Simulator) PollsOf(identifier string) []Poll {
	identifier = strings.ToLower(identifier)
	s.mu.Lock()
	defer s.mu.Unlock()
	var polls []Poll
	for _, p := range s.log {
		if p.Identifier == identifier {
			polls = append(polls, p)
		}
	}
	return polls
}

// Count returns the number of polls.
func (s *Simulator) Count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts.Polls
}

// CountOf returns the number of polls of an interaction.
func (s *Simulator) CountOf(identifier string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.seen[strings.ToLower(identifier)]; t != nil {
		return t.polls
	}
	return 0
}

// Counts returns the counts of all polls.
func (s *Simulator) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Counts{Polls: s.counts.Polls, Codes: maps.Clone(s.counts.Codes), Faults: maps.Clone(s.counts.Faults)}
}

// MinGap returns the minimum time between two polls of the same interaction, and that interaction. It reports false if
// no interaction was polled twice.
func (s *Simulator) MinGap() (length time.Duration, identifier string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.least.length, s.least.identifier, s.least.ok
}

// MinGapOf is MinGap of the interactions for which include returns true.
func (s *Simulator) MinGapOf(include func(identifier string) bool) (length time.Duration, identifier string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var least gap
	for id, t := range s.seen {
		if t.least.ok && include(id) {
			least.narrow(t.least.length, id)
		}
	}
	return least.length, least.identifier, least.ok
}

// MeanGapOf returns the mean time between two polls of the same interaction, and the number of such times, for the
// interactions for which include returns true. Interactions without a status at each poll, or with a fault other than
// [OtherStatus], are left out.
func (s *Simulator) MeanGapOf(include func(identifier string) bool) (mean time.Duration, count int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var sum time.Duration
	for id, t := range s.seen {
		if !t.faulty && include(id) {
			sum += t.last.Sub(t.first)
			count += t.polls - 1
		}
	}
	if count == 0 {
		return 0, 0
	}
	return sum / time.Duration(count), count
}

// Wait returns when cond is true. It calls cond at first and after polls. The function cond may call the simulator. The
// error wraps that of ctx.
func (s *Simulator) Wait(ctx context.Context, cond func(*Simulator) bool) error {
	for {
		s.mu.Lock()
		if s.changed == nil {
			s.changed = make(chan struct{})
		}
		changed := s.changed
		s.mu.Unlock()
		if cond(s) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("waiting for polls, after %d: %w", s.Count(), ctx.Err())
		}
	}
}

// WaitPolls returns after n polls in total.
func (s *Simulator) WaitPolls(ctx context.Context, n int) error {
	return s.Wait(ctx, func(s *Simulator) bool { return s.Count() >= n })
}

// WaitPollsOf returns after n polls of an interaction.
func (s *Simulator) WaitPollsOf(ctx context.Context, identifier string, n int) error {
	return s.Wait(ctx, func(s *Simulator) bool { return s.CountOf(identifier) >= n })
}
