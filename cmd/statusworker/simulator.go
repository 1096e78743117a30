package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"statusworker/cmd/internal/cli"
	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

type simulatorCommand struct {
	Addr        string        `name:"addr" default:"127.0.0.1:8443" help:"Where to listen."`
	Host        []string      `name:"host" placeholder:"NAME" help:"Names by which it is reached, beside localhost; for its certificate."`
	Certificate string        `name:"certificate" placeholder:"FOLDER" help:"Where its certificate is kept as certificate.pem, for others to trust."`
	Token       string        `name:"token" secret:"token" placeholder:"TOKEN" help:"The API token that it accepts; one that is no secret where it is not given."`
	After       time.Duration `name:"after" default:"1m" help:"How long after its first poll an interaction is processed."`
}

// Run is a vendor that takes every identifier for an interaction, until ctx ends.
func (c simulatorCommand) Run(ctx context.Context, p cli.Process) error {
	if c.Certificate != "" {
		if err := os.MkdirAll(c.Certificate, 0o755); err != nil {
			return cli.BadFlag(c, "certificate", schema.Quote(c.Certificate), fmt.Sprintf("a folder that can be written to (%v)", err))
		}
	}
	if c.After <= 0 {
		return cli.BadFlag(c, "after", c.After.String(), "more than 0")
	}
	s, err := simulator.Start(simulator.Config{
		Addr: c.Addr, Token: c.Token, TLS: true, Hosts: c.Host, CertificateFolder: c.Certificate, CountOnly: true,
		Default: func(string) simulator.Script { return simulator.Processed(c.After) },
	})
	if err != nil {
		return err
	}
	defer s.Close()
	say(p.Stderr, "a simulated vendor at %s", s.URL())
	<-ctx.Done()
	return nil
}
