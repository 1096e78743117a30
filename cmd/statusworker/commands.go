package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"runtime/debug"
	"slices"

	"github.com/alecthomas/kong"
	"github.com/nats-io/nats.go"

	"statusworker/cmd/internal/cli"
	"statusworker/cmd/internal/connect"
	"statusworker/cmd/internal/proxy"
	"statusworker/cmd/internal/telemetry"
	"statusworker/consumer"
	"statusworker/schema"
	"statusworker/schema/topology"
)

// commands is the whole command line.
type commands struct {
	Run         runCommand         `cmd:"" help:"Run a worker: take in declared messages, poll ElevateAI, publish outcomes."`
	Dev         devCommand         `cmd:"" help:"Run a demo in one process: an embedded broker, a simulated ElevateAI and a worker."`
	Provision   provisionCommand   `cmd:"" help:"Create missing NATS streams and consumers, and report existing ones that differ from what workers need."`
	Declare     declareCommand     `cmd:"" help:"Declare interactions: publish a message for each identifier, or for each line of JSON on standard input."`
	Show        showCommand        `cmd:"" help:"Show where interactions are, which statuses ElevateAI reported, and what happens next."`
	DLQ         dlqCommand         `cmd:"" name:"dlq" help:"List, show, replay and purge dead letters."`
	Status      statusCommand      `cmd:"" help:"Show waiting interactions, recent outcomes and live workers."`
	Console     consoleCommand     `cmd:"" help:"Serve a web console for operators: overview, interactions, dead letters, workers, doctor."`
	Doctor      doctorCommand      `cmd:"" help:"Check everything that a worker with the same flags needs, and print how to fix what fails."`
	Permissions permissionsCommand `cmd:"" help:"Print a NATS server configuration with a user for each command and service, with minimal permissions."`
	Simulator   simulatorCommand   `cmd:"" help:"Run a simulated ElevateAI over https, for tests."`
	Schema      schemaCommand      `cmd:"" help:"Print a JSON Schema, the AsyncAPI document or an example of a message; without a name, list their names."`
	ShowConfig  configCommand      `cmd:"" name:"config" help:"Show the settings in force for a command, and where each comes from."`
	Completion  completionCommand  `cmd:"" help:"Print a script by which a shell completes command lines."`
	Complete    completeCommand    `cmd:"" hidden:""`
	Man         manCommand         `cmd:"" help:"Print the manual page."`
	Version     versionCommand     `cmd:"" help:"Print the version."`

	cli.ConfigFlag
	VersionFlag kong.VersionFlag `name:"version" hidden:"" help:"Print the version."`
}

// run runs one command. It returns the exit code, and the error, which it has already written.
func run(ctx context.Context, p cli.Process) (int, error) { return program().Run(ctx, p) }

func program() cli.Program {
	return cli.Program{
		Name:        "statusworker",
		Description: "Polls ElevateAI for the status of declared interactions, and publishes one outcome for each.",
		Version:     versionString(),
		Grammar:     &commands{},
		Vars: map[string]string{
			"min_servers": topology.MinServers, "default_nats_url": nats.DefaultURL,
			"default_inbox_prefix": connect.DefaultInboxPrefix, "min_server_212": topology.MinServer212,
			"min_polls_bytes": fmt.Sprint(topology.MinPollsBytes),
			"max_ack_pending": fmt.Sprint(consumer.DefaultMaxAckPending),
		},
		Secrets: environmentSecrets,
	}
}

// environmentSecrets returns the secrets in variables without a flag.
func environmentSecrets(getenv func(string) string) []string {
	return slices.Concat(proxy.Secrets(getenv), telemetry.Secrets(getenv))
}

type versionCommand struct{}

func (versionCommand) Run(p cli.Process) error {
	_, err := fmt.Fprintf(p.Stdout, "statusworker %s\n", versionString())
	return err
}

// say writes a line for people.
func say(w io.Writer, format string, args ...any) {
	fmt.Fprintf(w, format+"\n", args...)
}

func versionString() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && v == "(devel)" {
			v = s.Value
		}
	}
	return v
}

type schemaCommand struct {
	Name    *string `arg:"" optional:"" help:"Name of the document to print, in any case, with or without its extension."`
	Example bool    `help:"Print an example of a message instead: a declared message, a processed event or a dead letter."`
}

func (c schemaCommand) Run(p cli.Process) error {
	names, read := schema.Documents, schema.Document
	if c.Example {
		names, read = schema.Examples, schema.Example
	}
	if c.Name == nil {
		for _, name := range names() {
			say(p.Stdout, "%s", name)
		}
		return nil
	}
	doc, err := read(*c.Name)
	if err != nil {
		return &cli.UsageError{Err: err}
	}
	if !bytes.HasSuffix(doc, []byte("\n")) {
		doc = append(doc, '\n')
	}
	_, err = p.Stdout.Write(doc)
	return err
}
