package redelivery

import (
	"strconv"
	"testing"
	"time"
)

// The size of the sample is limited, it is spread over all messages, and it becomes dense again when they are few.
func TestDueSample(t *testing.T) {
	var s dueSample
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	const many, wait = 100_000, 30 * time.Second
	round := func(first, n uint64) (found, inSecondHalf int) {
		for i := range n {
			at := now.Add(time.Duration(i) * wait / time.Duration(n))
			s.note(first+i, at.Add(wait), at)
			if len(s.at) > maxDueSample {
				t.Fatalf("%d are remembered", len(s.at))
			}
		}
		now = now.Add(wait)
		for i := range n {
			due := s.take(first + i)
			if due.IsZero() {
				continue
			}
			found++
			if want := now.Add(time.Duration(i) * wait / time.Duration(n)); !due.Equal(want) {
				t.Fatalf("message %d fell due at %s, want %s", i, due, want)
			}
			if i >= n/2 {
				inSecondHalf++
			}
		}
		return found, inSecondHalf
	}
	if found, half := round(1, many); found < maxDueSample/4 || half < found/3 || half > found*2/3 {
		t.Errorf("%d of %d are in the sample, %d of them of the second half", found, many, half)
	}
	if !s.take(1).IsZero() {
		t.Error("a message is in the sample after take")
	}
	for range 40 { // twenty minutes with few messages
		round(1_000_000, 20)
	}
	if found, _ := round(2_000_000, 20); found < 15 {
		t.Errorf("%d of 20 are in the sample, want most of them now that there are few", found)
	}

	// Messages that another worker took are removed.
	s.note(3_000_000, now, now)
	now = now.Add(dueSampleAge + 2*time.Minute)
	s.note(3_000_001, now, now)
	if !s.take(3_000_000).IsZero() {
		t.Error("a message that another worker took long ago is remembered")
	}
}

// Interactions wait for longer than the interval only if others wait for their first poll.
func TestNaksWaitLongerWhileNewMessagesWait(t *testing.T) {
	n := &Naks{cfg: Config{RateLimit: 10}}
	for _, tt := range []struct {
		waiting, fresh uint64
		want           time.Duration
	}{
		{1000, 0, 0}, {1000, 1, 110 * time.Second}, {10, 10, 1100 * time.Millisecond}, {1e6, 1e6, maxTurn},
	} {
		n.waiting.Store(tt.waiting)
		n.fresh.Store(tt.fresh)
		if got := n.turn(); got != tt.want {
			t.Errorf("with %d waiting, %d of them fresh: %s, want %s", tt.waiting, tt.fresh, got, tt.want)
		}
	}
	n.cfg.RateLimit = 0
	if got := n.turn(); got != 0 {
		t.Errorf("without a rate limit: %s, want 0", got)
	}
}

// Values are remembered for some time, for a limited number of keys.
func TestMemory(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	const limit = 100
	m := memory[string, int]{maxAge: time.Minute, limit: limit}
	m.note("a", 2, now)
	if got, ok := m.of("a", now.Add(time.Minute)); got != 2 || !ok {
		t.Errorf("a minute later the value is %d, %t, want 2", got, ok)
	}
	if got, ok := m.of("a", now.Add(time.Minute+1)); got != 0 || ok {
		t.Errorf("after its time the value is %d, %t, want none", got, ok)
	}
	m.forget("a")
	if _, ok := m.of("a", now); ok || len(m.known) != 0 {
		t.Error("a value is remembered that was to be forgotten")
	}
	for n := range 2 * limit {
		m.note(strconv.Itoa(n), n, now)
	}
	if len(m.known) != limit {
		t.Errorf("%d are remembered, want %d", len(m.known), limit)
	}
	late := now.Add(2 * time.Minute)
	m.note("0", 1, late) // a known key is replaced beyond the limit, too
	if got, ok := m.of("0", late); got != 1 || !ok {
		t.Errorf("the replaced value is %d, %t, want 1", got, ok)
	}
	m.note("new", 1, late)
	if len(m.known) != 2 {
		t.Errorf("%d are remembered long after the others, want 2", len(m.known))
	}
}
