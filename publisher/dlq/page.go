package dlq

import (
	"context"
	"errors"

	"statusworker/schema/broker"
)

// Page is a part of a selection.
type Page struct {
	// DeadLetters are in the order of their sequences, the last one first.
	DeadLetters []DeadLetter
	// Before is the argument for the next page, or 0 if there is none.
	Before uint64
	// Incomplete means that the search ended at [MaxSearched] dead letters: the next page continues it.
	Incomplete bool
}

const (
	// MaxSearched is about how many dead letters are read for one page. Only a filter by type or detail reads more
	// than fit on the page.
	MaxSearched = 5_000
	// maxWindow is how many dead letters are read at a time.
	maxWindow = 2_000
	// sparse is the ratio of sequences to dead letters from which the next window is larger, by growth.
	sparse = 8
	growth = 4
)

// errTooMany ends the read of a window with more than maxWindow dead letters.
var errTooMany = errors.New("too many dead letters in the window")

// Page returns the last n dead letters of a selection whose sequence is less than before; 0 is no limit. It ignores
// the names of the filter.
//
// The broker reads only forwards. So it reads windows of sequences, the last one first, with as many sequences as
// the density of dead letters requires.
func (s *Selection) Page(ctx context.Context, before uint64, n int) (Page, error) {
	end, err := s.end(ctx, before)
	if err != nil {
		return Page{}, err
	}
	var p Page
	window, searched := uint64(growth*n), 0
	for end > s.first {
		if searched >= MaxSearched {
			p.Before, p.Incomplete = end, true
			return p, nil
		}
		start := max(s.first, end-min(end, window))
		w, err := s.window(ctx, start, end, n+1-len(p.DeadLetters))
		if errors.Is(err, errTooMany) {
			window = max((end-start)/2, maxWindow)
			continue
		}
		if err != nil {
			return Page{}, err
		}
		for i := len(w.fit) - 1; i >= 0; i-- {
			if len(p.DeadLetters) == n {
				p.Before = p.DeadLetters[n-1].Sequence
				return p, nil
			}
			p.DeadLetters = append(p.DeadLetters, w.fit[i])
		}
		if w.old { // all earlier ones are too old
			break
		}
		end = start
		searched += w.read
		if uint64(w.read)*sparse < window {
			window *= growth
		}
	}
	return p, nil
}

// end returns the sequence before which a page ends.
func (s *Selection) end(ctx context.Context, before uint64) (uint64, error) {
	end := s.last + 1
	if before > 0 {
		end = min(end, before)
	}
	if s.to.IsZero() {
		return end, nil
	}
	r := broker.Range{Subjects: s.filter.subjects(s.queue.names, nil), Since: s.to}
	err := s.read(ctx, r, s.last, func(l DeadLetter) error {
		end = min(end, l.Sequence)
		return errPast
	})
	if errors.Is(err, errPast) {
		err = nil
	}
	return end, err
}

// window is what was read of a window of sequences.
type window struct {
	// fit has the last dead letters that match the filter.
	fit  []DeadLetter
	read int
	old  bool // it has dead letters before the selection
}

// window reads the dead letters from the sequence start to the one before end. It keeps at most keep of them, because
// a dead letter may be large.
func (s *Selection) window(ctx context.Context, start, end uint64, keep int) (w window, err error) {
	r := broker.Range{Subjects: s.filter.subjects(s.queue.names, nil), From: start}
	err = s.read(ctx, r, end-1, func(l DeadLetter) error {
		if w.read++; w.read > maxWindow {
			return errTooMany
		}
		switch {
		case !s.from.IsZero() && l.Stored.Before(s.from):
			w.old = true
		case s.fits(l):
			if len(w.fit) == keep {
				w.fit = append(w.fit[:0], w.fit[1:]...)
			}
			w.fit = append(w.fit, l)
		}
		return nil
	})
	return w, err
}
