package dlq

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"statusworker/schema"
)

// Filter selects the dead letters that match every field that is set.
type Filter struct {
	Reasons []schema.Reason
	Types   []schema.Type
	// Names selects dead letters with any of these names: an identifier (or the last token of an invalid message's
	// subject), or `@` and a sequence of the outcomes stream.
	Names []string
	// OlderThan and NewerThan compare the age of the dead letter, by the broker's clock.
	OlderThan, NewerThan time.Duration
	// Detail is a text in [DeadLetter.Why], compared without case.
	Detail string
	// AsOf repeats an earlier selection: later dead letters are excluded, and ages are computed for that time. Zero
	// means now.
	AsOf Moment
}

// Moment is when a selection was made.
type Moment struct {
	// Last is the last sequence of the outcomes stream, and Now its time.
	Last uint64
	Now  time.Time
}

// FilterError is the error of a field of a Filter. Want completes the sentence "must be ...".
type FilterError struct{ Field, Value, Want string }

func (e *FilterError) Error() string {
	return fmt.Sprintf("%s is %s; must be %s", e.Field, e.Value, e.Want)
}

// All reports whether the filter selects all dead letters.
func (f Filter) All() bool {
	return len(f.Reasons) == 0 && len(f.Types) == 0 && len(f.Names) == 0 && f.OlderThan == 0 && f.NewerThan == 0 &&
		f.Detail == ""
}

// Check returns a [*FilterError] if the filter has an invalid field.
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
		return &FilterError{"NewerThan", f.NewerThan.String(), "more than the minimum age, " + f.OlderThan.String()}
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

// sequenceOf returns the sequence of a name; 0 if the name is a token.
func sequenceOf(name string) (uint64, error) {
	if digits, ok := strings.CutPrefix(name, "@"); ok {
		n, err := strconv.ParseUint(digits, 10, 64)
		if err != nil || n == 0 {
			return 0, &FilterError{"Names", schema.Quote(name), "@ and a sequence of the outcomes stream"}
		}
		return n, nil
	}
	if !schema.IsDeadLetterToken(name) {
		return 0, &FilterError{"Names", schema.Quote(name),
			"an identifier, the last token of an invalid message's subject, or @ and a sequence"}
	}
	return 0, nil
}

// maxSubjects is the maximum number of filter subjects of a read. A filter that needs more reads all dead letters.
const maxSubjects = 64

// subjects returns the filter subjects for the broker. They match at least the selected dead letters.
func (f Filter) subjects(n schema.Namespace, tokens map[string]bool) []string {
	everything := []string{strings.TrimSuffix(n.SubjectsFailed(), "*.*") + ">"}
	reasons := slices.Compact(slices.Sorted(slices.Values(f.Reasons)))
	if max(1, len(tokens))*max(1, len(reasons)) > maxSubjects {
		return everything
	}
	var subjects []string
	switch {
	case len(tokens) == 0 && len(reasons) == 0:
		return everything
	case len(tokens) == 0:
		for _, r := range reasons {
			subjects = append(subjects, n.FailedSubject(r, "*"))
		}
	case len(reasons) == 0:
		for t := range tokens {
			subjects = append(subjects, n.FailedSubjects(t))
		}
	default:
		for t := range tokens {
			for _, r := range reasons {
				subjects = append(subjects, n.FailedSubject(r, t))
			}
		}
	}
	return subjects
}
