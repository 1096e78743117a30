package consumer

import (
	"testing"

	"statusworker/consumer/fleet"
	"statusworker/consumer/redelivery"
)

// AckWait covers the longest wait for the rate limit, for a rejected reservation and for the broker's ack.
func TestAckWaitAllowsForTheRateLimit(t *testing.T) {
	if longest := fleet.Patience + redelivery.MaxReserve; longest >= reserveAckWait {
		t.Errorf("a delivery can take %s before its ack, AckWait is %s", longest, reserveAckWait)
	}
	if n := redelivery.NakAckWait(0, 0); fleet.Patience >= n {
		t.Errorf("a delivery can wait %s for the rate limit, AckWait is %s and the poll interval", fleet.Patience, n)
	}
}
