package simulator

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"statusworker/schema"
)

// Poll is one status request, as it arrived and as it is answered.
type Poll struct {
	Identifier string
	// Number counts the polls of the interaction, from 1.
	Number int
	// At is when the host received the request, where the system tells, and otherwise when it had been read.
	At time.Time
	// StatusCode is what is answered, or 0 where the fault leaves no answer.
	StatusCode int
	// Status is the status in the answer, where there is one.
	Status schema.Status
	// Fault names the fault that the poll met, or is empty: its kind, or the code of a refusal.
	Fault string
}

// Counts are the totals of all polls since the start.
type Counts struct {
	Polls  int
	Codes  map[int]int    // by what was answered; 0 is no answer
	Faults map[string]int // by Poll.Fault, without the polls that met none
}

// traffic is what is known of the polls of one identifier, without the log.
type traffic struct {
	polls int
	last  time.Time
	least gap
}

// gap is the least time between two polls of an interaction.
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

// arrived counts a poll, and gives its number. The lock is held.
func (s *Simulator) arrived(identifier string, at time.Time) int {
	t := s.seen[identifier]
	if t == nil {
		t = &traffic{}
		s.seen[identifier] = t
	}
	t.polls++
	if t.polls > 1 {
		// Two requests that arrive at once can come here in either order.
		length := at.Sub(t.last).Abs()
		t.least.narrow(length, identifier)
		s.least.narrow(length, identifier)
	}
	if at.After(t.last) {
		t.last = at
	}
	return t.polls
}

// note logs a poll, and wakes who waits. The lock is held.
func (s *Simulator) note(p Poll) {
	s.counts.Polls++
	s.counts.Codes[p.StatusCode]++
	if p.Fault != "" {
		s.counts.Faults[p.Fault]++
	}
	if !s.cfg.CountOnly {
		s.log = append(s.log, p)
	}
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// OnPoll has hook called with every poll, after it was logged and before it is answered. Polls wait for their own hook
// only: hooks of several polls run at once. Nil takes the hook away.
func (s *Simulator) OnPoll(hook func(Poll)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onPoll = hook
}

// Polls gives the log. It is empty with [Config.CountOnly].
func (s *Simulator) Polls() []Poll {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.log)
}

// PollsOf gives the polls of one interaction from the log.
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

// Count is how many polls there were.
func (s *Simulator) Count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts.Polls
}

// CountOf is how many polls of one interaction there were.
func (s *Simulator) CountOf(identifier string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.seen[strings.ToLower(identifier)]; t != nil {
		return t.polls
	}
	return 0
}

// Counts gives the totals.
func (s *Simulator) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Counts{Polls: s.counts.Polls, Codes: maps.Clone(s.counts.Codes), Faults: maps.Clone(s.counts.Faults)}
}

// MinGap is the least time between two polls of one interaction, and which it was. It is false where no interaction
// was polled twice.
func (s *Simulator) MinGap() (length time.Duration, identifier string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.least.length, s.least.identifier, s.least.ok
}

// MinGapOf is MinGap among the interactions that include accepts.
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

// Wait returns when cond is true. It is asked at once, and again after polls; it can use the simulator. The error is
// that of ctx, with the number of polls so far.
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

// WaitPolls returns when there were n polls in all.
func (s *Simulator) WaitPolls(ctx context.Context, n int) error {
	return s.Wait(ctx, func(s *Simulator) bool { return s.Count() >= n })
}

// WaitPollsOf returns when there were n polls of one interaction.
func (s *Simulator) WaitPollsOf(ctx context.Context, identifier string, n int) error {
	return s.Wait(ctx, func(s *Simulator) bool { return s.CountOf(identifier) >= n })
}
