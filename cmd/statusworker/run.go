package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/sirupsen/logrus"

	"statusworker/cmd/admin"
	"statusworker/cmd/internal/cli"
	"statusworker/cmd/internal/connect"
	"statusworker/cmd/internal/doctor"
	"statusworker/cmd/internal/flags"
	"statusworker/cmd/internal/proxy"
	"statusworker/cmd/internal/systemd"
	"statusworker/cmd/internal/telemetry"
	"statusworker/consumer"
	"statusworker/schema"
	"statusworker/statusclient"
)

type runCommand struct {
	connect.Flags `embed:"" group:"NATS"`
	flags.Stage   `embed:"" group:"NATS"`
	flags.Vendor  `embed:"" group:"ElevateAI"`
	flags.Timing  `embed:"" group:"Timing"`
	flags.Work    `embed:"" group:"Work"`
	flags.Admin   `embed:"" group:"Admin"`
	cli.LogFlags  `embed:"" group:"Log"`
}

// msgContradiction is logged for each finding about settings that do not fit together.
const msgContradiction = "settings contradict each other"

// Run runs a worker until ctx ends.
func (c runCommand) Run(ctx context.Context, p cli.Process) error {
	if p.Getenv("GOGC") == "" {
		debug.SetGCPercent(consumer.GCPercent)
	}
	log, err := c.Logger(p)
	if err != nil {
		return err
	}
	cfg, err := c.config(log)
	if err != nil {
		return err
	}
	client, err := c.client(p)
	if err != nil {
		return err
	}
	defer client.Close()
	for _, f := range doctor.Contradictions(cfg) {
		log.WithFields(logrus.Fields{"check": f.Check, "detail": f.Found, "advice": f.Fix}).Warn(msgContradiction)
	}
	tracer, flush, err := telemetry.Start(ctx, p.Getenv, versionString(), log)
	if err != nil {
		return err
	}
	defer flush()
	cfg.Tracer = tracer
	metrics := admin.NewMetrics(c.Namespace, versionString(), runtime.Version())
	cfg.Observer = metrics
	server, stopServing, err := c.Listen(metrics)
	if err != nil {
		return err
	}
	defer stopServing()

	server.Waiting("waiting for NATS at " + c.ShownURL())
	defer systemd.Start(ctx, p.Getenv, server, log)()
	nc, err := c.Connect(ctx, clientName(), log, connect.Watchful()...)
	if err != nil {
		return stopped(ctx, err)
	}
	defer connect.Close(nc)
	server.Connected(nc)
	cfg.Away = nc.IsReconnecting
	s := session{flags: c, cfg: cfg, client: client, server: server, nc: nc, log: log}
	return s.run(ctx, p.Leave)
}

func (c runCommand) config(log logrus.FieldLogger) (consumer.Config, error) {
	intervals, err := c.Intervals(c.Base)
	if err != nil {
		return consumer.Config{}, err
	}
	if err := c.Work.Check(); err != nil {
		return consumer.Config{}, err
	}
	cfg := consumer.Config{
		Namespace: c.Namespace, Intervals: intervals, RequestTimeout: c.RequestTimeout, Deadline: c.Deadline,
		NotFoundGrace: c.NotFoundGrace,
		Concurrency:   c.Concurrency, ShutdownTimeout: c.ShutdownTimeout, Log: log,
		Stretch: c.Stretch, StretchLimit: c.StretchLimit, MaxPollsPerSecond: c.MaxPolls,
		Host: hostName(), Version: versionString(),
	}
	for _, status := range c.FailedStatus {
		cfg.FailedStatuses = append(cfg.FailedStatuses, schema.Status(status))
	}
	if err := cfg.Check(); err != nil {
		return cfg, flags.AsUsage(err)
	}
	return cfg, nil
}

func (c runCommand) client(p cli.Process) (*statusclient.Client, error) {
	cfg, err := c.vendor(p)
	if err != nil {
		return nil, err
	}
	client, err := statusclient.New(cfg)
	if err != nil {
		return nil, flags.AsUsage(err)
	}
	return client, nil
}

func (c runCommand) vendor(p cli.Process) (statusclient.Config, error) {
	through, err := proxy.FromEnvironment(p.Getenv)
	if err != nil {
		return statusclient.Config{}, err
	}
	trusted, err := c.Trusted()
	if err != nil {
		return statusclient.Config{}, err
	}
	return statusclient.Config{
		BaseURL:     c.BaseURL,
		Token:       c.Token,
		TokenFile:   c.TokenFile,
		Timeout:     c.RequestTimeout,
		Concurrency: c.Concurrency,
		UserAgent:   "statusworker/" + versionString(),
		OnToken:     func(token string) { p.Secrets.Add(token) },
		RootCAs:     trusted,
		Proxy:       through,
	}, nil
}

// stopped returns nil for an error that the end of ctx has caused.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// unfinished replaces an error that the end of ctx has caused. It is for commands that were expected to end by
// themselves.
func unfinished(ctx context.Context, err error, what string) error {
	if err != nil && stopped(ctx, err) == nil {
		return errors.New("stopped: " + what)
	}
	return err
}

func clientName() string { return fmt.Sprintf("statusworker on %s (pid %d)", hostName(), os.Getpid()) }

func hostName() string {
	host, err := os.Hostname()
	if err != nil {
		return "unknown host"
	}
	return host
}
