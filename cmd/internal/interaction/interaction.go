// Package interaction finds interactions: where each of them is, which statuses the vendor reported, and what happens
// next. It reads from the leaders of the streams, and changes nothing.
package interaction

import (
	"time"

	"statusworker/schema"
	"statusworker/schema/lifecycle"
)

// Interaction is where an interaction is. Its JSON is stable, and `statusworker schema show` describes it. Times are by
// the broker's clock.
type Interaction struct {
	Namespace  schema.Namespace `json:"namespace"`
	State      lifecycle.State  `json:"state"`
	Identifier string           `json:"identifier"`
	// Type is empty if it is unknown.
	Type schema.Type `json:"type,omitempty"`
	// DeclaredAt is the generation: when the declared message was stored. It is nil if it is unknown.
	DeclaredAt *time.Time `json:"generation,omitempty"`
	// At is when the interaction was read, Since when the message that shows its state was stored. Since is nil if
	// there is none.
	At    time.Time  `json:"at"`
	Since *time.Time `json:"since,omitempty"`
	// Polls is the number of polls so far in the generation. Polls that were skipped count. It is 0 with delayed naks.
	Polls uint64 `json:"polls"`
	// NextPollAt is when a waiting interaction falls due. With delayed naks it is nil: only the broker knows it.
	NextPollAt *time.Time `json:"next_poll_at,omitempty"`
	// Redelivery is the redelivery mode.
	Redelivery string `json:"redelivery"`
	// Problem is what delays an interaction that has not ended; Detail describes it.
	Problem Problem `json:"problem,omitempty"`
	Detail  string  `json:"detail,omitempty"`
	// ConsumerPausedUntil is when the consumer of an interaction that has not ended delivers again, if an operator has
	// paused it.
	ConsumerPausedUntil *time.Time `json:"consumer_paused_until,omitempty"`
	// Workers are those that are alive, if the interaction waits for one: it is declared or due.
	Workers *Workers `json:"workers,omitempty"`
	// History has the changes of status, the oldest first.
	History []schema.StatusChange `json:"history"`
	// Outcomes are the newest on each subject, in the order in which they were stored.
	Outcomes []Outcome `json:"outcomes"`
}

// Problem is what delays an interaction.
type Problem string

// The problems.
const (
	// InvalidMessage: the declared message is not valid. It will become a dead letter.
	InvalidMessage Problem = "invalid_message"
	// ForeignMessage: no worker stored the message on the subject of its next poll.
	ForeignMessage Problem = "foreign_message"
	// Overdue: the broker has not published the due message.
	Overdue Problem = "overdue"
	// NoWorkers: no worker is alive.
	NoWorkers Problem = "no_workers"
	// ConsumerPaused: an operator has paused the NATS consumer of the lane until after the next step.
	ConsumerPaused Problem = "consumer_paused"
	// Paused: no worker polls, because the vendor fails.
	Paused Problem = "paused"
)

// Problems returns all problems.
func Problems() []Problem {
	return []Problem{InvalidMessage, ForeignMessage, Overdue, NoWorkers, ConsumerPaused, Paused}
}

// Workers describes the workers that are alive.
type Workers struct {
	Alive  int `json:"alive"`
	Paused int `json:"paused"`
	// Worker is the host of the only worker.
	Worker string `json:"worker,omitempty"`
	// Cause and Until are those of the pause that ends first, if all are paused.
	Cause string     `json:"cause,omitempty"`
	Until *time.Time `json:"until,omitempty"`
}

// Outcome is a stored outcome.
type Outcome struct {
	Subject  string    `json:"subject"`
	Sequence uint64    `json:"sequence"`
	Stored   time.Time `json:"stored"`
	// Destination is set for a processed event; Reason, Detail and Advice for a dead letter.
	Destination schema.Destination `json:"destination,omitempty"`
	Reason      schema.Reason      `json:"reason,omitempty"`
	Detail      string             `json:"detail,omitempty"`
	Advice      string             `json:"advice,omitempty"`
	// DeclaredAt is the generation that it ended; nil for a message that statusworker did not publish. Current reports
	// whether that is the generation of the interaction.
	DeclaredAt *time.Time `json:"generation,omitempty"`
	Current    bool       `json:"current"`
	// Polls is the number of the last poll in the generation.
	Polls uint64 `json:"polls"`
}

// Last returns the outcome of the interaction's generation that was stored last, or nil.
func (i Interaction) Last() *Outcome {
	for n := len(i.Outcomes) - 1; n >= 0; n-- {
		if i.Outcomes[n].Current {
			return &i.Outcomes[n]
		}
	}
	return nil
}
