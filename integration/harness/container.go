package harness

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"strconv"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
)

// Container is a container that a test can kill, pause and start again. Its methods must not be called concurrently.
type Container struct {
	Name string

	container testcontainers.Container
	client    client.APIClient
}

// StartContainer creates and starts a container. The caller sets the labels of the request to [Labels], and removes the
// container, which may exist despite an error. The reaper removes it if the test process is killed.
func StartContainer(ctx context.Context, name string, req testcontainers.ContainerRequest) (*Container, error) {
	provider, err := engine()
	if err != nil {
		return nil, err
	}
	if _, err := reaper(); err != nil {
		return nil, err
	}
	c, err := testcontainers.GenericContainer(
		ctx,
		testcontainers.GenericContainerRequest{ContainerRequest: req, Started: true},
	)
	if err != nil {
		err = fmt.Errorf("starting container %s: %w", name, err)
	}
	if c == nil {
		return nil, err
	}
	return &Container{Name: name, container: c, client: provider.Client()}, err
}

// Kill sends SIGKILL and waits until the container has exited.
func (c *Container) Kill(ctx context.Context) error { return c.end(ctx, "KILL") }

// Stop sends SIGTERM and waits until the container has exited.
func (c *Container) Stop(ctx context.Context) error { return c.end(ctx, "TERM") }

func (c *Container) end(ctx context.Context, signal string) error {
	id := c.container.GetContainerID()
	if _, err := c.client.ContainerKill(ctx, id, client.ContainerKillOptions{Signal: signal}); err != nil {
		return fmt.Errorf("sending SIG%s to %s: %w", signal, c.Name, err)
	}
	wait := c.client.ContainerWait(ctx, id, client.ContainerWaitOptions{Condition: container.WaitConditionNotRunning})
	select {
	case <-wait.Result:
		return nil
	case err := <-wait.Error:
		return fmt.Errorf("waiting for %s to exit: %w", c.Name, err)
	}
}

// Launch starts a container that was killed or stopped, and does not wait until its program is ready.
func (c *Container) Launch(ctx context.Context) error {
	if _, err := c.client.ContainerStart(
		ctx,
		c.container.GetContainerID(),
		client.ContainerStartOptions{},
	); err != nil {
		return fmt.Errorf("restarting %s: %w", c.Name, err)
	}
	return nil
}

// Pause stops all processes of the container, as SIGSTOP does, until Unpause.
func (c *Container) Pause(ctx context.Context) error {
	_, err := c.client.ContainerPause(ctx, c.container.GetContainerID(), client.ContainerPauseOptions{})
	return wrapped(err, "pausing %s", c.Name)
}

// Unpause ends a pause.
func (c *Container) Unpause(ctx context.Context) error {
	_, err := c.client.ContainerUnpause(ctx, c.container.GetContainerID(), client.ContainerUnpauseOptions{})
	return wrapped(err, "unpausing %s", c.Name)
}

// State returns the state of the container: whether it runs, and the exit code of its last end.
func (c *Container) State(ctx context.Context) (container.State, error) {
	i, err := c.inspect(ctx)
	if err != nil {
		return container.State{}, err
	}
	return *i.State, nil
}

func (c *Container) inspect(ctx context.Context) (container.InspectResponse, error) {
	i, err := c.client.ContainerInspect(ctx, c.container.GetContainerID(), client.ContainerInspectOptions{})
	if err != nil {
		return container.InspectResponse{}, fmt.Errorf("inspecting %s: %w", c.Name, err)
	}
	return i.Container, nil
}

// Address returns the address of the container on a network.
func (c *Container) Address(ctx context.Context, name string) (netip.Addr, error) {
	i, err := c.inspect(ctx)
	if err != nil {
		return netip.Addr{}, err
	}
	at := i.NetworkSettings.Networks[name]
	if at == nil || !at.IPAddress.IsValid() {
		return netip.Addr{}, fmt.Errorf("%s has no address on network %s", c.Name, name)
	}
	return at.IPAddress, nil
}

// Unplug removes the container from a network.
func (c *Container) Unplug(ctx context.Context, name string) error {
	_, err := c.client.NetworkDisconnect(ctx, name, client.NetworkDisconnectOptions{
		Container: c.container.GetContainerID(), Force: true,
	})
	return wrapped(err, "disconnecting %s from network %s", c.Name, name)
}

// Plug connects the container to a network again, under its name.
func (c *Container) Plug(ctx context.Context, name string) error {
	_, err := c.client.NetworkConnect(ctx, name, client.NetworkConnectOptions{
		Container: c.container.GetContainerID(), EndpointConfig: &network.EndpointSettings{Aliases: []string{c.Name}},
	})
	return wrapped(err, "connecting %s to network %s", c.Name, name)
}

// Links returns the links of the running container, for faults of its network.
func (c *Container) Links(ctx context.Context) (Links, error) {
	i, err := c.inspect(ctx)
	if err != nil {
		return Links{}, err
	}
	if i.State.Pid == 0 {
		return Links{}, fmt.Errorf("%s does not run", c.Name)
	}
	return Links{pid: strconv.Itoa(i.State.Pid)}, nil
}

// Remove removes the container with its volumes, in any state.
func (c *Container) Remove(ctx context.Context) error {
	_, err := c.client.ContainerRemove(ctx, c.container.GetContainerID(), client.ContainerRemoveOptions{
		Force: true, RemoveVolumes: true,
	})
	return wrapped(err, "removing container %s", c.Name)
}

// wrapped adds what failed to an error. It returns nil if err is nil.
func wrapped(err error, what string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", fmt.Sprintf(what, args...), err)
}

// Log returns what the container has printed so far.
func (c *Container) Log(ctx context.Context) (string, error) { return containerLog(ctx, c.container) }

func containerLog(ctx context.Context, c testcontainers.Container) (string, error) {
	r, err := c.Logs(ctx)
	if err != nil {
		return "", fmt.Errorf("requesting the log of container %s: %w", c.GetContainerID(), err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	return string(b), wrapped(err, "reading the log of container %s", c.GetContainerID())
}

// Gateway returns the address of this host on a network, at which the network's containers reach it.
func Gateway(ctx context.Context, name string) (netip.Addr, error) {
	provider, err := engine()
	if err != nil {
		return netip.Addr{}, err
	}
	n, err := provider.Client().NetworkInspect(ctx, name, client.NetworkInspectOptions{})
	if err != nil {
		return netip.Addr{}, fmt.Errorf("inspecting network %s: %w", name, err)
	}
	for _, c := range n.Network.IPAM.Config {
		if c.Gateway.IsValid() {
			return c.Gateway, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("network %s has no gateway", name)
}
