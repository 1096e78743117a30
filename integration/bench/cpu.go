package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"statusworker/cmd/broker/embedded"
	"statusworker/consumer"
	"statusworker/schema"
)

// cpuGuidance is short, so that what was polled is due again soon. Schedules fire every quarter of a second.
const cpuInterval = 200 * time.Millisecond

// variant is one of the pollers that are measured.
type variant struct {
	role string
	mode consumer.Mode
}

// variants in the order of a round. Each bare loop is followed by the stage that is compared with it, and that by the stage
// without its metrics.
func (s settings) variants() []variant {
	var vs []variant
	for _, mode := range []consumer.Mode{consumer.Schedule, consumer.Nak} {
		if s.redelivery == "" || s.redelivery == string(mode) {
			vs = append(vs, variant{"bare", mode}, variant{"stage", mode}, variant{"unmeasured", mode})
		}
	}
	return vs
}

func (v variant) String() string { return v.role + ", " + string(v.mode) }

// cost is what one run measured, a poll.
type cost struct {
	cpu, broker  float64 // microseconds
	rate         float64 // polls a second
	allocs, size float64
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
			fmt.Fprintf(stderr, "round %d, %-14s %6.1f us a poll, %6.0f polls/s\n", round+1, v.String()+":", c.cpu, c.rate)
		}
	}
	fmt.Fprintf(stdout, "\nCPU: %d polls at a time, %d rounds of %s each, medians; the ratio is that of each round's pair.\n\n", s.concurrency, s.rounds, s.measured)
	printCosts(stdout, s.variants(), costs)
	return nil
}

func printCosts(stdout io.Writer, variants []variant, costs map[variant][]cost) {
	fmt.Fprintln(stdout, "| poller | CPU us/poll | polls/s | allocs/poll | bytes/poll | broker us/poll | CPU, stage / bare: median (min to max) |")
	fmt.Fprintln(stdout, "|---|--:|--:|--:|--:|--:|--:|")
	for _, v := range variants {
		cs := costs[v]
		of := func(value func(cost) float64) float64 {
			values := make([]float64, len(cs))
			for i, c := range cs {
				values[i] = value(c)
			}
			return median(values)
		}
		ratio := ""
		if v.role != "bare" {
			middle, least, most := ratios(cs, costs[variant{"bare", v.mode}])
			ratio = fmt.Sprintf("**%.2f** (%.2f to %.2f)", middle, least, most)
		}
		fmt.Fprintf(stdout, "| %s | %.1f | %.0f | %.0f | %.0f | %.1f | %s |\n", v,
			of(func(c cost) float64 { return c.cpu }), of(func(c cost) float64 { return c.rate }),
			of(func(c cost) float64 { return c.allocs }), of(func(c cost) float64 { return c.size }),
			of(func(c cost) float64 { return c.broker }), ratio)
	}
	fmt.Fprintln(stdout)
	for _, v := range variants {
		if v.role == "unmeasured" {
			middle, least, most := ratios(costs[variant{"stage", v.mode}], costs[v])
			fmt.Fprintf(stdout, "Metrics, %s: the stage takes %.2f (%.2f to %.2f) times the CPU of the stage without them.\n", v.mode, middle, least, most)
		}
	}
}

// ratios compares the CPU of each run with that of its pair.
func ratios(of, to []cost) (middle, least, most float64) {
	var all []float64
	for i := range min(len(of), len(to)) {
		all = append(all, of[i].cpu/to[i].cpu)
	}
	return median(all), slices.Min(all), slices.Max(all)
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// enough is how many interactions keep polls due. A reservation keeps coming back, and is out for half a second at most;
// a broker that gets naks so fast hardly delivers anything again (docs/benchmarks.md), so that what was never polled
// must last.
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

// rig is a broker of one or more nodes and a vendor, each a process, and a connection to the broker.
type rig struct {
	folder  string
	servers []*process
	vendor  *process
	broker  *broker
	pollers []*process
}

// newRig starts a broker with empty streams, of as many nodes as there are replicas, and a vendor.
func newRig(ctx context.Context, mode consumer.Mode, intervals consumer.Intervals, replicas int, stderr io.Writer) (r *rig, err error) {
	r = &rig{}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close())
		}
	}()
	if r.folder, err = os.MkdirTemp("", "statusworker-bench-"); err != nil {
		return r, fmt.Errorf("making a folder for the broker: %w", err)
	}
	nodes, err := nodes(r.folder, replicas)
	if err != nil {
		return r, err
	}
	for _, node := range nodes {
		server, err := start(stderr, append([]string{"broker"}, node...)...)
		if err != nil {
			return r, err
		}
		r.servers = append(r.servers, server)
	}
	if r.vendor, err = start(stderr, "vendor"); err != nil {
		return r, err
	}
	if r.broker, err = openBroker(r.where()); err != nil {
		return r, err
	}
	return r, r.broker.provision(ctx, mode, intervals, replicas)
}

// nodes gives the arguments of each node of a broker.
func nodes(folder string, replicas int) ([][]string, error) {
	if replicas <= 1 {
		return [][]string{{folder}}, nil
	}
	ports, err := embedded.FreePorts(replicas)
	if err != nil {
		return nil, err
	}
	var all [][]string
	for i, own := range ports {
		name := fmt.Sprintf("n%d", i+1)
		node := []string{filepath.Join(folder, name), name, strconv.Itoa(own)}
		for _, port := range ports {
			if port != own {
				node = append(node, strconv.Itoa(port))
			}
		}
		all = append(all, node)
	}
	return all, nil
}

// where is the broker's address, with all its nodes.
func (r *rig) where() string {
	var urls []string
	for _, s := range r.servers {
		urls = append(urls, s.where)
	}
	return strings.Join(urls, ",")
}

// poller starts a poller on the rig.
func (r *rig) poller(role string, o order, stderr io.Writer) (*process, error) {
	o.broker, o.vendor = r.where(), r.vendor.where
	p, err := start(stderr, append([]string{role}, o.arguments()...)...)
	if err == nil {
		r.pollers = append(r.pollers, p)
	}
	return p, err
}

// close ends the processes, pollers first, and removes what the broker stored.
func (r *rig) close() error {
	var errs []error
	for _, p := range r.pollers {
		errs = append(errs, p.end())
	}
	if r.broker != nil {
		r.broker.close()
	}
	if r.vendor != nil {
		errs = append(errs, r.vendor.end())
	}
	for _, p := range r.servers {
		errs = append(errs, p.end())
	}
	return errors.Join(append(errs, os.RemoveAll(r.folder))...)
}

// reading is what the three processes have used up to one moment.
type reading struct{ poller, vendor, broker use }

func (r *rig) read(poller *process) (reading, error) {
	var now reading
	var err error
	if now.vendor, err = r.vendor.ask("use"); err != nil {
		return now, err
	}
	if now.poller, err = poller.ask("use"); err != nil {
		return now, err
	}
	for _, s := range r.servers {
		u, err := s.ask("use")
		if err != nil {
			return now, err
		}
		now.broker.CPU += u.CPU
	}
	return now, nil
}

// workerFor is the concurrency of a worker that lets one lane alone have so many slots: it keeps some for each other one.
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
	o := order{mode: v.mode, interval: cpuInterval, concurrency: s.concurrency}
	if v.role != "bare" {
		o.concurrency = workerFor(s.concurrency, v.mode)
	}
	r, err := newRig(ctx, v.mode, o.intervals(), 1, stderr)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	message := due
	if v.mode == consumer.Nak {
		message = func(int) *nats.Msg { return declared() }
	} else if err := r.broker.fill(ctx, 1, 0, waiting); err != nil {
		return c, err
	}
	if err := r.broker.fill(ctx, s.enough(v.mode), 0, message); err != nil {
		return c, err
	}
	if err := pause(ctx, 2*cpuInterval); err != nil { // nothing is too young for its first poll
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
		prefix := filepath.Join(s.profiles, fmt.Sprintf("%s-%s-%d", v.role, v.mode, round+1))
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
	if err := r.watchBacklog(ctx, v.mode, s.measured); err != nil {
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

// watchBacklog waits, and fails when a poller that should always have something to do has not.
func (r *rig) watchBacklog(ctx context.Context, mode consumer.Mode, d time.Duration) error {
	const looks = 5
	for range looks {
		if err := pause(ctx, d/looks); err != nil {
			return err
		}
		switch n, err := r.broker.backlog(ctx, mode); {
		case err != nil:
			return err
		case n == 0:
			return errors.New("nothing is due any more, so that this is no measurement of a busy poller: set -interactions to more")
		}
	}
	return nil
}

// errIdle is a run in which nothing was polled: it happens to the bare loop, whose pull the broker then does not answer.
var errIdle = errors.New("the vendor was not asked once")

func costOf(begin, end reading) (cost, error) {
	polls := float64(end.vendor.Polls - begin.vendor.Polls)
	if polls == 0 {
		return cost{}, errIdle
	}
	return cost{
		cpu:    float64((end.poller.CPU - begin.poller.CPU).Microseconds()) / polls,
		broker: float64((end.broker.CPU - begin.broker.CPU).Microseconds()) / polls,
		rate:   polls / end.vendor.At.Sub(begin.vendor.At).Seconds(),
		allocs: float64(end.poller.Mallocs-begin.poller.Mallocs) / polls,
		size:   float64(end.poller.Bytes-begin.poller.Bytes) / polls,
	}, nil
}
