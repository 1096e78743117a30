package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"statusworker/cmd/internal/cli"
	"statusworker/cmd/internal/terminal"
	"statusworker/publisher/dlq"
	"statusworker/schema"
)

// confirmFlags are the flags of commands that delete dead letters.
type confirmFlags struct {
	All    bool `name:"all" config:"-" help:"Select all dead letters. Required if neither an identifier nor a filter is set."`
	DryRun bool `name:"dry-run" help:"Change nothing: list the selected dead letters, and count what would happen to them."`
	Yes    bool `short:"y" name:"yes" config:"-" help:"Do not ask for confirmation."`
}

// check rejects an empty or contradictory selection, and a prompt without a terminal.
func (f confirmFlags) check(p cli.Process, filter dlq.Filter, what string) error {
	switch {
	case filter.All() && !f.All:
		return cli.Usagef("no dead letters selected to %s: name identifiers, or set --reason, --type, --older-than, "+
			"--newer-than, --detail or --all", what)
	case !filter.All() && f.All:
		return cli.Usagef("--all cannot be combined with identifiers, --reason, --type, --older-than, --newer-than " +
			"or --detail")
	case !f.DryRun && !f.Yes && !terminal.Is(p.Stdin):
		return cli.Usagef("cannot ask for confirmation: standard input is not a terminal; set --yes or --dry-run")
	}
	return nil
}

// confirm counts the selected dead letters, and asks for confirmation. It returns their number, or 0 if the answer is
// no. missing is an error if a name has no dead letter.
func (f confirmFlags) confirm(
	ctx context.Context, p cli.Process, s *dlq.Selection, sought *sought, what string,
) (n int, missing, err error) {
	reasons := map[schema.Reason]int{}
	err = s.Each(ctx, func(l dlq.DeadLetter) error {
		sought.saw(l)
		reasons[l.Reason]++
		n++
		return nil
	})
	if err != nil {
		return 0, nil, err
	}
	missing = sought.report(p.Stderr)
	switch {
	case n == 0 && missing != nil:
		return 0, missing, nil
	case n == 0:
		say(p.Stderr, "no dead letter matches")
		return 0, nil, nil
	case f.Yes || f.DryRun:
		return n, missing, nil
	}
	var by []string
	for _, r := range slices.Sorted(maps.Keys(reasons)) {
		by = append(by, fmt.Sprintf("%s %d", schema.Printable(string(r)), reasons[r]))
	}
	fmt.Fprintf(p.Stderr, "%s %s (%s)? [y/N] ", what, deadLetters(n), strings.Join(by, ", "))
	yes, err := confirmed(ctx, p.Stdin)
	if err != nil {
		return 0, nil, err
	}
	if !yes {
		say(p.Stderr, "nothing was changed")
		return 0, missing, nil
	}
	return n, missing, nil
}

// confirmed reads one line. Only y and yes confirm.
func confirmed(ctx context.Context, from io.Reader) (bool, error) {
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(from).ReadString('\n') // the end of the input is a no
		answer <- line
	}()
	select {
	case line := <-answer:
		return slices.Contains([]string{"y", "yes"}, strings.ToLower(strings.TrimSpace(line))), nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}
