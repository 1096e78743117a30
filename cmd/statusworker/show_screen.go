package main

import (
	"fmt"
	"unicode/utf8"

	"github.com/sirupsen/logrus"

	"statusworker/cmd/internal/cli"
	"statusworker/cmd/internal/interaction"
	"statusworker/cmd/internal/showview"
	"statusworker/cmd/internal/terminal"
)

// interactionScreen replaces each view of interactions by the next one.
type interactionScreen struct {
	terminal.Screen
	p    cli.Process
	last []interaction.Interaction
}

// newInteractionScreen prepares the terminal. It disables the log on it: the view shows errors.
func newInteractionScreen(p cli.Process, log *logrus.Logger) *interactionScreen {
	if terminal.Is(p.Stderr) {
		log.SetLevel(logrus.PanicLevel)
	}
	fmt.Fprint(p.Stdout, terminal.HideCursor)
	return &interactionScreen{p: p, Screen: terminal.Screen{Bare: p.Getenv("NO_COLOR") != ""}}
}

func (s *interactionScreen) show(all []interaction.Interaction) error {
	s.last = all
	return s.draw("")
}

func (s *interactionScreen) stale(err error) {
	_ = s.draw("STALE: " + err.Error()) // the next view shows whether writing fails
}

// draw draws what fits the terminal.
func (s *interactionScreen) draw(problem string) error {
	width, height := terminal.Size(s.p.Stdout)
	var lines []string
	if problem != "" {
		lines = append(lines, terminal.Red.On(terminal.Fit(cli.OneLine(fmt.Errorf("%s", problem)), width)))
	}
	for n, i := range s.last {
		if n > 0 {
			lines = append(lines, "")
		}
		lines = append(lines, showview.Draw(i, width)...)
	}
	room := max(height-1, 1)
	if len(lines) > room {
		more := fmt.Sprintf("and %d more lines: see `statusworker show`", len(lines)-room+1)
		lines = append(lines[:room-1], terminal.Faint.On(terminal.Fit(more, width)))
	}
	for n, line := range lines {
		if bare := terminal.Unpainted(line); utf8.RuneCountInString(bare) > width {
			lines[n] = terminal.Fit(bare, width)
		}
	}
	_, err := s.p.Stdout.Write(s.Over(lines, width, height))
	if err != nil {
		return fmt.Errorf("writing the interactions: %w", err)
	}
	return nil
}

func (s *interactionScreen) end() { fmt.Fprint(s.p.Stdout, terminal.ShowCursor) }
