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

// Free ports are not ephemeral, so the kernel cannot assign the port of a stopped server.
func TestPortsAreNotEphemeral(t *testing.T) {
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
		t.Errorf("%d distinct ports, want %d", len(seen), n+1)
	}
	if runtime.GOOS != "linux" {
		t.Skip("the ephemeral ports can be read on Linux only")
	}
	settings, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		t.Fatalf("reading the ephemeral ports: %v", err)
	}
	var low, high int
	if _, err := fmt.Sscan(string(settings), &low, &high); err != nil {
		t.Fatal(err)
	}
	for p := range seen {
		if low <= p && p <= high {
			t.Errorf("port %d is ephemeral: %d to %d", p, low, high)
		}
	}
}
