package redelivery_test

import (
	"testing"

	"statusworker/consumer/redelivery"
)

// The maximum size that provision accepts is just not full, and a stream that was full needs more room.
func TestFull(t *testing.T) {
	for name, stored := range map[string]struct{ messages, bytes uint64 }{
		"empty":              {0, 0},
		"small reservations": {100_000, 70_000_000},
		"large reservations": {1_000, 70_000_000},
	} {
		t.Run(name, func(t *testing.T) {
			least := redelivery.MinMaximum(stored.messages, stored.bytes)
			room := redelivery.Room(stored.messages, stored.bytes, least)
			if redelivery.Full(room, least, false) || !redelivery.Full(room-1, least, false) {
				t.Errorf("%d bytes, with room for %d, are not the least that is not full", least, room)
			}
			if !redelivery.Full(room, least, true) || redelivery.Full(room+least/16, least, true) {
				t.Errorf("after it was full, a stream with room for %d needs a sixteenth of %d more", room, least)
			}
			if redelivery.Share(room, 1) < redelivery.MaxCost {
				t.Errorf("one worker cannot take in the largest message in %d bytes", room)
			}
			need := int64(2 * stored.bytes)
			if least < need {
				t.Errorf("%d bytes, want at least a reservation and a due message of each: %d", least, need)
			}
		})
	}
}

// The cost of an interaction covers what it takes from the room.
func TestCost(t *testing.T) {
	const maximum = 64 << 20
	t.Logf("an interaction needs twice its declared message and %d bytes; %d bytes remain free",
		redelivery.Cost(0)/2, redelivery.MinMaximum(0, 0))
	before, after := redelivery.Room(0, 0, maximum), redelivery.Room(1, 5000+2048, maximum)
	if cost := redelivery.Cost(5000); before-after > cost {
		t.Errorf("a message costs %d, and takes %d", cost, before-after)
	}
}
