package statusclient

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"statusworker/schema"
)

const (
	maxExcerpt    = 200            // bytes: the detail quotes at most this much of an error's body
	maxDrain      = 64 << 10       // bytes that are read to reuse the connection; after a longer body it is closed
	maxRetryAfter = 24 * time.Hour // a longer Retry-After is ignored
)

// errorAnswer returns the error of an answer that is not 200.
func (x *exchange) errorAnswer(resp *http.Response, b *body) *schema.PollError {
	e := &schema.PollError{
		Fault:      faultOf(resp.StatusCode),
		StatusCode: resp.StatusCode,
		Detail:     x.answered(resp.StatusCode),
	}
	if e.Fault == schema.FaultThrottled || e.Fault == schema.FaultUnavailable {
		if v := resp.Header.Get("Retry-After"); v != "" {
			e.RetryAt = retryAt(v, resp.Header.Get("Date"), x.client.now())
			e.Detail += ", Retry-After " + x.used.quote(v)
			if e.RetryAt.IsZero() {
				e.Detail += " (ignored)"
			}
		}
	}
	if resp.StatusCode/100 == 3 {
		e.Detail += ", a redirect to " + x.redirectHost(resp) + ", which was not followed"
	}
	text, ofVendor := x.errorBody(resp, b)
	if e.Fault.Refusal() && !ofVendor {
		e.Fault = schema.FaultNotAStatus
		e.Detail += ", without the JSON object that ElevateAI's errors have: " +
			"the answer is probably from a gateway, or the base URL is wrong"
	}
	if resp.StatusCode/100 != 3 && text != "" { // the body of a redirect repeats the URL
		e.Detail += ": " + text
	}
	if e.Fault == schema.FaultUnauthorized {
		e.Detail += x.client.tokens.rejected(x.used, x.begun)
		e.TokenRenewed = x.client.tokens.inUse.Load().token != x.used.token
	}
	return x.fault(e)
}

// faultOf returns the fault of an HTTP status other than 200. Of the client errors, only those that HTTP defines for
// the resource can be about the interaction. All others are about the account (402), the proxy (407), the connection
// (421, 426) or the form of the request (405, 406, 411 to 417, 428, 431), or are undefined: every interaction would get
// the same answer.
func faultOf(code int) schema.Fault {
	switch code {
	case http.StatusNotFound:
		return schema.FaultNotFound
	case http.StatusBadRequest, http.StatusConflict, http.StatusGone, http.StatusTeapot, http.StatusUnprocessableEntity,
		http.StatusLocked, http.StatusFailedDependency, http.StatusUnavailableForLegalReasons:
		return schema.FaultRejected
	case http.StatusUnauthorized, http.StatusForbidden:
		return schema.FaultUnauthorized
	case http.StatusTooManyRequests:
		return schema.FaultThrottled
	}
	if code >= 300 && code < 600 {
		return schema.FaultUnavailable
	}
	return schema.FaultNotAStatus
}

// errorBody returns the quoted beginning of an error's body, with a space for all white space, and whether it is a JSON
// object, as the vendor's errors are. It reads a short body to its end, so that the connection can be reused.
func (x *exchange) errorBody(resp *http.Response, b *body) (excerpt string, object bool) {
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return "", false // the body is the connection
	}
	// A token that begins in the excerpt must be read completely to be masked.
	limit := maxExcerpt + len(x.used.token)
	ofVendor := faultOf(resp.StatusCode).Refusal() && jsonContentType(resp.Header.Get("Content-Type"))
	if ofVendor {
		limit = maxAnswerBytes
	}
	err := b.read(resp, limit, x.used)
	_, _ = io.CopyN(io.Discard, resp.Body, maxDrain) // best effort
	if err != nil && len(b.buf) == 0 {
		return "", false
	}
	text := bytes.TrimSpace(schema.TrimBOM(b.buf))
	object = ofVendor && err == nil && len(text) > 0 && text[0] == '{' && json.Valid(text)
	if x.seen != nil {
		x.seen.body = invariant(text, x.path)
	}
	text = text[:min(len(text), maxExcerpt+len(x.used.token))]
	mask(text, x.used.token)
	maskEnd(text, x.used.token)
	text = bytes.TrimSpace(text[:min(len(text), maxExcerpt)])
	if len(text) == 0 {
		return "", object
	}
	return schema.Quote(string(bytes.Join(bytes.Fields(text), []byte(" ")))), object
}

// redirectHost returns the host of a redirect. The rest of the URL may contain a secret.
func (x *exchange) redirectHost(resp *http.Response) string {
	to, err := url.Parse(resp.Header.Get("Location"))
	switch {
	case err != nil, resp.Header.Get("Location") == "":
		return "an invalid URL"
	case to.Host == "":
		return "the same host"
	}
	return x.used.quote(to.Host)
}

// retryAt parses a Retry-After header: seconds, or an HTTP date. It is zero for any other value, for a time that is not
// in the future, and for more than a day. A date is by the vendor's clock, and is relative to the Date of the answer.
// If the answer has no Date, it is relative to now.
func retryAt(s, date string, now time.Time) time.Time {
	s = strings.TrimSpace(s)
	var wait time.Duration
	if seconds, err := strconv.ParseUint(s, 10, 31); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(s); err == nil {
		answered, err := http.ParseTime(strings.TrimSpace(date))
		if err != nil {
			answered = now
		}
		wait = at.Sub(answered)
	}
	if wait <= 0 || wait > maxRetryAfter {
		return time.Time{}
	}
	return now.Add(wait)
}
