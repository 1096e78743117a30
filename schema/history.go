package schema

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// StatusChange is a poll at which the vendor reported another status than at the poll before.
type StatusChange struct {
	Status Status `json:"status"`
	// At is when the answer arrived, by the broker's clock, in milliseconds.
	At time.Time `json:"at"`
	// Poll is the number of the poll in its generation; 0 with delayed naks.
	Poll uint64 `json:"poll"`
}

const (
	// MaxHistory is the maximum number of changes of a history. Of a longer one, the oldest and the newest half are
	// kept.
	MaxHistory = 16
	// maxChangeBytes is the maximum size of a value: 20 digits, a time, a status, and the spaces between them.
	maxChangeBytes = 20 + 1 + len(historyAt) + 1 + MaxStatusBytes
	// MaxHistoryBytes is the maximum size of all headers with a history, with their names and line ends.
	MaxHistoryBytes = MaxHistory * (len(HeaderHistory) + 2 + maxChangeBytes + 2)
	// historyAt is the format of the times in [HeaderHistory].
	historyAt = "2006-01-02T15:04:05.000Z07:00"
)

// Encodable reports whether a time can be encoded as JSON in UTC. A time that another program wrote may be in a zone
// whose year 9999 ends in the year 10000 of UTC.
func Encodable(t time.Time) bool {
	year := t.UTC().Year()
	return 0 <= year && year <= 9999
}

// AddChange returns the values of [HeaderHistory] with one more change, at most [MaxHistory]. It does not modify
// values. Spaces around the status are removed, as NATS removes them from headers. If nothing else is left of it, or if
// it is the last known status, there is no change.
func AddChange(values []string, c StatusChange) []string {
	c.Status = Status(strings.TrimSpace(string(c.Status)))
	if c.Status == "" || c.Status == LastStatus(values) {
		return values
	}
	kept := values
	if len(kept) >= MaxHistory {
		kept = slices.Concat(kept[:MaxHistory/2], kept[len(kept)-MaxHistory/2+1:])
	}
	return append(slices.Clip(kept), fmt.Sprintf("%d %s %s", c.Poll, c.At.UTC().Format(historyAt), c.Status))
}

// LastStatus returns the status of the last value of [HeaderHistory], or an empty one.
func LastStatus(values []string) Status {
	if len(values) == 0 {
		return ""
	}
	_, rest, _ := strings.Cut(values[len(values)-1], " ")
	_, status, _ := strings.Cut(rest, " ")
	return Status(status)
}

// BoundedHistory returns values, or none if they are more or longer than those that [AddChange] writes: reservations
// that repeat a forged header could be too large.
func BoundedHistory(values []string) []string {
	if len(values) > MaxHistory || slices.ContainsFunc(values, func(v string) bool { return len(v) > maxChangeBytes }) {
		return nil
	}
	return values
}

// ReadHistory reads the values of [HeaderHistory]. It omits a value that [AddChange] does not write, and all values if
// they exceed a limit of [BoundedHistory].
func ReadHistory(values []string) []StatusChange {
	var history []StatusChange
	for _, v := range BoundedHistory(values) {
		fields := strings.SplitN(v, " ", 3)
		if len(fields) != 3 {
			continue
		}
		poll, err := strconv.ParseUint(fields[0], 10, 64)
		if err != nil {
			continue
		}
		at, err := time.Parse(historyAt, fields[1])
		if status := Status(fields[2]); err == nil && Encodable(at) && status.Check() == nil {
			history = append(history, StatusChange{Status: status, At: at.UTC(), Poll: poll})
		}
	}
	return history
}
