package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sirupsen/logrus"

	"statusworker/cmd/internal/advice"
	"statusworker/cmd/internal/cli"
	"statusworker/cmd/internal/connect"
	"statusworker/cmd/internal/flags"
	"statusworker/cmd/internal/patience"
	"statusworker/cmd/internal/statusview"
	"statusworker/cmd/internal/terminal"
	"statusworker/cmd/overview"
)

type statusCommand struct {
	Check  bool   `name:"check" help:"Exit with 1 if there is advice: lines with !, or advice in JSON. For scripts."`
	Watch  bool   `name:"watch" short:"w" help:"Refresh every 2 s until Ctrl-C, even while the broker is unreachable. Redraws in place on a terminal."`
	Output string `name:"output" short:"o" default:"table" enum:"table, json" help:"Output format: one of ${enum}. json is one object per line."`

	connect.Wait
	connect.Flags `embed:"" group:"NATS"`
	flags.Stage   `embed:"" group:"NATS"`
	cli.LogFlags  `embed:"" group:"Log"`
}

const (
	overviewEvery   = 2 * time.Second // with --watch
	overviewTimeout = 5 * time.Second // without an answer from the broker
)

// Run shows an overview, once or repeatedly. It creates nothing that persists.
func (c statusCommand) Run(ctx context.Context, p cli.Process) error {
	if c.Check && c.Watch {
		return cli.Usagef("--check cannot be combined with --watch: it reports what one overview shows")
	}
	log, err := c.Logger(p)
	if err != nil {
		return err
	}
	bounded, cancel, err := c.Bound(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	if c.Watch {
		bounded = ctx
	}
	nc, err := c.Connect(bounded, clientName(), log)
	if err != nil {
		return c.Unanswered(bounded, c.stopped(ctx, err))
	}
	defer nc.Close()
	js, err := c.JetStream(nc)
	if err != nil {
		return err
	}
	var inspector *overview.Inspector
	var first overview.Overview
	err = connect.Settled(bounded, js, log, func(ctx context.Context, js jetstream.JetStream) (err error) {
		inspector = overview.New(js, c.Namespace, time.Now)
		first, err = take(ctx, inspector)
		return err
	})
	if err != nil {
		return c.Unanswered(bounded, c.stopped(ctx, err))
	}
	show := c.shower(p, log)
	defer show.end()
	if err := show.show(statusview.View{Overview: first}); err != nil {
		return err
	}
	if !c.Watch {
		return c.checked(first)
	}
	return watchStatus(ctx, inspector, nc, statusview.View{Overview: first}, show)
}

// checked returns an error if streams or consumers are missing, and with --check if there is advice.
func (c statusCommand) checked(o overview.Overview) error {
	if err := advice.Missing(o.Provisioned()); err != nil {
		return err
	}
	if c.Check && len(o.Advice) > 0 {
		return cli.ErrReported // the overview has it
	}
	return nil
}

// stopped returns an error if a signal has ended the command before its one overview.
func (c statusCommand) stopped(ctx context.Context, err error) error {
	if c.Watch {
		return stopped(ctx, err)
	}
	return unfinished(ctx, err, "the broker has not answered")
}

// statusShower shows views.
type statusShower interface {
	show(statusview.View) error
	end()
}

// watchStatus shows overviews until ctx ends.
func watchStatus(
	ctx context.Context, inspector *overview.Inspector, nc *nats.Conn, view statusview.View, to statusShower,
) error {
	ticker := time.NewTicker(overviewEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		next, err := takeOne(ctx, inspector, nc)
		switch {
		case nc.IsClosed(): // the reason is in the log
			return cli.ErrReported
		case ctx.Err() != nil:
			return nil
		case err == nil:
			view = statusview.View{Overview: next}
		default:
			if view.Stale.IsZero() {
				view.Stale = view.At
			}
			view.Why = err
		}
		if err := to.show(view); err != nil {
			return err
		}
	}
}

var errDisconnected = errors.New("no connection to NATS")

func takeOne(ctx context.Context, inspector *overview.Inspector, nc *nats.Conn) (overview.Overview, error) {
	if !nc.IsConnected() {
		return overview.Overview{}, errDisconnected
	}
	ctx, cancel := patience.WithTimeout(ctx, overviewTimeout)
	defer cancel()
	return take(ctx, inspector)
}

// take takes an overview, with advice.
func take(ctx context.Context, inspector *overview.Inspector) (overview.Overview, error) {
	o, err := inspector.Take(ctx)
	o.Advice = advice.Overview(o)
	return o, err
}

// shower returns the statusShower for the format and this standard output.
func (c statusCommand) shower(p cli.Process, log *logrus.Logger) statusShower {
	switch {
	case c.Output == "json":
		return &statusLines{log: log, write: func(s overview.Overview) error {
			if err := json.NewEncoder(p.Stdout).Encode(s); err != nil {
				return fmt.Errorf("writing the overview: %w", err)
			}
			return nil
		}}
	case c.Watch && terminal.Is(p.Stdout) && p.Getenv("TERM") != "dumb":
		return newStatusScreen(p, log)
	}
	painted := terminal.Paints(p.Stdout, p.Getenv)
	separator := ""
	return &statusLines{log: log, write: func(s overview.Overview) error {
		width := statusview.Width
		if n := terminal.Columns(p.Stdout); n > 0 {
			width = n
		}
		text := separator
		for _, line := range statusview.Draw(statusview.View{Overview: s}, width, 0) {
			if !painted {
				line = terminal.Unpainted(line)
			}
			text += line + "\n"
		}
		separator = "\n"
		if _, err := p.Stdout.Write([]byte(text)); err != nil {
			return fmt.Errorf("writing the overview: %w", err)
		}
		return nil
	}}
}

// statusLines writes overviews one after another. It logs once that the broker does not answer.
type statusLines struct {
	log    logrus.FieldLogger
	write  func(overview.Overview) error
	logged bool
}

func (l *statusLines) show(v statusview.View) error {
	if v.Stale.IsZero() {
		l.logged = false
		return l.write(v.Overview)
	}
	if !l.logged {
		l.log.WithError(v.Why).Warn("no answer from the broker; retrying")
		l.logged = true
	}
	return nil
}

func (l *statusLines) end() {}

// statusScreen replaces each view by the next one.
type statusScreen struct {
	terminal.Screen
	p cli.Process
}

// newStatusScreen prepares the terminal. It disables the log on it: the view shows errors.
func newStatusScreen(p cli.Process, log *logrus.Logger) *statusScreen {
	if terminal.Is(p.Stderr) {
		log.SetLevel(logrus.PanicLevel)
	}
	fmt.Fprint(p.Stdout, terminal.HideCursor)
	return &statusScreen{p: p, Screen: terminal.Screen{Bare: p.Getenv("NO_COLOR") != ""}}
}

func (s *statusScreen) show(v statusview.View) error {
	width, height := terminal.Size(s.p.Stdout)
	if _, err := s.p.Stdout.Write(s.Over(statusview.Draw(v, width, max(height-1, 1)), width, height)); err != nil {
		return fmt.Errorf("writing the overview: %w", err)
	}
	return nil
}

func (s *statusScreen) end() { fmt.Fprint(s.p.Stdout, terminal.ShowCursor) }
