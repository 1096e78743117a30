package explore

import (
	"math/rand"
	"strings"
)

// reseed makes the waits of the backoff between attempts the same in every run: they come from the global source.
func reseed(seed uint64) {
	rand.Seed(int64(seed)) //nolint:staticcheck // there is no other way to seed the global source
}

// readable returns the lines of a history without those of the fleet, of the clock and of starting workers.
func (h History) readable() []string {
	var lines []string
	for _, l := range h.Lines {
		if !strings.Contains(l, " workers") && !strings.Contains(l, " stream ") && !strings.Contains(l, " consumer ") {
			lines = append(lines, l)
		}
	}
	return lines
}
