//go:build !nodev

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"

	"statusworker/cmd/embedded"
	"statusworker/cmd/internal/cli"
	"statusworker/cmd/internal/connect"
	"statusworker/cmd/internal/flags"
	"statusworker/cmd/internal/producer"
	"statusworker/cmd/internal/terminal"
	"statusworker/consumer"
	"statusworker/publisher"
	"statusworker/schema"
	"statusworker/schema/topology"
	"statusworker/statusclient/simulator"
)

type devCommand struct {
	Speed      float64       `name:"speed" default:"20" help:"How many times faster than life the vendor is, and the guidance is shorter; 1 to 50."`
	Count      int           `name:"count" default:"36" help:"How many interactions beside the ones that each show something of their own; up to 5000."`
	Keep       bool          `name:"keep" help:"Leave broker, vendor and worker running afterwards, until Ctrl-C, and print how to reach them."`
	Redelivery consumer.Mode `name:"redelivery" default:"schedule" enum:"schedule,nak" help:"How interactions wait between polls; one of ${enum}."`
}

// Run has a worker work on a mixed set of interactions, shows it, and checks what came of it against the vendor's log
// and the outcome stream.
func (c devCommand) Run(ctx context.Context, p cli.Process) error {
	if !(c.Speed >= 1 && c.Speed <= 50) { // so that NaN is refused too
		return cli.BadFlag(c, "speed", speedText(c.Speed), "1 to 50")
	}
	if c.Count < 0 || c.Count > 5000 {
		return cli.BadFlag(c, "count", fmt.Sprint(c.Count), "0 to 5000")
	}
	live := terminal.Is(p.Stdout) && p.Getenv("TERM") != "dumb"
	notes := newDevNotes(p.Stderr, live && terminal.Is(p.Stderr))
	s, err := c.open(ctx, p.Getenv("TMPDIR"), notes)
	if err != nil {
		return stopped(ctx, err)
	}
	p.Standard.To(s.log)
	err = c.play(ctx, p, s, notes, live)
	return errors.Join(err, s.close())
}

// devStage is what `dev` runs on.
type devStage struct {
	folder  string
	broker  *embedded.Server
	vendor  *simulator.Simulator
	nc      *nats.Conn
	js      jetstream.JetStream
	run     runCommand
	cfg     consumer.Config
	log     *logrus.Logger
	streams []string // in which interactions wait
}

// open starts a broker in a folder of its own, within one for temporary files, and a vendor, and provisions the streams.
func (c devCommand) open(ctx context.Context, within string, notes *devNotes) (_ *devStage, err error) {
	s := &devStage{log: logrus.New()}
	s.log.SetOutput(notes)
	s.log.SetFormatter(devFormat{})
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.folder, err = os.MkdirTemp(within, "statusworker-dev-"); err != nil {
		return nil, fmt.Errorf("making a folder for the broker: %w", err)
	}
	if s.broker, err = embedded.Start(s.folder, 0); err != nil {
		return nil, err
	}
	// A newcomer, declared with --keep, is processed after a minute of the vendor's time.
	newcomer := func(string) simulator.Script { return simulator.Processed(time.Minute) }
	if s.vendor, err = simulator.Start(simulator.Config{Speed: c.Speed, Default: newcomer}); err != nil {
		return nil, err
	}
	s.run = runCommand{
		Flags:  connect.Flags{NATSURL: s.broker.URL(), InboxPrefix: nats.InboxPrefix[:len(nats.InboxPrefix)-1]},
		Vendor: flags.Vendor{Base: flags.Base{BaseURL: s.vendor.URL()}, Token: simulator.DefaultToken},
	}
	s.run.Timing, s.run.Work = devTiming(c.Speed, c.Count, c.Redelivery)
	if s.cfg, err = s.run.config(s.log); err != nil {
		return nil, err
	}
	if s.nc, err = s.run.Connect(ctx, "statusworker dev", s.log); err != nil {
		return nil, err
	}
	if s.js, err = jetstream.New(s.nc); err != nil {
		return nil, fmt.Errorf("using JetStream: %w", err)
	}
	set := consumer.Topology(s.cfg, consumer.Choices{Mode: c.Redelivery}).Add(publisher.Topology(publisher.Choices{MaxAge: publisher.DefaultMaxAge}))
	s.streams = c.Redelivery.Streams()
	_, err = topology.Create(ctx, s.js, set)
	return s, err
}

// close stops what was started, and removes the broker's folder.
func (s *devStage) close() error {
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

// errPlayed ends the parts of a play when it is over.
var errPlayed = errors.New("played")

// play declares the cast, shows what becomes of it, and judges that.
func (c devCommand) play(ctx context.Context, p cli.Process, s *devStage, notes *devNotes, live bool) error {
	client, err := s.run.client(p)
	if err != nil {
		return err
	}
	defer client.Close()
	quiet := logrus.New() // the scene shows each dead letter
	quiet.SetOutput(io.Discard)
	worker, _, err := newWorker(ctx, s.js, client, s.cfg, quiet)
	if err != nil {
		return stopped(ctx, err)
	}
	cast := newCast(c.Count)
	watch := newDevWatch(cast, time.Now)
	s.vendor.OnPoll(watch.polled)
	outcomes, err := s.js.OrderedConsumer(ctx, schema.StreamOutcomes, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return stopped(ctx, fmt.Errorf("reading the outcomes: %w", err))
	}
	reading, err := outcomes.Consume(watch.landed)
	if err != nil {
		return fmt.Errorf("reading the outcomes: %w", err)
	}
	defer reading.Stop()

	title := fmt.Sprintf("statusworker dev: redelivery %s, speed %s, %d interactions", c.Redelivery, speedText(c.Speed), len(cast))
	play, playCtx := errgroup.WithContext(ctx)
	play.Go(func() error {
		err := worker.Run(playCtx, p.Leave)
		if err == nil && playCtx.Err() == nil {
			err = errors.New("the worker stopped by itself")
		}
		return err
	})
	var twice int
	var report devReport
	scene, endScene := context.WithCancel(playCtx)
	defer endScene()
	shown := make(chan struct{})
	play.Go(func() error {
		defer close(shown)
		if live {
			showLive(scene, p, watch, notes, title)
		} else {
			showPlain(scene, p.Stdout, watch, title)
		}
		return nil
	})
	play.Go(func() error {
		bounded, cancel := context.WithTimeout(playCtx, s.cfg.Deadline+5*s.cfg.Intervals.Audio+20*time.Second)
		defer cancel()
		err := s.stage(bounded, cast, watch, &twice)
		if err != nil && bounded.Err() == nil || playCtx.Err() != nil {
			return err
		}
		// Where time ran out, the report says what is missing.
		report = judgeDev(cast, watch.landings(), s.vendor.Polls(), s.cfg.Intervals)
		report.took, report.twice, report.waiting = watch.elapsed(), twice, err != nil
		endScene()
		<-shown
		notes.open(terminal.Columns(p.Stderr))
		report.write(p.Stdout, terminal.Columns(p.Stdout))
		if c.Keep {
			c.keep(playCtx, p, s, watch)
		}
		return errPlayed
	})
	err = play.Wait()
	<-shown
	notes.open(terminal.Columns(p.Stderr))
	if errors.Is(err, errPlayed) {
		return report.verdict()
	}
	if ctx.Err() != nil {
		say(p.Stdout, "stopped")
		return nil
	}
	return err
}

// stage has the cast declared, and waits until every outcome is there and nothing is left that could lead to another.
func (s *devStage) stage(ctx context.Context, cast []part, watch *devWatch, twice *int) error {
	for _, one := range cast {
		s.vendor.Declare(one.identifier, one.script)
		watch.declared(one.identifier)
		subject := schema.DeclaredSubject(one.typ, one.identifier)
		if _, err := s.js.Publish(ctx, subject, []byte(one.message)); err != nil {
			return fmt.Errorf("declaring %s: %w", one.identifier, err)
		}
	}
	for _, one := range cast {
		if !one.twice {
			continue
		}
		if err := s.vendor.WaitPollsOf(ctx, one.identifier, 1); err != nil {
			return err
		}
		// With naks the message is still stored, so that the broker refuses the second; else the worker drops it.
		_, err := s.js.Publish(ctx, schema.DeclaredSubject(one.typ, one.identifier), []byte(one.message))
		if err != nil && !producer.AlreadyWaiting(err) {
			return fmt.Errorf("declaring %s again: %w", one.identifier, err)
		}
		*twice++
	}
	select {
	case <-watch.complete:
	case <-ctx.Done():
		return ctx.Err()
	}
	// What comes after the last outcome counts too: it would be one too many.
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		left, err := s.left(ctx)
		if err != nil || left == 0 {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// left is how many messages are in the streams in which interactions wait.
func (s *devStage) left(ctx context.Context) (uint64, error) {
	var n uint64
	for _, name := range s.streams {
		stream, err := s.js.Stream(ctx, name)
		if err != nil {
			return 0, fmt.Errorf("reading stream %s: %w", name, err)
		}
		n += stream.CachedInfo().State.Msgs
	}
	return n, nil
}

// keep leaves everything running until ctx ends, and tells of what lands.
func (c devCommand) keep(ctx context.Context, p cli.Process, s *devStage, watch *devWatch) {
	say(p.Stdout, `
Broker, vendor and worker go on until Ctrl-C.

  NATS    %s
  vendor  %s   (X-API-Token: %s)

Declare one more from another terminal; the vendor takes whatever it does not know for a new one:

  statusworker declare --nats-url %s --type chat %s
`, s.broker.URL(), s.vendor.URL(), simulator.DefaultToken, s.broker.URL(), uuid.NewString())
	for n := len(watch.landings()); ; {
		landed, changed := watch.since(n)
		for _, l := range landed {
			if _, err := fmt.Fprintln(p.Stdout, l.subject); err != nil {
				return // nobody reads it any more
			}
		}
		n += len(landed)
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}
