package schema

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Status is a vendor status. An unknown status is pending.
type Status string

// MaxStatusBytes is the maximum size of a status.
const MaxStatusBytes = 64

// Meaning is what a status means for an interaction.
type Meaning string

// The meanings.
const (
	Pending   Meaning = "pending"
	Processed Meaning = "processed"
	Failed    Meaning = "failed"
)

// Meanings returns all meanings.
func Meanings() []Meaning { return []Meaning{Pending, Processed, Failed} }

type statusRow struct {
	status  Status
	meaning Meaning
	reason  Reason
	text    string
}

func (r statusRow) key() Status { return r.status }

var statusOf = indexed(statuses)

// Statuses returns the known statuses, which are those of the vendor's documentation.
func Statuses() []Status { return keys(statuses) }

// Known reports whether s is one of [Statuses].
func (s Status) Known() bool { _, ok := statusOf[s]; return ok }

// Meaning returns the meaning of s. An unknown status is pending.
func (s Status) Meaning() Meaning {
	if row, ok := statusOf[s]; ok {
		return row.meaning
	}
	return Pending
}

// Final reports whether s is not pending: an interaction keeps such a status.
func (s Status) Final() bool { return s.Meaning() != Pending }

// Reason returns the reason of the dead letter for s. It is empty if s is not a failure.
func (s Status) Reason() Reason { return statusOf[s].reason }

// Text returns a sentence that explains s. It is empty if s is unknown.
func (s Status) Text() string { return statusOf[s].text }

// StatusProblem is why a text is not a status.
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
	return fmt.Sprintf("status %s is %s; allowed: 1 to %d printable bytes",
		Quote(string(e.Status)), e.Problem, MaxStatusBytes)
}

// Check returns a [*StatusError] unless s can be written to headers and logs. It accepts unknown statuses.
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

// Fault is why a status request failed: see [PollError].
type Fault string

type faultRow struct {
	fault  Fault
	reason Reason
	text   string
}

func (r faultRow) key() Fault { return r.fault }

var faultOf = indexed(faults)

// Faults returns all faults.
func Faults() []Fault { return keys(faults) }

// Refusal reports whether f means that the vendor refused the interaction. [Refusals] confirm a refusal.
func (f Fault) Refusal() bool { return f.Reason() != "" }

// Reason returns the reason of the dead letter for f when it is confirmed. It is empty if f is not a refusal.
func (f Fault) Reason() Reason { return faultOf[f].reason }

// Text returns what the vendor did, as the beginning of a detail. It is empty if f is not a refusal.
func (f Fault) Text() string { return faultOf[f].text }

// Reason is why an interaction ended in a dead letter.
type Reason string

// Cause is what leads to a reason.
type Cause string

// The causes.
const (
	// ByMessage: the declared message is not valid.
	ByMessage Cause = "message"
	// ByVendor: a status or a fault, see [Reason.Statuses] and [Reason.Faults].
	ByVendor Cause = "vendor"
	// ByFailedStatus: an unknown status that the operator configured as a failure.
	ByFailedStatus Cause = "failed status"
	// ByDeadline: the interaction had no final status at its deadline.
	ByDeadline Cause = "deadline"
	// ByPanic: deliveries of the interaction made workers panic.
	ByPanic Cause = "panic"
)

type reasonRow struct {
	reason     Reason
	cause      Cause
	text, todo string
}

func (r reasonRow) key() Reason { return r.reason }

var reasonOf = indexed(reasons)

// Reasons returns all reasons.
func Reasons() []Reason { return keys(reasons) }

// Valid reports whether r is one of [Reasons].
func (r Reason) Valid() bool { _, ok := reasonOf[r]; return ok }

// Cause returns what leads to r.
func (r Reason) Cause() Cause { return reasonOf[r].cause }

// Text returns what r means. It is empty if r is not valid.
func (r Reason) Text() string { return reasonOf[r].text }

// Advice returns what an operator can do. It is empty if r is not valid.
func (r Reason) Advice() string { return reasonOf[r].todo }

// Statuses returns the statuses that lead to r.
func (r Reason) Statuses() []Status {
	return slices.DeleteFunc(Statuses(), func(s Status) bool { return s.Reason() != r })
}

// Faults returns the faults that lead to r when they are confirmed.
func (r Reason) Faults() []Fault {
	return slices.DeleteFunc(Faults(), func(f Fault) bool { return f.Reason() != r })
}

// Destination is the next step for a processed interaction.
type Destination string

// Flag is the name of a boolean member of a declared message that requests a destination.
type Flag string

type destinationRow struct {
	destination Destination
	types       []Type
	flag        Flag
	wanted      bool
}

func (r destinationRow) key() Destination { return r.destination }

// Destinations returns all destinations.
func Destinations() []Destination { return keys(destinations) }

// Types returns the interaction types that have results for d. It is empty for [Unrouted].
func (d Destination) Types() []Type { return slices.Clone(destinationOf[d].types) }

// Flag returns the flag that selects d; empty if none does.
func (d Destination) Flag() Flag { return destinationOf[d].flag }

var destinationOf = indexed(destinations)

// Flags returns the flags of all destinations.
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

// Default returns the value of f in a declaration without f.
func (f Flag) Default() bool { return slices.Contains(flags, flagRow{f, true}) }

// Destinations returns the destinations of the processed events of d: those that have results for its type and that its
// flags select. It is [Unrouted] if there is none.
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

// row is a row of a table.
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
