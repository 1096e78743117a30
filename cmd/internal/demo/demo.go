// Package demo shows all of statusworker in one process: an embedded broker, a simulated vendor, and a worker on a
// mixed set of interactions. It checks what came of them against the vendor's log and the outcome stream.
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

// Demo is one run.
type Demo struct {
	// Speed is how many times faster than in production the vendor is, and the guidance is shorter; 1 to 50.
	Speed float64
	// Count is how many interactions there are beside those that each show something of their own.
	Count int
	// Keep leaves everything running afterwards, until the context ends.
	Keep          bool
	Redelivery    consumer.Mode
	Host, Version string
	// Work makes a worker. It logs outcomes to the log.
	Work func(
		context.Context, jetstream.JetStream, consumer.StatusClient, consumer.Config, logrus.FieldLogger,
	) (Worker, error)
}

// Worker works until ctx ends, and does not finish what it has begun when leave ends too.
type Worker interface {
	Run(ctx, leave context.Context) error
}

// Run has a worker work on the interactions, shows it, and checks what came of them. It is no error that ctx ends.
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

// stopped turns the end of a wait that a signal ended into no error.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// stage is what a demo runs on.
type stage struct {
	folder  string
	broker  *embedded.Server
	vendor  *simulator.Simulator
	nc      *nats.Conn
	js      jetstream.JetStream
	cfg     consumer.Config
	log     *logrus.Logger
	streams []string // in which interactions wait
}

// open starts a broker in a folder of its own, within one for temporary files, and a vendor, and provisions the
// streams.
func (d Demo) open(ctx context.Context, within string, notes *notes) (_ *stage, err error) {
	s := &stage{log: logrus.New()}
	s.log.SetOutput(notes)
	s.log.SetFormatter(lineFormat{})
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	s.cfg = d.config(s.log)
	if err := s.cfg.Check(); err != nil {
		return nil, err
	}
	if s.folder, err = os.MkdirTemp(within, "statusworker-dev-"); err != nil {
		return nil, fmt.Errorf("making a folder for the broker: %w", err)
	}
	if s.broker, err = embedded.Start(s.folder, 0); err != nil {
		return nil, err
	}
	// A newcomer, declared with --keep, is processed after a minute of the vendor's time.
	newcomer := func(string) simulator.Script { return simulator.Processed(time.Minute) }
	if s.vendor, err = simulator.Start(simulator.Config{Speed: d.Speed, Default: newcomer}); err != nil {
		return nil, err
	}
	reach := connect.Flags{NATSURL: s.broker.URL(), InboxPrefix: strings.TrimSuffix(nats.InboxPrefix, ".")}
	if s.nc, err = reach.Connect(ctx, "statusworker dev", s.log); err != nil {
		return nil, err
	}
	if s.js, err = jetstream.New(s.nc); err != nil {
		return nil, fmt.Errorf("using JetStream: %w", err)
	}
	set := consumer.Topology(s.cfg, consumer.Choices{Mode: d.Redelivery}).
		Add(publisher.Topology(publisher.Choices{MaxAge: publisher.DefaultMaxAge}))
	s.streams = d.Redelivery.Streams()
	_, err = provisioning.Create(ctx, s.js, set)
	return s, err
}

// close stops what was started, and removes the broker's folder.
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
	if s.folder == "" {
		return nil
	}
	return os.RemoveAll(s.folder)
}

// config scales the guidance, and with it what a worker waits for. The broker and this machine do not get faster: so
// the deadline and the grace have a part that is not scaled.
func (d Demo) config(log logrus.FieldLogger) consumer.Config {
	slow := 2*time.Second + time.Duration(d.Count)*2*time.Millisecond
	if d.Redelivery == consumer.Nak {
		slow += 2 * time.Second // each wait is a second longer
	}
	return consumer.Config{
		Intervals: consumer.Intervals{
			Audio: scaled(consumer.Guidance.Audio, d.Speed), Chat: scaled(consumer.Guidance.Chat, d.Speed),
			Transcript: scaled(consumer.Guidance.Transcript, d.Speed),
		},
		RequestTimeout: 2 * time.Second, Concurrency: 64, StretchLimit: time.Minute, ShutdownTimeout: 3 * time.Second,
		Deadline: scaled(115*time.Second, d.Speed) + slow, NotFoundGrace: scaled(20*time.Second, d.Speed) + slow/2,
		FailedStatuses: []schema.Status{failedStatus}, Log: log, Host: d.Host, Version: d.Version,
	}
}
