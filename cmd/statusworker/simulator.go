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
	Addr        string        `name:"addr" default:"127.0.0.1:8443" help:"Address to listen on."`
	Host        []string      `name:"host" placeholder:"NAME" help:"Host names for its certificate, in addition to localhost."`
	Certificate string        `name:"certificate" placeholder:"DIR" help:"Directory for its certificate, certificate.pem."`
	Token       string        `name:"token" secret:"token" placeholder:"TOKEN" help:"API token that it accepts. The default is not secret."`
	After       time.Duration `name:"after" default:"1m" help:"Time from the first poll of an interaction until it is processed."`
}

// Run runs a vendor that accepts every identifier, until ctx ends.
func (c simulatorCommand) Run(ctx context.Context, p cli.Process) error {
	if c.Certificate != "" {
		if err := os.MkdirAll(c.Certificate, 0o755); err != nil {
			return cli.BadFlag(c, "certificate", schema.Quote(c.Certificate),
				fmt.Sprintf("a directory that can be written to (%v)", err))
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
	say(p.Stderr, "simulated vendor at %s", s.URL())
	<-ctx.Done()
	return nil
}
