package dlq

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"statusworker/schema"
)

// Filter says which dead letters are meant: those that fit every field that is set.
type Filter struct {
	Reasons []schema.Reason
	Types   []schema.Type
	// Names are identifiers (or what stands for one in an invalid message's dead letter), and `@` with a sequence of
	// the outcomes stream. A dead letter that one of them names is meant.
	Names []string
	// OlderThan and NewerThan go by when the dead letter was stored, by the broker's clock.
	OlderThan, NewerThan time.Duration
}

// FilterError says which field of a Filter is wrong.
type FilterError struct{ Field, Value, Want string }

func (e *FilterError) Error() string {
	return fmt.Sprintf("%s is %s: want %s", e.Field, e.Value, e.Want)
}

// All tells whether the filter leaves nothing out.
func (f Filter) All() bool {
	return len(f.Reasons) == 0 && len(f.Types) == 0 && len(f.Names) == 0 && f.OlderThan == 0 && f.NewerThan == 0
}

// Check refuses with a [*FilterError] what cannot be meant.
func (f Filter) Check() error {
	for _, r := range f.Reasons {
		if !slices.Contains(schema.Reasons(), r) {
			return &FilterError{"Reasons", schema.Quote(string(r)), "one of " + list(schema.Reasons())}
		}
	}
	for _, t := range f.Types {
		if !t.Valid() {
			return &FilterError{"Types", schema.Quote(string(t)), "one of " + list(schema.Types())}
		}
	}
	for _, n := range f.Names {
		if _, err := sequenceOf(n); err != nil {
			return err
		}
	}
	switch {
	case f.OlderThan < 0:
		return &FilterError{"OlderThan", f.OlderThan.String(), "more than 0"}
	case f.NewerThan < 0:
		return &FilterError{"NewerThan", f.NewerThan.String(), "more than 0"}
	case f.OlderThan > 0 && f.NewerThan > 0 && f.NewerThan <= f.OlderThan:
		return &FilterError{
			"NewerThan",
			f.NewerThan.String(),
			"more than the " + f.OlderThan.String() + " that it shall be older than: nothing is both",
		}
	}
	return nil
}

func list[T ~string](all []T) string {
	words := make([]string, len(all))
	for i, v := range all {
		words[i] = string(v)
	}
	return strings.Join(words, ", ")
}

// sequenceOf is the sequence that a name is; 0 where it is a token.
func sequenceOf(name string) (uint64, error) {
	if digits, ok := strings.CutPrefix(name, "@"); ok {
		n, err := strconv.ParseUint(digits, 10, 64)
		if err != nil || n == 0 {
			return 0, &FilterError{"Names", schema.Quote(name), "@ and a sequence of " + schema.StreamOutcomes}
		}
		return n, nil
	}
	if !schema.IsDeadLetterToken(name) {
		return 0, &FilterError{
			"Names", schema.Quote(name),
			"an identifier, the last token of an invalid message's subject, or @ and a sequence",
		}
	}
	return 0, nil
}

// most is how many filter subjects a consumer is given. Beyond that everything is read, and sorted out here.
const most = 64

// subjects are the filters for the broker. They may let through more than is meant, but never less.
func (f Filter) subjects(tokens map[string]bool) []string {
	everything := []string{strings.TrimSuffix(schema.SubjectsFailed, "*.*") + ">"}
	reasons := slices.Compact(slices.Sorted(slices.Values(f.Reasons)))
	if max(1, len(tokens))*max(1, len(reasons)) > most {
		return everything
	}
	var subjects []string
	switch {
	case len(tokens) == 0 && len(reasons) == 0:
		return everything
	case len(tokens) == 0:
		for _, r := range reasons {
			subjects = append(subjects, schema.FailedSubject(r, "*"))
		}
	case len(reasons) == 0:
		for t := range tokens {
			subjects = append(subjects, schema.FailedSubjects(t))
		}
	default:
		for t := range tokens {
			for _, r := range reasons {
				subjects = append(subjects, schema.FailedSubject(r, t))
			}
		}
	}
	return subjects
}
