//go:build nodev

package main

import "statusworker/cmd/internal/cli"

// devCommand replaces `dev` in builds without the demo and its NATS server, such as container images.
type devCommand struct{}

// Run returns an error that says how to run the demo.
func (devCommand) Run() error {
	return cli.Usagef("this build has no `dev` command: run `go run ./cmd/statusworker dev` in the source tree")
}
