package lifecycle

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"statusworker/schema"
	"statusworker/schema/broker"
)

// Position is a poll of an interaction. The zero Position is that of a message that no worker stored.
type Position struct {
	// Generation is when the declared message was stored, by the broker's clock.
	Generation time.Time
	// Number is 1 for the first poll of a generation.
	Number uint64
}

// After tells whether p is a later poll than o.
func (p Position) After(o Position) bool {
	if !p.Generation.Equal(o.Generation) {
		return p.Generation.After(o.Generation)
	}
	return p.Number > o.Number
}

// PolledBefore tells whether the interaction was polled before this poll, in this generation.
func (p Position) PolledBefore() bool { return p.Number > 1 }

// Reserved is a reservation, or what has become of one that fell due.
type Reserved struct {
	Position
	// Sequence is the message's in its stream; Stored is when it was stored there.
	Sequence uint64
	Stored   time.Time
	// Due is when the reservation falls due, by the broker's clock; zero where the message does not say, and once it
	// has.
	Due time.Time
	// Tombstone marks the end of a generation: when it falls due it is acknowledged without a poll.
	Tombstone bool
}

// Foreign tells whether no worker stored the message.
func (r Reserved) Foreign() bool { return r.Generation.IsZero() }

// generation is that of the message. One that no worker stored is treated like a declared message.
func (r Reserved) generation() time.Time {
	if r.Foreign() {
		return r.Stored
	}
	return r.Generation
}

// ReadReserved reads a reservation or a due message.
func ReadReserved(header map[string][]string, sequence uint64, stored time.Time) Reserved {
	r := Reserved{Sequence: sequence, Stored: stored, Tombstone: IsTombstone(header)}
	r.Due = broker.Message{Header: header}.Due() // what does not parse counts as due
	r.Position, _ = ReadPosition(header)
	return r
}

// IsTombstone tells whether a reservation or a due message marks the end of its generation.
func IsTombstone(header map[string][]string) bool { return first(header, schema.HeaderTombstone) != "" }

// ReadPosition reads the position of a reservation or a due message from its headers. The error says which header is
// missing or malformed: then no worker stored the message.
func ReadPosition(header map[string][]string) (Position, error) {
	number, err := strconv.ParseUint(first(header, schema.HeaderPoll), 10, 64)
	if err != nil {
		return Position{}, fmt.Errorf("header %s: %w", schema.HeaderPoll, err)
	}
	generation, err := time.Parse(time.RFC3339Nano, first(header, schema.HeaderGeneration))
	if err != nil {
		return Position{}, fmt.Errorf("header %s: %w", schema.HeaderGeneration, err)
	}
	return Position{Generation: generation, Number: number}, nil
}

// ReadReplays reads which generation's dead letter a declared message replays; zero where it replays none.
func ReadReplays(header map[string][]string) time.Time {
	generation, err := time.Parse(time.RFC3339Nano, first(header, schema.HeaderReplays))
	if err != nil {
		return time.Time{}
	}
	return generation
}

func first(header map[string][]string, name string) string {
	if values := header[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// Outcome is an outcome that is stored.
type Outcome struct {
	Subject  string
	Sequence uint64
	// Stored is when, by the broker's clock.
	Stored time.Time
	// Destination is set for a processed event, Reason for a dead letter.
	Destination schema.Destination
	Reason      schema.Reason
	// Generation is that of the declared message; zero for what is no event of this stage.
	Generation time.Time
	// Source is the subject of the declared message; of dead letters only.
	Source string
}

// ReadOutcome reads what is stored on an outcome's subject.
func ReadOutcome(subject string, sequence uint64, stored time.Time, data []byte) Outcome {
	var event struct {
		Data struct {
			Destination schema.Destination `json:"destination"`
			Reason      schema.Reason      `json:"reason"`
			DeclaredAt  time.Time          `json:"declaredAt"`
			Source      schema.Origin      `json:"source"`
		} `json:"data"`
	}
	o := Outcome{Subject: subject, Sequence: sequence, Stored: stored}
	if err := json.Unmarshal(data, &event); err == nil && event.Data.Destination != "" != (event.Data.Reason != "") {
		o.Destination, o.Reason, o.Generation = event.Data.Destination, event.Data.Reason, event.Data.DeclaredAt
		o.Source = event.Data.Source.Subject
		return o
	}
	kind, _, _ := schema.SplitSubject(subject)
	if schema.IsFailedSubject(subject) {
		o.Reason = schema.Reason(kind)
	} else {
		o.Destination = schema.Destination(kind)
	}
	return o
}

// Foreign tells whether the message is no event of this stage.
func (o Outcome) Foreign() bool { return o.Generation.IsZero() }

// invalid tells whether o is the dead letter of a message that declared nothing.
func (o Outcome) invalid() bool { return o.Reason == schema.InvalidMessage }

// Declared is a declared message that is stored. One that is no valid declared message counts as none, but for a
// replay.
type Declared struct {
	Subject string
	// Stored is when, by the broker's clock: the generation that the message begins.
	Stored time.Time
	// Replays is the generation whose dead letter the message replays; zero where it replays none.
	Replays time.Time
	// Invalid says that it will become a dead letter itself.
	Invalid bool
}

// Snapshot is what is stored for one interaction. What was not read is left out.
type Snapshot struct {
	// Declared is the first stored declared message, under any type.
	Declared *Declared
	// Reservation is the pending one, Due the last message that has fallen due and is not acknowledged.
	Reservation, Due *Reserved
	// Outcomes are the newest on each subject, in any order.
	Outcomes []Outcome
}

// ended tells whether a dead letter of a generation is stored.
func (s Snapshot) ended(generation time.Time) bool {
	for _, o := range s.Outcomes {
		if o.Reason != "" && !o.invalid() && !o.Foreign() && !o.Generation.Before(generation) {
			return true
		}
	}
	return false
}
