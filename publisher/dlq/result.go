package dlq

import "time"

// What says what became of a dead letter at the dead-letter queue.
type What string

const (
	// Replayed: its declared message is stored again, and the dead letter is deleted.
	Replayed What = "replayed"
	// Superseded: its interaction was declared again before, and the dead letter is deleted.
	Superseded What = "superseded"
	// Deleted: it was purged.
	Deleted What = "deleted"
	// Gone: somebody else has deleted it meanwhile.
	Gone What = "gone"
	// Left: it is as it was.
	Left What = "left"
)

// Why says why a dead letter was superseded or left.
type Why string

// Why a dead letter was superseded. [Result.By] is what did it.
const (
	// DeclaredAgain: a declared message was stored since.
	DeclaredAgain Why = "declared again"
	// PolledSince: a reservation or a due message of a later generation is stored.
	PolledSince Why = "polled since"
	// EndedSince: an outcome was stored since.
	EndedSince Why = "ended since"
)

// Why a dead letter was left.
const (
	// Unusable: its declared message cannot be published again, as [Result.Err] says. That does not change.
	Unusable Why = "unusable"
	// NoOutcome: By is no event of this stage, and its place is an outcome's. That changes when it is deleted.
	NoOutcome Why = "no outcome"
	// PublishFailed: the broker refuses its declared message, as [Result.Err] says.
	PublishFailed Why = "publish failed"

	// All others may be replayed later.

	// PollPending: a worker has still to make the last poll of its generation, or of an earlier one: By is its
	// reservation or due message.
	PollPending Why = "poll pending"
	// NotTakenIn: a worker has still to take in By, a declared message that begins no new generation.
	NotTakenIn Why = "not taken in"
	// SubjectTaken: another message is stored on the subject of its declared message.
	SubjectTaken Why = "subject taken"
	// TooSlow: the broker tells too slowly what is stored.
	TooSlow Why = "too slow"
	// NotConfirmed: the broker does not confirm that it has stored its declared message, as [Result.Err] says.
	NotConfirmed Why = "not confirmed"
)

// Result is what became of one dead letter, and why.
type Result struct {
	What What
	// Why is empty where What says all.
	Why Why
	// By is zero where Why names nothing that is stored.
	By Stored
	// Err is nil where Why names none.
	Err error
}

// Stored is a stored message.
type Stored struct {
	// Subject is empty for a reservation or a due message.
	Subject string
	// Time is when it was stored; of a reservation or a due message, when its generation began.
	Time time.Time
}

// Report is called with what became of each dead letter, by many goroutines at once.
type Report func(DeadLetter, Result)
