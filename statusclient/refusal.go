package statusclient

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"statusworker/schema"
)

const (
	maxExcerpt    = 200       // bytes of a refusal's body that are looked at
	maxDrain      = 64 << 10  // bytes that are read to keep the connection; a longer body costs the connection
	maxRetryAfter = time.Hour // a longer Retry-After is taken for this
)

// refusal explains an answer that is not 200.
func (x *exchange) refusal(resp *http.Response, b *body) *schema.PollError {
	e := &schema.PollError{Fault: faultOf(resp.StatusCode), StatusCode: resp.StatusCode, Detail: x.answered(resp.StatusCode)}
	if e.Fault == schema.FaultThrottled || e.Fault == schema.FaultUnavailable {
		if v := resp.Header.Get("Retry-After"); v != "" {
			e.RetryAt = retryAt(v, x.client.now())
			e.Detail += ", Retry-After " + x.used.quote(v)
		}
	}
	if resp.StatusCode/100 == 3 {
		e.Detail += ", a redirect to " + x.redirectHost(resp) + " that is not followed"
	}
	if text := x.excerpt(resp, b); resp.StatusCode/100 != 3 { // a redirect's body repeats the whole URL
		e.Detail += text
	}
	if e.Fault == schema.FaultUnauthorized {
		e.Detail += x.client.tokens.refused(x.used, x.begun)
		e.TokenRenewed = x.client.tokens.inUse.Load().token != x.used.token
	}
	return x.fault(e)
}

// faultOf names the fault behind an HTTP status other than 200.
func faultOf(code int) schema.Fault {
	switch {
	case code == http.StatusNotFound:
		return schema.FaultNotFound
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return schema.FaultUnauthorized
	case code == http.StatusTooManyRequests:
		return schema.FaultThrottled
	case code == http.StatusRequestTimeout, code == http.StatusTooEarly:
		return schema.FaultUnavailable
	case code >= 300 && code < 400, code >= 500 && code < 600:
		return schema.FaultUnavailable
	case code >= 400 && code < 500:
		return schema.FaultRejected
	}
	return schema.FaultNotAStatus
}

// excerpt quotes the beginning of a refusal's body, and leaves the connection fit to be used again where the body is
// short.
func (x *exchange) excerpt(resp *http.Response, b *body) string {
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return "" // its body is the connection
	}
	// As much more as a token that begins within the excerpt needs to be seen whole, and masked.
	err := b.read(resp, maxExcerpt+len(x.used.token), x.used)
	_, _ = io.CopyN(io.Discard, resp.Body, maxDrain) // best effort
	if err != nil && len(b.buf) == 0 {
		return ""
	}
	mask(b.buf, x.used.token)
	maskEnd(b.buf, x.used.token)
	text := strings.TrimSpace(string(b.buf[:min(len(b.buf), maxExcerpt)]))
	if text == "" {
		return ""
	}
	return ": " + schema.Quote(text)
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

// retryAt reads a Retry-After header: seconds, or an HTTP date. It is zero for anything else, and for what is not in
// the future.
func retryAt(s string, now time.Time) time.Time {
	s = strings.TrimSpace(s)
	var wait time.Duration
	if digits(s) {
		for _, c := range s {
			wait = min(wait*10+time.Duration(c-'0')*time.Second, maxRetryAfter)
		}
	} else if at, err := http.ParseTime(s); err == nil {
		wait = min(at.Sub(now), maxRetryAfter)
	}
	if wait <= 0 {
		return time.Time{}
	}
	return now.Add(wait)
}

func digits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}
