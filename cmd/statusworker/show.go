package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sirupsen/logrus"

	"statusworker/cmd/internal/advice"
	"statusworker/cmd/internal/cli"
	"statusworker/cmd/internal/connect"
	"statusworker/cmd/internal/flags"
	"statusworker/cmd/internal/interaction"
	"statusworker/cmd/internal/patience"
	"statusworker/cmd/internal/showview"
	"statusworker/cmd/internal/terminal"
	"statusworker/publisher/dlq"
	"statusworker/schema"
	"statusworker/schema/lifecycle"
)

type showCommand struct {
	IDs    []string `arg:"" name:"id" help:"Interaction identifiers: GUIDs, in any case."`
	Watch  bool     `name:"watch" short:"w" help:"Refresh every second until every interaction has ended or is unknown. Redraws in place on a terminal; otherwise shows an interaction again when its state, its polls or its history have changed."`
	Output string   `name:"output" short:"o" default:"table" enum:"table, json, ndjson" help:"Output format: one of ${enum}. ndjson is one object per line."`

	connect.Wait
	connect.Flags `embed:"" group:"NATS"`
	flags.Stage   `embed:"" group:"NATS"`
	cli.LogFlags  `embed:"" group:"Log"`
}

const lookEvery = time.Second // with --watch

// Run shows interactions, once or until they have ended. It changes nothing.
func (c showCommand) Run(ctx context.Context, p cli.Process) error {
	identifiers, err := c.identifiers()
	if err != nil {
		return err
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
	nc, err := c.Connect(bounded, clientName(), log)
	if err != nil {
		return c.Unanswered(bounded, unfinished(ctx, err, "the broker has not answered"))
	}
	defer nc.Close()
	js, err := c.JetStream(nc)
	if err != nil {
		return err
	}
	var finder *interaction.Finder
	var first []interaction.Interaction
	err = connect.Settled(bounded, js, log, func(ctx context.Context, js jetstream.JetStream) (err error) {
		if finder, err = interaction.Connect(ctx, js, c.Namespace); err == nil {
			first, err = finder.Look(ctx, identifiers)
		}
		return err
	})
	if missing := (*interaction.MissingStreamError)(nil); errors.As(err, &missing) {
		return advice.Streams(&dlq.MissingStreamError{Stream: missing.Stream}, c.Namespace)
	}
	if err != nil {
		return c.Unanswered(bounded, unfinished(ctx, err, "the broker has not answered"))
	}
	show := c.shower(p, log)
	defer show.end()
	last := first
	if err = show.show(first); err == nil && c.Watch {
		last, err = watchInteractions(ctx, finder, nc, first, show)
	}
	if err != nil {
		return err
	}
	if slices.ContainsFunc(last, func(i interaction.Interaction) bool {
		return i.State == lifecycle.StateUnknown
	}) {
		return cli.ErrReported
	}
	return nil
}

// identifiers returns the identifiers in lower case, each once.
func (c showCommand) identifiers() (all []string, err error) {
	for _, id := range c.IDs {
		lower := strings.ToLower(id)
		if err := schema.CheckIdentifier(lower); err != nil {
			return nil, cli.Usagef("identifier: %w", err)
		}
		if !slices.Contains(all, lower) {
			all = append(all, lower)
		}
	}
	return all, nil
}

// interactionShower shows interactions.
type interactionShower interface {
	show([]interaction.Interaction) error
	stale(error)
	end()
}

// watchInteractions shows interactions until all have ended or are unknown. It returns the last ones.
func watchInteractions(
	ctx context.Context, finder *interaction.Finder, nc *nats.Conn, last []interaction.Interaction,
	to interactionShower,
) ([]interaction.Interaction, error) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for slices.ContainsFunc(last, goesOn) {
		select {
		case <-ctx.Done():
			return last, nil
		case <-ticker.C:
		}
		next, err := lookOnce(ctx, finder, nc, last)
		switch {
		case nc.IsClosed(): // the reason is in the log
			return last, cli.ErrReported
		case ctx.Err() != nil:
			return last, nil
		case errors.Is(err, nats.ErrPermissionViolation):
			return last, connect.ExplainDenied(err)
		case err != nil:
			to.stale(err)
			continue
		}
		last = next
		if err := to.show(last); err != nil {
			return last, err
		}
	}
	return last, nil
}

func goesOn(i interaction.Interaction) bool {
	return !i.State.Ended() && i.State != lifecycle.StateUnknown
}

// lookOnce looks at the same interactions again.
func lookOnce(
	ctx context.Context, finder *interaction.Finder, nc *nats.Conn, last []interaction.Interaction,
) ([]interaction.Interaction, error) {
	if !nc.IsConnected() {
		return nil, errDisconnected
	}
	ctx, cancel := patience.WithTimeout(ctx, overviewTimeout)
	defer cancel()
	var identifiers []string
	for _, i := range last {
		identifiers = append(identifiers, i.Identifier)
	}
	return finder.Look(ctx, identifiers)
}

// shower returns the interactionShower for the format and this standard output.
func (c showCommand) shower(p cli.Process, log *logrus.Logger) interactionShower {
	lines := &interactionLines{log: log, shown: map[string]string{}}
	separator := ""
	switch {
	case c.Output != "table":
		lines.write = func(all []interaction.Interaction) error { return writeJSON(p, all, c.Output == "json") }
	case c.Watch && terminal.Is(p.Stdout) && p.Getenv("TERM") != "dumb":
		return newInteractionScreen(p, log)
	default:
		lines.write = func(all []interaction.Interaction) error {
			text := ""
			for _, i := range all {
				text += separator + drawn(p, i)
				separator = "\n"
			}
			return write(p, text)
		}
	}
	return lines
}

func drawn(p cli.Process, i interaction.Interaction) (text string) {
	painted := terminal.Paints(p.Stdout, p.Getenv)
	for _, line := range showview.Draw(i, terminal.Columns(p.Stdout)) {
		if !painted {
			line = terminal.Unpainted(line)
		}
		text += line + "\n"
	}
	return text
}

func write(p cli.Process, text string) error {
	if _, err := p.Stdout.Write([]byte(text)); err != nil {
		return fmt.Errorf("writing the interactions: %w", err)
	}
	return nil
}

// writeJSON writes interactions as an array, or as one object a line.
func writeJSON(p cli.Process, all []interaction.Interaction, array bool) error {
	encoder := json.NewEncoder(p.Stdout)
	encoder.SetEscapeHTML(false)
	var values []any
	if array {
		encoder.SetIndent("", "  ")
		values = append(values, all)
	} else {
		for _, i := range all {
			values = append(values, i)
		}
	}
	for _, v := range values {
		if err := encoder.Encode(v); err != nil {
			return fmt.Errorf("writing the interactions: %w", err)
		}
	}
	return nil
}

// interactionLines writes interactions one after another: at first, and when they have changed. It logs once that the
// broker does not answer.
type interactionLines struct {
	log    logrus.FieldLogger
	write  func([]interaction.Interaction) error
	shown  map[string]string
	logged bool
}

func (l *interactionLines) show(all []interaction.Interaction) error {
	l.logged = false
	var changed []interaction.Interaction
	for _, i := range all {
		compared := i
		compared.At, compared.Workers = time.Time{}, nil
		text, err := json.Marshal(compared)
		if err != nil {
			return fmt.Errorf("comparing interaction %s: %w", i.Identifier, err)
		}
		if l.shown[i.Identifier] != string(text) {
			l.shown[i.Identifier] = string(text)
			changed = append(changed, i)
		}
	}
	if len(changed) == 0 {
		return nil
	}
	return l.write(changed)
}

func (l *interactionLines) stale(err error) {
	if !l.logged {
		l.log.WithError(err).Warn("no answer from the broker; retrying")
		l.logged = true
	}
}

func (l *interactionLines) end() {}
