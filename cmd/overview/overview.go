// Package overview looks at a stage from outside: what waits, what is out, what became of interactions lately, and
// which workers are alive. It asks the broker only, changes nothing that lasts, and fetches no interaction's message
// but the first one that is due in each lane.
//
// Most of it is read from what the broker knows anyway (the state of streams and consumers). Two things the broker has
// to count: reservations by type, and outcomes by subject. An [Inspector] that is asked again and again has them
// counted less often, so that counting takes the broker at most a fiftieth of its time; [Overview.CountedAt] tells when
// it was.
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

// Overview is a stage at one moment. Its JSON is stable. Times are by the broker's clock; ages are in seconds.
type Overview struct {
	At time.Time `json:"at"`
	// Redelivery is how interactions wait between polls; empty where nothing was provisioned.
	Redelivery consumer.Mode `json:"redelivery,omitempty"`
	// Missing are streams and consumers that are not there.
	Missing []string `json:"missing,omitempty"`
	// Intake is there with reservations only: with delayed naks, declared messages are the lanes'.
	Intake *Intake `json:"intake,omitempty"`
	Lanes  []Lane  `json:"lanes"`
	// Waiting is that of all lanes, as of At. It is nil with delayed naks.
	Waiting *uint64 `json:"waiting,omitempty"`
	// Overdue is absent with delayed naks.
	Overdue *Overdue `json:"overdue,omitempty"`
	// CountedAt is when reservations and outcomes were counted: at At or before.
	CountedAt time.Time `json:"countedAt"`
	Outcomes  Outcomes  `json:"outcomes"`
	// Report has what takes messages away, and what is stored and not delivered.
	provisioning.Report
	// Workers are those that are alive, by host.
	Workers []Worker `json:"workers"`
	// Advice says in sentences what needs an operator. An [Inspector] leaves it to the commands, which know what to
	// type.
	Advice []string `json:"advice,omitempty"`
}

// MissingError says which streams and consumers are missing.
type MissingError struct {
	Missing []string
	// Nothing is true where no stream exists.
	Nothing bool
	// Redelivery is that of the streams that exist.
	Redelivery consumer.Mode
}

func (e *MissingError) Error() string {
	if e.Nothing {
		return "nothing is provisioned"
	}
	return "missing: " + strings.Join(e.Missing, ", ")
}

// Provisioned is nil where no stream and no consumer is missing, and a [*MissingError] otherwise.
func (s Overview) Provisioned() error {
	if s.Redelivery != "" && len(s.Missing) == 0 {
		return nil
	}
	e := &MissingError{Missing: s.Missing, Nothing: s.Redelivery == "", Redelivery: s.Redelivery}
	if len(s.Missing) > 0 {
		for _, name := range schema.Streams() {
			e.Nothing = e.Nothing && slices.Contains(s.Missing, streamName(name))
		}
	}
	return e
}

func streamName(name string) string { return topology.StreamObject(name) }

// Intake is what waits to be taken in.
type Intake struct {
	// Waiting was never given to a worker, Out was, and is not acked; a declared message that has to wait until an
	// earlier generation of its interaction is over counts as out.
	Waiting     uint64 `json:"waiting"`
	Out         int    `json:"out"`
	Redelivered int    `json:"redelivered"`
	// WaitingSeconds is the age of the first declared message in the stream. It is 0 where that is not to be taken in
	// any more, and none of Waiting and Out is there: see Undelivered.
	WaitingSeconds float64 `json:"waitingSeconds"`
	// PausedUntil is when the broker delivers again, where an operator has paused the consumer.
	PausedUntil *time.Time `json:"pausedUntil,omitempty"`
}

// Lane is what waits of one type.
type Lane struct {
	Type schema.Type `json:"type"`
	// Due may be polled, and no worker has it yet. With delayed naks: was never given to a worker.
	Due uint64 `json:"due"`
	// Out is with a worker. With delayed naks what is held back is among it: the broker does not tell them apart.
	Out int `json:"out"`
	// Waiting are the reservations, and the tombstones of what ended within the last guidance. It is nil with delayed
	// naks, and where all lanes together have so many that counting them by lane would hold the broker up
	// ([MaxCounted]).
	Waiting *uint64 `json:"waiting,omitempty"`
	// Redelivered is how many of Out were given to a worker more than once. With delayed naks that is every poll after
	// the first.
	Redelivered int `json:"redelivered"`
	// DueSeconds is how long the first of Due and Out has been due. With delayed naks nobody knows.
	DueSeconds float64 `json:"dueSeconds"`
	// OldestSeconds is the age of the oldest interaction that is known: what workers polled lately, and what is due.
	// With delayed naks it is that of the first message in the stream.
	OldestSeconds float64 `json:"oldestSeconds"`
	// PausedUntil is when the broker delivers again, where an operator has paused the consumer.
	PausedUntil *time.Time `json:"pausedUntil,omitempty"`
}

// MaxCounted is up to how many reservations in all they are counted by lane.
const MaxCounted = 200_000

// Outcomes are how many are stored.
type Outcomes struct {
	// Since is where the last hour begins.
	Since    time.Time `json:"since"`
	LastHour Counts    `json:"lastHour"`
	Stored   Counts    `json:"stored"`
}

// Counts are outcomes by the token of their subject that says what became of the interaction.
type Counts struct {
	Processed map[schema.Destination]uint64 `json:"processed"`
	Failed    map[schema.Reason]uint64      `json:"failed"`
}

// Worker is what a worker says of itself, cleaned of what a terminal would take for a command.
type Worker struct {
	schema.Announcement
	// HeardSeconds is the age of the announcement.
	HeardSeconds float64 `json:"heardSeconds"`
	// Problem says why the announcement could not be read; then only Worker and HeardSeconds are known.
	Problem string `json:"problem,omitempty"`
}
