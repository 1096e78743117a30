//go:build !nodev

package main

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sirupsen/logrus"

	"statusworker/cmd/internal/cli"
	"statusworker/cmd/internal/demo"
	"statusworker/cmd/internal/flags"
	"statusworker/consumer"
)

type devCommand struct {
	flags.Stage
	Speed      float64       `name:"speed" default:"20" help:"Factor by which the simulated ElevateAI is faster and the poll intervals are shorter: 1 to 50."`
	Count      int           `name:"count" default:"36" help:"Number of ordinary interactions, in addition to the special cases; at most 5000."`
	Keep       bool          `name:"keep" help:"Keep everything running until Ctrl-C, and print commands to try in another terminal."`
	Redelivery consumer.Mode `name:"redelivery" default:"schedule" enum:"schedule, nak" help:"How interactions wait between polls: one of ${enum}."`
}

// Run runs the demo with the worker of `run`.
func (c devCommand) Run(ctx context.Context, p cli.Process) error {
	if !(c.Speed >= 1 && c.Speed <= 50) { // also rejects NaN
		return cli.BadFlag(c, "speed", fmt.Sprintf("%.4g", c.Speed), "1 to 50")
	}
	if c.Count < 0 || c.Count > 5000 {
		return cli.BadFlag(c, "count", fmt.Sprint(c.Count), "0 to 5000")
	}
	return demo.Demo{
		Namespace: c.Namespace, Speed: c.Speed, Count: c.Count, Keep: c.Keep, Redelivery: c.Redelivery,
		Host: hostName(), Version: versionString(),
		NewWorker: func(ctx context.Context, js jetstream.JetStream, client consumer.StatusClient, cfg consumer.Config,
			log logrus.FieldLogger) (demo.Worker, error) {
			worker, _, err := newWorker(ctx, js, client, cfg, log)
			return worker, err
		},
	}.Run(ctx, p)
}
