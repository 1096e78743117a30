package lifecycle

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"statusworker/schema"
	"statusworker/schema/broker"
)

// Position identifies a poll of an interaction. A foreign message has the zero Position.
type Position struct {
	// Generation is when the declared message was stored, by the broker's clock.
	Generation time.Time
	// Number is 1 for the first poll of a generation.
	Number uint64
}

// After reports whether p is a later poll than o.
func (p Position) After(o Position) bool {
	if !p.Generation.Equal(o.Generation) {
		return p.Generation.After(o.Generation)
	}
	return p.Number > o.Number
}

// PolledBefore reports whether an earlier poll of the same generation exists.
func (p Position) PolledBefore() bool { return p.Number > 1 }

// Reserved is a reservation, or the due message that a reservation has become.
type Reserved struct {
	Position
	// Sequence is the sequence of the message in its stream; Stored is when it was stored there.
	Sequence uint64
	Stored   time.Time
	// Due is when the reservation falls due, by the broker's clock; zero for a due message, and for a message without
	// a schedule.
	Due time.Time
	// Tombstone marks the end of a generation: the worker that receives it acknowledges it without a poll.
	Tombstone bool
	// Replays is the generation whose dead letter the declared message replays; zero if it replays none.
	Replays time.Time
}

// Foreign reports whether no worker stored the message.
func (r Reserved) Foreign() bool { return r.Generation.IsZero() }

// generation returns the generation of the message. That of a foreign message is when it was stored, as for a declared
// message.
func (r Reserved) generation() time.Time {
	if r.Foreign() {
		return r.Stored
	}
	return r.Generation
}

// ReadReserved reads a reservation or a due message.
func ReadReserved(header map[string][]string, sequence uint64, stored time.Time) Reserved {
	r := Reserved{
		Sequence: sequence, Stored: stored, Tombstone: IsTombstone(header), Replays: ReadReplays(header),
	}
	r.Due = broker.Message{Header: header}.Due() // a schedule in another format counts as due
	r.Position, _ = ReadPosition(header)
	return r
}

// IsTombstone reports whether a reservation or a due message marks the end of its generation.
func IsTombstone(header map[string][]string) bool { return first(header, schema.HeaderTombstone) != "" }

// ReadPosition reads the position of a reservation or a due message from its headers. The error names the header that
// is missing or malformed: the message is foreign.
func ReadPosition(header map[string][]string) (Position, error) {
	number, err := strconv.ParseUint(first(header, schema.HeaderPoll), 10, 64)
	if err != nil {
		return Position{}, fmt.Errorf("header %s: %w", schema.HeaderPoll, err)
	}
	stored, _, _ := strings.Cut(first(header, schema.HeaderGeneration), " ")
	generation, err := time.Parse(time.RFC3339Nano, stored)
	if err != nil {
		return Position{}, fmt.Errorf("header %s: %w", schema.HeaderGeneration, err)
	}
	if !schema.Encodable(generation) {
		return Position{}, fmt.Errorf("header %s: the year of %s must be 0 to 9999 in UTC", schema.HeaderGeneration,
			generation.UTC())
	}
	return Position{Generation: generation, Number: number}, nil
}

// ReadReplays returns the generation whose dead letter a declared message replays, from its headers or from those of a
// reservation or a due message; zero if it replays none.
func ReadReplays(header map[string][]string) time.Time {
	text := first(header, schema.HeaderReplays)
	if text == "" { // the usual case
		return time.Time{}
	}
	generation, err := time.Parse(time.RFC3339Nano, text)
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

// Outcome is a stored outcome.
type Outcome struct {
	Subject  string
	Sequence uint64
	// Stored is when the outcome was stored, by the broker's clock.
	Stored time.Time
	// Destination is set for a processed event, Reason for a dead letter.
	Destination schema.Destination
	Reason      schema.Reason
	// Generation is that of the declared message; zero for a foreign message.
	Generation time.Time
	// Source is the subject of the declared message. Only dead letters have it.
	Source string
}

// ReadOutcome reads a message on the subject of an outcome. The destination or reason of a foreign message is that of
// its subject.
func ReadOutcome(n schema.Namespace, subject string, sequence uint64, stored time.Time, data []byte) Outcome {
	var event struct {
		Data struct {
			Destination schema.Destination `json:"destination"`
			Reason      schema.Reason      `json:"reason"`
			DeclaredAt  time.Time          `json:"declaredAt"`
			Source      schema.Origin      `json:"source"`
		} `json:"data"`
	}
	o := Outcome{Subject: subject, Sequence: sequence, Stored: stored}
	if err := json.Unmarshal(data, &event); err == nil && event.Data.Destination != "" != (event.Data.Reason != "") &&
		schema.Encodable(event.Data.DeclaredAt) {
		o.Destination, o.Reason, o.Generation = event.Data.Destination, event.Data.Reason, event.Data.DeclaredAt
		o.Source = event.Data.Source.Subject
		return o
	}
	kind, _, _ := n.SplitSubject(subject)
	if n.IsFailedSubject(subject) {
		o.Reason = schema.Reason(kind)
	} else {
		o.Destination = schema.Destination(kind)
	}
	return o
}

// Foreign reports whether statusworker did not publish the message.
func (o Outcome) Foreign() bool { return o.Generation.IsZero() }

// invalid reports whether o is the dead letter of an invalid declared message.
func (o Outcome) invalid() bool { return o.Reason == schema.InvalidMessage }

// precludes reports whether o is a dead letter that was stored after a declared message, and that the message does not
// replay: the message was declared twice, and begins no generation.
func (o Outcome) precludes(declared, replays time.Time) bool {
	return o.Reason != "" && !o.invalid() && !o.Foreign() && o.Generation.After(replays) && !o.Stored.Before(declared)
}

// Declared is a stored declared message. An invalid one begins no generation. It matters only to a replay.
type Declared struct {
	Subject string
	// Stored is when the message was stored, by the broker's clock: the generation that it begins.
	Stored time.Time
	// Replays is the generation whose dead letter the message replays; zero if it replays none.
	Replays time.Time
	// Invalid reports that the message is not a valid declared message, and will become a dead letter.
	Invalid bool
	// Delivered reports, with delayed naks, that the message was delivered: it is polled. Only [Snapshot.Where] uses
	// it.
	Delivered bool
}

// Is reports whether two declared messages of an interaction are the same one.
func (d Declared) Is(o Declared) bool { return d.Subject == o.Subject && d.Stored.Equal(o.Stored) }

// Snapshot is what is stored for one interaction. Fields that the caller did not read are empty.
type Snapshot struct {
	// Declared is the first stored declared message, under any type. ([Snapshot.Replay] requires another one.)
	Declared *Declared
	// Reservation is the pending reservation, Due the last message that has fallen due and is not acknowledged.
	// ([Snapshot.Replay] may require an earlier Due.)
	Reservation, Due *Reserved
	// Ignored is the sequence of the newest due message if that is under an unknown type: no worker receives it, and
	// Due is the newest of the others. 0 otherwise.
	Ignored uint64
	// Outcomes are the newest outcomes on each subject, in any order.
	Outcomes []Outcome
}

// ended reports whether a dead letter of the generation of r, or of a later one, is stored, or one that precludes the
// generation.
func (s Snapshot) ended(r Reserved) bool {
	for _, o := range s.Outcomes {
		if o.Reason != "" && !o.invalid() && !o.Foreign() && !o.Generation.Before(r.Generation) ||
			o.precludes(r.Generation, r.Replays) {
			return true
		}
	}
	return false
}
