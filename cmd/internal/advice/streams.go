package advice

import (
	"errors"
	"fmt"

	"statusworker/consumer"
	"statusworker/publisher/dlq"
	"statusworker/schema"
)

// Streams adds what to do to an error of the dead-letter queue about the streams. It returns every other error
// unchanged.
func Streams(err error, n schema.Namespace) error {
	cfg := consumer.Config{Namespace: n}
	if missing := (*dlq.MissingStreamError)(nil); errors.As(err, &missing) {
		return fmt.Errorf("%w: "+once, err, ProvisionCommand("", cfg))
	}
	if stale := (*dlq.DirectGetsError)(nil); errors.As(err, &stale) {
		return fmt.Errorf("%w: `%s` fixes it", err, UpdateCommand("", cfg))
	}
	return err
}
