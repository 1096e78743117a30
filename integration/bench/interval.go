package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"statusworker/consumer"
	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

const (
	// intervalRate is the number of polls per second of all types.
	intervalRate = 100
	// intervalSettled is how long after the last declaration the measurement begins: each interaction has been polled.
	intervalSettled = 35 * time.Second
	intervalFor     = 95 * time.Second
)

// shareOf is the share of the polls that each type has.
var shareOf = map[schema.Type]float64{schema.Audio: 0.3, schema.Chat: 0.4, schema.Transcript: 0.3}

// measureIntervals polls interactions of all types at the vendor's guidance, and prints the times between two polls of
// one interaction as the vendor sees them.
func measureIntervals(ctx context.Context, s settings, stdout, stderr io.Writer) error {
	fmt.Fprintf(stdout, "\nIntervals: one worker, %d polls/s at the vendor's guidance, measured for %s.\n"+
		"The aim is a mean of at most 1.03 times the guidance plus 0.35s, and no interval below the guidance.\n\n",
		intervalRate, intervalFor)
	fmt.Fprintln(stdout, "| replicas | type | guidance | intervals | mean | p50 | p99 | least | aim | reached |")
	fmt.Fprintln(stdout, "|--:|---|--:|--:|--:|--:|--:|--:|--:|---|")
	for _, replicas := range []int{1, 3} {
		fmt.Fprintf(stderr, "%d replicas\n", replicas)
		gaps, err := runAtGuidance(ctx, s, replicas, stderr)
		if err != nil {
			return fmt.Errorf("measuring intervals with %d replicas: %w", replicas, err)
		}
		for _, typ := range schema.Types() {
			if err := printGaps(stdout, replicas, typ, gaps[typ]); err != nil {
				return err
			}
		}
	}
	return nil
}

func printGaps(stdout io.Writer, replicas int, typ schema.Type, gaps []time.Duration) error {
	if len(gaps) == 0 {
		return fmt.Errorf("no interaction of type %s was polled twice", typ)
	}
	slices.Sort(gaps)
	sum := time.Duration(0)
	for _, g := range gaps {
		sum += g
	}
	guidance := consumer.Guidance.Of(typ)
	mean, aim := sum/time.Duration(len(gaps)), guidance+guidance*3/100+350*time.Millisecond
	reached := "yes"
	if mean > aim || gaps[0] < guidance {
		reached = "no"
	}
	seconds := func(d time.Duration) string { return fmt.Sprintf("%.3fs", d.Truncate(time.Millisecond).Seconds()) }
	fmt.Fprintf(stdout, "| %d | %s | %s | %d | %s | %s | %s | %s | %s | %s |\n", replicas, typ, guidance, len(gaps),
		seconds(mean), seconds(gaps[len(gaps)/2]), seconds(gaps[len(gaps)*99/100]), seconds(gaps[0]), seconds(aim),
		reached)
	return nil
}

// runAtGuidance declares as many interactions as are polled at the rate, spread over the longest interval, and returns
// the times between their polls.
func runAtGuidance(
	ctx context.Context, s settings, replicas int, stderr io.Writer,
) (gaps map[schema.Type][]time.Duration, err error) {
	o := order{mode: consumer.Schedule, concurrency: s.concurrency}
	r, err := newRigWith(ctx, "clocked", o.mode, o.intervals(), replicas, stderr)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	if _, err := r.poller("stage", o, stderr); err != nil {
		return nil, err
	}
	var types []schema.Type
	for typ, share := range shareOf {
		n := int(share * intervalRate * consumer.Guidance.Of(typ).Seconds())
		types = append(types, slices.Repeat([]schema.Type{typ}, n)...)
	}
	rand.Shuffle(len(types), func(i, j int) { types[i], types[j] = types[j], types[i] })
	next := func(number int) *nats.Msg { return declaredAs(types[number-1], identifierOf(types[number-1])) }
	if err := r.broker.fill(ctx, len(types), consumer.Guidance.Longest(), next); err != nil {
		return nil, err
	}
	if err := pause(ctx, intervalSettled); err != nil {
		return nil, err
	}
	if _, err := r.vendor.ask("gaps"); err != nil {
		return nil, err
	}
	if err := pause(ctx, intervalFor); err != nil {
		return nil, err
	}
	u, err := r.vendor.ask("gaps")
	return u.Gaps, err
}

// markOf are the first characters of the identifiers of each type, by which the vendor distinguishes them.
var markOf = map[schema.Type]string{schema.Audio: "a0d10000", schema.Chat: "c4a70000", schema.Transcript: "7a4c0000"}

func identifierOf(typ schema.Type) string { return markOf[typ] + uuid.NewString()[8:] }

// startClockedVendor starts a vendor whose interactions never end, and which records when each was polled: when the
// host received the request.
func startClockedVendor([]string) (*role, error) {
	s, err := simulator.Start(simulator.Config{
		Token: vendorToken, Default: func(string) simulator.Script { return simulator.Never() },
	})
	if err != nil {
		return nil, err
	}
	seen := 0
	return &role{
		address: s.URL(), polls: func() uint64 { return uint64(s.Count()) },
		gaps: func() map[schema.Type][]time.Duration {
			polls := s.Polls()
			found := gapsBetween(polls[seen:])
			seen = len(polls)
			return found
		},
		stop: func() error {
			s.Close()
			return nil
		},
	}, nil
}

func gapsBetween(polls []simulator.Poll) map[schema.Type][]time.Duration {
	found, last := map[schema.Type][]time.Duration{}, map[string]time.Time{}
	for _, p := range polls {
		if before, ok := last[p.Identifier]; ok {
			for typ, mark := range markOf {
				if strings.HasPrefix(p.Identifier, mark) {
					found[typ] = append(found[typ], p.At.Sub(before))
				}
			}
		}
		last[p.Identifier] = p.At
	}
	return found
}
