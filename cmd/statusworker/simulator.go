package main

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"statusworker/cmd/internal/cli"
	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

type simulatorCommand struct {
	Addr        string        `name:"addr" default:"127.0.0.1:8443" help:"Address to listen on."`
	Host        []string      `name:"host" placeholder:"NAME" help:"Host names for its certificate, in addition to localhost."`
	Certificate string        `name:"certificate" placeholder:"DIR" help:"Directory in which its certificate is stored as certificate.pem, with its key. Workers trust the file with --vendor-ca."`
	Token       string        `name:"token" secret:"token" placeholder:"TOKEN" help:"API token that it accepts. By default it accepts a token that it prints."`
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
	c.explain(p, s.URL())
	<-ctx.Done()
	return nil
}

// explain writes where the simulator listens, and how a worker polls it.
func (c simulatorCommand) explain(p cli.Process, listening string) {
	say(p.Stderr, "simulated ElevateAI at %s; it processes any identifier, %s after the first poll", listening,
		schema.Duration(c.After))
	token := simulator.DefaultToken
	if c.Token == "" {
		say(p.Stderr, "API token: %s", token)
	} else {
		token = "TOKEN"
		say(p.Stderr, "API token: the value of --token")
	}
	file := filepath.Join(c.Certificate, "certificate.pem")
	if c.Certificate != "" {
		say(p.Stderr, "certificate: %s", file)
	} else {
		file = "DIR/certificate.pem"
		say(p.Stderr, "certificate: not stored; to let workers trust it, set --certificate DIR")
	}
	say(p.Stderr, "a worker for it: %s run --base-url %s --api-token %s --vendor-ca %s", p.Command,
		c.reachable(listening), token, file)
}

// reachable returns the URL with a host of the certificate, if the simulator listens on all addresses.
func (c simulatorCommand) reachable(listening string) string {
	u, err := url.Parse(listening)
	if err != nil {
		return listening
	}
	if ip := net.ParseIP(u.Hostname()); ip != nil && ip.IsUnspecified() {
		host := "localhost"
		if len(c.Host) > 0 {
			host = c.Host[0]
		}
		u.Host = net.JoinHostPort(host, u.Port())
	}
	return u.String()
}
