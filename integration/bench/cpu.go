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

// againInterval is long enough that a poller has had each message once before the first of them is redelivered: the
// broker would deliver that one before new ones.
const againInterval = 2 * time.Second

// variant is a poller to measure.
type variant struct {
	role string
	mode consumer.Mode
	// first makes every poll the first delivery of a declared message. Otherwise the poller has received each declared
	// message before, as it has at the second and every later poll of an interaction.
	first bool
}

// again means that the poller gets the declared messages again and again.
func (v variant) again() bool { return v.mode == consumer.Nak && !v.first }

// variants returns the variants in the order of a round. Each bare loop is followed by the stage that is compared with
// it, and that by the stage without metrics. With reservations there are no polls at first deliveries, because the
// intake does not poll.
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

// bare returns the bare loop that v is compared with.
func (v variant) bare() variant { return variant{"bare", v.mode, v.first} }

func (v variant) String() string {
	text := v.role + ", " + string(v.mode)
	if v.first {
		text += ", first deliveries"
	}
	return text
}

// measureCPU runs the variants in turn, and prints the cost of a poll in each.
func measureCPU(ctx context.Context, s settings, stdout, stderr io.Writer) error {
	costs := make(map[variant][]cost)
	for round := range s.rounds {
		for _, v := range s.variants() {
			c, err := runSaturated(ctx, s, v, round, stderr)
			for again := 0; errors.Is(err, errIdle) && again < 3; again++ {
				fmt.Fprintf(stderr, "round %d, %s: %v; trying again\n", round+1, v, err)
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
		"\nCPU: %d concurrent polls, %d rounds of %s each, medians; the ratio is that of each round's pair.\n\n",
		s.concurrency,
		s.rounds,
		s.measured,
	)
	printCosts(stdout, s.variants(), costs)
	return nil
}

// interval returns the poll interval of a run. With reservations it is that of audio: a worker postpones a reservation
// while a request is open only if the interval is short. If first deliveries are measured, no message is redelivered
// before the end of the run.
func (s settings) interval(v variant) time.Duration {
	switch {
	case v.mode == consumer.Schedule:
		return consumer.Guidance.Audio
	case v.first:
		return s.warmUp + s.measured
	}
	return againInterval
}

// enough returns the number of interactions with which polls are always due. None of them falls due again in the run:
// with naks, the broker rarely detects at this rate which messages have fallen due (docs/benchmarks.md). Later naks are
// the exception: there are fewer than a worker remembers, and all of them fall due again at about the same time.
func (s settings) enough(v variant) int {
	switch {
	case s.interactions > 0:
		return s.interactions
	case v.again():
		return 3_000
	}
	perSecond := 22_000.0 // more than any poller reaches
	if v.mode == consumer.Schedule {
		perSecond = 12_000
	}
	return int((s.warmUp + s.measured + time.Second).Seconds() * perSecond)
}

// workerFor returns the concurrency of a worker in which a single busy lane gets that many slots. The worker reserves
// some slots for each other lane.
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
	message := func(int) *nats.Msg { return declared() }
	if v.mode == consumer.Schedule {
		message = due
	}
	if err := r.broker.fill(ctx, s.enough(v), 0, message); err != nil {
		return c, err
	}
	if v.mode == consumer.Nak {
		if err := pause(ctx, o.interval); err != nil { // until no interaction is too young for its first poll
			return c, err
		}
	}
	return r.measure(ctx, s, v, o, fmt.Sprintf("%s-%d", v, round+1), stderr)
}

// measure starts a poller, measures it while more polls are due than it can make, and ends it. Its profiles get a name.
func (r *rig) measure(
	ctx context.Context, s settings, v variant, o order, name string, stderr io.Writer,
) (c cost, err error) {
	poller, err := r.poller(v.role, o, stderr)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, r.end(poller)) }()
	if err := pause(ctx, s.warmUp); err != nil {
		return c, err
	}
	if v.again() {
		if err := r.deliveredOnce(ctx); err != nil {
			return c, err
		}
	}
	endProfiles, err := r.profile(s, name, poller)
	if err != nil {
		return c, err
	}
	begin, err := r.read(poller)
	if err != nil {
		return c, err
	}
	if err := r.watchBacklog(ctx, s, v); err != nil {
		return c, err
	}
	end, err := r.read(poller)
	if err != nil {
		return c, err
	}
	if err := endProfiles(); err != nil {
		return c, err
	}
	return costOf(begin, end)
}

// profile starts the profiles of the poller and the broker if they are configured, and returns a function that ends
// them.
func (r *rig) profile(s settings, name string, poller *process) (end func() error, err error) {
	if s.profiles == "" {
		return func() error { return nil }, nil
	}
	if err := os.MkdirAll(s.profiles, 0o755); err != nil {
		return nil, fmt.Errorf("creating the directory for profiles: %w", err)
	}
	prefix := filepath.Join(s.profiles, strings.NewReplacer(", ", "-", " ", "-").Replace(name))
	if _, err := poller.ask("profile " + prefix); err != nil {
		return nil, err
	}
	for i, server := range r.servers {
		if _, err := server.ask(fmt.Sprintf("profile %s-broker%d", prefix, i+1)); err != nil {
			return nil, err
		}
	}
	return func() error {
		var errs []error
		for _, p := range append([]*process{poller}, r.servers...) {
			_, err := p.ask("profiled")
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	}, nil
}

// deliveredOnce waits until each declared message was delivered.
func (r *rig) deliveredOnce(ctx context.Context) error {
	const within = 30 * time.Second
	for giveUp := time.Now().Add(within); ; {
		switch n, err := r.broker.backlog(ctx, consumer.Nak); {
		case err != nil || n == 0:
			return err
		case time.Now().After(giveUp):
			return fmt.Errorf("%d messages were not delivered within %s, because the broker prefers redeliveries: "+
				"set -interactions to less", n, within)
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

// watchBacklog waits while a run is measured, and returns an error if no poll is due any more. That is not checked if
// the poller gets its messages again: it polls all of them, and then waits until they fall due.
func (r *rig) watchBacklog(ctx context.Context, s settings, v variant) error {
	if v.again() {
		return pause(ctx, s.measured)
	}
	const checks = 5
	for range checks {
		if err := pause(ctx, s.measured/checks); err != nil {
			return err
		}
		switch due, err := r.stillDue(ctx, s, v); {
		case err != nil:
			return err
		case !due:
			return fmt.Errorf(
				"no poll is due any more, so that the poller is not busy: set -interactions to more than %d",
				s.enough(v),
			)
		}
	}
	return nil
}

// stillDue reports whether polls are due that were not pulled. The broker does not report how many messages wait for
// redelivery. So with naks the polls are counted: while there are fewer polls than interactions, some are still due.
func (r *rig) stillDue(ctx context.Context, s settings, v variant) (bool, error) {
	if v.mode == consumer.Nak {
		u, err := r.vendor.ask("use")
		return u.Polls+uint64(s.concurrency) < uint64(s.enough(v)), err
	}
	n, err := r.broker.backlog(ctx, v.mode)
	return n > 0, err
}
