package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sirupsen/logrus"

	"statusworker/cmd/broker/adapter"
	"statusworker/cmd/internal/advice"
	"statusworker/cmd/internal/cli"
	"statusworker/cmd/internal/connect"
	"statusworker/cmd/internal/dlqview"
	"statusworker/cmd/internal/flags"
	"statusworker/cmd/internal/terminal"
	"statusworker/publisher/dlq"
	"statusworker/schema"
)

type dlqCommand struct {
	Ls     dlqLsCommand     `cmd:"" help:"List dead letters."`
	Show   dlqShowCommand   `cmd:"" help:"Show one dead letter, what its reason means, and what to do."`
	Replay dlqReplayCommand `cmd:"" help:"Publish the declared messages again, and delete the dead letters."`
	Purge  dlqPurgeCommand  `cmd:"" help:"Delete dead letters permanently."`
}

// dlqFlags are the flags of all commands of the dead-letter queue.
type dlqFlags struct {
	connect.Wait
	connect.Flags `embed:"" group:"NATS"`
	flags.Stage   `embed:"" group:"NATS"`
	cli.LogFlags  `embed:"" group:"Log"`
}

// newQueue returns a dead-letter queue on the existing streams.
type newQueue func(context.Context, dlq.Broker, schema.Namespace) (*dlq.Queue, error)

// open connects, and returns a dead-letter queue. closing closes the connection.
func (f dlqFlags) open(
	ctx context.Context, p cli.Process, newQueue newQueue,
) (queue *dlq.Queue, log *logrus.Logger, closing func(), err error) {
	log, err = f.Logger(p)
	if err != nil {
		return nil, nil, nil, err
	}
	bounded, cancel, err := f.Bound(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	defer cancel()
	nc, err := f.Connect(bounded, clientName(), log)
	if err != nil {
		return nil, nil, nil, f.Unanswered(bounded, err)
	}
	js, err := f.JetStream(nc)
	if err == nil {
		err = connect.Settled(bounded, js, log, func(ctx context.Context, js jetstream.JetStream) (err error) {
			queue, err = newQueue(ctx, adapter.New(js), f.Namespace)
			return err
		})
	}
	if err != nil {
		connect.Close(nc)
		return nil, nil, nil, f.Unanswered(bounded, advice.Streams(err, f.Namespace))
	}
	return queue, log, func() { connect.Close(nc) }, nil
}

type dlqLsCommand struct {
	filterFlags
	Output string `short:"o" name:"output" default:"table" enum:"table, json, ndjson" help:"Output format: one of ${enum}. JSON has the complete events, each with its place in the stream."`
	dlqFlags
}

// Run lists dead letters as they are read.
func (c dlqLsCommand) Run(ctx context.Context, p cli.Process) error {
	filter, err := c.filter()
	if err != nil {
		return err
	}
	queue, _, closing, err := c.open(ctx, p, dlq.New)
	if err != nil {
		return interrupted(ctx, p, err)
	}
	defer closing()
	selection, err := queue.Select(ctx, filter)
	if err != nil {
		return interrupted(ctx, p, advisePermission(err))
	}
	out := bufio.NewWriterSize(p.Stdout, 64<<10)
	list, sought := dlqview.NewList(out, c.Output, terminal.Columns(p.Stdout)), c.sought()
	err = selection.Each(ctx, func(l dlq.DeadLetter) error {
		sought.saw(l)
		return list.Add(l)
	})
	if err == nil || c.Output != "json" { // an incomplete array is not closed
		err = errors.Join(err, list.End())
	}
	if err = errors.Join(err, out.Flush()); err != nil {
		return interrupted(ctx, p, advisePermission(err))
	}
	say(p.Stderr, "%s", deadLetters(list.Count()))
	return sought.report(p.Stderr)
}

// interrupted reports a stop before the end, so that the caller does not assume that the output is complete.
func interrupted(ctx context.Context, p cli.Process, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		say(p.Stderr, "stopped: not all dead letters were read; run the command again")
		return cli.ErrReported
	}
	return err
}

func deadLetters(n int) string {
	if n == 1 {
		return "1 dead letter"
	}
	return fmt.Sprintf("%d dead letters", n)
}

type dlqShowCommand struct {
	ID     string `arg:"" name:"id" help:"Interaction identifier, last subject token of an invalid message (such as seq-17), or @N, the sequence in column SEQ of ls."`
	Output string `short:"o" name:"output" default:"text" enum:"text, json" help:"Output format: one of ${enum}. JSON is the stored event, one per line."`
	dlqFlags
}

// Run shows the dead letters of an identifier.
func (c dlqShowCommand) Run(ctx context.Context, p cli.Process) error {
	filter := dlq.Filter{Names: names(c.ID)}
	if err := filter.Check(); err != nil {
		return asFilterUsage(err)
	}
	queue, _, closing, err := c.open(ctx, p, dlq.New)
	if err != nil {
		return interrupted(ctx, p, err)
	}
	defer closing()
	selection, err := queue.Select(ctx, filter)
	if err != nil {
		return interrupted(ctx, p, advisePermission(err))
	}
	n := 0
	err = selection.Each(ctx, func(l dlq.DeadLetter) error {
		if n++; c.Output == "json" {
			_, err := fmt.Fprintf(p.Stdout, "%s\n", dlqview.Event(l))
			return err
		}
		if n > 1 {
			say(p.Stdout, "")
		}
		dlqview.Show(p.Stdout, l, time.Now(), terminal.Columns(p.Stdout))
		return nil
	})
	if err != nil {
		return interrupted(ctx, p, advisePermission(err))
	}
	if n == 0 {
		list := advice.Command(c.Namespace, "dlq ls")
		return fmt.Errorf("no dead letter %s; `%s` lists all", schema.Quote(c.ID), list)
	}
	return nil
}
