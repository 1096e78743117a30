package statusclient

import (
	"context"
	"crypto/tls"
	"time"
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
}

// Examine asks the vendor once for the status of an interaction that the caller made up, to find out whether the vendor
// can be reached and accepts the token: then it answers 404. What holds for [Client.Status] holds here.
func (c *Client) Examine(ctx context.Context, identifier string) Examination {
	e := Examination{Base: c.base.String()}
	_, e.Err = c.ask(ctx, identifier, time.Time{}, &e)
	return e
}
