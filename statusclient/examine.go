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

// Examination is what one status request tells about the vendor.
type Examination struct {
	// Base is the base URL.
	Base string
	// TLS is the connection to the vendor; nil where there was none, or no TLS on it.
	TLS *tls.ConnectionState
	// StatusCode is the answer's; 0 where there was none. JSON tells whether the answer says that it is JSON.
	StatusCode int
	JSON       bool
	// Err is a [*schema.PollError], or nil where the vendor gave a status.
	Err error
	// NoSuch says that the vendor refused the interaction just as it refuses an address that no API has: then the base
	// URL is not that of the vendor's API.
	NoSuch bool

	refusal string // what was answered, without what differs from one request to the next
}

// noSuchResource is a path that the vendor's API does not have.
const noSuchResource = "/no-such-resource"

// Examine asks the vendor for the status of an interaction that the caller made up, to find out whether the vendor can
// be reached and accepts the token: then it answers 404. Where the vendor refuses the interaction, it is asked for an
// address that it does not have, for comparison. What holds for [Client.Status] holds here.
func (c *Client) Examine(ctx context.Context, identifier string) Examination {
	e := Examination{Base: c.base.String()}
	_, e.Err = c.ask(ctx, identifier, c.path+identifier+"/status", time.Time{}, &e)
	if poll := (*schema.PollError)(nil); errors.As(e.Err, &poll) && poll.Fault.Refusal() && e.StatusCode != 0 {
		var other Examination
		_, _ = c.ask(ctx, identifier, c.base.Path+noSuchResource, time.Time{}, &other) // what was answered is in other
		e.NoSuch = other.StatusCode == e.StatusCode && other.refusal == e.refusal
	}
	return e
}

// varying are the parts of an error's body that differ from one request to the next: times, numbers, identifiers.
var varying = regexp.MustCompile(`[0-9A-Fa-f-]*[0-9][0-9A-Fa-f.:TZ+-]*`)

// comparable is the body of the answer to a request for path, without what differs from one request to the next.
func comparable(body []byte, path string) string {
	return varying.ReplaceAllString(strings.ReplaceAll(string(body), path, ""), "#")
}
