package schema

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Headers of the messages of an interaction: declared messages, reservations and outcomes.
const (
	// HeaderPoll is the number of the reserved poll; the first is 1.
	HeaderPoll = "Statusworker-Poll"
	// HeaderGeneration is when the declared message was stored, by the broker's clock, in RFC 3339 with nanoseconds. It
	// identifies the generation, and ages are measured from it. The message's sequence in its stream follows, and how
	// often it was delivered until a worker took it in: `2026-11-27T01:02:03.456789123Z 17 1`.
	HeaderGeneration = "Statusworker-Generation"
	// HeaderHistory has one value for each [StatusChange], the oldest first: number of the poll, time, status, such as
	// `3 2026-11-27T01:02:03.456Z processing`. The last value has the last known status. See [AddChange].
	HeaderHistory = "Statusworker-History"
	// HeaderRefusals are the [Refusals] of an interaction that the vendor refused at its last poll.
	HeaderRefusals = "Statusworker-Refusals"
	// HeaderPanics is the number of consecutive deliveries, up to the last one, that made their worker panic.
	HeaderPanics = "Statusworker-Panics"
	// HeaderDue is the time for which a worker made a reservation, by the broker's clock as that worker had measured
	// it, in RFC 3339 with nanoseconds, and how long before that time it was made, in milliseconds. In a cluster the
	// name of the server whose clock the worker had measured follows: `2026-11-27T01:02:03.456789123Z 5105 n1`. The
	// server that fires the schedule may have another clock.
	HeaderDue = "Statusworker-Due"
	// HeaderTombstone marks a reservation that is acknowledged without a poll when it falls due.
	HeaderTombstone = "Statusworker-Tombstone"
	// HeaderReplays is, on a declared message that replays a dead letter, the generation that ended with that dead
	// letter (the time in HeaderGeneration). A pending reservation of that generation, or the dead letter, does not
	// make the message a duplicate. The reservations of the new generation have it, too.
	HeaderReplays = "Statusworker-Replays"
	// HeaderTraceparent is the W3C trace context. statusworker writes the name in lower case. [Traceparent] reads it in
	// any case.
	HeaderTraceparent = "traceparent"
)

// ContentTypeCloudEvent is the content type of a structured CloudEvent in JSON.
const ContentTypeCloudEvent = "application/cloudevents+json"

// Type is the type of an interaction. Each type has its own lane and poll interval.
type Type string

// The vendor's interaction types.
const (
	Audio      Type = "audio"
	Chat       Type = "chat"
	Transcript Type = "transcript"
)

// Types returns all types, in the order in which lanes are shown.
func Types() []Type { return []Type{Audio, Chat, Transcript} }

// Valid reports whether t is one of [Types].
func (t Type) Valid() bool { return t == Audio || t == Chat || t == Transcript }

// CheckIdentifier returns an error unless s is an interaction identifier: a GUID with hyphens in lower case. NATS
// subjects are case-sensitive, and one interaction must have one subject. A valid identifier is one token of a subject
// and one segment of a URL.
func CheckIdentifier(s string) error {
	if err := checkGUID(s); err != nil {
		return err
	}
	if strings.ContainsAny(s, "ABCDEF") {
		return fmt.Errorf("%s must be in lower case: use %s", Quote(s), strings.ToLower(s))
	}
	return nil
}

// checkGUID returns an error unless s is a GUID, in either case.
func checkGUID(s string) error {
	const allowed = "must be a GUID of 36 characters like bd5c92f3-c228-44a6-91bf-b52672569878"
	if len(s) != 36 {
		return fmt.Errorf("%s is %d bytes long, %s", Quote(s), len(s), allowed)
	}
	for i := range len(s) {
		switch c := s[i]; {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return fmt.Errorf("%s has no hyphen at position %d, %s", Quote(s), i+1, allowed)
			}
		case c >= '0' && c <= '9', c >= 'a' && c <= 'f', c >= 'A' && c <= 'F':
		default:
			// In ASCII, because some characters look like a hexadecimal digit.
			return fmt.Errorf("%s has %+q at position %d, %s", Quote(s), characterAt(s, i), i+1, allowed)
		}
	}
	return nil
}

// characterAt returns the whole character that begins at byte i.
func characterAt(s string, i int) string {
	_, size := utf8.DecodeRuneInString(s[i:])
	return s[i : i+size]
}

var plainToken = regexp.MustCompile(`^[0-9A-Za-z_-]{1,64}$`)

// Quote returns a value from outside for an error or a log line, cut after 64 bytes. A printable line is unchanged
// between quotation marks, or between backquotes if it has characters that a Go string escapes, such as JSON. All other
// values are Go strings in ASCII.
func Quote(s string) string {
	const maxBytes = 64
	cut, rest := s, ""
	if len(s) > maxBytes {
		end := maxBytes
		for end > maxBytes-utf8.UTFMax && !utf8.RuneStart(s[end]) {
			end--
		}
		cut, rest = s[:end], fmt.Sprintf("... (%d bytes)", len(s))
	}
	switch {
	case Printable(cut) != cut:
	case !strings.ContainsAny(cut, `"\`):
		return `"` + cut + `"` + rest
	case !strings.Contains(cut, "`"):
		return "`" + cut + "`" + rest
	}
	return fmt.Sprintf("%+q", cut) + rest
}
