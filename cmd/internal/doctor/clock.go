package doctor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/consumer/clock"
	"statusworker/schema"
)

const clockSamples = 3

// clockOffset is how far a server's clock is ahead of this host's, with the uncertainty of the measurement.
type clockOffset struct{ offset, uncertain time.Duration }

// clock compares this host's clock with the clocks of the servers that lead the streams.
func (x *broker) clock(ctx context.Context, js jetstream.JetStream, streams []*jetstream.StreamInfo) Finding {
	leaders := map[string]clockOffset{}
	for range clockSamples {
		for _, known := range streams {
			asked := time.Now()
			s, err := js.Stream(ctx, known.Config.Name)
			took := time.Since(asked)
			if err != nil {
				return skipped(err.Error(), "", checkClock)[0]
			}
			info, leader := s.CachedInfo(), ""
			if info.Cluster != nil {
				leader = info.Cluster.Leader
			}
			if best, ok := leaders[leader]; !ok || took/2 < best.uncertain {
				leaders[leader] = clockOffset{info.TimeStamp.Sub(asked.Add(took / 2)), took / 2}
			}
		}
	}
	return judgeClocks(leaders)
}

const (
	// maxSkew is the largest accepted difference between the broker's clock and this host's.
	maxSkew = time.Second
	// maxSpread is the largest accepted difference between the clocks of two servers. Workers allow for a little more:
	// clock.MaxApart.
	maxSpread = clock.MaxApart - 100*time.Millisecond
)

// judgeClocks judges the clocks of the streams' leaders against this host's, and against each other.
func judgeClocks(leaders map[string]clockOffset) Finding {
	var first, last, farthest clockOffset
	for i, name := range slices.Sorted(maps.Keys(leaders)) {
		c := leaders[name]
		if i == 0 || c.offset < first.offset {
			first = c
		}
		if i == 0 || c.offset > last.offset {
			last = c
		}
		if c.offset.Abs() >= farthest.offset.Abs() {
			farthest = c
		}
	}
	f := judgeClock(farthest.offset, farthest.uncertain)
	if len(leaders) < 2 {
		return f
	}
	spread, uncertain := last.offset-first.offset, last.uncertain+first.uncertain
	f.Found += fmt.Sprintf("; the clocks of %d servers differ by %s (±%s)",
		len(leaders), milliseconds(spread), milliseconds(uncertain))
	if spread-uncertain > maxSpread {
		f.Result = Warn
		f.Fix = "run NTP on all servers; after a leader change, workers that have just started may poll too early"
	}
	return f
}

func judgeClock(offset, uncertain time.Duration) Finding {
	side := "ahead of"
	if offset < 0 {
		side = "behind"
	}
	found := fmt.Sprintf("the broker's clock is %s %s this host's (±%s)",
		milliseconds(offset.Abs()), side, milliseconds(uncertain))
	if offset.Abs() <= max(uncertain, time.Millisecond) {
		found = "the broker's clock agrees with this host's within " + milliseconds(max(uncertain, time.Millisecond))
	}
	if offset.Abs()-uncertain > maxSkew {
		return bad(Warn, checkClock,
			"run NTP on both; workers correct for the difference, but ages and log times disagree", "%s", found)
	}
	return pass(checkClock, "%s", found)
}

func milliseconds(d time.Duration) string { return schema.Duration(d.Round(time.Millisecond)) }
