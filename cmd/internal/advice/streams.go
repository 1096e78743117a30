package advice

import (
	"errors"
	"fmt"

	"statusworker/consumer"
	"statusworker/publisher/dlq"
)

// Streams adds what to do to an error of the dead-letter queue about the streams. It returns every other error
// unchanged.
func Streams(err error) error {
	if missing := (*dlq.MissingStreamError)(nil); errors.As(err, &missing) {
		return fmt.Errorf("%w: "+once, err, ProvisionCommand("", consumer.Config{}))
	}
	if stale := (*dlq.DirectGetsError)(nil); errors.As(err, &stale) {
		return fmt.Errorf("%w: `statusworker provision --update` fixes it", err)
	}
	return err
}
