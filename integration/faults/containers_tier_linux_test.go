package faults

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"statusworker/consumer"
	"statusworker/integration/harness"
	"statusworker/schema"
)

// TestContainers runs the images of NATS and of the product, at the vendor's poll intervals.
func TestContainers(t *testing.T) {
	harness.RequireLinks(t)
	s := settings{
		intervals: consumer.Guidance, deadline: 10 * time.Minute, grace: 30 * time.Second, timeout: 10 * time.Second,
		shutdown: 20 * time.Second, ends: 2 * time.Minute, stretch: 4,
	}
	if *flagDuration == smoke { // audio and a second generation take too long
		s.types, s.ends, s.brief = []schema.Type{schema.Chat, schema.Transcript}, time.Second, true
	}
	play(t, "containers", s, startContainers)
}

// Versions are those of the server, of the engine and of the kernel, and what makes faults of networks.
func (c *containers) Versions() []string {
	all := []string{"nats-server " + server.VERSION}
	for name, command := range map[string][]string{
		"Docker": {"docker", "version", "--format", "{{.Server.Version}}"},
		"Linux":  {"uname", "--kernel-release"},
	} {
		out, err := exec.CommandContext(context.Background(), command[0], command[1:]...).Output()
		if err == nil {
			all = append(all, fmt.Sprintf("%s %s", name, strings.TrimSpace(string(out))))
		}
	}
	if harness.HasNetem() {
		return append(all, "networks by iptables and tc netem")
	}
	return append(all, "networks by iptables and tc tbf (the kernel has no netem)")
}
