package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sirupsen/logrus"

	"statusworker/cmd/internal/advice"
	"statusworker/cmd/internal/cli"
	"statusworker/cmd/internal/connect"
	"statusworker/cmd/internal/flags"
	"statusworker/cmd/internal/producer"
	"statusworker/cmd/internal/producer/source"
	"statusworker/cmd/internal/terminal"
	"statusworker/publisher/dlq"
	"statusworker/schema"
	"statusworker/statusclient"
)

type declareCommand struct {
	IDs              []string `arg:"" optional:"" name:"id" help:"Interaction identifiers. Without one, reads declared messages from standard input, one JSON object per line."`
	Type             string   `name:"type" placeholder:"TYPE" help:"Type of the identifiers: audio, chat or transcript."`
	Data             string   `name:"data" placeholder:"FILE" help:"File with a JSON object whose members are added to each message, such as a customer reference; - is standard input."`
	IncludeAIResults *bool    `name:"include-ai-results" negatable:"" help:"Whether the interactions were created at ElevateAI with CX AI results. Unset means yes."`

	connect.Flags `embed:"" group:"NATS"`
	flags.Stage   `embed:"" group:"NATS"`
	cli.LogFlags  `embed:"" group:"Log"`
}

// Run publishes declared messages, and waits until the broker has answered for each.
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
		say(p.Stderr, "reading declared messages from the terminal, one JSON object per line; end with Ctrl-D")
	}
	nc, err := c.Connect(ctx, clientName(), log)
	if err != nil {
		return notDeclared(ctx, p, err)
	}
	defer connect.Close(nc)
	js, err := c.JetStream(nc)
	if err != nil {
		return err
	}
	declaring, err := producer.Open(ctx, js, c.Namespace, log, func(line string) { say(p.Stderr, "%s", line) })
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return advice.Streams(&dlq.MissingStreamError{Stream: c.Namespace.StreamDeclared()}, c.Namespace)
	}
	if err != nil {
		return notDeclared(ctx, p, err)
	}
	return c.declare(ctx, p, declaring, messages, log)
}

// declare declares the messages, and prints the results.
func (c declareCommand) declare(
	ctx context.Context, p cli.Process, declaring *producer.Producer, messages source.Source, log *logrus.Logger,
) error {
	var size int64
	if len(c.IDs) == 0 {
		size = sizeOf(p.Stdin)
	}
	progress := producer.NewProgress(p.Stderr, size)
	log.SetOutput(progress)
	err := declaring.Run(ctx, p.Leave, messages, progress)
	progress.Close()
	done := progress.Counts()
	say(p.Stdout, "%s", done)
	if done.Processed > 0 {
		say(p.Stderr, "already processed %d: their processed events are stored, so declaring them again changes "+
			"nothing; read these events from stream %s", done.Processed, c.Namespace.StreamOutcomes())
	}
	switch {
	case err != nil:
		return err
	case ctx.Err() != nil:
		say(p.Stderr,
			"stopped: %d read, %d declared, already waiting or already processed; to continue, run the command again "+
				"with the same input", done.Read, done.Declared+done.Waiting+done.Processed)
		return cli.ErrReported
	case done.Invalid+done.NotStored > 0:
		return cli.ErrReported
	case done.Read == 0:
		return errors.New("standard input is empty: must be declared messages, one JSON object per line")
	}
	return nil
}

// notDeclared reports a stop before the first message. It is an error, so that the caller does not assume that its
// messages are declared.
func notDeclared(ctx context.Context, p cli.Process, err error) error {
	if stopped(ctx, err) == nil {
		say(p.Stderr, "stopped: nothing was declared")
		return cli.ErrReported
	}
	return err
}

// messages returns the source of messages. It reads the file of --data, but not standard input.
func (c declareCommand) messages(stdin io.Reader) (source.Source, error) {
	if len(c.IDs) == 0 {
		switch {
		case c.Type != "" || c.IncludeAIResults != nil:
			return nil, cli.Usagef("--type and --include-ai-results require identifiers as arguments; " +
				"messages on standard input have their own members type and includeAiResults")
		case c.Data != "":
			return nil, cli.Usagef("--data is %s: requires identifiers as arguments", schema.Quote(c.Data))
		}
		return source.Lines(stdin), nil
	}
	if !schema.Type(c.Type).Valid() {
		if c.Type == "" {
			return nil, cli.Usagef("--type is not set: must be audio, chat or transcript, the type of the identifiers")
		}
		return nil, cli.BadFlag(c, "type", schema.Quote(c.Type), "audio, chat or transcript")
	}
	if len(c.IDs) == 1 && c.IDs[0] == "-" {
		return nil, cli.Usagef("- is not an identifier: omit it to read declared messages from standard input")
	}
	messages := source.Arguments{IDs: c.IDs, Type: c.Type, IncludeAIResults: c.IncludeAIResults}
	if c.Data != "" {
		data, err := c.data(stdin)
		if err != nil {
			return nil, cli.BadFlag(c, "data", schema.Quote(c.Data),
				fmt.Sprintf("a file that can be read (%v), or - for standard input", err))
		}
		if err := messages.Add(data); err != nil {
			return nil, cli.BadFlag(c, "data", schema.Quote(c.Data), fmt.Sprintf("a file with a JSON object: %v", err))
		}
	}
	return messages, nil
}

// data reads the file of --data, up to one byte more than the maximum size.
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

// sizeOf returns the size of a file on standard input in bytes, or 0.
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
