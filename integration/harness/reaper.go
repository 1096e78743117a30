package harness

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/client"
)

// labelRun is on every container and network too; its value is one per test process.
const labelRun = "statusworker.test.run"

// envReaper makes a test binary play the reaper for the run that it names.
const envReaper = "STATUSWORKER_TEST_REAPER"

var runName = sync.OnceValue(func() string { return fmt.Sprintf("%d-%d", os.Getpid(), time.Now().UnixNano()) })

// Labels are what a container that a test makes for itself must carry, so that it is removed though the test dies.
func Labels(t testing.TB) map[string]string {
	return map[string]string{Label: t.Name(), labelRun: runName()}
}

// reaper is a second process of the test binary that waits for the end of this one, and then removes what has been left
// behind: after a test's time-out, a panic or a SIGKILL no cleanup runs, and a cluster would go on for ever. It learns
// of the end from its standard input, which the kernel closes in any case. The other end of it is the value of reaper,
// which keeps it from being collected as garbage, and so closed, before.
var reaper = sync.OnceValues(func() (io.Closer, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding the test binary: %w", err)
	}
	cmd := exec.Command(path)
	cmd.Env = append(os.Environ(), envReaper+"="+runName())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt of the tests must not reach it
	input, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("making the reaper's standard input: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the reaper: %w", err)
	}
	return input, nil
})

// reap waits for the end of its input, and removes the containers and networks of a run.
func reap(ctx context.Context, input io.Reader, run string) error {
	if _, err := io.Copy(io.Discard, input); err != nil {
		return fmt.Errorf("waiting for the end of the tests: %w", err)
	}
	provider, err := engine()
	if err != nil {
		return err
	}
	api := provider.Client()
	filter := make(client.Filters).Add("label", labelRun+"="+run)
	containers, err := api.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: filter})
	if err != nil {
		return fmt.Errorf("listing containers: %w", err)
	}
	for _, c := range containers.Items {
		if _, err := api.ContainerRemove(
			ctx,
			c.ID,
			client.ContainerRemoveOptions{Force: true, RemoveVolumes: true},
		); err != nil {
			return fmt.Errorf("removing container %s: %w", c.ID, err)
		}
	}
	networks, err := api.NetworkList(ctx, client.NetworkListOptions{Filters: filter})
	if err != nil {
		return fmt.Errorf("listing networks: %w", err)
	}
	for _, n := range networks.Items {
		if _, err := api.NetworkRemove(ctx, n.ID, client.NetworkRemoveOptions{}); err != nil {
			return fmt.Errorf("removing network %s: %w", n.Name, err)
		}
	}
	return nil
}
