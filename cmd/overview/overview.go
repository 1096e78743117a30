// Package overview shows the state of the system: how many messages wait, are due or pending, which outcomes
// were stored recently, and which workers are alive. It reads from the broker only, changes nothing permanently, and
// reads the message of an interaction only if it is the first due one of a lane.
//
// Most of these numbers are part of the state of streams and consumers. Two must be counted by the broker: reservations
// by type, and outcomes by subject. An [Inspector] that is used repeatedly counts them less often, so that counting
// takes at most a fiftieth of the broker's time. [Overview.CountedAt] is the time of the count.
package overview

import (
	"slices"
	"strings"
	"time"

	"statusworker/cmd/broker/provisioning"
	"statusworker/consumer"
	"statusworker/schema"
	"statusworker/schema/topology"
)

// Overview is the state at one time. Its JSON is stable. Times are by the broker's clock; ages are in seconds.
type Overview struct {
	Namespace schema.Namespace `json:"namespace"`
	At        time.Time        `json:"at"`
	// Redelivery is the redelivery mode; empty if nothing is provisioned.
	Redelivery consumer.Mode `json:"redelivery,omitempty"`
	// Missing are the streams and consumers that do not exist.
	Missing []string `json:"missing,omitempty"`
	// Intake is nil with redelivery nak, where the lanes have the declared messages.
	Intake *Intake `json:"intake,omitempty"`
	Lanes  []Lane  `json:"lanes"`
	// Waiting is the number of reservations of all lanes. It is the sum of the lanes' numbers, as of CountedAt. If the
	// lanes are not counted, it is computed from the number of messages in the polls stream, as of At. It is nil with
	// redelivery nak.
	Waiting *uint64 `json:"waiting,omitempty"`
	// Overdue is nil with redelivery nak.
	Overdue *Overdue `json:"overdue,omitempty"`
	// CountedAt is when reservations and outcomes were counted, at At or before.
	CountedAt time.Time `json:"countedAt"`
	Outcomes  Outcomes  `json:"outcomes"`
	// Consumers are the durable consumers of outcomes, at most [MaxConsumers], as of At or shortly before.
	Consumers []Consumer `json:"consumers,omitempty"`
	// Denied has the subject of a request for Consumers that the broker denied. Consumers is then unknown.
	Denied []string `json:"denied,omitempty"`
	// Report has foreign consumers, and messages that are not delivered.
	provisioning.Report
	// Workers are the workers that are alive, sorted by host.
	Workers []Worker `json:"workers"`
	// Advice has a sentence for each problem that needs an operator. An [Inspector] leaves it empty; the commands fill
	// it.
	Advice []string `json:"advice,omitempty"`
}

// MissingError reports missing streams and consumers.
type MissingError struct {
	Namespace schema.Namespace
	Missing   []string
	// Nothing is true if no stream exists.
	Nothing bool
	// Redelivery is the mode of the existing streams.
	Redelivery consumer.Mode
}

// Error says what is missing. The commands add how to create it.
func (e *MissingError) Error() string {
	if e.Nothing {
		return "nothing is provisioned"
	}
	return "streams or consumers are missing: " + strings.Join(e.Missing, ", ")
}

// Provisioned returns nil if no stream and no consumer is missing, and a [*MissingError] otherwise.
func (s Overview) Provisioned() error {
	if s.Redelivery != "" && len(s.Missing) == 0 {
		return nil
	}
	e := &MissingError{
		Namespace: s.Namespace, Missing: s.Missing, Nothing: s.Redelivery == "", Redelivery: s.Redelivery,
	}
	if len(s.Missing) > 0 {
		for _, name := range s.Namespace.Streams() {
			e.Nothing = e.Nothing && slices.Contains(s.Missing, streamName(name))
		}
	}
	return e
}

func streamName(name string) string { return topology.StreamObject(name) }

// Intake is the state of the intake.
type Intake struct {
	// Waiting is the number of declared messages that were never delivered. Unacked is the number of those that were
	// delivered and are not acknowledged, Redelivered how many of these were delivered more than once. Messages that
	// wait for an earlier generation to end count in Unacked.
	Waiting     uint64 `json:"waiting"`
	Unacked     int    `json:"unacked"`
	Redelivered int    `json:"redelivered"`
	// WaitingSeconds is the age of the first declared message in the stream. It is 0 if the consumer does not deliver
	// that message and Waiting and Unacked are 0; see Undelivered.
	WaitingSeconds float64 `json:"waitingSeconds"`
	// NoRoom means that declared messages wait because the stream of reservations has no room for more interactions.
	NoRoom bool `json:"noRoom,omitempty"`
	// PausedUntil is when a consumer that an operator has paused delivers again.
	PausedUntil *time.Time `json:"pausedUntil,omitempty"`
}

// Lane is the state of one lane.
type Lane struct {
	Type schema.Type `json:"type"`
	// Due is the number of interactions that may be polled and that no worker has. With redelivery nak, it is the
	// number of declared messages that were never delivered.
	Due uint64 `json:"due"`
	// Unacked is the number of messages that were delivered and are not acknowledged. With redelivery nak, it includes
	// interactions that wait for their next poll, because the broker does not distinguish them.
	Unacked int `json:"unacked"`
	// Waiting is the number of reservations as of CountedAt, including the tombstones of interactions that ended within
	// the last poll interval. It is nil with redelivery nak, and if the polls stream has more than [MaxCounted]
	// messages.
	Waiting *uint64 `json:"waiting,omitempty"`
	// Redelivered is how many of Unacked were delivered more than once. With redelivery nak, these are all after their
	// first poll.
	Redelivered int `json:"redelivered"`
	// DueSeconds is how long the first of Due and Unacked has been due. It is 0 with redelivery nak, where this is
	// unknown.
	DueSeconds float64 `json:"dueSeconds"`
	// OldestSeconds is the age of the oldest interaction among those that workers polled recently and the first due
	// one. With redelivery nak, it is at least the age of the first message in the stream.
	OldestSeconds float64 `json:"oldestSeconds"`
	// PausedUntil is when a consumer that an operator has paused delivers again.
	PausedUntil *time.Time `json:"pausedUntil,omitempty"`
}

// MaxCounted is the largest number of messages in the polls stream for which reservations are counted by lane. Counting
// more would block the broker for too long.
const MaxCounted = 200_000

// Outcomes has the numbers of outcomes.
type Outcomes struct {
	// Since is the start of the last hour.
	Since    time.Time `json:"since"`
	LastHour Counts    `json:"lastHour"`
	Stored   Counts    `json:"stored"`
}

// Counts has numbers of outcomes by destination or reason.
type Counts struct {
	Processed map[schema.Destination]uint64 `json:"processed"`
	Failed    map[schema.Reason]uint64      `json:"failed"`
}

// Worker is the announcement of a worker, without control characters.
type Worker struct {
	schema.Announcement
	// HeardSeconds is the age of the announcement.
	HeardSeconds float64 `json:"heardSeconds"`
	// Problem is why the announcement is not readable; then only Worker and HeardSeconds are set.
	Problem string `json:"problem,omitempty"`
}
