package schema

import "strings"

// Kind is what a stream holds.
type Kind string

// The kinds of streams.
const (
	KindDeclared Kind = "declared"
	KindPolls    Kind = "polls"
	KindWorkers  Kind = "workers"
	KindOutcomes Kind = "outcomes"
)

// KindOf returns the kind of a stream of any namespace, and "" for a stream that no namespace has.
func KindOf(stream string) Kind {
	for suffix, kind := range map[string]Kind{
		suffixDeclared: KindDeclared, suffixPolls: KindPolls, suffixWorkers: KindWorkers, suffixOutcomes: KindOutcomes,
	} {
		if strings.HasSuffix(stream, suffix) {
			return kind
		}
	}
	return ""
}
