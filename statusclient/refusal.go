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
	maxExcerpt    = 200            // bytes of a refusal's body that are shown
	maxDrain      = 64 << 10       // bytes that are read to keep the connection; a longer body costs the connection
	maxRetryAfter = 24 * time.Hour // a longer Retry-After is malformed
)

// refusal explains an answer that is not 200.
func (x *exchange) refusal(resp *http.Response, b *body) *schema.PollError {
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
		e.Detail += ", a redirect to " + x.redirectHost(resp) + " that is not followed"
	}
	text, ofVendor := x.errorBody(resp, b)
	if e.Fault.Refusal() && !ofVendor {
		e.Fault = schema.FaultNotAStatus
		e.Detail += ", without the JSON object of the vendor's errors: probably a gateway or a wrong base URL"
	}
	if resp.StatusCode/100 != 3 && text != "" { // a redirect's body repeats the whole URL
		e.Detail += ": " + text
	}
	if e.Fault == schema.FaultUnauthorized {
		e.Detail += x.client.tokens.refused(x.used, x.begun)
		e.TokenRenewed = x.client.tokens.inUse.Load().token != x.used.token
	}
	return x.fault(e)
}

// faultOf names the fault behind an HTTP status other than 200. Of the client errors, only those that HTTP defines for
// the resource, here the interaction, can be about it. All others speak of the account (402), the proxy (407), the
// connection (421, 426), the form of the request (405, 406, 411 to 417, 428, 431), or are nobody's: the next
// interaction would meet the same.
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

// errorBody quotes the beginning of an error's body, tells whether it is a JSON object, as the vendor's are, and leaves
// the connection fit to be used again where the body is short.
func (x *exchange) errorBody(resp *http.Response, b *body) (excerpt string, object bool) {
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return "", false // its body is the connection
	}
	// As much more of an excerpt as a token that begins within it needs to be seen whole, and masked.
	most := maxExcerpt + len(x.used.token)
	ofVendor := faultOf(resp.StatusCode).Refusal() && jsonContentType(resp.Header.Get("Content-Type"))
	if ofVendor {
		most = maxAnswerBytes
	}
	err := b.read(resp, most, x.used)
	_, _ = io.CopyN(io.Discard, resp.Body, maxDrain) // best effort
	if err != nil && len(b.buf) == 0 {
		return "", false
	}
	text := bytes.TrimSpace(schema.TrimBOM(b.buf))
	object = ofVendor && err == nil && len(text) > 0 && text[0] == '{' && json.Valid(text)
	if x.seen != nil {
		x.seen.refusal = comparable(text, x.path)
	}
	text = text[:min(len(text), maxExcerpt+len(x.used.token))]
	mask(text, x.used.token)
	maskEnd(text, x.used.token)
	text = bytes.TrimSpace(text[:min(len(text), maxExcerpt)])
	if len(text) == 0 {
		return "", object
	}
	return schema.Quote(string(text)), object
}

// redirectHost says where a redirect leads. The host must do: the rest of a URL can hold anything.
func (x *exchange) redirectHost(resp *http.Response) string {
	to, err := url.Parse(resp.Header.Get("Location"))
	switch {
	case err != nil, resp.Header.Get("Location") == "":
		return "nowhere"
	case to.Host == "":
		return "the same host"
	}
	return x.used.quote(to.Host)
}

// retryAt reads a Retry-After header: seconds, or an HTTP date. It is zero for anything else, for what is not in the
// future, and for what is more than a day away. A date is one of the vendor's clock, and counts from the date of its
// answer; this host's clock may show another time, and stands in only where the answer has no date.
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
