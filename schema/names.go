package schema

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Streams and consumers, as `statusworker provision` makes them.
const (
	StreamDeclared = "INTERACTIONS_DECLARED"
	StreamPolls    = "INTERACTIONS_POLLS"
	StreamOutcomes = "INTERACTIONS_OUTCOMES"

	ConsumerIntake = "intake"
)

// Streams lists all of them, in the order in which an interaction goes through them; the bucket of the workers comes before
// the outcomes.
func Streams() []string { return []string{StreamDeclared, StreamPolls, StreamWorkers, StreamOutcomes} }

// Subject patterns of the streams, and the first two tokens of every subject.
const (
	SubjectsDeclared  = prefixDeclared + "*.*"
	SubjectsHold      = prefixHold + "*.*"
	SubjectsPoll      = prefixPoll + "*.*"
	SubjectsProcessed = prefixProcessed + "*.*"
	SubjectsFailed    = prefixFailed + "*.*"

	prefixDeclared  = "interactions.declared."
	prefixHold      = "interactions.hold."
	prefixPoll      = "interactions.poll."
	prefixProcessed = "interactions.processed."
	prefixFailed    = "interactions.failed."
)

// Headers that travel with an interaction from poll to poll, and from a declared message to its outcome.
const (
	// HeaderPoll is the number of the poll that a reservation stands for; the first is 1.
	HeaderPoll = "Statusworker-Poll"
	// HeaderGeneration is when the declared message was stored, RFC 3339 with nanoseconds, by the broker's clock.
	// It tells one generation of an interaction from the next, and ages are measured from it.
	HeaderGeneration = "Statusworker-Generation"
	// HeaderSequence is the declared message's sequence in its stream.
	HeaderSequence = "Statusworker-Sequence"
	// HeaderDeliveries is how often the declared message was delivered before it was taken in.
	HeaderDeliveries = "Statusworker-Deliveries"
	// HeaderStatus is the last status that the vendor gave, where one is known.
	HeaderStatus = "Statusworker-Status"
	// HeaderRefusals is on the reservation of an interaction that the vendor refused at its last poll, see [Refusals].
	HeaderRefusals = "Statusworker-Refusals"
	// HeaderPanics is on the reservation of an interaction whose last polls all made their worker panic: how many.
	HeaderPanics = "Statusworker-Panics"
	// HeaderDue is when a reservation is to fall due by the broker's clock as its worker knew it, RFC 3339 with
	// nanoseconds. The broker fires it by the clock that it has by then, which may be another.
	HeaderDue = "Statusworker-Due"
	// HeaderTombstone marks a reservation that is acked without a poll when it falls due.
	HeaderTombstone = "Statusworker-Tombstone"
	// HeaderSupersedes is on a declared message that replays a dead letter: when the declared message of that dead letter
	// was stored (a generation, as in HeaderGeneration), which has ended. What is still pending of it stands in nobody's way.
	HeaderSupersedes = "Statusworker-Supersedes"
	// HeaderTraceparent is the W3C trace context, in lower case on all that this stage stores. [Traceparent] reads it in any
	// case.
	HeaderTraceparent = "traceparent"
)

// ContentTypeCloudEvent is the content type of a structured CloudEvent in JSON.
const ContentTypeCloudEvent = "application/cloudevents+json"

// Type is the kind of an interaction. Each has a lane, and a polling guidance of its own.
type Type string

// The vendor's interaction types.
const (
	Audio      Type = "audio"
	Chat       Type = "chat"
	Transcript Type = "transcript"
)

// Types lists all of them, in the order in which lanes are shown.
func Types() []Type { return []Type{Audio, Chat, Transcript} }

// Valid tells whether t is one of [Types].
func (t Type) Valid() bool { return t == Audio || t == Chat || t == Transcript }

// PollConsumer is the name of the consumer that feeds the lane of t.
func PollConsumer(t Type) string { return "poll-" + string(t) }

// DeclaredSubject is where the declared message of an interaction is published.
func DeclaredSubject(t Type, identifier string) string {
	return prefixDeclared + string(t) + "." + identifier
}

// DeclaredSubjects matches the declared messages of an interaction, whatever type they name.
func DeclaredSubjects(identifier string) string { return prefixDeclared + "*." + identifier }

// HoldSubject is where the reservation of an interaction is stored.
func HoldSubject(t Type, identifier string) string { return prefixHold + string(t) + "." + identifier }

// HoldSubjects matches the reservation of an interaction, whatever type it was declared as.
func HoldSubjects(identifier string) string { return prefixHold + "*." + identifier }

// PollSubject is where a reservation appears when it falls due.
func PollSubject(t Type, identifier string) string { return prefixPoll + string(t) + "." + identifier }

// IsPollSubject tells whether what lies on a subject of the polls stream has fallen due.
func IsPollSubject(subject string) bool { return strings.HasPrefix(subject, prefixPoll) }

// PollSubjects matches what is due of an interaction, whatever type it was declared as.
func PollSubjects(identifier string) string { return prefixPoll + "*." + identifier }

// WaitingSubjects matches the reservation of an interaction and what is due of it. (In the polls stream; it matches more
// elsewhere.)
func WaitingSubjects(identifier string) string { return "interactions.*.*." + identifier }

// ProcessedSubject is where a processed event goes.
func ProcessedSubject(d Destination, identifier string) string {
	return prefixProcessed + string(d) + "." + identifier
}

// FailedSubject is where a dead letter goes.
func FailedSubject(r Reason, identifier string) string {
	return prefixFailed + string(r) + "." + identifier
}

// FailedSubjects matches the dead letters whose subject ends in a token, whatever their reason.
func FailedSubjects(token string) string { return prefixFailed + "*." + token }

// IsFailedSubject tells whether a subject is one of dead letters.
func IsFailedSubject(subject string) bool { return strings.HasPrefix(subject, prefixFailed) }

// OutcomeSubjects matches every outcome of one interaction. (In the outcomes stream; it matches more elsewhere.)
func OutcomeSubjects(identifier string) string { return "interactions.*.*." + identifier }

// SplitSubject takes `interactions.<stage>.<kind>.<identifier>` apart: the kind is an interaction type, a destination
// or a reason. It does not judge the tokens; ok tells whether there are four of them, none empty. Where there are not,
// it gives nothing.
func SplitSubject(subject string) (kind, identifier string, ok bool) {
	rest, ok := strings.CutPrefix(subject, "interactions.")
	if !ok {
		return "", "", false
	}
	stage, rest, _ := strings.Cut(rest, ".")
	kind, identifier, _ = strings.Cut(rest, ".")
	if stage == "" || kind == "" || identifier == "" || strings.Contains(identifier, ".") {
		return "", "", false
	}
	return kind, identifier, true
}

// SubjectPattern is the subject under which a consumer finds what is due for a lane, or, with delayed naks, what was
// declared for it.
func SubjectPattern(stream string, t Type) (string, error) {
	switch stream {
	case StreamDeclared:
		return DeclaredSubject(t, "*"), nil
	case StreamPolls:
		return PollSubject(t, "*"), nil
	}
	return "", fmt.Errorf("stream %q has no lanes: use %s or %s", stream, StreamDeclared, StreamPolls)
}

// CheckIdentifier says what is wrong with an interaction identifier, or nil. The vendor's identifiers are GUIDs; the
// pipeline writes them in lower case with hyphens, because NATS subjects are case-sensitive and one interaction must
// have one subject. Nothing that passes can reach beyond its token in a subject or its segment in a URL.
func CheckIdentifier(s string) error {
	if err := checkGUID(s); err != nil {
		return err
	}
	for i := range len(s) {
		if 'A' <= s[i] && s[i] <= 'F' {
			return fmt.Errorf("%s is not in lower case, which the subject must be: publish %s", Quote(s), strings.ToLower(s))
		}
	}
	return nil
}

// checkGUID says what is wrong with a GUID in either case, or nil.
func checkGUID(s string) error {
	const want = "want a GUID of 36 characters like bd5c92f3-c228-44a6-91bf-b52672569878"
	if len(s) != 36 {
		return fmt.Errorf("%s is %d bytes long, %s", Quote(s), len(s), want)
	}
	for i := range len(s) {
		switch c := s[i]; {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return fmt.Errorf("%s has no hyphen at position %d, %s", Quote(s), i+1, want)
			}
		case c >= '0' && c <= '9', c >= 'a' && c <= 'f', c >= 'A' && c <= 'F':
		default:
			return fmt.Errorf("%s has %s at position %d, %s", Quote(s), Quote(characterAt(s, i)), i+1, want)
		}
	}
	return nil
}

// characterAt is the whole character of which a byte is the first.
func characterAt(s string, i int) string {
	_, size := utf8.DecodeRuneInString(s[i:])
	return s[i : i+size]
}

var plainToken = regexp.MustCompile(`^[0-9A-Za-z_-]{1,64}$`)

// DeadLetterToken is the last token of an invalid message's dead letter: the last token of the subject on which the
// message came, where that is made of letters, digits, `-` and `_`, and otherwise `seq-` and its stream sequence.
// (A message can be published on a subject with a `*` in it.)
func DeadLetterToken(subject string, sequence uint64) string {
	if _, token, ok := SplitSubject(subject); ok && plainToken.MatchString(token) {
		return token
	}
	return fmt.Sprintf("seq-%d", sequence)
}

// Quote shows a value from outside in an error or a log line: quoted, so that it cannot break out of its line, and cut
// after 64 bytes, so that it cannot flood it.
func Quote(s string) string {
	const most = 64
	if len(s) <= most {
		return fmt.Sprintf("%+q", s)
	}
	return fmt.Sprintf("%+q... (%d bytes)", s[:most], len(s))
}
