package consumer

import (
	"testing"

	"statusworker/consumer/fleet"
	"statusworker/consumer/redelivery"
)

// The longest wait for the rate limit, for a refused reservation and for the broker's ack go into AckWait.
func TestAckWaitAllowsForTheRateLimit(t *testing.T) {
	if longest := fleet.Patience + redelivery.MaxReserve; longest >= reserveAckWait {
		t.Errorf("a delivery may take %s before it is acked, AckWait is %s", longest, reserveAckWait)
	}
	if n := redelivery.NakAckWait(0, 0); fleet.Patience >= n {
		t.Errorf("a delivery may wait %s for the rate limit, AckWait is %s and the poll interval", fleet.Patience, n)
	}
}
