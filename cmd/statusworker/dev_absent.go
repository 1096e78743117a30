//go:build nodev

package main

import "statusworker/cmd/internal/cli"

// devCommand stands in for `dev` in builds that leave it out, with the NATS server in it: container images.
type devCommand struct{}

// Run says where the command is.
func (devCommand) Run() error {
	return cli.Usagef("this build leaves `dev` out: run it from the source, by `go run ./cmd/statusworker dev`")
}
