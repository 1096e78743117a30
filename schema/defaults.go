package schema

// The functions of this file are the methods of [Namespace] with the same name, for [DefaultNamespace].

// Streams is [Namespace.Streams].
func Streams() []string { return DefaultNamespace.Streams() }

// PollConsumer is [Namespace.PollConsumer].
func PollConsumer(t Type) string { return DefaultNamespace.PollConsumer(t) }

// DeclaredSubject is [Namespace.DeclaredSubject].
func DeclaredSubject(t Type, id string) string { return DefaultNamespace.DeclaredSubject(t, id) }

// DeclaredSubjects is [Namespace.DeclaredSubjects].
func DeclaredSubjects(id string) string { return DefaultNamespace.DeclaredSubjects(id) }

// HoldSubject is [Namespace.HoldSubject].
func HoldSubject(t Type, id string) string { return DefaultNamespace.HoldSubject(t, id) }

// HoldSubjects is [Namespace.HoldSubjects].
func HoldSubjects(id string) string { return DefaultNamespace.HoldSubjects(id) }

// PollSubject is [Namespace.PollSubject].
func PollSubject(t Type, id string) string { return DefaultNamespace.PollSubject(t, id) }

// PollSubjects is [Namespace.PollSubjects].
func PollSubjects(id string) string { return DefaultNamespace.PollSubjects(id) }

// IsPollSubject is [Namespace.IsPollSubject].
func IsPollSubject(subject string) bool { return DefaultNamespace.IsPollSubject(subject) }

// WaitingSubjects is [Namespace.WaitingSubjects].
func WaitingSubjects(id string) string { return DefaultNamespace.WaitingSubjects(id) }

// LaneSubjects is [Namespace.LaneSubjects].
func LaneSubjects(t Type) string { return DefaultNamespace.LaneSubjects(t) }

// ProcessedSubject is [Namespace.ProcessedSubject].
func ProcessedSubject(d Destination, id string) string {
	return DefaultNamespace.ProcessedSubject(d, id)
}

// FailedSubject is [Namespace.FailedSubject].
func FailedSubject(r Reason, id string) string { return DefaultNamespace.FailedSubject(r, id) }

// FailedSubjects is [Namespace.FailedSubjects].
func FailedSubjects(token string) string { return DefaultNamespace.FailedSubjects(token) }

// IsFailedSubject is [Namespace.IsFailedSubject].
func IsFailedSubject(subject string) bool { return DefaultNamespace.IsFailedSubject(subject) }

// OutcomeSubjects is [Namespace.OutcomeSubjects].
func OutcomeSubjects(id string) string { return DefaultNamespace.OutcomeSubjects(id) }

// SplitSubject is [Namespace.SplitSubject].
func SplitSubject(subject string) (kind, id string, ok bool) {
	return DefaultNamespace.SplitSubject(subject)
}

// SubjectPattern is [Namespace.SubjectPattern].
func SubjectPattern(stream string, t Type) (string, error) {
	return DefaultNamespace.SubjectPattern(stream, t)
}

// DeadLetterToken is [Namespace.DeadLetterToken].
func DeadLetterToken(subject string, sequence uint64) string {
	return DefaultNamespace.DeadLetterToken(subject, sequence)
}

// WorkerSubject is [Namespace.WorkerSubject].
func WorkerSubject(worker string) string { return DefaultNamespace.WorkerSubject(worker) }
