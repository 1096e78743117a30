package schema

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Namespace is the first part of every name that a deployment of statusworker has in a NATS account, so that one
// account can have several deployments. Compare namespaces with ==. The zero value is [DefaultNamespace].
//
// These are all names, for the namespace `interactions`:
//
//	stream INTERACTIONS_DECLARED
//	stream INTERACTIONS_POLLS               none with delayed naks
//	stream INTERACTIONS_OUTCOMES
//	bucket INTERACTIONS_WORKERS             its stream is KV_INTERACTIONS_WORKERS
//	interactions.declared.<type>.<id>       declared message
//	interactions.hold.<type>.<id>           reservation or tombstone
//	interactions.poll.<type>.<id>           due message
//	interactions.processed.<dest>.<id>      processed event
//	interactions.failed.<reason>.<token>    dead letter
//	$KV.INTERACTIONS_WORKERS.<worker>       announcement
//	consumer intake                         of INTERACTIONS_DECLARED; none with delayed naks
//	consumer poll-<type>                    of INTERACTIONS_POLLS; with delayed naks of INTERACTIONS_DECLARED
//
// docs/permissions.md lists who uses each of them. Some files contain names, too: the template of the permissions
// (cmd/internal/permissions), deploy/nats (backup and restore), deploy/helm (the autoscaler). The documents of this
// package have those of the default namespace.
//
// The names of consumers and headers are the same in every namespace: they need to be unique only in a stream.
type Namespace struct {
	name string // empty for the default
}

// DefaultNamespace is `interactions`.
var DefaultNamespace = Namespace{}

const (
	defaultName = "interactions"

	suffixDeclared = "_DECLARED"
	suffixPolls    = "_POLLS"
	suffixOutcomes = "_OUTCOMES"
	suffixWorkers  = "_WORKERS"

	classDeclared  = ".declared."
	classHold      = ".hold."
	classPoll      = ".poll."
	classProcessed = ".processed."
	classFailed    = ".failed."

	anyKindAndID = "*.*"

	// The prefix of the stream of a bucket in NATS.
	bucketStream = "KV_"

	consumerIntake = "intake"
	consumerPoll   = "poll-"
)

// BucketKeys is the prefix of the subjects of all keys of buckets in NATS.
const BucketKeys = "$KV."

var namespacePattern = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,31}$`)

// NewNamespace returns the namespace of a name. A name has a lower-case letter, then lower-case letters, digits, `-`
// and `_`, and at most 32 characters. It must not be `kv` or `obj`, or begin with `kv_` or `obj_`: NATS uses such names
// for the streams of buckets and object stores.
func NewNamespace(name string) (Namespace, error) {
	prefix := name + "_"
	switch {
	case !namespacePattern.MatchString(name):
		return Namespace{}, fmt.Errorf("invalid namespace %s: "+
			"use 1 to 32 lower-case letters, digits, - and _, beginning with a letter", Quote(name))
	case strings.HasPrefix(prefix, "kv_"), strings.HasPrefix(prefix, "obj_"):
		return Namespace{}, fmt.Errorf("invalid namespace %s: NATS reserves stream names that begin with KV_ or OBJ_; "+
			"use a name other than kv, kv_*, obj and obj_*", Quote(name))
	case name == defaultName:
		return DefaultNamespace, nil
	}
	return Namespace{name: name}, nil
}

// NamespaceOf returns the namespace of a stream, and false if no namespace has a stream of that name.
func NamespaceOf(stream string) (Namespace, bool) {
	prefix := strings.TrimPrefix(stream, bucketStream)
	end := strings.LastIndexByte(prefix, '_')
	if end < 0 {
		return Namespace{}, false
	}
	n, err := NewNamespace(strings.ToLower(prefix[:end]))
	return n, err == nil && slices.Contains(n.Streams(), stream)
}

// MarshalText returns the name.
func (n Namespace) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// UnmarshalText is [NewNamespace].
func (n *Namespace) UnmarshalText(name []byte) (err error) {
	*n, err = NewNamespace(string(name))
	return err
}

// String returns the name, which is the first token of every subject.
func (n Namespace) String() string {
	if n.name == "" {
		return defaultName
	}
	return n.name
}

// IsDefault reports whether n is [DefaultNamespace].
func (n Namespace) IsDefault() bool { return n == DefaultNamespace }

func (n Namespace) stream(suffix string) string { return strings.ToUpper(n.String()) + suffix }

// StreamDeclared is the stream of declared messages.
func (n Namespace) StreamDeclared() string { return n.stream(suffixDeclared) }

// StreamPolls is the stream of reservations and due messages.
func (n Namespace) StreamPolls() string { return n.stream(suffixPolls) }

// StreamOutcomes is the stream of processed events and dead letters.
func (n Namespace) StreamOutcomes() string { return n.stream(suffixOutcomes) }

// BucketWorkers is the bucket in which workers announce themselves.
func (n Namespace) BucketWorkers() string { return n.stream(suffixWorkers) }

// StreamWorkers is the bucket's stream.
func (n Namespace) StreamWorkers() string { return bucketStream + n.BucketWorkers() }

// Streams returns all streams, in the order in which an interaction passes through them. The workers' stream comes
// before the outcomes.
func (n Namespace) Streams() []string {
	return []string{n.StreamDeclared(), n.StreamPolls(), n.StreamWorkers(), n.StreamOutcomes()}
}

// ConsumerIntake is the consumer of declared messages that are to be taken in.
func (Namespace) ConsumerIntake() string { return consumerIntake }

// PollConsumer is the consumer that feeds the lane of t.
func (Namespace) PollConsumer(t Type) string { return consumerPoll + string(t) }

// SubjectsDeclared matches every declared message.
func (n Namespace) SubjectsDeclared() string { return n.String() + classDeclared + anyKindAndID }

// SubjectsHold matches every reservation.
func (n Namespace) SubjectsHold() string { return n.String() + classHold + anyKindAndID }

// SubjectsPoll matches every due message.
func (n Namespace) SubjectsPoll() string { return n.String() + classPoll + anyKindAndID }

// SubjectsProcessed matches every processed event.
func (n Namespace) SubjectsProcessed() string { return n.String() + classProcessed + anyKindAndID }

// SubjectsFailed matches every dead letter.
func (n Namespace) SubjectsFailed() string { return n.String() + classFailed + anyKindAndID }

// SubjectsWorkers matches every announcement.
func (n Namespace) SubjectsWorkers() string { return n.WorkerSubject(">") }

// WorkerSubject is the subject of a worker's announcements.
func (n Namespace) WorkerSubject(worker string) string {
	return BucketKeys + n.BucketWorkers() + "." + worker
}

// DeclaredSubject is the subject of an interaction's declared message.
func (n Namespace) DeclaredSubject(t Type, identifier string) string {
	return n.String() + classDeclared + string(t) + "." + identifier
}

// DeclaredSubjects matches the declared messages of an interaction, of any type.
func (n Namespace) DeclaredSubjects(identifier string) string {
	return n.DeclaredSubject("*", identifier)
}

// HoldSubject is the subject of an interaction's reservation.
func (n Namespace) HoldSubject(t Type, identifier string) string {
	return n.String() + classHold + string(t) + "." + identifier
}

// HoldSubjects matches the reservation of an interaction, of any type.
func (n Namespace) HoldSubjects(identifier string) string { return n.HoldSubject("*", identifier) }

// PollSubject is the subject of an interaction's due message.
func (n Namespace) PollSubject(t Type, identifier string) string {
	return n.String() + classPoll + string(t) + "." + identifier
}

// PollSubjects matches the due message of an interaction, of any type.
func (n Namespace) PollSubjects(identifier string) string { return n.PollSubject("*", identifier) }

// WaitingSubjects matches the reservation and the due message of an interaction. Use it only in the polls stream: it
// matches other messages of the interaction, too.
func (n Namespace) WaitingSubjects(identifier string) string {
	return n.String() + ".*.*." + identifier
}

// LaneSubjects matches the reservations and the due messages of a type. Use it only in the polls stream: it matches
// other messages, too.
func (n Namespace) LaneSubjects(t Type) string { return n.String() + ".*." + string(t) + ".*" }

// ProcessedSubject is the subject of a processed event.
func (n Namespace) ProcessedSubject(d Destination, identifier string) string {
	return n.String() + classProcessed + string(d) + "." + identifier
}

// FailedSubject is the subject of a dead letter.
func (n Namespace) FailedSubject(r Reason, identifier string) string {
	return n.String() + classFailed + string(r) + "." + identifier
}

// FailedSubjects matches the dead letters with a last token, of any reason.
func (n Namespace) FailedSubjects(token string) string { return n.FailedSubject("*", token) }

// OutcomeSubjects matches every outcome of an interaction. Use it only in the outcomes stream: it matches other
// messages of the interaction, too.
func (n Namespace) OutcomeSubjects(identifier string) string {
	return n.String() + ".*.*." + identifier
}

// OutcomeSubject is the subject of o.
func (n Namespace) OutcomeSubject(o Outcome) string {
	if o.Failed() {
		return n.FailedSubject(o.Reason, o.Identifier)
	}
	return n.ProcessedSubject(o.Destination, o.Identifier)
}

// SubjectPattern is the filter of a lane's consumer: the due messages of a type in the polls stream or, with delayed
// naks, the declared messages of the type in the declared stream.
func (n Namespace) SubjectPattern(stream string, t Type) (string, error) {
	switch stream {
	case n.StreamDeclared():
		return n.DeclaredSubject(t, "*"), nil
	case n.StreamPolls():
		return n.PollSubject(t, "*"), nil
	}
	return "", fmt.Errorf("stream %q has no lanes; allowed: %s, %s", stream, n.StreamDeclared(), n.StreamPolls())
}

// IsDeclaredSubject reports whether a subject is that of a declared message.
func (n Namespace) IsDeclaredSubject(subject string) bool { return n.is(subject, classDeclared) }

// IsPollSubject reports whether a subject is that of a due message.
func (n Namespace) IsPollSubject(subject string) bool { return n.is(subject, classPoll) }

// IsFailedSubject reports whether a subject is that of a dead letter.
func (n Namespace) IsFailedSubject(subject string) bool { return n.is(subject, classFailed) }

func (n Namespace) is(subject, class string) bool {
	rest, ok := strings.CutPrefix(subject, n.String())
	return ok && strings.HasPrefix(rest, class)
}

// SplitSubject splits `<namespace>.<class>.<kind>.<identifier>`: the kind is an interaction type, a destination or a
// reason. It does not validate the tokens. If the subject does not have four tokens that are not empty, or is of
// another namespace, ok is false and the others are empty.
func (n Namespace) SplitSubject(subject string) (kind, identifier string, ok bool) {
	first, rest, _ := strings.Cut(subject, ".")
	if first != n.String() {
		return "", "", false
	}
	class, rest, _ := strings.Cut(rest, ".")
	kind, identifier, _ = strings.Cut(rest, ".")
	if class == "" || kind == "" || identifier == "" || strings.Contains(identifier, ".") {
		return "", "", false
	}
	return kind, identifier, true
}

// DeadLetterToken returns the last token for the dead letter of an invalid message: the last token of the message's
// subject if it has only letters, digits, `-` and `_`, and otherwise `seq-` and the message's stream sequence. (The
// subject of a message may contain a `*`.)
func (n Namespace) DeadLetterToken(subject string, sequence uint64) string {
	if _, token, ok := n.SplitSubject(subject); ok && plainToken.MatchString(token) {
		return token
	}
	return fmt.Sprintf("seq-%d", sequence)
}
