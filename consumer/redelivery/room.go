package redelivery

import "statusworker/schema"

// A stream with schedules cannot reject messages: at its maximum size, the broker deletes the oldest reservations, and
// their interactions are lost. So the intake stops before, and leaves room for what every stored interaction may still
// need.
const (
	// maxHeaders is the maximum size of a first reservation without the declared message: its subject, its headers and
	// what the broker adds.
	maxHeaders = 2 << 10
	// maxGrowth is by how much a reservation becomes larger at most while its interaction is polled: by its history,
	// and by some headers with counts.
	maxGrowth = schema.MaxHistoryBytes + 512
	// messagesEach is the number of messages that an interaction has at most: a due message is acknowledged after the
	// reservation of the next poll is stored.
	messagesEach = 2

	// MaxCost is the [Cost] of the largest declared message.
	MaxCost = int64(messagesEach * (schema.MaxDeclaredBytes + maxHeaders + maxGrowth))
	// roomParts is how many of the largest declared messages a stream that is not full has room for.
	roomParts = 4
)

// Cost is the room that the interaction of a declared message of this size needs at most.
func Cost(declared int) int64 { return messagesEach * int64(declared+maxHeaders+maxGrowth) }

// Room is how many bytes a stream of reservations with a maximum size has left for new interactions, if those that are
// stored, in this number of messages and bytes, need as much as they can. It may be negative.
func Room(messages, bytes uint64, maximum int64) int64 {
	return maximum - messagesEach*int64(bytes+messages*uint64(maxGrowth))
}

// MinMaximum is the smallest maximum size of a stream of reservations that has room for more than what is stored.
func MinMaximum(messages, bytes uint64) int64 { return roomParts*MaxCost - Room(messages, bytes, 0) }

// Full reports whether a stream of reservations has too little room for the intake. A stream that was full is full
// until a sixteenth of it is free, so that the intake does not stop and continue all the time.
func Full(room, maximum int64, before bool) bool {
	needed := roomParts * MaxCost
	if before {
		needed += maximum / 16
	}
	return room < needed
}

// Share is the part of the room that one of several workers may use in the time between two readings. All workers
// together use no more than the room, although each reads it at a different time: between two readings of one worker,
// the others use at most half of what that worker has read.
func Share(room int64, workers int) int64 { return room / int64(roomParts*max(1, workers)) }
