package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats.go"

	"statusworker/consumer"
	"statusworker/schema"
)

// load is a steady load: interactions in flight that are polled at an interval.
type load struct {
	mode     consumer.Mode
	replicas int
	inFlight int
	interval time.Duration
	// changes is the share of polls that find another status than the poll before: 0 to 0.5.
	changes float64
}

// sizingLoads returns loads that one worker and one broker can carry on two cores.
func sizingLoads() []load {
	const audio = 30 * time.Second
	return []load{
		{consumer.Schedule, 1, 3_000, audio, 0},
		{consumer.Schedule, 1, 30_000, audio, 0},
		{consumer.Schedule, 1, 30_000, audio, 0.4},
		{consumer.Schedule, 1, 60_000, audio, 0},
		{consumer.Schedule, 3, 3_000, audio, 0},
		{consumer.Schedule, 3, 30_000, audio, 0},
		{consumer.Schedule, 3, 30_000, audio, 0.4},
		{consumer.Schedule, 3, 60_000, audio, 0},
		{consumer.Nak, 1, 3_000, audio, 0},
		{consumer.Nak, 1, 10_000, audio, 0},
	}
}

// sizingFor is how long each load is measured.
const sizingFor = 20 * time.Second

// measureSizing runs one worker under each load, and prints its cost.
func measureSizing(ctx context.Context, s settings, stdout, stderr io.Writer) error {
	fmt.Fprintf(stdout, "\nSizing: one worker, audio at an interval of 30s, measured for %s.\n\n", sizingFor)
	fmt.Fprintln(stdout, "| redelivery | replicas | in flight | changes | polls/s | late p50 | late p99 "+
		"| worker CPU us/poll | worker cores | broker CPU us/poll | broker cores |")
	fmt.Fprintln(stdout, "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
	for _, l := range sizingLoads() {
		if s.redelivery != "" && s.redelivery != string(l.mode) {
			continue
		}
		fmt.Fprintf(stderr, "%s, %d replicas, %d in flight\n", l.mode, l.replicas, l.inFlight)
		c, u, err := runSteady(ctx, s, l, stderr)
		if err != nil {
			return fmt.Errorf("measuring %d in flight with redelivery %s and %d replicas: %w",
				l.inFlight, l.mode, l.replicas, err)
		}
		late := func(d time.Duration) string {
			if d == 0 {
				return "-"
			}
			return d.Round(time.Millisecond).String()
		}
		fmt.Fprintf(
			stdout,
			"| %s | %d | %d | %.0f %% | %.0f | %s | %s | %.0f | %.2f | %.0f | %.2f |\n",
			l.mode,
			l.replicas,
			l.inFlight,
			100*l.changes,
			c.rate,
			late(u.LateP50),
			late(u.LateP99),
			c.cpu,
			c.cpu*c.rate/1e6,
			c.broker,
			c.broker*c.rate/1e6,
		)
	}
	return nil
}

// runSteady declares the interactions of a load, spread over one interval, and measures when all have been polled once:
// the first poll of an interaction always finds another status than the one before, which was none.
func runSteady(ctx context.Context, s settings, l load, stderr io.Writer) (c cost, u use, err error) {
	o := order{mode: l.mode, interval: l.interval, concurrency: s.concurrency}
	r, err := newRig(ctx, l.mode, o.intervals(), l.replicas, stderr)
	if err != nil {
		return c, u, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	if _, err := r.vendor.ask(fmt.Sprintf("change %g", l.changes)); err != nil {
		return c, u, err
	}
	worker, err := r.poller("stage", o, stderr)
	if err != nil {
		return c, u, err
	}
	if err := r.broker.fill(ctx, l.inFlight, l.interval, func(int) *nats.Msg { return declared() }); err != nil {
		return c, u, err
	}
	// The last of them are polled for the first time after the interval and the jitter.
	if err := pause(ctx, l.interval+l.interval/10+2*time.Second); err != nil {
		return c, u, err
	}
	if _, err := worker.ask("late"); err != nil {
		return c, u, err
	}
	begin, err := r.read(worker)
	if err != nil {
		return c, u, err
	}
	if err := pause(ctx, sizingFor); err != nil {
		return c, u, err
	}
	end, err := r.read(worker)
	if err != nil {
		return c, u, err
	}
	if u, err = worker.ask("late"); err != nil {
		return c, u, err
	}
	c, err = costOf(begin, end)
	return c, u, err
}

// measureWaiting declares interactions, none of which falls due, and prints the pending messages that the broker
// reports for each consumer, as an autoscaler reads them.
func measureWaiting(ctx context.Context, s settings, stdout, stderr io.Writer) error {
	const interval = time.Hour // nothing falls due meanwhile
	fmt.Fprintf(stdout, "\nWaiting: %d interactions in flight, none is due.\n\n", s.waiting)
	fmt.Fprintln(stdout, "| redelivery | consumer | num_pending | num_ack_pending | sum that a scaler sees |")
	fmt.Fprintln(stdout, "|---|---|--:|--:|--:|")
	for _, mode := range []consumer.Mode{consumer.Schedule, consumer.Nak} {
		if err := runInFlight(ctx, s, mode, interval, stdout, stderr); err != nil {
			return fmt.Errorf("measuring %d waiting interactions with redelivery %s: %w", s.waiting, mode, err)
		}
	}
	return nil
}

func runInFlight(
	ctx context.Context,
	s settings,
	mode consumer.Mode,
	interval time.Duration,
	stdout, stderr io.Writer,
) (err error) {
	o := order{mode: mode, interval: interval, concurrency: s.concurrency}
	r, err := newRig(ctx, mode, o.intervals(), 1, stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	if _, err := r.poller("stage", o, stderr); err != nil {
		return err
	}
	if err := r.broker.fill(ctx, s.waiting, 0, func(int) *nats.Msg { return declared() }); err != nil {
		return err
	}
	consumers := [][2]string{{mode.PollStream(ns), ns.PollConsumer(schema.Audio)}}
	if mode == consumer.Schedule {
		consumers = append(consumers, [2]string{ns.StreamDeclared(), ns.ConsumerIntake()})
	}
	// Until the worker has received each of them once.
	last := consumers[len(consumers)-1]
	for giveUp := time.Now().Add(2 * time.Minute); ; {
		c, err := r.broker.js.Consumer(ctx, last[0], last[1])
		if err != nil {
			return fmt.Errorf("reading consumer %s: %w", last[1], err)
		}
		info := c.CachedInfo()
		if info.NumPending == 0 && (mode == consumer.Nak || info.NumAckPending == 0) {
			break
		}
		if time.Now().After(giveUp) {
			return fmt.Errorf("the worker has not taken in all interactions: %d are pending", info.NumPending)
		}
		if err := pause(ctx, 250*time.Millisecond); err != nil {
			return err
		}
	}
	for _, name := range consumers {
		c, err := r.broker.js.Consumer(ctx, name[0], name[1])
		if err != nil {
			return fmt.Errorf("reading consumer %s: %w", name[1], err)
		}
		info := c.CachedInfo()
		fmt.Fprintf(
			stdout,
			"| %s | %s | %d | %d | **%d** |\n",
			mode,
			name[1],
			info.NumPending,
			info.NumAckPending,
			info.NumPending+uint64(info.NumAckPending),
		)
	}
	return nil
}
