package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"statusworker/cmd/internal/cli"
	"statusworker/cmd/internal/manifest"
	"statusworker/consumer"
	"statusworker/publisher"
)

// The formats of `provision --output` that describe the streams and consumers instead of creating them.
const (
	outputText = "text"
	outputJSON = "json"
	outputNACK = "nack"
)

// nackHeader begins the resources for NACK.
const nackHeader = `# Streams and consumers of statusworker, for NACK with --control-loop (which KeyValue needs).
# NACK writes the stated fields back when something else changes them: change them here.
# The API server drops fields that the CRDs do not know: ` + "`statusworker provision --dry-run`" + ` lists these.
`

// checkOutput rejects combinations of flags.
func (c provisionCommand) checkOutput() error {
	switch {
	case c.Output == outputText && c.OutputDir != "":
		return cli.BadFlag(c, "output-dir", c.OutputDir, "used with --output json or --output nack")
	case c.Output != outputText && (c.DryRun || c.Update):
		return cli.BadFlag(c, "output", c.Output, "text with --dry-run and --update: the others do not connect to NATS")
	}
	return nil
}

// write prints the topology that the flags describe, without a connection. Unset flags have their defaults.
func (c provisionCommand) write(p cli.Process, cfg consumer.Config) error {
	if c.Redelivery == currentMode {
		c.Redelivery = consumer.Schedule
	}
	if err := c.checkMode(); err != nil {
		return err
	}
	set := c.set(cfg, consumer.Choices{Mode: c.Redelivery, Replicas: 1},
		publisher.Choices{Namespace: c.Namespace, MaxAge: publisher.DefaultMaxAge})
	describe := manifest.NATS
	if c.Output == outputNACK {
		describe = manifest.NACK
	}
	documents, err := describe(set)
	if err != nil {
		return err
	}
	if c.OutputDir != "" {
		return c.writeFiles(p, documents)
	}
	var all bytes.Buffer
	if c.Output == outputNACK {
		all.WriteString(nackHeader)
	}
	for _, d := range documents {
		if c.Output == outputNACK {
			all.WriteString("---\n")
		}
		all.Write(d.Body)
	}
	_, err = p.Stdout.Write(all.Bytes())
	return err
}

// writeFiles writes each document to a file of its own, and prints the commands that apply them.
func (c provisionCommand) writeFiles(p cli.Process, documents []manifest.Document) error {
	if err := os.MkdirAll(c.OutputDir, 0o755); err != nil {
		return fmt.Errorf("creating the directory of --output-dir: %w", err)
	}
	for _, d := range documents {
		path, body := filepath.Join(c.OutputDir, d.File), d.Body
		if c.Output == outputNACK {
			body = append([]byte(nackHeader+"---\n"), body...)
		}
		if err := os.WriteFile(path, body, 0o644); err != nil {
			return fmt.Errorf("writing a file of --output-dir: %w", err)
		}
		if d.Command != "" {
			say(p.Stdout, "%s %s", d.Command, path)
		}
	}
	if c.Output == outputNACK {
		say(p.Stdout, "kubectl apply -f %s", c.OutputDir)
	}
	return nil
}
