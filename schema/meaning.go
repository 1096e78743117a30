package schema

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Status is a vendor status. Anything that is not terminal is pending, also a value that is not listed here.
type Status string

// MaxStatusBytes is the length up to which a status is taken for one.
const MaxStatusBytes = 64

// Meaning is what a status says about an interaction.
type Meaning string

// The meanings.
const (
	Pending   Meaning = "pending"
	Processed Meaning = "processed"
	Failed    Meaning = "failed"
)

// Meanings lists all of them.
func Meanings() []Meaning { return []Meaning{Pending, Processed, Failed} }

type statusRow struct {
	status  Status
	meaning Meaning
	reason  Reason
	text    string
}

func (r statusRow) key() Status { return r.status }

var statusOf = indexed(statuses)

// Statuses lists those of the vendor's documentation.
func Statuses() []Status { return keys(statuses) }

// Listed tells whether s is one of [Statuses].
func (s Status) Listed() bool { _, ok := statusOf[s]; return ok }

// Meaning is what s means: one that is not listed is pending.
func (s Status) Meaning() Meaning {
	if row, ok := statusOf[s]; ok {
		return row.meaning
	}
	return Pending
}

// Terminal tells whether s is a status that an interaction keeps.
func (s Status) Terminal() bool { return s.Meaning() != Pending }

// Reason is that of the dead letter to which s leads. It is empty where s is no failure.
func (s Status) Reason() Reason { return statusOf[s].reason }

// Text says in a sentence what s means. It is empty where s is not listed.
func (s Status) Text() string { return statusOf[s].text }

// StatusProblem says why a text is no status.
type StatusProblem string

// The problems of a status.
const (
	StatusEmpty        StatusProblem = "empty"
	StatusTooLong      StatusProblem = "too long"
	StatusNotPrintable StatusProblem = "not printable"
)

// StatusError is the error of [Status.Check].
type StatusError struct {
	Status  Status
	Problem StatusProblem
}

func (e *StatusError) Error() string {
	return fmt.Sprintf(
		"status %s is %s: allowed are 1 to %d printable bytes",
		Quote(string(e.Status)),
		e.Problem,
		MaxStatusBytes,
	)
}

// Check accepts every status that can be shown: also one that is not listed. It ends up in headers and logs. The error
// is a [*StatusError].
func (s Status) Check() error {
	switch {
	case s == "":
		return &StatusError{s, StatusEmpty}
	case len(s) > MaxStatusBytes:
		return &StatusError{s, StatusTooLong}
	case strings.ContainsFunc(string(s), func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }):
		return &StatusError{s, StatusNotPrintable}
	}
	return nil
}

// Fault names what stood in the way of an answer: see [PollError].
type Fault string

type faultRow struct {
	fault  Fault
	reason Reason
	text   string
}

func (r faultRow) key() Fault { return r.fault }

var faultOf = indexed(faults)

// Faults lists all of them.
func Faults() []Fault { return keys(faults) }

// Refusal tells whether the vendor answered, but refused the interaction. It may be meant: see [Refusals].
func (f Fault) Refusal() bool { return f.Reason() != "" }

// Reason is that of the dead letter to which f leads when it is confirmed. It is empty where f is no refusal.
func (f Fault) Reason() Reason { return faultOf[f].reason }

// Text says in half a sentence what the vendor did, where f is a refusal.
func (f Fault) Text() string { return faultOf[f].text }

// Reason is why an interaction ended in a dead letter.
type Reason string

// Cause is what leads to a reason.
type Cause string

// The causes.
const (
	// ByMessage: the declared message is none.
	ByMessage Cause = "message"
	// ByVendor: a status or a fault, see [Reason.Statuses] and [Reason.Faults].
	ByVendor Cause = "vendor"
	// ByFailedStatus: a status that is not listed, and that the operator named as a failure.
	ByFailedStatus Cause = "failed status"
	// ByDeadline: the interaction was not terminal in time.
	ByDeadline Cause = "deadline"
	// ByPanic: deliveries of the interaction made their worker panic.
	ByPanic Cause = "panic"
)

type reasonRow struct {
	reason     Reason
	cause      Cause
	text, todo string
}

func (r reasonRow) key() Reason { return r.reason }

var reasonOf = indexed(reasons)

// Reasons lists all of them.
func Reasons() []Reason { return keys(reasons) }

// Valid tells whether r is one of [Reasons].
func (r Reason) Valid() bool { _, ok := reasonOf[r]; return ok }

// Cause is what leads to r.
func (r Reason) Cause() Cause { return reasonOf[r].cause }

// Text says what r means. It is empty where r is not valid.
func (r Reason) Text() string { return reasonOf[r].text }

// Advice says what an operator can do. It is empty where r is not valid.
func (r Reason) Advice() string { return reasonOf[r].todo }

// Statuses are those that lead to r.
func (r Reason) Statuses() []Status {
	return slices.DeleteFunc(Statuses(), func(s Status) bool { return s.Reason() != r })
}

// Faults are those that lead to r when they are confirmed.
func (r Reason) Faults() []Fault {
	return slices.DeleteFunc(Faults(), func(f Fault) bool { return f.Reason() != r })
}

// Destination is what comes next for a processed interaction.
type Destination string

// Flag is a member of a declaration: a boolean that asks for a destination.
type Flag string

type destinationRow struct {
	destination Destination
	types       []Type
	flag        Flag
	wanted      bool
}

func (r destinationRow) key() Destination { return r.destination }

// Destinations lists all of them.
func Destinations() []Destination { return keys(destinations) }

// Types are those of which d has results. They are none where it stands for nothing to fetch.
func (d Destination) Types() []Type { return slices.Clone(destinationOf[d].types) }

// Flag is the one that asks for d; empty where nothing needs to.
func (d Destination) Flag() Flag { return destinationOf[d].flag }

var destinationOf = indexed(destinations)

// Flags lists those of all destinations.
func Flags() []Flag { return keys(flags) }

type flagRow struct {
	flag   Flag
	wanted bool
}

func (r flagRow) key() Flag { return r.flag }

var flags = flagsOf(destinations)

func flagsOf(destinations []destinationRow) []flagRow {
	var all []flagRow
	for _, d := range destinations {
		if row := (flagRow{d.flag, d.wanted}); d.flag != "" && !slices.Contains(all, row) {
			all = append(all, row)
		}
	}
	return all
}

// Default is the value of f where a declaration does not say.
func (f Flag) Default() bool { return slices.Contains(flags, flagRow{f, true}) }

// Destinations says where the processed events of d go: to those that have results for its type and that it wants. An
// interaction with nothing to fetch still gets an outcome.
func (d Declared) Destinations() []Destination {
	var to []Destination
	for _, row := range destinations {
		if slices.Contains(row.types, d.Type) && row.wanted != slices.Contains(d.Differs, row.flag) {
			to = append(to, row.destination)
		}
	}
	if len(to) == 0 {
		return []Destination{Unrouted}
	}
	return to
}

// row is one of a table.
type row[K comparable] interface{ key() K }

func keys[K comparable, R row[K]](table []R) []K {
	all := make([]K, len(table))
	for i, r := range table {
		all[i] = r.key()
	}
	return all
}

func indexed[K comparable, R row[K]](table []R) map[K]R {
	index := make(map[K]R, len(table))
	for _, r := range table {
		index[r.key()] = r
	}
	return index
}
