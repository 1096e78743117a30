package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"

	"statusworker/statusclient/simulator"
)

// The simulator prints its token and the command line of a worker, which then polls it.
func TestSimulatorPrintsAWorkerForIt(t *testing.T) {
	t.Parallel()
	at, js := provisioned(t)
	directory := filepath.Join(t.TempDir(), "new")
	vendor := command(t, "simulator", "--addr", "127.0.0.1:0", "--certificate", directory, "--after", "1ms").start()
	vendor.logs("--vendor-ca")
	says(t, "standard error", &vendor.stderr, "API token: "+simulator.DefaultToken)

	worker := command(t, typed(t, &vendor.stderr, "run")...)
	worker.env = workerEnv(at, "")
	delete(worker.env, "ELEVATEAI_BASE_URL")
	delete(worker.env, "ELEVATEAI_API_TOKEN")
	worker.env["STATUSWORKER_ADMIN_ADDR"] = "127.0.0.1:0"
	worker.start()
	command(t, "declare", "--nats-url", at, "--type", "chat", uuid.NewString()).exits(exitOK)
	waitFor(worker.ctx, t, func() bool { now, _ := messages(t, js, ns.StreamOutcomes()); return now == 1 })
	for _, c := range []*call{worker, vendor} {
		c.stop()
		if code := c.end(); code != exitOK {
			t.Errorf("%v: exit code %d after a stop, want 0:\n%s", c.args, code, &c.stderr)
		}
	}
}

// A token of one's own is not printed.
func TestSimulatorShowsNoTokenOfOnesOwn(t *testing.T) {
	t.Parallel()
	c := command(t, "simulator", "--addr", ":0", "--host", "vendor.example", "--token", "s3cret-token").start()
	c.logs("--vendor-ca")
	c.stop()
	if code := c.end(); code != exitOK {
		t.Errorf("exit code %d after a stop, want 0", code)
	}
	for _, token := range []string{"s3cret-token", simulator.DefaultToken} {
		if strings.Contains(c.stderr.String(), token) {
			t.Errorf("the token %s is printed:\n%s", token, &c.stderr)
		}
	}
	args := typed(t, &c.stderr, "run")
	if url := args[2]; !strings.HasPrefix(url, "https://vendor.example:") || !strings.HasSuffix(url, "/v1") {
		t.Errorf("the worker polls %s, want the host of the certificate", url)
	}
}

// typed returns the arguments of a command of this program that was printed for a user to type.
func typed(t *testing.T, o *output, name string) []string {
	t.Helper()
	_, rest, found := strings.Cut(o.String(), started+" "+name+" ")
	if !found {
		t.Fatalf("no command %s in:\n%s", name, o)
	}
	line, _, _ := strings.Cut(rest, "\n")
	return append(strings.Fields(name), strings.Fields(line)...)
}
