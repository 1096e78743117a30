package main

import (
	"errors"

	"github.com/nats-io/nats.go"

	"statusworker/cmd/internal/connect"
)

// advisePermission adds advice to a permission violation.
func advisePermission(err error) error {
	if errors.Is(err, nats.ErrPermissionViolation) {
		return connect.ExplainDenied(err)
	}
	return err
}
