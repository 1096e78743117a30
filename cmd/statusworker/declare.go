package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/internal/cli"
	"statusworker/cmd/internal/connect"
	"statusworker/cmd/internal/terminal"
	"statusworker/schema"
	"statusworker/statusclient"
)

type declareCommand struct {
	IDs              []string `arg:"" optional:"" name:"id" help:"Interaction identifiers. Without any, declared messages are read from standard input, one JSON object a line."`
	Type             string   `name:"type" placeholder:"TYPE" help:"Type of the identifiers: audio, chat or transcript."`
	Data             string   `name:"data" placeholder:"FILE" help:"File with a JSON object whose members go into each message, such as a customer's reference; - is standard input."`
	IncludeAIResults *bool    `name:"include-ai-results" negatable:"" help:"Whether the identifiers were declared at the vendor with CX AI results; unsaid means yes."`

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
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(declareWindow+2), jetstream.WithPublishAsyncTimeout(declareAckWithin))
	if err != nil {
		return fmt.Errorf("using JetStream: %w", err)
	}
	err = connect.Settled(ctx, js, log, func(ctx context.Context, js jetstream.JetStream) error {
		_, err := js.Stream(ctx, schema.StreamDeclared)
		return err
	})
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("the broker has no stream %s: run `statusworker provision` once, with the rights to create streams", schema.StreamDeclared)
	}
	if err != nil {
		return notDeclared(ctx, p, err)
	}

	among, err := placesToLook(ctx, js, log, func(line string) { say(p.Stderr, "%s", line) })
	if err != nil {
		return notDeclared(ctx, p, err)
	}

	var size int64
	if len(c.IDs) == 0 {
		size = sizeOf(p.Stdin)
	}
	progress := newDeclareProgress(p.Stderr, size)
	log.SetOutput(progress)
	d := &declaring{js: js, progress: progress, patience: declarePatience, places: among}
	err = d.run(ctx, p.Leave, messages)
	progress.Close()
	done := d.progress.counts()
	say(p.Stdout, "declared %d, already waiting %d, refused %d, failed %d", done.declared, done.waiting, done.refused, done.failed)
	switch {
	case err != nil:
		return err
	case ctx.Err() != nil:
		say(p.Stderr, "stopped: %d read, %d of them answered for by the broker; run it again to go on: what is in flight by then is counted as already waiting",
			done.read, done.declared+done.waiting)
		return cli.ErrReported
	case done.refused+done.failed > 0:
		return cli.ErrReported
	case done.read == 0:
		return errors.New("standard input has no declared message: want one JSON object a line")
	}
	return nil
}

// notDeclared tells of a stop before anything was read. That is a fault here: whoever called must not take the
// messages for declared.
func notDeclared(ctx context.Context, p cli.Process, err error) error {
	if stopped(ctx, err) == nil {
		say(p.Stderr, "stopped: nothing was declared")
		return cli.ErrReported
	}
	return err
}

// messages gives the source of what is to be declared. It reads nothing yet but the file of --data.
func (c declareCommand) messages(stdin io.Reader) (source, error) {
	if len(c.IDs) == 0 {
		switch {
		case c.Type != "" || c.IncludeAIResults != nil:
			return nil, cli.Usagef("--type and --include-ai-results are for identifiers, but there are none: name identifiers, or put the members into the lines on standard input")
		case c.Data != "":
			return nil, cli.Usagef("--data is %s: want identifiers with it", schema.Quote(c.Data))
		}
		return lines{stdin}, nil
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
	more, err := c.members(stdin)
	if err != nil {
		return nil, err
	}
	return arguments{ids: c.IDs, typ: c.Type, ai: c.IncludeAIResults, more: more}, nil
}

// members reads what --data adds: the inside of a JSON object, without its braces.
func (c declareCommand) members(stdin io.Reader) ([]byte, error) {
	if c.Data == "" {
		return nil, nil
	}
	from := stdin
	if c.Data != "-" {
		f, err := statusclient.OpenFile(c.Data)
		if err != nil {
			return nil, cli.BadFlag(c, "data", schema.Quote(c.Data), fmt.Sprintf("a file that can be read (%v), or - for standard input", err))
		}
		defer f.Close()
		from = f
	}
	data, err := io.ReadAll(io.LimitReader(from, schema.MaxDeclaredBytes+1))
	if err != nil {
		return nil, cli.BadFlag(c, "data", schema.Quote(c.Data), fmt.Sprintf("a file that can be read (%v)", err))
	}
	bad := func(why string) error {
		return cli.BadFlag(c, "data", schema.Quote(c.Data), "a file with a JSON object: "+why)
	}
	if len(data) > schema.MaxDeclaredBytes {
		return nil, bad(fmt.Sprintf("it is larger than %d bytes", schema.MaxDeclaredBytes))
	}
	data = bytes.TrimSpace(schema.TrimBOM(data))
	if err := schema.CheckJSON(data); err != nil {
		return nil, bad(err.Error())
	}
	if data[0] != '{' {
		return nil, bad("it is something else")
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil {
		return nil, bad(err.Error())
	}
	for _, name := range []string{"interactionIdentifier", "type"} {
		if _, ok := members[name]; ok {
			return nil, bad("it has a member " + name + ", which the command line gives")
		}
	}
	if _, ok := members["includeAiResults"]; ok && c.IncludeAIResults != nil {
		return nil, bad("it has a member includeAiResults, which --include-ai-results gives")
	}
	more := bytes.TrimSpace(data[1 : len(data)-1])
	// What is wrong with them in one message is wrong in all.
	if _, err := schema.Decode(arguments{typ: c.Type, ai: c.IncludeAIResults, more: more}.message(noInteraction)); err != nil {
		return nil, bad(err.Error())
	}
	return more, nil
}

// noInteraction is an identifier that the vendor gives to none.
const noInteraction = "00000000-0000-0000-0000-000000000000"

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
