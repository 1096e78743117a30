package schema

import (
	"fmt"
	"regexp"
	"strings"
)

// Namespace is the first part of every name that a stage has in a NATS account, so that one account can hold several
// stages. Namespaces compare with ==, and the zero value is [DefaultNamespace].
//
// These are all names, for the namespace `interactions`, and who uses them:
//
//	stream INTERACTIONS_DECLARED            producers, intake (with delayed naks: lanes), declare, dlq
//	stream INTERACTIONS_POLLS               intake, lanes, declare, dlq; with delayed naks there is none
//	stream INTERACTIONS_OUTCOMES            publisher, readers of outcomes, dlq, dev
//	bucket INTERACTIONS_WORKERS             workers; its stream is KV_INTERACTIONS_WORKERS
//	interactions.declared.<type>.<id>       declared message: producers, declare, dlq replay
//	interactions.hold.<type>.<id>           reservation or tombstone: intake, lanes
//	interactions.poll.<type>.<id>           what is due: the broker publishes, lanes read
//	interactions.processed.<dest>.<id>      processed event: publisher
//	interactions.failed.<reason>.<token>    dead letter: publisher, dlq
//	$KV.INTERACTIONS_WORKERS.<worker>       announcement: workers, status, admin
//	consumer intake                         of INTERACTIONS_DECLARED; none with delayed naks
//	consumer poll-<type>                    of INTERACTIONS_POLLS; with delayed naks of INTERACTIONS_DECLARED
//
// Provisioning, the overview and doctor use all streams and consumers. Files outside Go repeat names: deploy/nats
// (users' rights, backup and restore), deploy/helm (the scaler), and the documents of this package.
//
// A consumer's name is unique in its stream, and headers travel inside a stream: both are the same in every namespace.
type Namespace struct {
	name string // empty for the default
}

// DefaultNamespace is `interactions`.
var DefaultNamespace = Namespace{}

const (
	defaultName    = "interactions"
	defaultStreams = "INTERACTIONS"

	suffixDeclared = "_DECLARED"
	suffixPolls    = "_POLLS"
	suffixOutcomes = "_OUTCOMES"
	suffixWorkers  = "_WORKERS"

	stageDeclared  = ".declared."
	stageHold      = ".hold."
	stagePoll      = ".poll."
	stageProcessed = ".processed."
	stageFailed    = ".failed."

	anyKindAndID = "*.*"

	// How NATS names the stream and the keys of a bucket.
	bucketStream = "KV_"
	bucketKeys   = "$KV."

	consumerIntake = "intake"
	consumerPoll   = "poll-"
)

var namespacePattern = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,31}$`)

// NewNamespace checks a name: a lower-case letter, then lower-case letters, digits, `-` and `_`, 32 characters at most.
// `kv` and `obj` may neither be it nor begin it before a `_`: NATS would take its streams for those of a bucket or an
// object store.
func NewNamespace(name string) (Namespace, error) {
	prefix := name + "_"
	switch {
	case !namespacePattern.MatchString(name):
		return Namespace{}, fmt.Errorf(
			"namespace %s: use 1 to 32 lower-case letters, digits, - and _, beginning with a letter",
			Quote(name),
		)
	case strings.HasPrefix(prefix, "kv_"), strings.HasPrefix(prefix, "obj_"):
		return Namespace{}, fmt.Errorf("namespace %s: NATS reserves names of streams that begin with KV_ or OBJ_; "+
			"use a name that is neither kv nor obj and begins with neither kv_ nor obj_", Quote(name))
	case name == defaultName:
		return DefaultNamespace, nil
	}
	return Namespace{name: name}, nil
}

// String is the name: the first token of every subject.
func (n Namespace) String() string {
	if n.name == "" {
		return defaultName
	}
	return n.name
}

func (n Namespace) stream(suffix string) string { return strings.ToUpper(n.String()) + suffix }

// StreamDeclared has the declared messages.
func (n Namespace) StreamDeclared() string { return n.stream(suffixDeclared) }

// StreamPolls has reservations, and what is due of them.
func (n Namespace) StreamPolls() string { return n.stream(suffixPolls) }

// StreamOutcomes has processed events and dead letters.
func (n Namespace) StreamOutcomes() string { return n.stream(suffixOutcomes) }

// BucketWorkers is the bucket in which workers announce themselves.
func (n Namespace) BucketWorkers() string { return n.stream(suffixWorkers) }

// StreamWorkers is the bucket's stream.
func (n Namespace) StreamWorkers() string { return bucketStream + n.BucketWorkers() }

// Streams lists all of them, in the order in which an interaction goes through them; the bucket of the workers comes
// before the outcomes.
func (n Namespace) Streams() []string {
	return []string{n.StreamDeclared(), n.StreamPolls(), n.StreamWorkers(), n.StreamOutcomes()}
}

// ConsumerIntake is the consumer that takes declared messages in.
func (Namespace) ConsumerIntake() string { return consumerIntake }

// PollConsumer is the consumer that feeds the lane of t.
func (Namespace) PollConsumer(t Type) string { return consumerPoll + string(t) }

// SubjectsDeclared matches every declared message.
func (n Namespace) SubjectsDeclared() string { return n.String() + stageDeclared + anyKindAndID }

// SubjectsHold matches every reservation.
func (n Namespace) SubjectsHold() string { return n.String() + stageHold + anyKindAndID }

// SubjectsPoll matches all that is due.
func (n Namespace) SubjectsPoll() string { return n.String() + stagePoll + anyKindAndID }

// SubjectsProcessed matches every processed event.
func (n Namespace) SubjectsProcessed() string { return n.String() + stageProcessed + anyKindAndID }

// SubjectsFailed matches every dead letter.
func (n Namespace) SubjectsFailed() string { return n.String() + stageFailed + anyKindAndID }

// SubjectsWorkers matches every announcement.
func (n Namespace) SubjectsWorkers() string { return n.WorkerSubject(">") }

// WorkerSubject is where a worker announces itself.
func (n Namespace) WorkerSubject(worker string) string {
	return bucketKeys + n.BucketWorkers() + "." + worker
}

// DeclaredSubject is where the declared message of an interaction is published.
func (n Namespace) DeclaredSubject(t Type, identifier string) string {
	return n.String() + stageDeclared + string(t) + "." + identifier
}

// DeclaredSubjects matches the declared messages of an interaction, whatever type they name.
func (n Namespace) DeclaredSubjects(identifier string) string {
	return n.DeclaredSubject("*", identifier)
}

// HoldSubject is where the reservation of an interaction is stored.
func (n Namespace) HoldSubject(t Type, identifier string) string {
	return n.String() + stageHold + string(t) + "." + identifier
}

// HoldSubjects matches the reservation of an interaction, whatever type it was declared as.
func (n Namespace) HoldSubjects(identifier string) string { return n.HoldSubject("*", identifier) }

// PollSubject is where a reservation appears when it falls due.
func (n Namespace) PollSubject(t Type, identifier string) string {
	return n.String() + stagePoll + string(t) + "." + identifier
}

// PollSubjects matches what is due of an interaction, whatever type it was declared as.
func (n Namespace) PollSubjects(identifier string) string { return n.PollSubject("*", identifier) }

// WaitingSubjects matches the reservation of an interaction and what is due of it. (In the polls stream; it matches
// more elsewhere.)
func (n Namespace) WaitingSubjects(identifier string) string {
	return n.String() + ".*.*." + identifier
}

// ProcessedSubject is where a processed event goes.
func (n Namespace) ProcessedSubject(d Destination, identifier string) string {
	return n.String() + stageProcessed + string(d) + "." + identifier
}

// FailedSubject is where a dead letter goes.
func (n Namespace) FailedSubject(r Reason, identifier string) string {
	return n.String() + stageFailed + string(r) + "." + identifier
}

// FailedSubjects matches the dead letters whose subject ends in a token, whatever their reason.
func (n Namespace) FailedSubjects(token string) string { return n.FailedSubject("*", token) }

// OutcomeSubjects matches every outcome of one interaction. (In the outcomes stream; it matches more elsewhere.)
func (n Namespace) OutcomeSubjects(identifier string) string {
	return n.String() + ".*.*." + identifier
}

// OutcomeSubject is where o is published.
func (n Namespace) OutcomeSubject(o Outcome) string {
	if o.Failed() {
		return n.FailedSubject(o.Reason, o.Identifier)
	}
	return n.ProcessedSubject(o.Destination, o.Identifier)
}

// SubjectPattern is the subject under which a consumer finds what is due for a lane, or, with delayed naks, what was
// declared for it.
func (n Namespace) SubjectPattern(stream string, t Type) (string, error) {
	switch stream {
	case n.StreamDeclared():
		return n.DeclaredSubject(t, "*"), nil
	case n.StreamPolls():
		return n.PollSubject(t, "*"), nil
	}
	return "", fmt.Errorf("stream %q has no lanes: use %s or %s", stream, n.StreamDeclared(), n.StreamPolls())
}

// IsDeclaredSubject tells whether a subject is one of declared messages.
func (n Namespace) IsDeclaredSubject(subject string) bool { return n.is(subject, stageDeclared) }

// IsPollSubject tells whether what lies on a subject of the polls stream has fallen due.
func (n Namespace) IsPollSubject(subject string) bool { return n.is(subject, stagePoll) }

// IsFailedSubject tells whether a subject is one of dead letters.
func (n Namespace) IsFailedSubject(subject string) bool { return n.is(subject, stageFailed) }

func (n Namespace) is(subject, stage string) bool {
	rest, ok := strings.CutPrefix(subject, n.String())
	return ok && strings.HasPrefix(rest, stage)
}

// SplitSubject takes `<namespace>.<stage>.<kind>.<identifier>` apart: the kind is an interaction type, a destination or
// a reason. It does not judge the tokens; ok tells whether there are four of them, none empty, the first of them this
// namespace. Where there are not, it gives nothing.
func (n Namespace) SplitSubject(subject string) (kind, identifier string, ok bool) {
	first, rest, _ := strings.Cut(subject, ".")
	if first != n.String() {
		return "", "", false
	}
	stage, rest, _ := strings.Cut(rest, ".")
	kind, identifier, _ = strings.Cut(rest, ".")
	if stage == "" || kind == "" || identifier == "" || strings.Contains(identifier, ".") {
		return "", "", false
	}
	return kind, identifier, true
}

// DeadLetterToken is the last token of an invalid message's dead letter: the last token of the subject on which the
// message came, where that is made of letters, digits, `-` and `_`, and otherwise `seq-` and its stream sequence.
// (A message can be published on a subject with a `*` in it.)
func (n Namespace) DeadLetterToken(subject string, sequence uint64) string {
	if _, token, ok := n.SplitSubject(subject); ok && plainToken.MatchString(token) {
		return token
	}
	return fmt.Sprintf("seq-%d", sequence)
}
