package main

import (
	"context"

	"github.com/nats-io/nats.go"
	"github.com/sirupsen/logrus"

	"statusworker/cmd/broker/permission"
	"statusworker/cmd/internal/cli"
	"statusworker/cmd/internal/connect"
	"statusworker/cmd/internal/console"
	"statusworker/cmd/internal/doctor"
	"statusworker/cmd/internal/flags"
	"statusworker/cmd/internal/patience"
	"statusworker/consumer"
)

type consoleCommand struct {
	flags.Console `embed:"" group:"Console"`
	connect.Flags `embed:"" group:"NATS"`
	flags.Stage   `embed:"" group:"NATS"`
	cli.LogFlags  `embed:"" group:"Log"`
}

// Run serves the console until ctx ends.
func (c consoleCommand) Run(ctx context.Context, p cli.Process) error {
	log, err := c.Logger(p)
	if err != nil {
		return err
	}
	if err := c.Check(); err != nil {
		return err
	}
	users, err := c.Users()
	if err != nil {
		return err
	}
	target, err := doctor.At(c.Flags, clientName(), consumer.Config{Namespace: c.Namespace})
	if err != nil {
		return err
	}
	listener, err := c.Listen()
	if err != nil {
		return err
	}
	cfg := console.Config{
		Namespace: c.Namespace,
		Doctor:    func(ctx context.Context) []doctor.Finding { return doctor.ExamineAsOperator(ctx, target) },
		Server:    c.ShownURL(), Version: versionString(), AllowWrites: c.AllowWrites, BasePath: c.BasePath,
		Hosts: c.Hosts, Users: users, Log: log,
	}
	address := "http://" + listener.Addr().String() + c.BasePath + "/"
	log.WithFields(logrus.Fields{"address": address, "allow_writes": c.AllowWrites}).Info("serving the console")
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	return stopped(ctx, console.Serve(ctx, listener, func(ctx context.Context) (*console.Console, error) {
		nc, err := c.Connect(ctx, clientName(), log)
		if err != nil {
			return nil, err
		}
		context.AfterFunc(ctx, nc.Close)
		go endWith(nc, cancel)
		js, err := c.JetStream(nc)
		if err != nil {
			return nil, err
		}
		cfg.JS = permission.Wrap(js, patience.Guarded(nc))
		return console.New(cfg), nil
	}))
}

// endWith cancels when a connection is closed: the server has rejected the credentials. The log has the reason.
func endWith(nc *nats.Conn, cancel context.CancelCauseFunc) {
	for range nc.StatusChanged(nats.CLOSED) {
		cancel(cli.ErrReported)
		return
	}
}
