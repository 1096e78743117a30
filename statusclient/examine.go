package statusclient

import (
	"context"
	"crypto/tls"
	"errors"
	"regexp"
	"strings"
	"time"

	"statusworker/schema"
)

// Examination is the result of [Client.Examine].
type Examination struct {
	// Base is the base URL.
	Base string
	// TLS is the state of the TLS connection to the vendor, or nil.
	TLS *tls.ConnectionState
	// StatusCode is the HTTP status of the answer; 0 if there was none. JSON reports whether the Content-Type of the
	// answer is JSON.
	StatusCode int
	JSON       bool
	// Err is a [*schema.PollError], or nil if the vendor gave a status.
	Err error
	// NoSuch reports that the answer equals that for a path that does not exist: the base URL is not that of the
	// vendor's API.
	NoSuch bool

	body string // of an error, without what differs between paths
}

// noSuchResource is a path that the vendor's API does not have.
const noSuchResource = "/no-such-resource"

// Examine requests the status of an interaction that does not exist, to check that the vendor can be reached and
// accepts the token: the expected answer is 404. If the vendor refuses the interaction, Examine also requests a path
// that does not exist, for comparison. Both requests have the invariants of [Client.Status].
func (c *Client) Examine(ctx context.Context, identifier string) Examination {
	e := Examination{Base: c.base.String()}
	_, e.Err = c.ask(ctx, identifier, c.path+identifier+"/status", time.Time{}, &e)
	if poll := (*schema.PollError)(nil); errors.As(e.Err, &poll) && poll.Fault.Refusal() && e.StatusCode != 0 {
		var other Examination
		_, _ = c.ask(ctx, identifier, c.base.Path+noSuchResource, time.Time{}, &other) // the result is in other
		e.NoSuch = other.StatusCode == e.StatusCode && other.body == e.body
	}
	return e
}

// varying matches the parts of an error's body that differ between requests: times, numbers, identifiers.
var varying = regexp.MustCompile(`[0-9A-Fa-f-]*[0-9][0-9A-Fa-f.:TZ+-]*`)

// invariant returns the body of the answer to a request for path without the parts that differ between requests.
func invariant(body []byte, path string) string {
	return varying.ReplaceAllString(strings.ReplaceAll(string(body), path, ""), "#")
}
