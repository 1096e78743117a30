package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sirupsen/logrus"

	"statusworker/cmd/admin"
	"statusworker/cmd/broker/adapter"
	"statusworker/cmd/internal/cli"
	"statusworker/cmd/internal/connect"
	"statusworker/cmd/internal/flags"
	"statusworker/cmd/internal/mask"
	"statusworker/cmd/internal/proxy"
	"statusworker/cmd/internal/telemetry"
	"statusworker/consumer"
	"statusworker/publisher"
	"statusworker/schema"
	"statusworker/statusclient"
)

type runCommand struct {
	connect.Flags `embed:"" group:"NATS"`
	flags.Vendor  `embed:"" group:"ElevateAI"`
	flags.Timing  `embed:"" group:"Timing"`
	flags.Work    `embed:"" group:"Work"`
	flags.Admin   `embed:"" group:"Admin"`
	cli.LogFlags  `embed:"" group:"Log"`
}

// Run works until the process is told to stop.
func (c runCommand) Run(ctx context.Context, p cli.Process) error {
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
	tracer, flush, err := telemetry.Start(ctx, p.Getenv, versionString(), log)
	if err != nil {
		return err
	}
	defer flush()
	cfg.Tracer = tracer
	metrics := admin.NewMetrics(versionString(), runtime.Version())
	cfg.Observer = metrics
	server, stopServing, err := c.Listen(metrics)
	if err != nil {
		return err
	}
	defer stopServing()

	server.Waiting("waiting for NATS at " + c.ShownURL())
	nc, err := c.Connect(ctx, clientName(), log, connect.Watchful()...)
	if err != nil {
		return stopped(ctx, err)
	}
	defer connect.Close(nc)
	server.Connected(nc)
	cfg.Away = nc.IsReconnecting
	js, err := jetstream.New(nc)
	if err != nil {
		return fmt.Errorf("using JetStream: %w", err)
	}
	server.Waiting("waiting for JetStream, its streams and consumers")
	worker, outcomes, err := newWorker(ctx, js, client, cfg, log)
	if err != nil {
		return stopped(ctx, err)
	}
	server.Watch(worker, outcomes, js, log)
	log.WithFields(logrus.Fields{
		"admin":           server.Addr(),
		"version":         versionString(),
		"nats":            mask.URL(nc.ConnectedUrl()),
		"vendor":          c.BaseURL,
		"redelivery":      worker.Mode(),
		"clock_offset":    worker.ClockOffset().Round(time.Millisecond).String(),
		"failed_statuses": strings.Join(c.FailedStatus, ","),
	}).Info("working")
	told := make(chan struct{})
	untold := context.AfterFunc(ctx, func() {
		defer close(told)
		server.Stopping()
		log.WithField("within", schema.Duration(c.ShutdownTimeout)).Info(
			"stopping: what is being polled is finished, and nothing else is begun",
		)
	})
	watching, stopWatching := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { client.WatchToken(watching, worker.TokenChanged) })
	err = worker.Run(ctx, p.Leave)
	stopWatching()
	watch.Wait()
	if !untold() {
		<-told
	}
	if last := nc.LastError(); errors.Is(err, nats.ErrConnectionClosed) && connect.CredentialsRejected(last) {
		err = fmt.Errorf("NATS at %s does not let this worker in any more: %w; %s", c.ShownURL(), last, c.Hint(last))
	}
	stats, published := worker.Stats(), outcomes.Stats()
	deadLetters := uint64(0)
	for _, n := range published.Failed {
		deadLetters += n
	}
	log.WithFields(logrus.Fields{
		"taken_in":             stats.TakenIn,
		"polls":                stats.Polls,
		"processed_events":     published.Published - deadLetters,
		"dead_letters":         deadLetters,
		"declared_twice":       stats.DeclaredTwice,
		"skipped":              stats.Skipped,
		"refused_reservations": stats.RefusedReservations,
		"contradictions":       published.Contradictions,
		"faults":               stats.Faults,
		"panics":               stats.Panics,
	}).Info("stopped")
	return err
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
		Intervals: intervals, RequestTimeout: c.RequestTimeout, Deadline: c.Deadline, NotFoundGrace: c.NotFoundGrace,
		Concurrency: c.Concurrency, ShutdownTimeout: c.ShutdownTimeout, Log: log,
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

// newWorker waits until the broker can answer, and makes a worker on the streams that are there. Outcomes are logged to
// log.
func newWorker(
	ctx context.Context,
	js jetstream.JetStream,
	client consumer.StatusClient,
	cfg consumer.Config,
	log logrus.FieldLogger,
) (*consumer.Worker, *publisher.Publisher, error) {
	var worker *consumer.Worker
	var outcomes *publisher.Publisher
	err := connect.Settled(ctx, js, cfg.Log, func(ctx context.Context, js jetstream.JetStream) error {
		mode, err := checkTopology(ctx, js, cfg)
		if err != nil {
			return err
		}
		if err := checkOutcomesAge(ctx, js, cfg.Deadline); err != nil {
			return err
		}
		if outcomes, err = publisher.New(ctx, adapter.New(js), log); err != nil {
			return err
		}
		worker, err = consumer.New(ctx, adapter.New(js), mode, client, outcomes, cfg)
		return err
	})
	return worker, outcomes, err
}

// checkOutcomesAge refuses a deadline by which an outcome can be gone while its interaction still waits: it would be
// published again.
func checkOutcomesAge(ctx context.Context, js jetstream.JetStream, deadline time.Duration) error {
	stream, err := js.Stream(ctx, schema.StreamOutcomes)
	if err != nil {
		return fmt.Errorf("reading stream %s: %w", schema.StreamOutcomes, err)
	}
	if age := stream.CachedInfo().Config.MaxAge; age > 0 && age <= deadline {
		return cli.BadFlag(
			flags.Work{},
			"deadline",
			schema.Duration(deadline),
			fmt.Sprintf(
				"less than %s, for which outcomes are kept: they tell that an interaction has ended; or have them kept longer, by --max-age and --update of `statusworker provision`",
				schema.Duration(age),
			),
		)
	}
	return nil
}

// stopped turns the end of a wait that a signal ended into no error.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// unfinished says what a signal has kept a command from, which has a beginning and an end and did not come to it.
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
