package main

import (
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"

	"statusworker/cmd/internal/connect"
	"statusworker/publisher/dlq"
)

// adviseStreams adds to an error about the streams how to fix it.
func adviseStreams(err error) error {
	if missing := (*dlq.MissingStreamError)(nil); errors.As(err, &missing) {
		return fmt.Errorf("%w: run `statusworker provision` once, as a user with permission to create streams", err)
	}
	if stale := (*dlq.DirectGetsError)(nil); errors.As(err, &stale) {
		return fmt.Errorf("%w: `statusworker provision --update` fixes it", err)
	}
	return err
}

// advisePermission adds advice to a permission violation.
func advisePermission(err error) error {
	if errors.Is(err, nats.ErrPermissionViolation) {
		return connect.ExplainDenied(err)
	}
	return err
}
