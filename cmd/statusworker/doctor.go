package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"statusworker/cmd/internal/cli"
	"statusworker/cmd/internal/connect"
	"statusworker/cmd/internal/doctor"
	"statusworker/cmd/internal/flags"
	"statusworker/cmd/internal/telemetry"
	"statusworker/cmd/internal/terminal"
	"statusworker/statusclient"
)

type doctorCommand struct {
	Output string `name:"output" short:"o" default:"text" enum:"text, json" help:"Output format: one of ${enum}."`
	Quiet  bool   `name:"quiet" short:"q" help:"Print only failures and warnings; no text if there are none."`

	connect.Flags `embed:"" group:"NATS"`
	flags.Stage   `embed:"" group:"NATS"`
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
	worker := runCommand{Flags: c.Flags, Stage: c.Stage, Vendor: c.Vendor, Timing: c.Timing, Work: c.Work}
	cfg, err := worker.config(nil)
	if err != nil {
		return target, nil, err
	}
	target, err = doctor.At(c.Flags, clientName(), cfg)
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
	target.Vendor, target.NoVendor = client, flags.AsUsage(noVendor)
	return target, closing, nil
}

// aboutToken reports whether an error is about the token. The other checks do not need one.
func aboutToken(err error) bool {
	var config *statusclient.ConfigError
	return errors.As(err, &config) && (config.Field == "Token" || config.Field == "TokenFile")
}
