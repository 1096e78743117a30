// Package gitops applies what `statusworker provision --output` prints, and requires that `statusworker provision`
// finds no difference afterwards. It is a module of its own, because the program does not depend on the `nats` command.
package gitops

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// statusworker is the path of the program, and natsCommand that of the `nats` command.
var statusworker, natsCommand string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	folder, err := os.MkdirTemp("", "gitops")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(folder)
	statusworker = filepath.Join(folder, "statusworker")
	build := exec.Command("go", "build", "-o", statusworker, "./cmd/statusworker")
	build.Dir = filepath.Join("..", "..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building statusworker: %v\n%s", err, out)
		return 1
	}
	var stderr bytes.Buffer
	find := exec.Command("go", "tool", "-n", "nats") // builds it, and prints where it is
	find.Stderr = &stderr
	path, err := find.Output()
	if err != nil {
		fmt.Fprintf(os.Stderr, "building nats: %v\n%s", err, &stderr)
		return 1
	}
	natsCommand = strings.TrimSpace(string(path))
	return m.Run()
}

// broker starts a server with JetStream.
func broker(t *testing.T) (string, *nats.Conn, jetstream.JetStream) {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true,
		StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server is not ready")
	}
	nc, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return s.ClientURL(), nc, js
}

// command runs a program without a user's configuration, and returns its standard output.
func command(t *testing.T, url, program string, args ...string) (string, error) {
	t.Helper()
	c := exec.CommandContext(t.Context(), program, args...)
	c.Env = []string{"HOME=" + t.TempDir(), "NATS_URL=" + url, "PATH=" + os.Getenv("PATH")}
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	if err := c.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s %s: %w\n%s%s", program, strings.Join(args, " "), err, &stdout, &stderr)
	}
	return stdout.String(), nil
}

// fits requires that `provision` finds nothing to change.
func fits(t *testing.T, url string) {
	t.Helper()
	out, err := command(t, url, statusworker, "provision", "--dry-run")
	if err != nil || out != "nothing to change\n" {
		t.Errorf("a difference is left: %v\n%s", err, out)
	}
}

// everything are flags for each redelivery mode: the defaults, and all choices.
var everything = map[string][]string{
	"schedule": nil,
	"schedule, limited": {"--max-age=72h", "--outcomes-max-bytes=1000000", "--declared-max-msgs=500",
		"--declared-max-bytes=1000000", "--polls-max-bytes=73400320", "--workers-max-bytes=1000000",
		"--max-ack-pending=100"},
	"naks": {"--redelivery=nak"},
	"naks, limited": {"--redelivery=nak", "--max-age=72h", "--outcomes-max-bytes=1000000", "--declared-max-msgs=500",
		"--declared-max-bytes=1000000", "--workers-max-bytes=1000000", "--audio-interval=60s"},
}
