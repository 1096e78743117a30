package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sirupsen/logrus"

	"statusworker/cmd/admin"
	"statusworker/cmd/broker/adapter"
	"statusworker/cmd/internal/advice"
	"statusworker/cmd/internal/cli"
	"statusworker/cmd/internal/connect"
	"statusworker/cmd/internal/flags"
	"statusworker/cmd/internal/mask"
	"statusworker/consumer"
	"statusworker/publisher"
	"statusworker/schema"
	"statusworker/statusclient"
)

// session is the run of a worker on a connection.
type session struct {
	flags  runCommand
	cfg    consumer.Config
	client *statusclient.Client
	server *admin.Server
	nc     *nats.Conn
	log    logrus.FieldLogger
}

// run waits for JetStream, and runs a worker until ctx ends. When leave ends too, it does not wait for polls in flight.
func (s session) run(ctx, leave context.Context) error {
	js, err := s.flags.JetStream(s.nc)
	if err != nil {
		return err
	}
	s.server.Waiting("waiting for JetStream, its streams and consumers")
	worker, outcomes, err := newWorker(ctx, js, s.client, s.cfg, s.log)
	if err != nil {
		return stopped(ctx, err)
	}
	s.server.Watch(worker, outcomes, js, s.log)
	s.log.WithFields(logrus.Fields{
		"admin":           s.server.Addr(),
		"namespace":       s.cfg.Namespace,
		"version":         versionString(),
		"nats":            mask.URL(s.nc.ConnectedUrl()),
		"vendor":          s.flags.BaseURL,
		"redelivery":      worker.Mode(),
		"clock_offset":    worker.ClockOffset().Round(time.Millisecond).String(),
		"failed_statuses": strings.Join(s.flags.FailedStatus, ","),
	}).Info("working")
	err = s.work(ctx, leave, worker)
	s.logEnd(worker.Stats(), outcomes.Stats())
	if last := s.nc.LastError(); errors.Is(err, nats.ErrConnectionClosed) && connect.CredentialsRejected(last) {
		return fmt.Errorf("NATS at %s rejects the credentials: %w; %s", s.flags.ShownURL(), last, s.flags.Hint(last))
	}
	return advice.Deleted(err, worker.Mode(), s.cfg)
}

// work runs the worker. Meanwhile it watches the token file, and reports when the shutdown begins.
func (s session) work(ctx, leave context.Context, worker *consumer.Worker) error {
	reported := make(chan struct{})
	notStopping := context.AfterFunc(ctx, func() {
		defer close(reported)
		s.server.Stopping()
		s.log.WithField("timeout", schema.Duration(s.flags.ShutdownTimeout)).Info("stopping")
	})
	watching, stopWatching := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { s.client.WatchToken(watching, worker.TokenChanged) })
	err := worker.Run(ctx, leave)
	stopWatching()
	watch.Wait()
	if !notStopping() {
		<-reported
	}
	return err
}

func (s session) logEnd(stats consumer.Stats, published publisher.Stats) {
	deadLetters := uint64(0)
	for _, n := range published.Failed {
		deadLetters += n
	}
	s.log.WithFields(logrus.Fields{
		"taken_in":              stats.TakenIn,
		"polls":                 stats.Polls,
		"processed_events":      published.Published - deadLetters,
		"dead_letters":          deadLetters,
		"declared_twice":        stats.DeclaredTwice,
		"deliveries_not_polled": stats.NotPolled,
		"vendor_failures":       stats.VendorFailures,
		"rejected_reservations": stats.RejectedReservations,
		"contradictions":        published.Contradictions,
		"delivery_errors":       stats.DeliveryErrors,
		"panics":                stats.Panics,
	}).Info("stopped")
}

// newWorker waits until the broker answers, and returns a worker on the existing streams. It logs outcomes to log.
func newWorker(
	ctx context.Context, js jetstream.JetStream, client consumer.StatusClient, cfg consumer.Config,
	log logrus.FieldLogger,
) (worker *consumer.Worker, outcomes *publisher.Publisher, err error) {
	err = connect.Settled(ctx, js, cfg.Log, func(ctx context.Context, js jetstream.JetStream) error {
		mode, err := checkTopology(ctx, js, cfg)
		if err != nil {
			return err
		}
		if err := checkOutcomesAge(ctx, js, cfg); err != nil {
			return err
		}
		if outcomes, err = publisher.New(ctx, adapter.New(js), cfg.Namespace, log); err != nil {
			return err
		}
		worker, err = consumer.New(ctx, adapter.New(js), mode, client, outcomes, cfg)
		return err
	})
	return worker, outcomes, err
}

// checkOutcomesAge rejects a deadline at which the outcome of an interaction may already be deleted while its last
// message is still stored: the outcome would be published again.
func checkOutcomesAge(ctx context.Context, js jetstream.JetStream, cfg consumer.Config) error {
	stream, err := js.Stream(ctx, cfg.Namespace.StreamOutcomes())
	if err != nil {
		return fmt.Errorf("reading stream %s: %w", cfg.Namespace.StreamOutcomes(), err)
	}
	if age := stream.CachedInfo().Config.MaxAge; age > 0 && age <= cfg.Deadline {
		return cli.BadFlag(flags.Work{}, "deadline", schema.Duration(cfg.Deadline), fmt.Sprintf(
			"less than %s, the max age of stream %s; or raise that: `%s`",
			schema.Duration(age), cfg.Namespace.StreamOutcomes(),
			advice.Command(cfg.Namespace, "provision --max-age AGE --update")))
	}
	return nil
}
