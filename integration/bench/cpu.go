package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"statusworker/consumer"
	"statusworker/schema"
)

// cpuInterval is short, so that what was polled is due again soon. Schedules fire every quarter of a second.
const cpuInterval = 200 * time.Millisecond

// variant is one of the pollers that are measured.
type variant struct {
	role string
	mode consumer.Mode
	// first has every poll made at the first delivery of a declared message. Otherwise the broker has delivered each
	// once before the poller starts, as it has at all polls of an interaction but one.
	first bool
}

// variants in the order of a round. Each bare loop is followed by the stage that is compared with it, and that by the
// stage without its metrics. Reservations have no polls at first deliveries: the intake takes a declared message in,
// and does not poll.
func (s settings) variants() []variant {
	var vs []variant
	for _, mode := range []consumer.Mode{consumer.Schedule, consumer.Nak} {
		if s.redelivery == "" || s.redelivery == string(mode) {
			vs = append(
				vs,
				variant{"bare", mode, false},
				variant{"stage", mode, false},
				variant{"unmeasured", mode, false},
			)
			if mode == consumer.Nak {
				vs = append(vs, variant{"bare", mode, true}, variant{"stage", mode, true})
			}
		}
	}
	return vs
}

// bare is the loop that v is compared with.
func (v variant) bare() variant { return variant{"bare", v.mode, v.first} }

func (v variant) String() string {
	text := v.role + ", " + string(v.mode)
	if v.first {
		text += ", first deliveries"
	}
	return text
}

// measureCPU runs the variants by turns, and prints what a poll costs in each.
func measureCPU(ctx context.Context, s settings, stdout, stderr io.Writer) error {
	if s.profiles != "" {
		if err := os.MkdirAll(s.profiles, 0o755); err != nil {
			return fmt.Errorf("making the folder for profiles: %w", err)
		}
	}
	costs := make(map[variant][]cost)
	for round := range s.rounds {
		for _, v := range s.variants() {
			c, err := runSaturated(ctx, s, v, round, stderr)
			for again := 0; errors.Is(err, errIdle) && again < 3; again++ {
				fmt.Fprintf(stderr, "round %d, %s: %v; again\n", round+1, v, err)
				c, err = runSaturated(ctx, s, v, round, stderr)
			}
			if err != nil {
				return fmt.Errorf("measuring %s: %w", v, err)
			}
			costs[v] = append(costs[v], c)
			fmt.Fprintf(
				stderr,
				"round %d, %-31s %6.1f us and %.2f requests a poll, %6.0f polls/s\n",
				round+1,
				v.String()+":",
				c.cpu,
				c.requests,
				c.rate,
			)
		}
	}
	fmt.Fprintf(
		stdout,
		"\nCPU: %d polls at a time, %d rounds of %s each, medians; the ratio is that of each round's pair.\n\n",
		s.concurrency,
		s.rounds,
		s.measured,
	)
	printCosts(stdout, s.variants(), costs)
	return nil
}

// interval is the poll interval of a run. Where first deliveries are measured, nothing comes back before the run is
// over.
func (s settings) interval(v variant) time.Duration {
	if v.first {
		return s.warmUp + s.measured
	}
	return cpuInterval
}

// enough is how many interactions keep polls due. A reservation keeps coming back, and is out for half a second at
// most. A broker that receives naks so fast rarely finds out which have fallen due (docs/benchmarks.md), so that what
// waits when the poller starts must last.
func (s settings) enough(mode consumer.Mode) int {
	switch {
	case s.interactions > 0:
		return s.interactions
	case mode == consumer.Schedule:
		return 25_000
	}
	const mostPerSecond = 22_000
	return int((s.warmUp + s.measured + time.Second).Seconds() * mostPerSecond)
}

// workerFor is the concurrency of a worker that lets one lane alone have so many slots: it keeps some for each other
// one.
func workerFor(slots int, mode consumer.Mode) int {
	lanes := len(schema.Types())
	if mode == consumer.Schedule {
		lanes++ // the intake
	}
	for total := slots; ; total++ {
		if own := max(1, total/(4*lanes)); total-own*(lanes-1) >= slots {
			return total
		}
	}
}

// runSaturated measures one variant while more polls are due than it can make.
func runSaturated(ctx context.Context, s settings, v variant, round int, stderr io.Writer) (c cost, err error) {
	o := order{mode: v.mode, interval: s.interval(v), concurrency: s.concurrency}
	if v.role != "bare" {
		o.concurrency = workerFor(s.concurrency, v.mode)
	}
	r, err := newRig(ctx, v.mode, o.intervals(), 1, stderr)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.fillFor(ctx, v, s.enough(v.mode)); err != nil {
		return c, err
	}
	if err := pause(ctx, o.interval+cpuInterval); err != nil { // nothing is too young for its first poll
		return c, err
	}
	poller, err := r.poller(v.role, o, stderr)
	if err != nil {
		return c, err
	}
	if err := pause(ctx, s.warmUp); err != nil {
		return c, err
	}
	if s.profiles != "" {
		prefix := filepath.Join(
			s.profiles,
			fmt.Sprintf("%s-%d", strings.NewReplacer(", ", "-", " ", "-").Replace(v.String()), round+1),
		)
		for suffix, p := range map[string]*process{"": poller, "-broker": r.servers[0]} {
			if _, err := p.ask("profile " + prefix + suffix); err != nil {
				return c, err
			}
		}
	}
	begin, err := r.read(poller)
	if err != nil {
		return c, err
	}
	if err := r.watchBacklog(ctx, s, v.mode); err != nil {
		return c, err
	}
	end, err := r.read(poller)
	if err != nil {
		return c, err
	}
	if s.profiles != "" {
		for _, p := range []*process{poller, r.servers[0]} {
			if _, err := p.ask("profiled"); err != nil {
				return c, err
			}
		}
	}
	return costOf(begin, end)
}

// fillFor stores n interactions for a variant, all of which it can poll at once.
func (r *rig) fillFor(ctx context.Context, v variant, n int) error {
	if v.mode == consumer.Schedule {
		if err := r.broker.fill(ctx, 1, 0, waiting); err != nil {
			return err
		}
		return r.broker.fill(ctx, n, 0, due)
	}
	messages := func(int) *nats.Msg { return declared() }
	if v.first {
		return r.broker.fill(ctx, n, 0, messages)
	}
	if err := r.broker.fill(ctx, n+1, 0, messages); err != nil {
		return err
	}
	return r.broker.deliverOnce(ctx, n)
}

// watchBacklog waits while a run is measured, and fails when a poller that should always have something to do has not.
func (r *rig) watchBacklog(ctx context.Context, s settings, mode consumer.Mode) error {
	const looks = 5
	for range looks {
		if err := pause(ctx, s.measured/looks); err != nil {
			return err
		}
		switch due, err := r.stillDue(ctx, s, mode); {
		case err != nil:
			return err
		case !due:
			return errors.New(
				"nothing is due any more, so that this is no measurement of a busy poller: set -interactions to more",
			)
		}
	}
	return nil
}

// stillDue tells whether polls are due that nobody has pulled. The broker does not report how many messages wait for
// their redelivery, so that with naks the polls are counted: while there are fewer than interactions, some was not
// polled yet.
func (r *rig) stillDue(ctx context.Context, s settings, mode consumer.Mode) (bool, error) {
	if mode == consumer.Nak {
		u, err := r.vendor.ask("use")
		return u.Polls+uint64(s.concurrency) < uint64(s.enough(mode)), err
	}
	n, err := r.broker.backlog(ctx, mode)
	return n > 0, err
}
