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
	Output string `name:"output" short:"o" default:"text" enum:"text,json" help:"Output format: one of ${enum}."`

	connect.Flags `embed:"" group:"NATS"`
	flags.Vendor  `embed:"" group:"ElevateAI"`
	flags.Timing  `embed:"" group:"Timing"`
	flags.Work    `embed:"" group:"Work"`
	// These are taken so that a worker's command line can be examined as it is. They must be good, and nothing more.
	flags.Admin  `embed:"" group:"Admin"`
	cli.LogFlags `embed:"" group:"Log"`
}

// Run examines all that a worker with the same flags needs.
func (c doctorCommand) Run(ctx context.Context, p cli.Process) error {
	worker := runCommand{Flags: c.Flags, Vendor: c.Vendor, Timing: c.Timing, Work: c.Work}
	cfg, err := worker.config(nil)
	if err != nil {
		return err
	}
	silent := logrus.New()
	silent.SetOutput(io.Discard) // the findings say it
	options, err := c.Options(clientName(), silent)
	if err != nil {
		return err
	}
	vendor, err := worker.vendor(p)
	if err != nil {
		return err
	}
	client, noVendor := statusclient.New(vendor)
	switch {
	case noVendor == nil:
		defer client.Close()
	case !aboutToken(noVendor):
		return flags.AsUsage(noVendor)
	}
	if err := telemetry.Check(ctx, p.Getenv); err != nil {
		return err
	}
	if err := c.Admin.Check(); err != nil {
		return err
	}
	found := doctor.Examine(ctx, doctor.Target{
		Connect: func() (*nats.Conn, error) {
			nc, err := nats.Connect(c.NATSURL, append(options, nats.NoReconnect(), nats.Timeout(connectOnce))...)
			if err != nil {
				return nil, fmt.Errorf("connecting to NATS at %s: %w", c.ShownURL(), err)
			}
			return nc, nil
		},
		FixConnection: func(err error) string {
			if connect.Permanent(err) {
				return c.Hint(err)
			}
			return "start the server, or correct --nats-url ($NATS_URL)"
		},
		Shown: mask.URL,
		Topology: func(ctx context.Context, js jetstream.JetStream) ([]topology.Difference, error) {
			mode, err := checkStreams(ctx, js, cfg) // the version has a check of its own
			if err != nil {
				return nil, err
			}
			set := consumer.Topology(cfg, consumer.Choices{Mode: mode}).Add(
				publisher.Topology(publisher.Choices{MaxAge: publisher.DefaultMaxAge}),
			)
			differ, err := provisioning.Compare(ctx, js, set)
			return slices.DeleteFunc(differ, func(d topology.Difference) bool { return !d.Risk }), err
		},
		Vendor: client, NoVendor: flags.AsUsage(noVendor), Work: cfg,
	})
	if c.Output == "json" {
		e := json.NewEncoder(p.Stdout)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		err = e.Encode(found)
	} else {
		err = showFindings(p.Stdout, found, terminal.Columns(p.Stdout))
	}
	if err != nil {
		return fmt.Errorf("writing the findings: %w", err)
	}
	if doctor.AnyFailed(found) {
		return cli.ErrReported
	}
	return nil
}

// connectOnce is how long one server may take to let us in.
const connectOnce = 3 * time.Second

// aboutToken tells whether what keeps the client from being made is the token: then the rest is examined all the same.
func aboutToken(err error) bool {
	var config *statusclient.ConfigError
	return errors.As(err, &config) && (config.Field == "Token" || config.Field == "TokenFile")
}
