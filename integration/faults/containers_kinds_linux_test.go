package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"statusworker/integration/harness"
	"statusworker/schema"
)

// ns is the namespace of the tests.
var ns = schema.DefaultNamespace

// Kinds are the faults of containers and of their networks.
func (c *containers) Kinds() []*kind {
	const s = time.Second
	nodes, workers := c.someNode, c.someWorker
	kinds := []*kind{
		{name: "node killed", weight: 3, longest: 15 * s, strike: c.killed(nodes)},
		{name: "node paused", weight: 3, shortest: s, longest: 20 * s, strike: c.paused(nodes)},
		{name: "node terminated", weight: 2, longest: 5 * s, strike: c.terminated(nodes)},
		{name: "leader stepped down", weight: 3, strike: c.stepDown},
		{name: "worker killed", weight: 4, longest: 10 * s, strike: c.killed(workers)},
		{name: "worker paused", weight: 4, shortest: s, longest: 30 * s, strike: c.paused(workers)},
		{name: "worker terminated", weight: 3, longest: 5 * s, strike: c.terminated(workers)},
		{name: "token rotated", weight: 2, longest: 15 * s, vendor: true, strike: c.rotate},
		{name: "everything restarted", weight: 2, longest: s, strike: c.restartAll},
	}
	for _, at := range []struct {
		name string
		side
	}{
		{"node", side{nodes, c.ofNode}},
		{"worker and nodes", side{workers, c.toNodes}},
		{"worker and vendor", side{workers, c.toVendor}},
	} {
		add := func(what string, weight int, longest time.Duration, strike strike) {
			kinds = append(kinds, &kind{
				name: at.name + " " + what, weight: weight, shortest: 2 * s, longest: longest, strike: strike,
				vendor: strings.HasSuffix(at.name, "vendor"),
			})
		}
		add("partitioned", 2, 20*s, c.partition(at.side, both))
		add("partitioned one way: deaf", 1, 20*s, c.partition(at.side, from))
		add("partitioned one way: mute", 1, 20*s, c.partition(at.side, to))
		add("losing packets", 2, 30*s, c.loss(at.side))
		add("delayed", 2, 30*s, c.delay(at.side))
		add("rate limited", 2, 30*s, c.limit(at.side))
		if at.name != "node" {
			add("unplugged", 1, 20*s, c.unplugged(at.side))
		}
	}
	return kinds
}

// chosen is a container that was claimed for a fault.
type chosen struct {
	*box
	state   string
	release func()
}

// side is a link of some containers: peers chooses the peers at its other end.
type side struct {
	some  chooser
	peers func(r *rand.Rand, b *box) peers
}

// peers are at the other end of a link: on a network, under these addresses.
type peers struct {
	what      string
	network   string
	own       netip.Addr // the address of the container on the network
	addresses []netip.Addr
}

// chooser claims a container, so that no other fault with the same aspect hits it.
type chooser func(ctx context.Context, r *rand.Rand, aspect string) (chosen, error)

// The aspects of a container that a fault claims.
const (
	ofProcess = "process"
	ofLinks   = "links"
)

func (c *containers) someNode(ctx context.Context, r *rand.Rand, aspect string) (chosen, error) {
	return c.claimOne(ctx, r, aspect, c.nodes)
}

func (c *containers) someWorker(ctx context.Context, r *rand.Rand, aspect string) (chosen, error) {
	return c.claimOne(ctx, r, aspect, c.running())
}

func (c *containers) claimOne(ctx context.Context, r *rand.Rand, aspect string, among []*box) (chosen, error) {
	for _, i := range r.Perm(len(among)) {
		if release, ok := c.claim(among[i].Name, aspect); ok {
			return chosen{among[i], c.stateOf(ctx, among[i]), release}, nil
		}
	}
	return chosen{}, errNoTarget
}

// claim reserves an aspect of something until release is called.
func (c *containers) claim(name, aspect string) (release func(), ok bool) {
	key := name + " " + aspect
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.claims[key] {
		return nil, false
	}
	c.claims[key] = true
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.claims, key)
	}, true
}

// hit begins a fault of a claimed container, and returns how it ends. The claim ends with the fault.
func (x chosen) hit(begin, end func(context.Context) error) func(context.Context, string) (struck, error) {
	return func(ctx context.Context, what string) (struck, error) {
		if err := begin(ctx); err != nil {
			x.release()
			return struck{}, err
		}
		target := x.Name
		if what != "" {
			target += " " + what
		}
		return struck{target: target, state: x.state, heal: func(ctx context.Context) error {
			defer x.release()
			return end(ctx)
		}}, nil
	}
}

type strike = func(ctx context.Context, r *rand.Rand) (struck, error)

// killed sends SIGKILL, and starts the container again at the end.
func (c *containers) killed(some chooser) strike {
	return func(ctx context.Context, r *rand.Rand) (struck, error) {
		x, err := some(ctx, r, ofProcess)
		if err != nil {
			return struck{}, err
		}
		return x.hit(x.Kill, c.launch(x.box))(ctx, "")
	}
}

// terminated sends SIGTERM, and starts the container again at the end.
func (c *containers) terminated(some chooser) strike {
	return func(ctx context.Context, r *rand.Rand) (struck, error) {
		x, err := some(ctx, r, ofProcess)
		if err != nil {
			return struck{}, err
		}
		return x.hit(func(ctx context.Context) error { return c.terminate(ctx, x.box) }, c.launch(x.box))(ctx, "")
	}
}

// settled is how long after its start a container gets SIGTERM at the earliest. Its program is process 1 there: the
// kernel discards a signal that comes before the program can handle it.
const settled = 2 * time.Second

// terminate sends SIGTERM. A worker must end in time, with exit code 0: I10.
func (c *containers) terminate(ctx context.Context, b *box) error {
	state, err := b.State(ctx)
	if err != nil {
		return err
	}
	started, err := time.Parse(time.RFC3339Nano, state.StartedAt)
	if err != nil {
		return err
	}
	wait(ctx, time.Until(started.Add(settled)))
	limit, began := c.settings.shutdown+graceful, time.Now()
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err = b.Stop(bounded)
	if bounded.Err() != nil {
		err = b.Kill(ctx)
	}
	if err == nil {
		state, err = b.State(ctx)
	}
	if err != nil || b.node {
		return err
	}
	if took := time.Since(began); state.ExitCode != 0 || took > limit {
		c.run.violated("I10", "", fmt.Sprintf("%s exited with code %d, %s after SIGTERM; must be 0, within %s", b.Name,
			state.ExitCode, took.Round(time.Millisecond), limit), nil)
	}
	return nil
}

// launch starts a container that has ended.
func (c *containers) launch(b *box) func(context.Context) error {
	return func(ctx context.Context) error { return errors.Join(b.Launch(ctx), c.locate(ctx, b)) }
}

// paused stops all processes of the container for a time.
func (c *containers) paused(some chooser) strike {
	return func(ctx context.Context, r *rand.Rand) (struck, error) {
		x, err := some(ctx, r, ofProcess)
		if err != nil {
			return struck{}, err
		}
		return x.hit(x.Pause, x.Unpause)(ctx, "")
	}
}

// A partition is of packets from the peers of a container, to them, or both.
const (
	from = 1 << iota
	to
	both = from | to
)

// partition drops all packets between a container and some of its peers.
func (c *containers) partition(l side, directions int) strike {
	return c.dropped(l, func(*rand.Rand) harness.Loss {
		return harness.Loss{From: directions&from != 0, To: directions&to != 0}
	})
}

// loss drops a share of the packets between a container and some of its peers.
func (c *containers) loss(l side) strike {
	return c.dropped(l, func(r *rand.Rand) harness.Loss {
		return harness.Loss{From: true, To: true, Share: 0.02 + 0.28*r.Float64()}
	})
}

func (c *containers) dropped(l side, how func(*rand.Rand) harness.Loss) strike {
	return func(ctx context.Context, r *rand.Rand) (struck, error) {
		x, err := l.some(ctx, r, ofLinks)
		if err != nil {
			return struck{}, err
		}
		links, err := c.links(ctx, x)
		if err != nil {
			return struck{}, err
		}
		one := how(r)
		others := l.peers(r, x.box)
		var drops []harness.Loss
		for _, address := range others.addresses {
			one.Peer = address
			drops = append(drops, one)
		}
		begin := begun(x, links, func(ctx context.Context) error { return links.Drop(ctx, drops...) })
		end := ended(func(ctx context.Context) error { return links.Undrop(ctx, drops...) })
		return x.hit(begin, end)(ctx, others.what)
	}
}

// ofNode chooses peers of a node: another node, all of them, or these and all workers.
func (c *containers) ofNode(r *rand.Rand, b *box) peers {
	c.mu.Lock()
	defer c.mu.Unlock()
	others := slices.DeleteFunc(slices.Clone(c.nodes), func(o *box) bool { return o == b })
	p := peers{what: "and all nodes", network: c.cluster.Network, own: b.inside}
	switch r.IntN(3) {
	case 0:
		one := r.IntN(len(others))
		others = others[one : one+1]
		p.what = "and " + others[0].Name
	case 1:
		others = append(others, c.workers...)
		p.what = "and all nodes and workers"
	}
	for _, o := range others {
		p.addresses = append(p.addresses, o.inside)
	}
	return p
}

// toNodes chooses peers of a worker: a node, or all of them.
func (c *containers) toNodes(r *rand.Rand, b *box) peers {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := peers{what: "and all nodes", network: c.cluster.Network, own: b.inside}
	others := c.nodes
	if r.IntN(3) == 0 {
		one := r.IntN(len(others))
		others = others[one : one+1]
		p.what = "and " + others[0].Name
	}
	for _, o := range others {
		p.addresses = append(p.addresses, o.inside)
	}
	return p
}

// toVendor returns the vendor as the peer of a worker.
func (c *containers) toVendor(_ *rand.Rand, b *box) peers {
	_, outside := c.addresses(b)
	return peers{what: "and the vendor", network: c.outside, own: outside, addresses: []netip.Addr{c.gateway}}
}

// links returns the links of a claimed container. If it does not run, it releases the claim.
func (c *containers) links(ctx context.Context, x chosen) (harness.Links, error) {
	links, err := x.Links(ctx)
	if err == nil {
		err = c.locate(ctx, x.box) // another fault may just have started it
	}
	if err != nil {
		x.release()
		return harness.Links{}, errNoTarget
	}
	return links, nil
}

// begun returns errNoTarget for the error of the beginning of a fault if another one has ended the container meanwhile.
func begun(x chosen, links harness.Links, begin func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		err := begin(ctx)
		if err == nil {
			return nil
		}
		if now, gone := x.Links(ctx); gone != nil || now != links {
			return errNoTarget
		}
		return err
	}
}

// ended ignores the error of the end of a fault of a network: if the container has ended meanwhile, its links are gone.
func ended(end func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		_ = end(ctx) // the links are new at the next start
		return nil
	}
}

// delay delays the packets that a container sends; limit limits their rate.
func (c *containers) delay(l side) strike {
	return c.shaped(l, func(r *rand.Rand) harness.Shape {
		ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
		return harness.Shape{Delay: ms(20 + r.IntN(300)), Jitter: ms(r.IntN(200))}
	})
}

func (c *containers) limit(l side) strike {
	return c.shaped(l, func(r *rand.Rand) harness.Shape { return harness.Shape{Rate: 16_000 << r.IntN(6)} })
}

func (c *containers) shaped(l side, how func(*rand.Rand) harness.Shape) strike {
	return func(ctx context.Context, r *rand.Rand) (struck, error) {
		x, err := l.some(ctx, r, ofLinks)
		if err != nil {
			return struck{}, err
		}
		links, err := c.links(ctx, x)
		if err != nil {
			return struck{}, err
		}
		own, shape := l.peers(r, x.box).own, how(r)
		begin := begun(x, links, func(ctx context.Context) error { return links.Slow(ctx, own, shape) })
		return x.hit(begin, ended(func(ctx context.Context) error { return links.Unslow(ctx, own) }))(ctx, "")
	}
}

// unplugged disconnects a worker from one of its networks.
func (c *containers) unplugged(l side) strike {
	return func(ctx context.Context, r *rand.Rand) (struck, error) {
		x, err := l.some(ctx, r, ofLinks)
		if err != nil {
			return struck{}, err
		}
		// A container that does not run gets its network when it starts.
		release, ok := c.claim(x.Name, ofProcess)
		if !ok {
			x.release()
			return struck{}, errNoTarget
		}
		links := x.release
		x.release = func() { links(); release() }
		network := l.peers(r, x.box).network
		begin := func(ctx context.Context) error { return x.Unplug(ctx, network) }
		return x.hit(begin, func(ctx context.Context) error {
			return errors.Join(x.Plug(ctx, network), c.locate(ctx, x.box))
		})(ctx, "")
	}
}

// stepDown makes the leader of a stream or of a consumer step down.
func (c *containers) stepDown(ctx context.Context, r *rand.Rand) (struck, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	streams := []string{ns.StreamPolls(), ns.StreamDeclared(), ns.StreamOutcomes()}
	what := streams[r.IntN(len(streams))]
	var err error
	switch n := r.IntN(len(streams) + len(schema.Types()) + 1); {
	case n < len(streams):
		err = c.cluster.StepDown(ctx, what)
	case n < len(streams)+len(schema.Types()):
		consumer := ns.PollConsumer(schema.Types()[n-len(streams)])
		what = consumer
		err = c.cluster.StepDownConsumer(ctx, ns.StreamPolls(), consumer)
	default:
		what = ns.ConsumerIntake()
		err = c.cluster.StepDownConsumer(ctx, ns.StreamDeclared(), ns.ConsumerIntake())
	}
	if err != nil {
		return struck{}, errNoTarget // the cluster has no leader at the moment
	}
	return struck{target: what, state: "cluster with a quorum"}, nil
}

// rotate makes the vendor reject the token. At the end, the workers get the new one.
func (c *containers) rotate(context.Context, *rand.Rand) (struck, error) {
	release, ok := c.claim("token", "")
	if !ok {
		return struck{}, errNoTarget
	}
	token := uuid.NewString()
	c.vendor.SetToken(token)
	return struck{target: "token", state: "in use", heal: func(context.Context) error {
		defer release()
		return c.writeToken(token)
	}}, nil
}
