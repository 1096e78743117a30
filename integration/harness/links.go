package harness

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Links are the network links of one running container. Their faults end with the container at the latest. They need
// root, and the programs of [RequireLinks].
type Links struct{ pid string }

// RequireLinks skips the test if [Links] cannot work: without root, or if a program is missing. With [EnvRequireEngine]
// set to 1 the test fails.
func RequireLinks(t testing.TB) {
	t.Helper()
	RequireEngine(t)
	var missing []error
	for _, program := range []string{"nsenter", "iptables", "tc", "ip"} {
		if _, err := exec.LookPath(program); err != nil {
			missing = append(missing, err)
		}
	}
	if os.Geteuid() != 0 || !engineIsLocal() {
		missing = append(missing, errors.New("this process is not root on the host of the engine"))
	}
	err := errors.Join(missing...)
	switch {
	case err == nil:
	case os.Getenv(EnvRequireEngine) == "1":
		t.Fatalf("faults of networks are not possible, but %s=1 requires them: %v; run as root, with util-linux, "+
			"iptables and iproute2", EnvRequireEngine, err)
	default:
		t.Skipf("faults of networks are not possible: %v; run as root, with util-linux, iptables and iproute2", err)
	}
}

// Loss is a rule that drops packets between a container and a peer.
type Loss struct {
	// From and To report whether packets from the peer and to the peer are dropped.
	From, To bool
	// Peer is the address of the peer.
	Peer netip.Addr
	// Share is the share of the packets that are dropped, at random; 0 means all.
	Share float64
}

// rules returns the arguments of iptables, after the command and its chain.
func (d Loss) rules() (all [][]string) {
	var share []string
	if d.Share > 0 {
		probability := strconv.FormatFloat(d.Share, 'f', 4, 64)
		share = []string{"-m", "statistic", "--mode", "random", "--probability", probability}
	}
	add := func(chain, peer string) {
		rule := append([]string{chain, peer, d.Peer.String()}, share...)
		all = append(all, append(rule, "-j", "DROP"))
	}
	if d.From {
		add("INPUT", "-s")
	}
	if d.To {
		add("OUTPUT", "-d")
	}
	return all
}

// Drop makes the container lose packets as the losses say, until [Links.Undrop].
func (l Links) Drop(ctx context.Context, drops ...Loss) error { return l.change(ctx, "-I", drops) }

// Undrop ends losses that Drop has begun.
func (l Links) Undrop(ctx context.Context, drops ...Loss) error { return l.change(ctx, "-D", drops) }

func (l Links) change(ctx context.Context, command string, drops []Loss) error {
	var errs []error
	for _, d := range drops {
		for _, rule := range d.rules() {
			_, err := l.run(ctx, "iptables", append([]string{"-w", "5", command}, rule...)...)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Shape limits what a container sends on one link: it delays packets, and limits their rate.
type Shape struct {
	// Delay and Jitter are added to each packet, if the kernel has netem. Otherwise the rate is limited to Rate or to
	// SlowRate, and packets wait for at most Delay and Jitter: longer queues are dropped.
	Delay, Jitter time.Duration
	// Rate limits the bits per second; 0 is no limit.
	Rate int
}

// SlowRate is the rate, in bits per second, that replaces a delay if the kernel has no netem. A few requests a second
// fill it.
const SlowRate = 64_000

// HasNetem reports whether the kernel can delay packets: whether it has the queueing discipline netem.
var HasNetem = sync.OnceValue(func() bool {
	add := exec.Command("unshare", "--net", "tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms")
	return add.Run() == nil
})

// qdisc returns the queueing discipline of a shape.
func (s Shape) qdisc(netem bool) []string {
	if netem && s.Delay > 0 {
		args := []string{"netem", "delay", s.Delay.String(), s.Jitter.String()}
		if s.Rate > 0 {
			args = append(args, "rate", strconv.Itoa(s.Rate))
		}
		return args
	}
	rate, queue := s.Rate, s.Delay+s.Jitter
	if rate == 0 {
		rate = SlowRate
	}
	if queue == 0 {
		queue = time.Second
	}
	return []string{"tbf", "rate", strconv.Itoa(rate), "burst", "2000", "latency", queue.String()}
}

// Slow shapes what the container sends on the link that has an address.
func (l Links) Slow(ctx context.Context, at netip.Addr, s Shape) error {
	device, err := l.device(ctx, at)
	if err != nil {
		return err
	}
	_, err = l.run(ctx, "tc", append([]string{"qdisc", "replace", "dev", device, "root"}, s.qdisc(HasNetem())...)...)
	return err
}

// Unslow ends the effect of Slow.
func (l Links) Unslow(ctx context.Context, at netip.Addr) error {
	device, err := l.device(ctx, at)
	if err != nil {
		return err
	}
	_, err = l.run(ctx, "tc", "qdisc", "del", "dev", device, "root")
	return err
}

// device returns the name of the interface that has an address.
func (l Links) device(ctx context.Context, at netip.Addr) (string, error) {
	out, err := l.run(ctx, "ip", "-oneline", "address", "show")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(out) {
		// 2: eth0    inet 172.18.0.2/16 brd ...
		if fields := strings.Fields(line); len(fields) > 3 {
			if prefix, err := netip.ParsePrefix(fields[3]); err == nil && prefix.Addr() == at {
				return fields[1], nil
			}
		}
	}
	return "", fmt.Errorf("no interface has the address %s", at)
}

func (l Links) run(ctx context.Context, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{"--target", l.pid, "--net", program}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}
