package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"statusworker/cmd/broker/embedded"
	"statusworker/consumer"
)

// rig is a broker of one or more nodes, a vendor and pollers, each in its own process, and a connection to the broker.
type rig struct {
	dir     string
	servers []*process
	vendor  *process
	broker  *broker
	pollers []*process
}

// newRig starts a vendor, and a broker with empty streams and as many nodes as replicas.
func newRig(
	ctx context.Context,
	mode consumer.Mode,
	intervals consumer.Intervals,
	replicas int,
	stderr io.Writer,
) (*rig, error) {
	return newRigWith(ctx, "vendor", mode, intervals, replicas, stderr)
}

// newRigWith is newRig with a role of the vendor.
func newRigWith(
	ctx context.Context,
	vendor string,
	mode consumer.Mode,
	intervals consumer.Intervals,
	replicas int,
	stderr io.Writer,
) (r *rig, err error) {
	r = &rig{}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close())
		}
	}()
	if r.dir, err = os.MkdirTemp("", "statusworker-bench-"); err != nil {
		return r, fmt.Errorf("creating a directory for the broker: %w", err)
	}
	nodes, err := nodes(r.dir, replicas)
	if err != nil {
		return r, err
	}
	for _, node := range nodes {
		server, err := start(stderr, append([]string{"broker"}, node...)...)
		if err != nil {
			return r, err
		}
		r.servers = append(r.servers, server)
	}
	if r.vendor, err = start(stderr, vendor); err != nil {
		return r, err
	}
	if r.broker, err = openBroker(r.address()); err != nil {
		return r, err
	}
	return r, r.broker.provision(ctx, mode, intervals, replicas)
}

// nodes returns the arguments of each node of a broker.
func nodes(dir string, replicas int) ([][]string, error) {
	if replicas <= 1 {
		return [][]string{{dir}}, nil
	}
	ports, err := embedded.FreePorts(replicas)
	if err != nil {
		return nil, err
	}
	var all [][]string
	for i, own := range ports {
		name := fmt.Sprintf("n%d", i+1)
		node := []string{filepath.Join(dir, name), name, strconv.Itoa(own)}
		for _, port := range ports {
			if port != own {
				node = append(node, strconv.Itoa(port))
			}
		}
		all = append(all, node)
	}
	return all, nil
}

// address returns the addresses of all nodes of the broker, separated by commas.
func (r *rig) address() string {
	var urls []string
	for _, s := range r.servers {
		urls = append(urls, s.address)
	}
	return strings.Join(urls, ",")
}

// poller starts a poller on the rig.
func (r *rig) poller(role string, o order, stderr io.Writer) (*process, error) {
	o.broker, o.vendor = r.address(), r.vendor.address
	p, err := start(stderr, append([]string{role}, o.arguments()...)...)
	if err == nil {
		r.pollers = append(r.pollers, p)
	}
	return p, err
}

// end stops a poller.
func (r *rig) end(p *process) error {
	r.pollers = slices.DeleteFunc(r.pollers, func(one *process) bool { return one == p })
	return p.end()
}

// close stops the processes, pollers first, and removes the broker's directory.
func (r *rig) close() error {
	var errs []error
	for _, p := range r.pollers {
		errs = append(errs, p.end())
	}
	if r.broker != nil {
		r.broker.close()
	}
	if r.vendor != nil {
		errs = append(errs, r.vendor.end())
	}
	for _, p := range r.servers {
		errs = append(errs, p.end())
	}
	return errors.Join(append(errs, os.RemoveAll(r.dir))...)
}

// reading is what the processes have used at one moment.
type reading struct{ poller, vendor, broker use }

func (r *rig) read(poller *process) (reading, error) {
	var now reading
	var err error
	if now.vendor, err = r.vendor.ask("use"); err != nil {
		return now, err
	}
	if now.poller, err = poller.ask("use"); err != nil {
		return now, err
	}
	for _, s := range r.servers {
		u, err := s.ask("use")
		if err != nil {
			return now, err
		}
		now.broker.CPU += u.CPU
		now.broker.ResidentSize += u.ResidentSize
		now.broker.Received += u.Received
	}
	return now, nil
}
