package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
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

// order tells a poller what to do.
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
		return order{}, errors.New("want broker URL, vendor URL, mode, guidance and concurrency")
	}
	o := order{broker: args[0], vendor: args[1], mode: consumer.Mode(args[2])}
	var err error
	if o.interval, err = time.ParseDuration(args[3]); err != nil {
		return o, fmt.Errorf("reading the guidance: %w", err)
	}
	if o.concurrency, err = strconv.Atoi(args[4]); err != nil {
		return o, fmt.Errorf("reading the concurrency: %w", err)
	}
	return o, nil
}

// intervals are the same for all types.
func (o order) intervals() consumer.Intervals {
	return consumer.Intervals{Audio: o.interval, Chat: o.interval, Transcript: o.interval}
}

// playStage runs the worker, wired as `statusworker run` does: broker URL, vendor URL, mode, guidance, concurrency.
func playStage(args []string) (*player, error) {
	late := &lateness{Observer: admin.NewMetrics("bench", runtime.Version())}
	p, err := playWorker(args, late)
	if err == nil {
		p.late = late.since
	}
	return p, err
}

// lateness keeps how late polls were, beside the metrics.
type lateness struct {
	consumer.Observer
	mu  sync.Mutex
	all []time.Duration
}

// Polled is for the worker.
func (l *lateness) Polled(t schema.Type, result consumer.Result, took, late time.Duration) {
	l.Observer.Polled(t, result, took, late)
	if late < 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.all) < maxLate {
		l.all = append(l.all, late)
	}
}

const maxLate = 1 << 17

// since gives the median and the 99th percentile since the last call.
func (l *lateness) since() (p50, p99 time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.all) == 0 {
		return 0, 0
	}
	slices.Sort(l.all)
	p50, p99 = l.all[len(l.all)/2], l.all[len(l.all)*99/100]
	l.all = l.all[:0]
	return p50, p99
}

// playUnmeasured runs the same worker without its metrics.
func playUnmeasured(args []string) (*player, error) { return playWorker(args, nil) }

func playWorker(args []string, observer consumer.Observer) (*player, error) {
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
	outcomes, err := publisher.New(ctx, adapter.New(js), log)
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
		return nil, fmt.Errorf("the streams are made for %s, not for %s", mode, o.mode)
	}
	worker, err := consumer.New(ctx, adapter.New(js), mode, client, outcomes, cfg)
	if err != nil {
		return nil, err
	}
	working, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- worker.Run(working, context.Background()) }()
	return &player{where: "stage", stop: func() error {
		stop()
		err := <-ended
		client.Close()
		nc.Close()
		if s, stored := worker.Stats(), outcomes.Stats().Published; err == nil && (s.Faults > 0 || stored > 0) {
			err = fmt.Errorf("what was measured was not polling alone: %d outcomes, %+v", stored, s)
		}
		return err
	}}, nil
}
