package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/internal/cli"
	"statusworker/cmd/internal/connect"
	"statusworker/cmd/internal/producer"
	"statusworker/cmd/internal/terminal"
	"statusworker/schema"
	"statusworker/statusclient"
)

type declareCommand struct {
	IDs              []string `arg:"" optional:"" name:"id" help:"Interaction identifiers. Without one, reads declared messages from standard input, one JSON object per line."`
	Type             string   `name:"type" placeholder:"TYPE" help:"Type of the identifiers: audio, chat or transcript."`
	Data             string   `name:"data" placeholder:"FILE" help:"File with a JSON object whose members are added to each message, such as a customer reference; - is standard input."`
	IncludeAIResults *bool    `name:"include-ai-results" negatable:"" help:"Whether the identifiers were declared at ElevateAI with CX AI results. Unset means yes."`

	connect.Flags `embed:"" group:"NATS"`
	cli.LogFlags  `embed:"" group:"Log"`
}

// Run publishes declared messages and waits until the broker has answered for each.
func (c declareCommand) Run(ctx context.Context, p cli.Process) error {
	log, err := c.Logger(p)
	if err != nil {
		return err
	}
	messages, err := c.messages(p.Stdin)
	if err != nil {
		return err
	}
	if len(c.IDs) == 0 && terminal.Is(p.Stdin) {
		say(p.Stderr, "reading declared messages from the terminal, one JSON object a line; Ctrl-D ends")
	}
	nc, err := c.Connect(ctx, clientName(), log)
	if err != nil {
		return notDeclared(ctx, p, err)
	}
	defer connect.Close(nc)
	declaring, err := producer.Open(ctx, nc, log, func(line string) { say(p.Stderr, "%s", line) })
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("the broker has no stream %s: run `statusworker provision` once, with the rights to create streams", schema.StreamDeclared)
	}
	if err != nil {
		return notDeclared(ctx, p, err)
	}

	var size int64
	if len(c.IDs) == 0 {
		size = sizeOf(p.Stdin)
	}
	progress := producer.NewProgress(p.Stderr, size)
	log.SetOutput(progress)
	err = declaring.Run(ctx, p.Leave, messages, progress)
	progress.Close()
	done := progress.Counts()
	say(p.Stdout, "%s", done)
	switch {
	case err != nil:
		return err
	case ctx.Err() != nil:
		say(p.Stderr, "stopped: %d read, %d of them answered for by the broker; run it again to go on: what is in flight by then is counted as already waiting",
			done.Read, done.Declared+done.Waiting)
		return cli.ErrReported
	case done.Refused+done.Failed > 0:
		return cli.ErrReported
	case done.Read == 0:
		return errors.New("standard input has no declared message: want one JSON object a line")
	}
	return nil
}

// notDeclared reports a stop before anything was read. That is a fault here: the caller must not take the
// messages for declared.
func notDeclared(ctx context.Context, p cli.Process, err error) error {
	if stopped(ctx, err) == nil {
		say(p.Stderr, "stopped: nothing was declared")
		return cli.ErrReported
	}
	return err
}

// messages gives the source of what is to be declared. It reads nothing yet but the file of --data.
func (c declareCommand) messages(stdin io.Reader) (producer.Source, error) {
	if len(c.IDs) == 0 {
		switch {
		case c.Type != "" || c.IncludeAIResults != nil:
			return nil, cli.Usagef("--type and --include-ai-results are for identifiers, but there are none: name identifiers, or put the members into the lines on standard input")
		case c.Data != "":
			return nil, cli.Usagef("--data is %s: want identifiers with it", schema.Quote(c.Data))
		}
		return producer.Lines(stdin), nil
	}
	if !schema.Type(c.Type).Valid() {
		if c.Type == "" {
			return nil, cli.Usagef("--type is not set: want audio, chat or transcript for the identifiers")
		}
		return nil, cli.BadFlag(c, "type", schema.Quote(c.Type), "audio, chat or transcript")
	}
	if len(c.IDs) == 1 && c.IDs[0] == "-" {
		return nil, cli.Usagef("identifier - is none: leave it out to read declared messages from standard input")
	}
	messages := producer.Arguments{IDs: c.IDs, Type: c.Type, IncludeAIResults: c.IncludeAIResults}
	if c.Data != "" {
		data, err := c.data(stdin)
		if err != nil {
			return nil, cli.BadFlag(c, "data", schema.Quote(c.Data), fmt.Sprintf("a file that can be read (%v), or - for standard input", err))
		}
		if err := messages.Add(data); err != nil {
			return nil, cli.BadFlag(c, "data", schema.Quote(c.Data), fmt.Sprintf("a file with a JSON object: %v", err))
		}
	}
	return messages, nil
}

// data reads the file of --data, up to one byte more than may be in it.
func (c declareCommand) data(stdin io.Reader) ([]byte, error) {
	from := stdin
	if c.Data != "-" {
		f, err := statusclient.OpenFile(c.Data)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		from = f
	}
	return io.ReadAll(io.LimitReader(from, schema.MaxDeclaredBytes+1))
}

// sizeOf is how many bytes a file on standard input has, or 0.
func sizeOf(stdin io.Reader) int64 {
	f, ok := stdin.(*os.File)
	if !ok {
		return 0
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return 0
	}
	return info.Size()
}
