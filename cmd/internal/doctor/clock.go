package doctor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/schema"
)

const clockSamples = 3

// clockOffset is how far a server's clock is ahead of this host's, give or take.
type clockOffset struct{ offset, uncertain time.Duration }

// clock compares this host's clock with those of the servers that lead the streams, as far as they can be asked.
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
	// mostSkew is how far the broker's clock and this host's may be apart without a word.
	mostSkew = time.Second
	// mostSpread is how far those of two servers may be: half of what a reservation waits longer than the guidance.
	mostSpread = 500 * time.Millisecond
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
	f.Found += fmt.Sprintf(
		"; those of %d servers are within %s of each other, give or take %s",
		len(
			leaders,
		),
		schema.Duration(spread.Round(time.Millisecond)),
		schema.Duration(uncertain.Round(time.Millisecond)),
	)
	if spread-uncertain > mostSpread {
		f.Result, f.Fix = Warn, "run NTP on all servers; when another one takes the lead, polls can be early by as much as their clocks are apart"
	}
	return f
}

func judgeClock(offset, uncertain time.Duration) Finding {
	side := "ahead of"
	if offset < 0 {
		side = "behind"
	}
	found := fmt.Sprintf(
		"the broker's clock is %s %s this host's, give or take %s",
		schema.Duration(offset.Abs().Round(time.Millisecond)),
		side,
		schema.Duration(uncertain.Round(time.Millisecond)),
	)
	if offset.Abs() <= max(uncertain, time.Millisecond) {
		found = fmt.Sprintf(
			"the broker's clock agrees with this host's within %s",
			schema.Duration(max(uncertain.Round(time.Millisecond), time.Millisecond)),
		)
	}
	if offset.Abs()-uncertain > mostSkew {
		return bad(
			Warn,
			checkClock,
			"run NTP on both; the worker corrects for it, but ages and logs do not agree",
			"%s",
			found,
		)
	}
	return pass(checkClock, "%s", found)
}
