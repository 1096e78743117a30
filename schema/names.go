package schema

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Streams and consumers of [DefaultNamespace], as `statusworker provision` makes them.
const (
	StreamDeclared = defaultStreams + suffixDeclared
	StreamPolls    = defaultStreams + suffixPolls
	StreamOutcomes = defaultStreams + suffixOutcomes

	ConsumerIntake = consumerIntake
)

// Subject patterns of the streams of [DefaultNamespace].
const (
	SubjectsDeclared  = defaultName + stageDeclared + anyKindAndID
	SubjectsHold      = defaultName + stageHold + anyKindAndID
	SubjectsPoll      = defaultName + stagePoll + anyKindAndID
	SubjectsProcessed = defaultName + stageProcessed + anyKindAndID
	SubjectsFailed    = defaultName + stageFailed + anyKindAndID
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
	// HeaderReplays is on a declared message that replays a dead letter: when the declared message of that dead
	// letter was stored (a generation, as in HeaderGeneration), which has ended. What is still pending of it stands in
	// nobody's way.
	HeaderReplays = "Statusworker-Replays"
	// HeaderTraceparent is the W3C trace context, in lower case on all that this stage stores. [Traceparent] reads it
	// in any case.
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

// The names of [DefaultNamespace]: each function is the method of its name.

func Streams() []string { return DefaultNamespace.Streams() }

func PollConsumer(t Type) string { return DefaultNamespace.PollConsumer(t) }

func DeclaredSubject(t Type, identifier string) string {
	return DefaultNamespace.DeclaredSubject(t, identifier)
}

func DeclaredSubjects(identifier string) string { return DefaultNamespace.DeclaredSubjects(identifier) }

func HoldSubject(t Type, identifier string) string {
	return DefaultNamespace.HoldSubject(t, identifier)
}

func HoldSubjects(identifier string) string { return DefaultNamespace.HoldSubjects(identifier) }

func PollSubject(t Type, identifier string) string {
	return DefaultNamespace.PollSubject(t, identifier)
}

func PollSubjects(identifier string) string { return DefaultNamespace.PollSubjects(identifier) }

func IsPollSubject(subject string) bool { return DefaultNamespace.IsPollSubject(subject) }

func WaitingSubjects(identifier string) string { return DefaultNamespace.WaitingSubjects(identifier) }

func ProcessedSubject(d Destination, identifier string) string {
	return DefaultNamespace.ProcessedSubject(d, identifier)
}

func FailedSubject(r Reason, identifier string) string {
	return DefaultNamespace.FailedSubject(r, identifier)
}

func FailedSubjects(token string) string { return DefaultNamespace.FailedSubjects(token) }

func IsFailedSubject(subject string) bool { return DefaultNamespace.IsFailedSubject(subject) }

func OutcomeSubjects(identifier string) string { return DefaultNamespace.OutcomeSubjects(identifier) }

func SplitSubject(subject string) (kind, identifier string, ok bool) {
	return DefaultNamespace.SplitSubject(subject)
}

func SubjectPattern(stream string, t Type) (string, error) {
	return DefaultNamespace.SubjectPattern(stream, t)
}

func DeadLetterToken(subject string, sequence uint64) string {
	return DefaultNamespace.DeadLetterToken(subject, sequence)
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
			return fmt.Errorf(
				"%s is not in lower case, which the subject must be: publish %s",
				Quote(s),
				strings.ToLower(s),
			)
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

// Quote shows a value from outside in an error or a log line: quoted, so that it cannot break out of its line, and cut
// after 64 bytes, so that it cannot flood it.
func Quote(s string) string {
	const most = 64
	if len(s) <= most {
		return fmt.Sprintf("%+q", s)
	}
	return fmt.Sprintf("%+q... (%d bytes)", s[:most], len(s))
}
