package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"statusworker/consumer"
	"statusworker/schema"
	wire "statusworker/schema/broker"
)

// backlogInterval is short, so that a small number of interactions is due again before all of them were polled.
const backlogInterval = 200 * time.Millisecond

// backlogReplicas are the numbers of replicas with which backlogs are measured.
func backlogReplicas() []int { return []int{1, 3} }

// measureBacklog lets few and many interactions fall due while no worker runs, and prints how fast a worker then polls.
func measureBacklog(ctx context.Context, s settings, stdout, stderr io.Writer) error {
	fmt.Fprintf(stdout, "\nBacklog: %d concurrent polls, %d rounds of %s each, medians; the ratios are those of each "+
		"round's pair.\n\n", s.concurrency, s.backlogRounds, s.measured)
	fmt.Fprintln(stdout, "| replicas | due | polls/s | worker CPU us/poll | broker CPU us/poll | broker RSS, MB "+
		"| polls/s, many / few: median (min to max) | broker CPU, many / few |")
	fmt.Fprintln(stdout, "|--:|--:|--:|--:|--:|--:|--:|--:|")
	for _, replicas := range backlogReplicas() {
		few, many, err := compareBacklogs(ctx, s, replicas, stderr)
		if err != nil {
			return fmt.Errorf("measuring backlogs with %d replicas: %w", replicas, err)
		}
		printBacklog(stdout, replicas, s.fewDue, few, " | ")
		rate, lowest, highest := ratios(many, few, cost.polls)
		cpu, _, _ := ratios(many, few, cost.brokerCPU)
		printBacklog(stdout, replicas, s.manyDue, many,
			fmt.Sprintf("**%.2f** (%.2f to %.2f) | %.2f", rate, lowest, highest, cpu))
	}
	return nil
}

func printBacklog(stdout io.Writer, replicas, n int, cs []cost, ratios string) {
	fmt.Fprintf(stdout, "| %d | %d | %.0f | %.1f | %.1f | %.0f | %s |\n", replicas, n, medianOf(cs, cost.polls),
		medianOf(cs, cost.pollerCPU), medianOf(cs, cost.brokerCPU),
		medianOf(cs, func(c cost) float64 { return c.resident }), ratios)
}

// compareBacklogs measures a small backlog and a large one in turn. Both exist all the time, so that the two runs of a
// pair follow each other closely: the speed of a shared machine changes within minutes.
func compareBacklogs(
	ctx context.Context, s settings, replicas int, stderr io.Writer,
) (few, many []cost, err error) {
	o := order{
		mode: consumer.Schedule, interval: backlogInterval, concurrency: workerFor(s.concurrency, consumer.Schedule),
	}
	costs := map[int][]cost{}
	rigs := map[int]*rig{}
	for _, n := range []int{s.fewDue, s.manyDue} {
		if rigs[n], err = newRig(ctx, o.mode, o.intervals(), replicas, stderr); err != nil {
			return nil, nil, err
		}
		defer func() { err = errors.Join(err, rigs[n].close()) }()
		if err := rigs[n].fallDue(ctx, n); err != nil {
			return nil, nil, err
		}
	}
	for round := range s.backlogRounds {
		for _, n := range []int{s.fewDue, s.manyDue} {
			s.interactions = n
			c, err := rigs[n].measure(ctx, s, variant{role: "stage", mode: o.mode}, o,
				fmt.Sprintf("backlog-%d-R%d-%d", n, replicas, round+1), stderr)
			if err != nil {
				return nil, nil, err
			}
			costs[n] = append(costs[n], c)
			fmt.Fprintf(stderr, "round %d, %d replicas, %d due: %6.0f polls/s, broker %6.1f us/poll\n",
				round+1, replicas, n, c.rate, c.broker)
		}
	}
	return costs[s.fewDue], costs[s.manyDue], nil
}

// fallDue stores n reservations, and returns when all of them have fallen due.
func (r *rig) fallDue(ctx context.Context, n int) error {
	const perSecond = 5_000 // fewer than the broker can store and publish
	if err := r.broker.fill(ctx, n, time.Duration(n)*time.Second/perSecond, reserved); err != nil {
		return err
	}
	return r.awaitBacklog(ctx, uint64(n), func(due uint64) bool { return due >= uint64(n) })
}

// reserved returns the reservation of a second poll, which falls due in a moment.
func reserved(number int) *nats.Msg {
	m := due(number)
	m.Header.Del(wire.HeaderScheduler)
	m.Header.Del(wire.HeaderScheduleNext)
	m.Header.Set("Nats-Schedule", "@at "+time.Now().Add(time.Second).UTC().Format(time.RFC3339Nano))
	m.Header.Set("Nats-Schedule-Target", m.Subject)
	m.Subject = ns.HoldSubject(schema.Audio, m.Subject[strings.LastIndexByte(m.Subject, '.')+1:])
	return m
}

// awaitBacklog waits until the number of due polls that were not pulled satisfies is. It gives up after a time that is
// ample for n polls.
func (r *rig) awaitBacklog(ctx context.Context, n uint64, is func(due uint64) bool) error {
	giveUp := time.Now().Add(time.Minute + time.Duration(n)*time.Millisecond)
	for {
		due, err := r.broker.backlog(ctx, consumer.Schedule)
		if err != nil || is(due) {
			return err
		}
		if time.Now().After(giveUp) {
			return fmt.Errorf("%d polls are due and not pulled, of %d interactions", due, n)
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

// measureOutage declares interactions at the interval that the vendor recommends for audio, lets the vendor fail until
// all of them are due, and prints how long the worker takes to poll them afterwards.
func measureOutage(ctx context.Context, s settings, stdout, stderr io.Writer) error {
	fmt.Fprintf(stdout, "\nOutage: one worker, %d audio interactions at an interval of %s; the vendor answers 503 for "+
		"%s.\n\n", s.inFlight, outageInterval, s.outage)
	fmt.Fprintln(stdout, "| replicas | polls/s before | due at the end | seconds until the first poll "+
		"| seconds until nothing is due | polls/s | worker CPU us/poll | broker CPU us/poll |")
	fmt.Fprintln(stdout, "|--:|--:|--:|--:|--:|--:|--:|--:|")
	for _, replicas := range backlogReplicas() {
		fmt.Fprintf(stderr, "outage, %d replicas: declaring\n", replicas)
		d, err := runOutage(ctx, s, replicas, stderr)
		if err != nil {
			return fmt.Errorf("measuring an outage with %d replicas: %w", replicas, err)
		}
		fmt.Fprintf(stdout, "| %d | %.0f | %d | %.1f | **%.1f** | %.0f | %.1f | %.1f |\n", replicas, d.before.rate,
			d.due, d.noticed.Seconds(), d.drained.Seconds(), d.cost.rate, d.cost.cpu, d.cost.broker)
	}
	return nil
}

// outageInterval is the interval that the vendor recommends for audio.
const outageInterval = 30 * time.Second

// drain is the measurement of one outage.
type drain struct {
	before  cost   // before the outage
	due     uint64 // polls that were due at its end
	noticed time.Duration
	drained time.Duration // after noticed
	cost    cost          // in that time
}

func runOutage(ctx context.Context, s settings, replicas int, stderr io.Writer) (d drain, err error) {
	o := order{mode: consumer.Schedule, interval: outageInterval, concurrency: s.concurrency}
	r, err := newRig(ctx, o.mode, o.intervals(), replicas, stderr)
	if err != nil {
		return d, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	worker, err := r.poller("stage", o, stderr)
	if err != nil {
		return d, err
	}
	const spread = 3 * outageInterval / 2 // the intake takes part of the machine
	if err := r.broker.fill(ctx, s.inFlight, spread, func(int) *nats.Msg { return declared() }); err != nil {
		return d, err
	}
	// The last of them are polled for the first time after interval, slack and jitter.
	if err := pause(ctx, outageInterval+outageInterval/10); err != nil {
		return d, err
	}
	if d.before, err = r.costFor(ctx, worker, outageInterval); err != nil {
		return d, err
	}
	if _, err := r.vendor.ask("fail"); err != nil {
		return d, err
	}
	fmt.Fprintf(stderr, "outage, %d replicas: the vendor fails after %.0f polls/s\n", replicas, d.before.rate)
	if err := pause(ctx, s.outage); err != nil {
		return d, err
	}
	if d.due, err = r.broker.backlog(ctx, o.mode); err != nil {
		return d, err
	}
	if all := uint64(s.inFlight); d.due < all*9/10 {
		return d, fmt.Errorf("only %d of %d interactions are due at the end of the outage", d.due, all)
	}
	return d, r.drain(ctx, worker, &d)
}

// drain ends the outage, and measures until nothing is due.
func (r *rig) drain(ctx context.Context, worker *process, d *drain) error {
	failed, err := r.vendor.ask("recover")
	if err != nil {
		return err
	}
	// The worker pauses, and then polls one interaction to find that the vendor has recovered.
	begin := reading{vendor: failed}
	for begin.vendor.Polls == failed.Polls {
		if begin.vendor.At.Sub(failed.At) > 10*time.Minute {
			return errors.New("no poll within 10 minutes after the vendor recovered")
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
		if begin, err = r.read(worker); err != nil {
			return err
		}
	}
	d.noticed = begin.vendor.At.Sub(failed.At)
	// An interaction that is polled falls due again after an interval. A small number of due polls is the normal state.
	if err := r.awaitBacklog(ctx, d.due, func(due uint64) bool { return due <= d.due/100 }); err != nil {
		return err
	}
	end, err := r.read(worker)
	if err != nil {
		return err
	}
	d.drained = end.vendor.At.Sub(begin.vendor.At)
	d.cost, err = costOf(begin, end)
	return err
}

// costFor measures for a time.
func (r *rig) costFor(ctx context.Context, worker *process, d time.Duration) (cost, error) {
	begin, err := r.read(worker)
	if err != nil {
		return cost{}, err
	}
	if err := pause(ctx, d); err != nil {
		return cost{}, err
	}
	end, err := r.read(worker)
	if err != nil {
		return cost{}, err
	}
	return costOf(begin, end)
}
