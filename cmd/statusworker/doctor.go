package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sirupsen/logrus"

	"statusworker/cmd/broker/provisioning"
	"statusworker/cmd/internal/cli"
	"statusworker/cmd/internal/connect"
	"statusworker/cmd/internal/doctor"
	"statusworker/cmd/internal/flags"
	"statusworker/cmd/internal/mask"
	"statusworker/cmd/internal/telemetry"
	"statusworker/cmd/internal/terminal"
	"statusworker/consumer"
	"statusworker/publisher"
	"statusworker/schema/topology"
	"statusworker/statusclient"
)

type doctorCommand struct {
	Output string `name:"output" short:"o" default:"text" enum:"text, json" help:"Output format: one of ${enum}."`
	Quiet  bool   `name:"quiet" short:"q" help:"Only print what failed, and warnings. Without any, print nothing."`

	connect.Flags `embed:"" group:"NATS"`
	flags.Vendor  `embed:"" group:"ElevateAI"`
	flags.Timing  `embed:"" group:"Timing"`
	flags.Work    `embed:"" group:"Work"`
	// Admin and LogFlags are accepted so that a worker's command line can be checked unchanged. Only their values are
	// checked.
	flags.Admin  `embed:"" group:"Admin"`
	cli.LogFlags `embed:"" group:"Log"`
}

// Run checks everything that a worker with the same flags needs.
func (c doctorCommand) Run(ctx context.Context, p cli.Process) error {
	target, closing, err := c.target(ctx, p)
	if err != nil {
		return err
	}
	defer closing()
	found := doctor.Examine(ctx, target)
	doctor.ProblemsFirst(found)
	if c.Quiet {
		found = doctor.OnlyProblems(found)
	}
	if c.Output == "json" {
		e := json.NewEncoder(p.Stdout)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		err = e.Encode(found)
	} else {
		err = showFindings(p.Stdout, found, terminal.Columns(p.Stdout), !c.Quiet)
	}
	if err != nil {
		return fmt.Errorf("writing the findings: %w", err)
	}
	if doctor.AnyFailed(found) {
		return cli.ErrReported
	}
	return nil
}

// target returns what to check. It returns an error for flags with which a worker would not start.
func (c doctorCommand) target(ctx context.Context, p cli.Process) (target doctor.Target, closing func(), err error) {
	worker := runCommand{Flags: c.Flags, Vendor: c.Vendor, Timing: c.Timing, Work: c.Work}
	cfg, err := worker.config(nil)
	if err != nil {
		return target, nil, err
	}
	silent := logrus.New()
	silent.SetOutput(io.Discard) // the findings report it
	options, err := c.Options(clientName(), silent)
	if err != nil {
		return target, nil, err
	}
	vendor, err := worker.vendor(p)
	if err != nil {
		return target, nil, err
	}
	if err := telemetry.Check(ctx, p.Getenv); err != nil {
		return target, nil, err
	}
	if err := c.Admin.Check(); err != nil {
		return target, nil, err
	}
	client, noVendor := statusclient.New(vendor)
	closing = func() {}
	switch {
	case noVendor == nil:
		closing = client.Close
	case !aboutToken(noVendor):
		return target, nil, flags.AsUsage(noVendor)
	}
	return doctor.Target{
		Connect:       func() (*nats.Conn, error) { return c.connect(options) },
		FixConnection: c.fixConnection,
		Shown:         mask.URL,
		Topology: func(ctx context.Context, js jetstream.JetStream) ([]topology.Difference, error) {
			return risks(ctx, js, cfg)
		},
		Vendor: client, NoVendor: flags.AsUsage(noVendor), Work: cfg,
	}, closing, nil
}

// connect makes one attempt to connect.
func (c doctorCommand) connect(options []nats.Option) (*nats.Conn, error) {
	nc, err := nats.Connect(c.NATSURL, append(options, nats.NoReconnect(), nats.Timeout(connectTimeout))...)
	if err != nil {
		return nil, fmt.Errorf("connecting to NATS at %s: %w", c.ShownURL(), err)
	}
	return nc, nil
}

func (c doctorCommand) fixConnection(err error) string {
	if connect.Permanent(err) {
		return c.Hint(err)
	}
	return "start the server, or correct --nats-url ($NATS_URL)"
}

// risks returns the differences with which a worker starts, but does not keep all its promises.
func risks(ctx context.Context, js jetstream.JetStream, cfg consumer.Config) ([]topology.Difference, error) {
	mode, err := checkStreams(ctx, js, cfg) // the server's version is another check
	if err != nil {
		return nil, err
	}
	set := consumer.Topology(cfg, consumer.Choices{Mode: mode}).
		Add(publisher.Topology(publisher.Choices{MaxAge: publisher.DefaultMaxAge}))
	differ, err := provisioning.Compare(ctx, js, set)
	return slices.DeleteFunc(differ, func(d topology.Difference) bool { return !d.Risk }), err
}

// connectTimeout limits the connection to one server.
const connectTimeout = 3 * time.Second

// aboutToken reports whether an error is about the token. The other checks do not need one.
func aboutToken(err error) bool {
	var config *statusclient.ConfigError
	return errors.As(err, &config) && (config.Field == "Token" || config.Field == "TokenFile")
}
