package faults

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/consumer"
	"statusworker/schema"
)

// brief is the length of faults that a cluster or a worker may not notice at all.
const brief = 200 * time.Millisecond

// Kinds returns the faults of servers, links and workers.
func (p *processes) Kinds() []*kind {
	type onServer = func(context.Context, *node) error
	type ofWorker = func(context.Context, *worker) error
	onNode := func(name string, weight int, longest time.Duration, begin, end onServer) *kind {
		return &kind{name: name, weight: weight, shortest: brief, longest: longest, strike: p.onNode(begin, end)}
	}
	onWorker := func(name string, weight int, longest time.Duration, begin, end ofWorker) *kind {
		return &kind{name: name, weight: weight, shortest: brief, longest: longest, strike: p.onWorker(begin, end)}
	}
	launch := func(_ context.Context, n *node) error { return p.launch(n) }
	work := func(_ context.Context, w *worker) error { return p.work(w) }
	kinds := []*kind{
		{name: "step-down of a stream", weight: 12, strike: p.stepDown(false)},
		{name: "step-down of a consumer", weight: 10, strike: p.stepDown(true)},
		onNode("server SIGTERM", 2, 3*time.Second, p.stop, launch),
		onNode("server SIGKILL", 3, 3*time.Second,
			func(_ context.Context, n *node) error { n.fail(); return nil }, launch),
		onNode("server SIGSTOP", 3, 5*time.Second, signalNode(syscall.SIGSTOP), signalNode(syscall.SIGCONT)),
		onWorker("worker SIGKILL", 12, 2*time.Second,
			func(_ context.Context, w *worker) error { w.kill(); return nil }, work),
		onWorker("worker SIGTERM", 6, time.Second, p.terminate, work),
		onWorker("worker SIGSTOP", 10, 4*time.Second, signalWorker(syscall.SIGSTOP), signalWorker(syscall.SIGCONT)),
		onWorker("worker replaced by another build", 5, brief, p.replace, nil),
		onWorker("worker cut off", 8, 3*time.Second, cutWorker(true), cutWorker(false)),
		onWorker("worker's links closed", 10, brief, func(_ context.Context, w *worker) error {
			for _, l := range w.links {
				l.disconnect()
			}
			return nil
		}, nil),
		onWorker("worker's links stalled", 5, 4*time.Second, blockWorker(forward, backward),
			releaseWorker(forward, backward)),
		onWorker("worker's requests stalled", 6, 4*time.Second, blockWorker(forward), releaseWorker(forward)),
		onWorker("worker's responses stalled", 6, 4*time.Second, blockWorker(backward), releaseWorker(backward)),
		onNode("server partitioned", 2, 5*time.Second, p.partition(true, true, 1), p.partition(true, true, -1)),
		onNode("server partitioned, sends only", 2, 5*time.Second, p.partition(true, false, 1),
			p.partition(true, false, -1)),
		onNode("server partitioned, receives only", 2, 5*time.Second, p.partition(false, true, 1),
			p.partition(false, true, -1)),
		{name: "two servers partitioned", weight: 3, shortest: brief, longest: 5 * time.Second, strike: p.apart},
		{name: "declared stream full", weight: 2, shortest: brief, longest: 3 * time.Second, strike: p.declaredFull},
		{name: "everything SIGKILL", weight: 3, shortest: brief, longest: 3 * time.Second, alone: true,
			strike: p.killAll},
		{name: "everything SIGSTOP", weight: 2, shortest: brief, longest: 12 * time.Second, alone: true,
			strike: p.stopAll},
		{name: "storage limit", weight: 2, shortest: brief, longest: 4 * time.Second, alone: true, fills: true,
			strike: p.limitStorage},
		{name: "snapshot and restore", weight: 2, alone: true, strike: p.restore},
	}
	if p.nodes[0].disk != "" {
		kinds = append(kinds,
			&kind{name: "disk full", weight: 2, shortest: time.Second, longest: 4 * time.Second, alone: true,
				fills: true, strike: p.diskFull(1)},
			&kind{name: "all disks full", weight: 1, shortest: time.Second, longest: 3 * time.Second, alone: true,
				fills: true, strike: p.diskFull(servers)})
	}
	return kinds
}

// onNode lets a fault happen to a server to which nothing else happens.
func (p *processes) onNode(
	begin, end func(context.Context, *node) error,
) func(context.Context, *rand.Rand) (struck, error) {
	return func(ctx context.Context, r *rand.Rand) (struck, error) {
		n, ok := take(p, r, p.nodes)
		if !ok {
			return struck{}, errNoTarget
		}
		s := struck{target: n.name, state: p.leads(ctx, n)}
		s.heal = func(ctx context.Context) error {
			defer p.free(n)
			return end(ctx, n)
		}
		err := begin(ctx, n)
		if err != nil {
			p.free(n)
		}
		return s, err
	}
}

// onWorker lets a fault happen to a worker to which nothing else happens.
func (p *processes) onWorker(
	begin, end func(context.Context, *worker) error,
) func(context.Context, *rand.Rand) (struck, error) {
	return func(ctx context.Context, r *rand.Rand) (struck, error) {
		w, ok := take(p, r, p.workers)
		if !ok {
			return struck{}, errNoTarget
		}
		s := struck{target: w.name, state: w.load(ctx)}
		s.heal = func(ctx context.Context) error {
			defer p.free(w)
			if end == nil {
				return nil
			}
			return end(ctx, w)
		}
		err := begin(ctx, w)
		if err != nil {
			p.free(w)
		}
		return s, err
	}
}

func (n *node) fail() {
	n.down.Store(true)
	n.kill()
}

// starting is how long after its start a server gets no SIGTERM. nats-server 2.15.3 may lose all consumers if it is
// terminated while it recovers its metadata: it processes none of them any more, and saves that.
const starting = 10 * time.Second

// stop ends a server with SIGTERM.
func (p *processes) stop(ctx context.Context, n *node) error {
	if n.age() < starting {
		return errNoTarget
	}
	n.down.Store(true)
	if err := n.signal(syscall.SIGTERM); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if _, err := n.await(ctx); err != nil {
		n.kill() // without a quorum it waits for a leader to which it could transfer
	}
	return nil
}

func signalNode(s syscall.Signal) func(context.Context, *node) error {
	return func(_ context.Context, n *node) error {
		n.down.Store(s == syscall.SIGSTOP)
		return n.signal(s)
	}
}

func signalWorker(s syscall.Signal) func(context.Context, *worker) error {
	return func(_ context.Context, w *worker) error { return w.signal(s) }
}

// replace replaces a worker by one of another build, as a rolling upgrade does.
func (p *processes) replace(ctx context.Context, w *worker) error {
	if err := p.terminate(ctx, w); err != nil {
		return err
	}
	w.build = (w.build + 1) % len(p.builds)
	return p.work(w)
}

func cutWorker(cut bool) func(context.Context, *worker) error {
	return func(_ context.Context, w *worker) error {
		for _, l := range w.links {
			l.setCut(cut)
		}
		return nil
	}
}

func blockWorker(ways ...way) func(context.Context, *worker) error {
	return func(_ context.Context, w *worker) error { w.blocks(1, ways); return nil }
}

func releaseWorker(ways ...way) func(context.Context, *worker) error {
	return func(_ context.Context, w *worker) error { w.blocks(-1, ways); return nil }
}

func (w *worker) blocks(n int, ways []way) {
	for _, l := range w.links {
		for _, way := range ways {
			l.blocks(way, n)
		}
	}
}

// partition blocks what a server receives from the others, what it sends to them, or both; -1 ends that.
func (p *processes) partition(receives, sends bool, by int) func(context.Context, *node) error {
	return func(_ context.Context, n *node) error {
		for _, other := range p.nodes {
			if other == n {
				continue
			}
			if sends {
				p.blocks(n, other, by)
			}
			if receives {
				p.blocks(other, n, by)
			}
		}
		return nil
	}
}

// blocks blocks what a server sends to another one; -1 ends that. Either of them may have connected.
func (p *processes) blocks(from, to *node, by int) {
	from.routes[slices.Index(p.nodes, to)].blocks(forward, by)
	to.routes[slices.Index(p.nodes, from)].blocks(backward, by)
}

// apart partitions two servers from each other, in both directions or in one. Both reach the third.
func (p *processes) apart(ctx context.Context, r *rand.Rand) (struck, error) {
	i := r.IntN(servers)
	one, other := p.nodes[i], p.nodes[(i+1+r.IntN(servers-1))%servers]
	both := r.IntN(2) == 0
	hold := func(by int) {
		p.blocks(one, other, by)
		if both {
			p.blocks(other, one, by)
		}
	}
	state := "in one direction; sender: " + p.leads(ctx, one)
	if both {
		state = "in both directions"
	}
	hold(1)
	return struck{
		target: one.name + " to " + other.name, state: state,
		heal: func(context.Context) error { hold(-1); return nil },
	}, nil
}

// stepDown lets the leader of a stream or of a consumer step down.
func (p *processes) stepDown(consumers bool) func(context.Context, *rand.Rand) (struck, error) {
	return func(ctx context.Context, r *rand.Rand) (struck, error) {
		streams := []string{ns.StreamDeclared(), ns.StreamOutcomes()}
		lanes := [][2]string{{ns.StreamDeclared(), ns.ConsumerIntake()}}
		if p.run.settings.mode == consumer.Schedule {
			streams = append(streams, ns.StreamPolls(), ns.StreamPolls())
			for _, typ := range schema.Types() {
				lanes = append(lanes, [2]string{ns.StreamPolls(), ns.PollConsumer(typ)})
			}
		}
		target := streams[r.IntN(len(streams))]
		subject := "$JS.API.STREAM.LEADER.STEPDOWN." + target
		if consumers {
			lane := lanes[r.IntN(len(lanes))]
			target = lane[1]
			subject = "$JS.API.CONSUMER.LEADER.STEPDOWN." + lane[0] + "." + lane[1]
		}
		if err := p.request(ctx, subject, nil, nil); err != nil {
			return struck{}, errNoTarget // there is no leader
		}
		return struck{target: target, state: target}, nil
	}
}

// declaredFull limits the stream of declared messages to what it stores.
func (p *processes) declaredFull(ctx context.Context, _ *rand.Rand) (struck, error) {
	if _, ok := take(p, rand.New(rand.NewPCG(0, 0)), []string{ns.StreamDeclared()}); !ok {
		return struck{}, errNoTarget
	}
	limit := func(ctx context.Context, messages int64) error {
		ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
		defer cancel()
		stream, err := p.js.Stream(ctx, ns.StreamDeclared())
		if err != nil {
			return err
		}
		cfg := stream.CachedInfo().Config
		cfg.MaxMsgs = messages
		_, err = p.js.UpdateStream(ctx, cfg)
		return err
	}
	if err := limit(ctx, 1); err != nil {
		p.free(ns.StreamDeclared())
		return struck{}, errNoTarget
	}
	return struck{target: ns.StreamDeclared(), heal: func(ctx context.Context) error {
		defer p.free(ns.StreamDeclared())
		return persist(ctx, func(ctx context.Context) error { return limit(ctx, -1) })
	}}, nil
}

// persist repeats a request until it succeeds, for up to a minute.
func persist(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		err := do(ctx)
		if err == nil {
			return nil
		}
		if !wait(ctx, 250*time.Millisecond) {
			return err
		}
	}
}

// killAll kills all servers and workers at once.
func (p *processes) killAll(context.Context, *rand.Rand) (struck, error) {
	for _, w := range p.workers {
		_ = w.signal(syscall.SIGKILL)
	}
	for _, n := range p.nodes {
		n.down.Store(true)
		_ = n.signal(syscall.SIGKILL)
	}
	for _, w := range p.workers {
		w.kill()
	}
	for _, n := range p.nodes {
		n.kill()
	}
	return struck{target: "all", heal: func(context.Context) error {
		var errs []error
		for _, n := range p.nodes {
			errs = append(errs, p.launch(n))
		}
		for _, w := range p.workers {
			errs = append(errs, p.work(w))
		}
		return errors.Join(errs...)
	}}, nil
}

// stopAll stops all servers and workers at once, and lets them continue.
func (p *processes) stopAll(context.Context, *rand.Rand) (struck, error) {
	all := func(s syscall.Signal) error {
		var errs []error
		for _, w := range p.workers {
			errs = append(errs, w.signal(s))
		}
		for _, n := range p.nodes {
			errs = append(errs, n.signal(s))
		}
		return errors.Join(errs...)
	}
	heal := func(context.Context) error { return all(syscall.SIGCONT) }
	return struck{target: "all", heal: heal}, all(syscall.SIGSTOP)
}

// limitStorage lets the account store nothing more.
func (p *processes) limitStorage(context.Context, *rand.Rand) (struck, error) {
	unlimited := make([][]byte, servers)
	reload := func(config func(int) []byte) error {
		var errs []error
		for i, n := range p.nodes {
			errs = append(errs, os.WriteFile(n.config, config(i), 0o600), n.signal(syscall.SIGHUP))
		}
		return errors.Join(errs...)
	}
	for i, n := range p.nodes {
		var err error
		if unlimited[i], err = os.ReadFile(n.config); err != nil {
			return struck{}, err
		}
	}
	err := reload(func(i int) []byte { return []byte(p.nodes[i].limited) })
	return struck{target: "all servers", heal: func(context.Context) error {
		return reload(func(i int) []byte { return unlimited[i] })
	}}, err
}

// diskFull leaves no space on the disks of some servers. A server without space turns JetStream off, so that it has to
// be restarted when there is space again.
func (p *processes) diskFull(count int) func(context.Context, *rand.Rand) (struck, error) {
	return func(ctx context.Context, r *rand.Rand) (struck, error) {
		full := slices.Clone(p.nodes)
		r.Shuffle(len(full), func(i, j int) { full[i], full[j] = full[j], full[i] })
		full = full[:count]
		s := struck{target: full[0].name, state: p.leads(ctx, full[0])}
		if count > 1 {
			s.target, s.state = "all servers", ""
		}
		var errs []error
		for _, n := range full {
			errs = append(errs, resize(n.disk, 0))
		}
		s.heal = func(context.Context) error {
			var errs []error
			for _, n := range full {
				errs = append(errs, resize(n.disk, diskSize))
				n.fail()
			}
			for _, n := range full {
				errs = append(errs, p.launch(n))
			}
			return errors.Join(errs...)
		}
		return s, errors.Join(errs...)
	}
}

// restore saves all streams, deletes them, and restores them, as docs/deploy.md describes it. The workers are stopped
// and nothing is declared meanwhile: what happens between a backup and its restore would be lost.
func (p *processes) restore(ctx context.Context, _ *rand.Rand) (struck, error) {
	s := struck{target: "all streams"}
	return s, p.run.workload.paused(func() error {
		var wg sync.WaitGroup
		for _, w := range p.workers {
			wg.Go(func() { _ = p.terminate(ctx, w) })
		}
		wg.Wait()
		var saved []*snapshot
		names := []string{ns.StreamDeclared(), ns.StreamPolls(), ns.StreamOutcomes()}
		for _, name := range names {
			if name == ns.StreamPolls() && p.run.settings.mode == consumer.Nak {
				continue
			}
			err := persist(ctx, func(ctx context.Context) error {
				one, err := p.save(ctx, name)
				if err == nil {
					saved = append(saved, one)
				}
				return err
			})
			if err != nil {
				return err
			}
		}
		for _, one := range saved {
			err := persist(ctx, func(ctx context.Context) error {
				err := p.js.DeleteStream(ctx, one.name)
				if errors.Is(err, jetstream.ErrStreamNotFound) {
					return nil
				}
				return err
			})
			if err != nil {
				return err
			}
		}
		wait(ctx, p.run.settings.intervals.Audio) // the longest one
		slices.Reverse(saved)
		for _, one := range saved {
			if err := p.restoreOne(ctx, one); err != nil {
				return err
			}
		}
		if err := persist(ctx, p.provision); err != nil {
			return err
		}
		var errs []error
		for _, w := range p.workers {
			errs = append(errs, p.work(w))
		}
		return errors.Join(errs...)
	})
}
