package schema

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Refusals are the refusals of one interaction that came at polls in a row: the vendor answered the same HTTP status
// each time, and nothing else in between. The zero value is none. They travel in [HeaderRefusals].
type Refusals struct {
	// StatusCode is the HTTP status of all of them.
	StatusCode int
	// Count is how many there were. It stops at [RefusalsCounted].
	Count int
	// Since is when the first one came, by the broker's clock.
	Since time.Time
}

// RefusalsCounted is where [Refusals.Count] stops: nobody asks for more.
const RefusalsCounted = 99

// Next counts one more refusal that came at that time. One with another HTTP status begins anew.
func (r Refusals) Next(statusCode int, at time.Time) Refusals {
	if r.Count == 0 || r.StatusCode != statusCode {
		return Refusals{StatusCode: statusCode, Count: 1, Since: at}
	}
	r.Count = min(r.Count+1, RefusalsCounted)
	return r
}

// Equal tells whether both are the same.
func (r Refusals) Equal(o Refusals) bool {
	return r.StatusCode == o.StatusCode && r.Count == o.Count && r.Since.Equal(o.Since)
}

// String is the form in [HeaderRefusals], such as `404 2 2026-11-27T01:02:03.5Z`; empty for none.
func (r Refusals) String() string {
	if r.Count == 0 {
		return ""
	}
	return fmt.Sprintf("%d %d %s", r.StatusCode, r.Count, r.Since.UTC().Format(time.RFC3339Nano))
}

// ParseRefusals reads what [Refusals.String] gives. Anything else is none: the refusals are then counted anew.
func ParseRefusals(s string) Refusals {
	fields := strings.Fields(s)
	if len(fields) != 3 {
		return Refusals{}
	}
	code, codeErr := strconv.Atoi(fields[0])
	count, countErr := strconv.Atoi(fields[1])
	since, sinceErr := time.Parse(time.RFC3339Nano, fields[2])
	if codeErr != nil || countErr != nil || sinceErr != nil || code < 100 || code > 999 || count < 1 ||
		count > RefusalsCounted {
		return Refusals{}
	}
	return Refusals{StatusCode: code, Count: count, Since: since}
}
