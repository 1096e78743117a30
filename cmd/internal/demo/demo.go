// Package demo runs an embedded broker, a simulated vendor and a worker in one process. It declares interactions of
// every kind, shows their progress, and checks the outcomes and the polls.
package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sirupsen/logrus"

	"statusworker/cmd/broker/embedded"
	"statusworker/cmd/broker/provisioning"
	"statusworker/cmd/internal/cli"
	"statusworker/cmd/internal/connect"
	"statusworker/cmd/internal/terminal"
	"statusworker/consumer"
	"statusworker/publisher"
	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

// Demo configures one run.
type Demo struct {
	Namespace schema.Namespace
	// Speed is the factor by which the vendor is faster and the poll intervals are shorter than in production: 1 to 50.
	Speed float64
	// Count is the number of ordinary interactions, in addition to the special cases.
	Count int
	// Keep keeps everything running afterwards, until the context ends.
	Keep          bool
	Redelivery    consumer.Mode
	Host, Version string
	// NewWorker returns a worker. It logs outcomes to the logger.
	NewWorker func(
		context.Context, jetstream.JetStream, consumer.StatusClient, consumer.Config, logrus.FieldLogger,
	) (Worker, error)
}

// Worker works until ctx ends, and then finishes the polls in flight, unless leave ends too.
type Worker interface {
	Run(ctx, leave context.Context) error
}

// Run runs the demo. It returns an error if an outcome or a poll is wrong, but none if ctx ends first.
func (d Demo) Run(ctx context.Context, p cli.Process) error {
	live := terminal.Is(p.Stdout) && terminal.Draws(p.Getenv)
	notes := newNotes(p.Stderr, live && terminal.Is(p.Stderr))
	s, err := d.open(ctx, p.Getenv("TMPDIR"), notes)
	if err != nil {
		return stopped(ctx, err)
	}
	p.Standard.To(s.log)
	err = d.play(ctx, p, s, notes, live)
	return errors.Join(err, s.close())
}

// stopped returns nil for an error that the end of ctx has caused.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

var inboxPrefix = strings.TrimSuffix(nats.InboxPrefix, ".")

// stage is the broker and the vendor of a demo.
type stage struct {
	directory string
	broker    *embedded.Server
	vendor    *simulator.Simulator
	nc        *nats.Conn
	js        jetstream.JetStream
	cfg       consumer.Config
	log       *logrus.Logger
	mode      consumer.Mode
}

// open starts the broker, with its data in a new directory below tempDir, and the vendor, and provisions the streams.
func (d Demo) open(ctx context.Context, tempDir string, notes *notes) (_ *stage, err error) {
	s := &stage{log: logrus.New(), mode: d.Redelivery}
	s.log.SetOutput(notes)
	s.log.SetFormatter(cli.TextFormat{Time: time.TimeOnly})
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	s.cfg = d.config(s.log)
	if err := s.cfg.Check(); err != nil {
		return nil, err
	}
	if s.directory, err = os.MkdirTemp(tempDir, "statusworker-dev-"); err != nil {
		return nil, fmt.Errorf("creating a directory for the broker: %w", err)
	}
	if s.broker, err = embedded.Start(s.directory, 0); err != nil {
		return nil, err
	}
	// Interactions that a user declares during --keep are processed after a minute of the vendor's time.
	unknown := func(string) simulator.Script { return simulator.Processed(time.Minute) }
	if s.vendor, err = simulator.Start(simulator.Config{Speed: d.Speed, Default: unknown}); err != nil {
		return nil, err
	}
	if s.nc, err = s.connection().Connect(ctx, "statusworker dev", s.log); err != nil {
		return nil, err
	}
	if s.js, err = jetstream.New(s.nc); err != nil {
		return nil, fmt.Errorf("using JetStream: %w", err)
	}
	set := consumer.Topology(s.cfg, consumer.Choices{Mode: d.Redelivery}).
		Add(publisher.Topology(publisher.Choices{Namespace: d.Namespace, MaxAge: publisher.DefaultMaxAge}))
	_, err = provisioning.Create(ctx, s.js, set)
	return s, err
}

// close stops everything, and removes the broker's directory.
func (s *stage) close() error {
	if s.nc != nil {
		connect.Close(s.nc)
	}
	if s.vendor != nil {
		s.vendor.Close()
	}
	if s.broker != nil {
		s.broker.Stop()
	}
	if s.directory == "" {
		return nil
	}
	return os.RemoveAll(s.directory)
}

// config scales the poll intervals, the deadline and the grace by the speed. The deadline and the grace also have a
// part that is not scaled: the broker and this machine are not faster than in production.
func (d Demo) config(log logrus.FieldLogger) consumer.Config {
	slow := 2*time.Second + time.Duration(d.Count)*2*time.Millisecond
	if d.Redelivery == consumer.Nak {
		slow += 2 * time.Second // each delayed nak waits up to a second longer
	}
	return consumer.Config{
		Namespace: d.Namespace, Intervals: consumer.Intervals{
			Audio: scaled(consumer.Guidance.Audio, d.Speed), Chat: scaled(consumer.Guidance.Chat, d.Speed),
			Transcript: scaled(consumer.Guidance.Transcript, d.Speed),
		},
		RequestTimeout: 2 * time.Second, Concurrency: 64, StretchLimit: time.Minute, ShutdownTimeout: 3 * time.Second,
		Deadline: scaled(115*time.Second, d.Speed) + slow, NotFoundGrace: scaled(20*time.Second, d.Speed) + slow/2,
		FailedStatuses: []schema.Status{failedStatus}, Log: log, Host: d.Host, Version: d.Version,
	}
}
