package main

import (
	"fmt"
	"io"

	"github.com/alecthomas/kong"

	"statusworker/cmd/internal/cli"
	"statusworker/cmd/internal/completion"
	"statusworker/cmd/internal/manpage"
)

type completionCommand struct {
	Shell string `arg:"" enum:"bash, zsh, fish" help:"Shell: one of ${enum}."`
}

// Run prints the script that lets a shell complete command lines.
func (c completionCommand) Run(p cli.Process) error {
	_, err := io.WriteString(p.Stdout, completion.Scripts[c.Shell])
	return err
}

type completeCommand struct {
	Words []string `arg:"" optional:"" passthrough:""`
}

// Run prints the ways to continue a command line, for the scripts.
func (c completeCommand) Run(p cli.Process, k *kong.Kong) error {
	words := c.Words
	if len(words) > 0 && words[0] == "--" {
		words = words[1:]
	}
	for _, line := range completion.Complete(k.Model, words) {
		if _, err := fmt.Fprintln(p.Stdout, line); err != nil {
			return err
		}
	}
	return nil
}

type manCommand struct{}

// Run prints the manual page.
func (manCommand) Run(p cli.Process, k *kong.Kong) error {
	_, err := io.WriteString(p.Stdout, manpage.Page(k.Model, versionString(), p.Getenv("SOURCE_DATE_EPOCH")))
	return err
}
