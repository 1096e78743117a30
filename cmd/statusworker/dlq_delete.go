package main

import (
	"context"
	"errors"
	"fmt"

	"statusworker/cmd/internal/cli"
	"statusworker/cmd/internal/dlqview"
	"statusworker/cmd/internal/terminal"
	"statusworker/publisher/dlq"
)

type dlqReplayCommand struct {
	filterFlags
	confirmFlags
	dlqFlags
}

// Run replays the selected dead letters.
func (c dlqReplayCommand) Run(ctx context.Context, p cli.Process) error {
	return deletion{
		verb: "replay", do: (*dlq.Queue).Replay,
		results: []dlq.Action{dlq.Replayed, dlq.Superseded, dlq.Gone, dlq.Unchanged},
	}.run(ctx, p, c.filterFlags, c.confirmFlags, c.dlqFlags)
}

type dlqPurgeCommand struct {
	filterFlags
	confirmFlags
	dlqFlags
}

// Run deletes the selected dead letters.
func (c dlqPurgeCommand) Run(ctx context.Context, p cli.Process) error {
	return deletion{
		verb: "purge", do: (*dlq.Queue).Purge, results: []dlq.Action{dlq.Deleted, dlq.Gone, dlq.Unchanged},
	}.run(ctx, p, c.filterFlags, c.confirmFlags, c.dlqFlags)
}

// deletion is a command that deletes dead letters.
type deletion struct {
	verb    string
	do      func(*dlq.Queue, context.Context, *dlq.Selection, bool, dlq.Report) error
	results []dlq.Action
}

// run selects dead letters, asks for confirmation, and does the deletion.
func (d deletion) run(ctx context.Context, p cli.Process, f filterFlags, confirm confirmFlags, open dlqFlags) error {
	filter, err := f.filter()
	if err != nil {
		return err
	}
	if err := confirm.check(p, filter, d.verb); err != nil {
		return err
	}
	queue, log, closing, err := open.open(ctx, p, dlq.NewForDeletion)
	if err != nil {
		return interrupted(ctx, p, err)
	}
	defer closing()
	selection, err := queue.Select(ctx, filter)
	if err != nil {
		return interrupted(ctx, p, advisePermission(err))
	}
	n, missing, err := confirm.confirm(ctx, p, selection, f.sought(), d.verb)
	if err != nil {
		return interrupted(ctx, p, advisePermission(err))
	}
	if n == 0 {
		return missing
	}
	if confirm.DryRun {
		list := dlqview.NewList(p.Stdout, "table", terminal.Columns(p.Stdout))
		if err := errors.Join(selection.Each(ctx, list.Add), list.End()); err != nil {
			return interrupted(ctx, p, advisePermission(err))
		}
	}
	progress := dlqview.NewProgress(p.Stderr, n, d.results)
	log.SetOutput(progress)
	err = d.do(queue, ctx, selection, confirm.DryRun, progress.Add)
	progress.Close()
	if confirm.DryRun {
		say(p.Stdout, "dry run, nothing was changed; result without --dry-run: %s", progress.Line())
	} else {
		say(p.Stdout, "%s", progress.Line())
	}
	switch {
	case ctx.Err() != nil:
		say(p.Stderr, "stopped: run the command again to continue; nothing is lost or done twice")
		return cli.ErrReported
	case err != nil:
		return fmt.Errorf("%w; the other dead letters are unchanged: run the command again to continue",
			advisePermission(err))
	case progress.Left() > 0:
		return cli.ErrReported
	}
	return missing
}
