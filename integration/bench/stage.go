package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sirupsen/logrus"

	"statusworker/cmd/admin"
	"statusworker/cmd/broker/adapter"
	"statusworker/cmd/broker/provisioning"
	"statusworker/consumer"
	"statusworker/publisher"
	"statusworker/schema"
	"statusworker/statusclient"
)

// order is the configuration of a poller.
type order struct {
	broker, vendor string
	mode           consumer.Mode
	interval       time.Duration
	concurrency    int
}

func (o order) arguments() []string {
	return []string{o.broker, o.vendor, string(o.mode), o.interval.String(), strconv.Itoa(o.concurrency)}
}

func parseOrder(args []string) (order, error) {
	if len(args) != 5 {
		return order{}, fmt.Errorf(
			"%d arguments; must be 5: broker URL, vendor URL, mode, interval and concurrency", len(args))
	}
	o := order{broker: args[0], vendor: args[1], mode: consumer.Mode(args[2])}
	var err error
	if o.interval, err = time.ParseDuration(args[3]); err != nil {
		return o, fmt.Errorf("reading the interval: %w", err)
	}
	if o.concurrency, err = strconv.Atoi(args[4]); err != nil {
		return o, fmt.Errorf("reading the concurrency: %w", err)
	}
	return o, nil
}

// intervals are the same for all types; those of the vendor's guidance if the interval is 0.
func (o order) intervals() consumer.Intervals {
	if o.interval == 0 {
		return consumer.Guidance
	}
	return consumer.Intervals{Audio: o.interval, Chat: o.interval, Transcript: o.interval}
}

// startStage starts the worker with its metrics, wired as in `statusworker run`. The arguments are those of an order.
func startStage(args []string) (*role, error) {
	late := &lateness{Observer: admin.NewMetrics(ns, "bench", runtime.Version())}
	r, err := startWorker(args, late)
	if err == nil {
		r.late = late.since
	}
	return r, err
}

// lateness records the lateness of polls in addition to the metrics.
type lateness struct {
	consumer.Observer
	durations
}

// Polled implements [consumer.Observer].
func (l *lateness) Polled(t schema.Type, result consumer.Result, took, late time.Duration) {
	l.Observer.Polled(t, result, took, late)
	if late >= 0 {
		l.add(late)
	}
}

// startUnmeasured starts the same worker without metrics.
func startUnmeasured(args []string) (*role, error) { return startWorker(args, nil) }

func startWorker(args []string, observer consumer.Observer) (*role, error) {
	o, err := parseOrder(args)
	if err != nil {
		return nil, err
	}
	log := logrus.New()
	log.SetOutput(os.Stderr)
	log.SetLevel(logrus.WarnLevel)
	client, err := statusclient.New(statusclient.Config{
		BaseURL:     o.vendor,
		Token:       vendorToken,
		Timeout:     10 * time.Second,
		Concurrency: o.concurrency,
		UserAgent:   "statusworker/bench",
	})
	if err != nil {
		return nil, err
	}
	nc, err := nats.Connect(o.broker, nats.Name("stage"), nats.CustomInboxPrefix("_INBOX"), nats.MaxReconnects(-1),
		nats.PingInterval(20*time.Second), nats.MaxPingsOutstanding(2))
	if err != nil {
		return nil, fmt.Errorf("connecting to the broker: %w", err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("using JetStream: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	outcomes, err := publisher.New(ctx, adapter.New(js), ns, log)
	if err != nil {
		return nil, err
	}
	cfg := consumer.Config{
		Intervals: o.intervals(), RequestTimeout: 10 * time.Second, Concurrency: o.concurrency, Log: log,
		Observer: observer,
	}
	mode, err := provisioning.Check(ctx, js, cfg)
	if err != nil {
		return nil, err
	}
	if mode != o.mode {
		return nil, fmt.Errorf("the streams are provisioned for redelivery %s; must be %s", mode, o.mode)
	}
	worker, err := consumer.New(ctx, adapter.New(js), mode, client, outcomes, cfg)
	if err != nil {
		return nil, err
	}
	working, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- worker.Run(working, context.Background()) }()
	return &role{address: "stage", stop: func() error {
		stop()
		err := <-ended
		client.Close()
		nc.Close()
		if s, stored := worker.Stats(), outcomes.Stats().Published; err == nil && (s.DeliveryErrors > 0 || stored > 0) {
			err = fmt.Errorf("measured more than polls: %d outcomes, %+v", stored, s)
		}
		return err
	}}, nil
}
