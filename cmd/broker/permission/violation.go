// Package permission attributes permissions violations to the requests that caused them.
//
// A NATS server does not answer a publish or a subscription that it denies. It reports the violation asynchronously, to
// the error handler of the connection, with the operation and the subject. This package records the violations and
// compares their subjects with those of a request. A request was denied only if, since it began, the server denied its
// subject or the subscription for its answers.
package permission

import (
	"errors"
	"regexp"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
)

// Operation is an operation that needs a permission.
type Operation string

// The operations.
const (
	Publish   Operation = "publish"
	Subscribe Operation = "subscribe"
)

// Violation is an operation that the server denied. It wraps [nats.ErrPermissionViolation].
type Violation struct {
	Operation Operation
	Subject   string
	err       error // as the connection reported it
}

func (v *Violation) Error() string { return v.err.Error() }
func (v *Violation) Unwrap() error { return v.err }

// violation matches the text of a server. The subject is a Go string literal.
var violation = regexp.MustCompile(`(?i) for (publish|subscription) (?:to|with reply of) ("(?:[^"\\]|\\.)*")`)

// parse returns the violation that the connection reported, or nil if err is none.
func parse(err error) *Violation {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return nil
	}
	if v := (*Violation)(nil); errors.As(err, &v) {
		return v
	}
	parts := violation.FindStringSubmatch(err.Error())
	if parts == nil {
		return nil
	}
	v := &Violation{Operation: Publish, err: err}
	if strings.EqualFold(parts[1], "subscription") {
		v.Operation = Subscribe
	}
	if v.Subject, err = strconv.Unquote(parts[2]); err == nil {
		return v
	}
	return nil
}

// matches reports whether a subject matches a pattern, which may have wildcards.
func matches(pattern, subject string) bool {
	want, have := strings.Split(pattern, "."), strings.Split(subject, ".")
	for i, token := range want {
		switch {
		case token == ">":
			return len(have) > i
		case i >= len(have) || token != "*" && token != have[i]:
			return false
		}
	}
	return len(want) == len(have)
}
