package schema

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

const day = 24 * time.Hour

// ParseDuration parses a duration as [time.ParseDuration] does. It also accepts whole days first: `14d`, `1d12h`.
func ParseDuration(s string) (time.Duration, error) {
	digits, rest, ok := strings.Cut(s, "d")
	if !ok {
		return time.ParseDuration(s)
	}
	digits, negative := strings.CutPrefix(digits, "-")
	days, err := strconv.ParseUint(digits, 10, 16) // 65535 days fit into a duration
	if err != nil {
		return 0, errors.New("the number of days must be a whole number from 0 to 65535")
	}
	d := time.Duration(days) * day
	if rest != "" {
		more, err := time.ParseDuration(rest)
		if err != nil {
			return 0, err
		}
		if more < 0 || strings.HasPrefix(rest, "+") {
			return 0, errors.New("the sign must precede the days")
		}
		if d += more; d < 0 {
			return 0, errors.New("the duration is too long")
		}
	}
	if negative {
		d = -d
	}
	return d, nil
}

// Duration formats a duration without trailing zeros: 14d, 36h, 5m, 1m30s, 200ms.
func Duration(d time.Duration) string {
	if d != 0 && d%day == 0 && d.Abs() > 2*day {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
