package statusclient

import (
	"context"
	"crypto/tls"
	"errors"
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
	// Anonymous is the HTTP status of the same request without a token, made where the vendor refused the interaction; 0
	// where it was not made, or got no answer. The vendor's API answers 401, whatever the interaction; an address that is
	// not the API's answers as it did with the token.
	Anonymous int
}

// Examine asks the vendor for the status of an interaction that the caller made up, to find out whether the vendor can be
// reached and accepts the token: then it answers 404, and is asked once more without the token. What holds for
// [Client.Status] holds here.
func (c *Client) Examine(ctx context.Context, identifier string) Examination {
	e := Examination{Base: c.base.String()}
	used := c.tokens.current()
	_, e.Err = c.ask(ctx, used, identifier, time.Time{}, &e)
	if poll := (*schema.PollError)(nil); errors.As(e.Err, &poll) && poll.Fault.Refusal() && e.StatusCode != 0 {
		anonymous := &credential{token: used.token, header: used.header.Clone()}
		delete(anonymous.header, headerToken)
		var without Examination
		_, _ = c.ask(ctx, anonymous, identifier, time.Time{}, &without) // what matters is the status
		e.Anonymous = without.StatusCode
	}
	return e
}
