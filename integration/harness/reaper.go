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

// labelRun is a label of every container and network. Its value identifies the test process.
const labelRun = "statusworker.test.run"

// envReaper makes a test binary act as the reaper of the test process that it identifies.
const envReaper = "STATUSWORKER_TEST_REAPER"

var runName = sync.OnceValue(func() string { return fmt.Sprintf("%d-%d", os.Getpid(), time.Now().UnixNano()) })

// Labels returns the labels for a container or network that a test creates itself. By these labels the reaper finds
// what it must remove when the test process ends without cleaning up.
func Labels(t testing.TB) map[string]string {
	return map[string]string{Label: t.Name(), labelRun: runName()}
}

// reaper starts a second process of the test binary, which waits for the end of this one and then removes the
// containers that are left: after a test timeout, a panic or a SIGKILL no cleanup runs. The reaper detects the end by
// its standard input, which the kernel closes in any case. The value of reaper is the other end of that pipe: while it
// is referenced, it is not closed by the garbage collector.
var reaper = sync.OnceValues(func() (io.Closer, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("locating the test binary: %w", err)
	}
	cmd := exec.Command(path)
	cmd.Env = append(os.Environ(), envReaper+"="+runName())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that Ctrl-C does not reach it
	input, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("creating the reaper's standard input: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the reaper: %w", err)
	}
	return input, nil
})

// reap waits for the end of input, and removes the containers and networks of a test process.
func reap(ctx context.Context, input io.Reader, run string) error {
	if _, err := io.Copy(io.Discard, input); err != nil {
		return fmt.Errorf("waiting for the tests to end: %w", err)
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
