package dlq

import "time"

// Action is what a replay or a purge did with a dead letter.
type Action string

// The actions.
const (
	// Replayed: its declared message was published again, and the dead letter was deleted.
	Replayed Action = "replayed"
	// Superseded: its interaction had been declared again or processed, and the dead letter was deleted.
	Superseded Action = "superseded"
	// Deleted: the dead letter was purged.
	Deleted Action = "deleted"
	// Gone: another user deleted the dead letter in the meantime.
	Gone Action = "gone"
	// Unchanged: the dead letter is unchanged.
	Unchanged Action = "unchanged"
	// Waiting: the dead letter cannot be replayed or purged yet. Its result follows.
	Waiting Action = "waiting"
)

// Cause is why a dead letter was superseded, is unchanged or waits.
type Cause string

// Why a dead letter was superseded, by the message in [Result.By].
const (
	// DeclaredAgain: a declared message was stored since.
	DeclaredAgain Cause = "declared again"
	// PolledSince: a reservation or a due message of a later generation is stored.
	PolledSince Cause = "polled since"
	// EndedSince: an outcome was stored since.
	EndedSince Cause = "ended since"
)

// Why a dead letter is unchanged, or waits.
const (
	// Unusable: its declared message can never be published again. [Result.Err] has the cause.
	Unusable Cause = "unusable"
	// NoOutcome: By is a foreign message on the subject of an outcome. Replay after it is deleted.
	NoOutcome Cause = "no outcome"
	// PublishFailed: the broker rejected its declared message. [Result.Err] has the cause.
	PublishFailed Cause = "publish failed"

	// After all others, a later replay or purge may succeed.

	// PollPending: a worker has not yet made the last poll of its generation, or of an earlier one. By is the
	// reservation or due message.
	PollPending Cause = "poll pending"
	// NotTakenIn: a worker has not yet taken in By, a declared message that begins no new generation.
	NotTakenIn Cause = "not taken in"
	// SubjectTaken: another message is stored on the subject of its declared message.
	SubjectTaken Cause = "subject taken"
	// TooSlow: the broker answered the reads too slowly.
	TooSlow Cause = "too slow"
	// NotConfirmed: the broker did not confirm that its declared message is stored. [Result.Err] has the cause.
	NotConfirmed Cause = "not confirmed"
)

// Result is the result for one dead letter.
type Result struct {
	Action Action
	// Cause is set with Superseded, Unchanged and Waiting.
	Cause Cause
	// By is the stored message that Cause refers to, or zero.
	By Stored
	// Err is the error that Cause refers to, or nil.
	Err error
	// Until is set with Waiting: when the replay or purge leaves the dead letter unchanged.
	Until time.Time
}

// Stored is a stored message.
type Stored struct {
	// Subject is empty for a reservation or a due message.
	Subject string
	// Time is when the message was stored; for a reservation or a due message, when its generation began.
	Time time.Time
}

// Report is called with the result for each dead letter. If a dead letter has to wait, it is called before that, once,
// with Waiting. It must be safe for concurrent use.
type Report func(DeadLetter, Result)
