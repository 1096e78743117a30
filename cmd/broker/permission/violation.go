// Package permission attributes missing rights to the requests that lacked them.
//
// A NATS server does not answer a publish or a subscription that it refuses. It reports the refusal beside all
// requests, to the error handler of the connection, with the operation and the subject. This package hears these
// reports and compares their subjects with that of a request: a request failed for want of a right only where the
// server refused its subject, or the subject of its answers, since it began.
package permission

import (
	"errors"
	"regexp"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
)

// Operation is what a user may lack the right to.
type Operation string

// The operations.
const (
	Publish   Operation = "publish"
	Subscribe Operation = "subscribe"
)

// Violation is a refusal of the server. It is a [nats.ErrPermissionViolation].
type Violation struct {
	Operation Operation
	Subject   string
	err       error // the connection's
}

func (v *Violation) Error() string { return v.err.Error() }
func (v *Violation) Unwrap() error { return v.err }

// refusal is how a server words it. The subject is quoted as Go does.
var refusal = regexp.MustCompile(`(?i) for (publish|subscription) (?:to|with reply of) ("(?:[^"\\]|\\.)*")`)

// parse reads the connection's report of a violation; nil where err is none.
func parse(err error) *Violation {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return nil
	}
	if v := (*Violation)(nil); errors.As(err, &v) {
		return v
	}
	parts := refusal.FindStringSubmatch(err.Error())
	if parts == nil {
		return nil
	}
	subject, quoted := strconv.Unquote(parts[2])
	if quoted != nil {
		return nil
	}
	v := &Violation{Operation: Publish, Subject: subject, err: err}
	if strings.EqualFold(parts[1], "subscription") {
		v.Operation = Subscribe
	}
	return v
}

// matches tells whether a subject is among those of a pattern, which may have the wildcards of NATS.
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
