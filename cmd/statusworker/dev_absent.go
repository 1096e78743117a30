//go:build nodev

package main

// devCommand stands in for `dev` in builds that leave it out, with the NATS server in it: container images.
type devCommand struct{}

// Run says where the command is.
func (devCommand) Run() error {
	return usagef("this build leaves `dev` out: run it from the source, by `go run ./cmd/statusworker dev`")
}
