package demo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"

	"statusworker/cmd/broker/adapter"
	"statusworker/cmd/internal/cli"
	"statusworker/cmd/internal/terminal"
	"statusworker/consumer"
	"statusworker/schema"
	"statusworker/statusclient"
	"statusworker/statusclient/simulator"
)

// errPlayed ends the goroutines of play when the demo is complete.
var errPlayed = errors.New("played")

// play declares the interactions, shows their progress, and checks the result.
func (d Demo) play(ctx context.Context, p cli.Process, s *stage, notes *notes, live bool) error {
	client, err := d.client(s)
	if err != nil {
		return err
	}
	defer client.Close()
	quiet := logrus.New() // dead letters are already on the screen
	quiet.SetOutput(io.Discard)
	worker, err := d.NewWorker(ctx, s.js, client, s.cfg, quiet)
	if err != nil {
		return stopped(ctx, err)
	}
	cast := newCast(d.Namespace, d.Count)
	watch := newWatcher(d.Namespace, cast, time.Now)
	s.vendor.OnPoll(watch.polled)
	stopReading, err := s.read(ctx, watch)
	if err != nil {
		return stopped(ctx, err)
	}
	defer stopReading()

	parts, partsCtx := errgroup.WithContext(ctx)
	parts.Go(func() error { return work(partsCtx, p.Leave, worker) })
	scene, endScene := context.WithCancel(partsCtx)
	defer endScene()
	shown := make(chan struct{})
	parts.Go(func() error {
		defer close(shown)
		title := fmt.Sprintf("statusworker dev: redelivery mode %s, %.4g times real time, %d interactions",
			d.Redelivery, d.Speed, len(cast))
		if live {
			showLive(scene, p, watch, notes, title)
		} else {
			showPlain(scene, p.Stdout, watch, title)
		}
		return nil
	})
	var r report
	parts.Go(func() (err error) {
		if r, err = s.judged(partsCtx, cast, watch); err != nil {
			return err
		}
		endScene()
		<-shown
		notes.open(terminal.Columns(p.Stderr))
		r.write(p.Stdout, terminal.Columns(p.Stdout))
		if d.Keep {
			err = s.keep(partsCtx, p, watch, d.Version)
		}
		return cmp.Or(err, errPlayed)
	})
	err = parts.Wait()
	<-shown
	notes.open(terminal.Columns(p.Stderr))
	if errors.Is(err, errPlayed) {
		return r.verdict()
	}
	if ctx.Err() != nil {
		fmt.Fprintln(p.Stdout, "stopped")
		return nil
	}
	return err
}

// client returns a client for the stage's vendor.
func (d Demo) client(s *stage) (*statusclient.Client, error) {
	return statusclient.New(statusclient.Config{
		BaseURL:     s.vendor.URL(),
		Token:       simulator.DefaultToken,
		Timeout:     s.cfg.RequestTimeout,
		Concurrency: s.cfg.Concurrency,
		UserAgent:   "statusworker/" + d.Version,
	})
}

// read passes the messages of the outcome stream to watch, until stop is called.
func (s *stage) read(ctx context.Context, watch *watcher) (stop func(), err error) {
	outcomes, err := s.js.OrderedConsumer(ctx, s.cfg.Namespace.StreamOutcomes(), jetstream.OrderedConsumerConfig{})
	if err != nil {
		return nil, fmt.Errorf("reading the outcomes: %w", err)
	}
	reading, err := outcomes.Consume(watch.landed)
	if err != nil {
		return nil, fmt.Errorf("reading the outcomes: %w", err)
	}
	return reading.Stop, nil
}

// work runs a worker. It returns an error if the worker ends before ctx.
func work(ctx, leave context.Context, worker Worker) error {
	err := worker.Run(ctx, leave)
	if err == nil && ctx.Err() == nil {
		err = errors.New("the worker stopped unexpectedly")
	}
	return err
}

// judged declares the interactions, waits for their outcomes, and reports. After a timeout, the report shows what is
// missing.
func (s *stage) judged(ctx context.Context, cast []part, watch *watcher) (report, error) {
	bounded, cancel := context.WithTimeout(ctx, s.cfg.Deadline+5*s.cfg.Intervals.Audio+20*time.Second)
	defer cancel()
	twice, err := s.perform(bounded, cast, watch)
	if err != nil && bounded.Err() == nil || ctx.Err() != nil {
		return report{}, err
	}
	r := judge(s.cfg.Namespace, cast, watch.landings(), s.vendor.Polls(), s.cfg.Intervals)
	r.took, r.twice, r.waiting = watch.elapsed(), twice, err != nil
	return r, nil
}

// perform declares the interactions, and waits until every outcome is stored and the streams are empty. It returns how
// many interactions were declared twice.
func (s *stage) perform(ctx context.Context, cast []part, watch *watcher) (twice int, err error) {
	for _, one := range cast {
		s.vendor.Declare(one.identifier, one.script)
		watch.declared(one.identifier)
		subject := s.cfg.Namespace.DeclaredSubject(one.typ, one.identifier)
		if _, err := s.js.Publish(ctx, subject, []byte(one.message)); err != nil {
			return twice, fmt.Errorf("declaring %s: %w", one.identifier, err)
		}
	}
	for _, one := range cast {
		if !one.twice {
			continue
		}
		if err := s.vendor.WaitPollsOf(ctx, one.identifier, 1); err != nil {
			return twice, err
		}
		// With delayed naks the first message is still stored, and the broker rejects the second one. With schedules
		// the worker drops it.
		_, err := s.js.Publish(ctx, s.cfg.Namespace.DeclaredSubject(one.typ, one.identifier), []byte(one.message))
		if err != nil && !adapter.MaxPerSubject(err) {
			return twice, fmt.Errorf("declaring %s again: %w", one.identifier, err)
		}
		twice++
	}
	select {
	case <-watch.complete:
	case <-ctx.Done():
		return twice, ctx.Err()
	}
	return twice, s.drained(ctx)
}

// drained waits until the streams are empty, so that an outcome after the last expected one is found too.
func (s *stage) drained(ctx context.Context) error {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		n, err := s.pending(ctx)
		if err != nil || n == 0 {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// pending returns the number of messages in the streams in which interactions wait.
func (s *stage) pending(ctx context.Context) (uint64, error) {
	var n uint64
	for _, name := range s.mode.Streams(s.cfg.Namespace) {
		stream, err := s.js.Stream(ctx, name)
		if err != nil {
			return 0, fmt.Errorf("reading stream %s: %w", name, err)
		}
		n += stream.CachedInfo().State.Msgs
	}
	return n, nil
}

// keep keeps everything running until ctx ends, with a console, and prints the subjects of new outcomes.
func (s *stage) keep(ctx context.Context, p cli.Process, watch *watcher, version string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	address, wait, err := s.serveConsole(ctx, version)
	if err != nil {
		return err
	}
	s.announce(p, address)
	s.follow(ctx, p.Stdout, watch)
	cancel() // standard output may be closed
	return wait()
}

// announce prints the addresses, and commands to try.
func (s *stage) announce(p cli.Process, console string) {
	to, at := p.Stdout, " --nats-url "+s.broker.URL()
	if n := s.cfg.Namespace; !n.IsDefault() {
		at += " --namespace " + n.String()
	}
	fmt.Fprintf(to, `
The broker, the vendor, the worker and the console keep running until Ctrl-C.

  console %s
  NATS    %s
  vendor  %s   (X-API-Token: %s)

Commands for another terminal. The vendor processes any identifier. An interaction that has no final status
after %s, for example because another worker cannot reach the vendor, ends as deadline_exceeded:

`, console, s.broker.URL(), s.vendor.URL(), simulator.DefaultToken, schema.Duration(s.cfg.Deadline))
	id := uuid.NewString()
	for _, command := range []string{
		"declare" + at + " --type chat " + id,
		"show" + at + " --watch " + id,
		"status" + at,
		"dlq ls" + at,
		"doctor" + at + " --base-url " + s.vendor.URL() + " --api-token " + simulator.DefaultToken + s.timing(),
	} {
		fmt.Fprintf(to, "  %s %s\n", p.Command, command)
	}
	fmt.Fprintf(to, "\nSubjects of new messages in %s:\n\n", s.cfg.Namespace.StreamOutcomes())
}

// follow prints the subjects of new outcomes until ctx ends.
func (s *stage) follow(ctx context.Context, to io.Writer, watch *watcher) {
	for n := len(watch.landings()); ; {
		landed, changed := watch.since(n)
		for _, l := range landed {
			if _, err := fmt.Fprintln(to, l.subject); err != nil {
				return // standard output is closed
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

// timing returns the flags of `doctor` without which it would reject the consumers of delayed naks, whose ack waits
// depend on them.
func (s *stage) timing() string {
	if s.mode != consumer.Nak {
		return ""
	}
	flags := " --request-timeout " + s.cfg.RequestTimeout.String()
	for _, t := range schema.Types() {
		flags += fmt.Sprintf(" --%s-interval %s", t, s.cfg.Intervals.Of(t))
	}
	return flags
}
