package embedded_test

import (
	"fmt"
	"net/url"
	"os"
	"runtime"
	"strconv"
	"testing"

	"statusworker/cmd/broker/embedded"
)

// A server that is stopped keeps its port for its next start: none comes from the range out of which the kernel gives
// ports to whoever dials or listens in between.
func TestPortsAreNotTheKernels(t *testing.T) {
	t.Parallel()
	const n = 50
	ports, err := embedded.FreePorts(n)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(start(t, t.TempDir(), 0).URL())
	if err != nil {
		t.Fatal(err)
	}
	own, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[int]bool)
	for _, p := range append(ports, own) {
		seen[p] = true
	}
	if len(seen) != n+1 {
		t.Errorf("%d ports of %d are different ones", len(seen), n+1)
	}
	if runtime.GOOS != "linux" {
		t.Skip("only Linux says which ports it gives")
	}
	settings, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		t.Fatalf("the kernel does not say which ports it gives: %v", err)
	}
	var low, high int
	if _, err := fmt.Sscan(string(settings), &low, &high); err != nil {
		t.Fatal(err)
	}
	for p := range seen {
		if low <= p && p <= high {
			t.Errorf("port %d is one that the kernel gives: %d to %d", p, low, high)
		}
	}
}
