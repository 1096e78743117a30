package schema

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Refusals counts the last consecutive polls of an interaction that the vendor refused with the same HTTP status. The
// zero value means none. [HeaderRefusals] has them.
type Refusals struct {
	// StatusCode is the HTTP status of all refusals.
	StatusCode int
	// Count is the number of refusals, at most [MaxRefusals].
	Count int
	// Since is the time of the first refusal, by the broker's clock.
	Since time.Time
}

// MaxRefusals is the maximum of [Refusals.Count].
const MaxRefusals = 99

// Next adds a refusal. A refusal with another HTTP status starts a new count.
func (r Refusals) Next(statusCode int, at time.Time) Refusals {
	if r.Count == 0 || r.StatusCode != statusCode {
		return Refusals{StatusCode: statusCode, Count: 1, Since: at}
	}
	r.Count = min(r.Count+1, MaxRefusals)
	return r
}

// Equal reports whether both count the same refusals. It compares the times as instants, unlike ==.
func (r Refusals) Equal(o Refusals) bool {
	return r.StatusCode == o.StatusCode && r.Count == o.Count && r.Since.Equal(o.Since)
}

// String returns the value of [HeaderRefusals], such as `404 2 2026-11-27T01:02:03.5Z`; empty for none.
func (r Refusals) String() string {
	if r.Count == 0 {
		return ""
	}
	return fmt.Sprintf("%d %d %s", r.StatusCode, r.Count, r.Since.UTC().Format(time.RFC3339Nano))
}

// ParseRefusals parses the result of [Refusals.String]. Any other text is none: the count starts again.
func ParseRefusals(s string) Refusals {
	fields := strings.Fields(s)
	if len(fields) != 3 {
		return Refusals{}
	}
	code, codeErr := strconv.Atoi(fields[0])
	count, countErr := strconv.Atoi(fields[1])
	since, sinceErr := time.Parse(time.RFC3339Nano, fields[2])
	if errors.Join(codeErr, countErr, sinceErr) != nil || code < 100 || code > 999 || count < 1 || count > MaxRefusals {
		return Refusals{}
	}
	return Refusals{StatusCode: code, Count: count, Since: since}
}
