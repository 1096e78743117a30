package statusclient

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"time"

	"statusworker/schema"
	"statusworker/statusclient/answer"
)

// Status requests the status of an interaction once. It never repeats the request, and follows no redirect. It does not
// write the request after sendBy; a zero sendBy is no limit. It returns when the answer is complete, when the timeout
// has passed, or when ctx ends.
//
// The error is always a [*schema.PollError]. [schema.FaultNotSent] proves that the vendor received no part of the
// request. If ctx ended, the error wraps its error.
//
// The answer does not share memory with the client. If it contains the token, the token is replaced by asterisks.
func (c *Client) Status(ctx context.Context, identifier string, sendBy time.Time) (schema.Answer, error) {
	return c.ask(ctx, identifier, c.path+identifier+"/status", sendBy, nil)
}

// ask sends a request for a path, about an interaction. It records facts in seen, unless seen is nil.
func (c *Client) ask(
	ctx context.Context,
	identifier, path string,
	sendBy time.Time,
	seen *Examination,
) (schema.Answer, error) {
	if err := schema.CheckIdentifier(identifier); err != nil {
		return schema.Answer{}, &schema.PollError{
			Fault: schema.FaultRejected, Detail: "no request was sent: identifier " + err.Error(), Err: err,
		}
	}
	begun := c.now()
	used := c.tokens.current()
	reqCtx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	a := &attempt{sendBy: sendBy, now: c.now, cancel: cancel, seen: seen}
	x := exchange{
		client:     c,
		caller:     ctx,
		ctx:        reqCtx,
		attempt:    a,
		used:       used,
		begun:      begun,
		identifier: identifier,
		path:       path,
		seen:       seen,
	}
	if ctx.Err() != nil {
		return schema.Answer{}, x.failure(ctx.Err(), 0)
	}
	if a.tooLate(c.now()) {
		a.late.Store(true)
		return schema.Answer{}, x.failure(errLate, 0)
	}

	req := c.template.WithContext(httptrace.WithClientTrace(reqCtx, &httptrace.ClientTrace{GotConn: a.gotConn}))
	req.URL = &url.URL{Scheme: c.base.Scheme, Host: c.base.Host, Path: path}
	req.Header = used.header
	// An http.Client would follow redirects.
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return schema.Answer{}, x.failure(err, 0)
	}
	a.answered.Store(true)
	defer func() { _ = resp.Body.Close() }() // the answer has been read
	if seen != nil {
		seen.StatusCode, seen.JSON = resp.StatusCode, jsonContentType(resp.Header.Get("Content-Type"))
	}
	b := bodies.Get().(*body)
	defer b.release()
	if resp.StatusCode != http.StatusOK {
		return schema.Answer{}, x.errorAnswer(resp, b)
	}
	return x.answer(resp, b)
}

// exchange is one request and its answer.
type exchange struct {
	client     *Client
	caller     context.Context // without the timeout
	ctx        context.Context // with it
	attempt    *attempt
	used       *credential
	begun      time.Time
	identifier string
	path       string
	seen       *Examination // nil except for Examine
}

// maxAnswerBytes is the maximum size of an answer after decompression. The rest of a longer answer is ignored.
const maxAnswerBytes = 64 << 10

// answer reads an answer with the status 200.
func (x *exchange) answer(resp *http.Response, b *body) (schema.Answer, error) {
	if contentType := resp.Header.Get("Content-Type"); !jsonContentType(contentType) {
		why := "has the Content-Type " + x.used.quote(contentType) + "; must be application/json"
		return schema.Answer{}, x.noStatus(resp, why, nil)
	}
	if err := b.read(resp, maxAnswerBytes+1, x.used); err != nil {
		if errors.Is(err, errEncoding) {
			return schema.Answer{}, x.noStatus(resp, err.Error(), err)
		}
		return schema.Answer{}, x.failure(err, resp.StatusCode)
	}
	cut := len(b.buf) > maxAnswerBytes
	text := b.buf[:min(len(b.buf), maxAnswerBytes)]
	maskAll(text, x.used.token)
	if cut {
		maskEnd(text, x.used.token)
	}
	a, err := answer.Decode(text, cut, x.identifier)
	if err != nil {
		why := err.Error()
		if cut {
			why = fmt.Sprintf("is longer than %d bytes, and %s in the first %[1]d bytes", maxAnswerBytes, why)
		}
		return schema.Answer{}, x.noStatus(resp, why, err)
	}
	a.Sent, a.Size = x.attempt.whenSent(), len(b.buf)
	if resp.Header.Get("Content-Encoding") == "" {
		a.Size = max(a.Size, int(min(resp.ContentLength, math.MaxInt32)))
	}
	return a, nil
}

// noStatus returns the error of an answer that is not a status. Why completes the sentence "the answer ...".
func (x *exchange) noStatus(resp *http.Response, why string, cause error) *schema.PollError {
	return x.fault(&schema.PollError{
		Fault: schema.FaultNotAStatus, StatusCode: resp.StatusCode,
		Detail: x.answered(resp.StatusCode) + ", but the answer " + why, Err: cause,
	})
}

func (x *exchange) answered(code int) string {
	return fmt.Sprintf("ElevateAI answered %d %s for GET %s", code, http.StatusText(code), x.path)
}

// failure returns the error of a request without a complete answer. Code is the HTTP status of an incomplete answer, or
// 0.
func (x *exchange) failure(err error, code int) *schema.PollError {
	e := &schema.PollError{Fault: schema.FaultUnavailable, StatusCode: code, Err: err}
	request := "GET " + x.path
	switch a := x.attempt; {
	case a.late.Load():
		e.Fault, e.Err = schema.FaultNotSent, errLate
		e.Detail = fmt.Sprintf("%s was not sent: the latest time for it was %s",
			request, a.sendBy.UTC().Format(time.RFC3339Nano))
	case x.caller.Err() != nil:
		e.Err = x.caller.Err()
		e.Detail = fmt.Sprintf("%s was canceled before the answer was complete: %v", request, e.Err)
		if !a.sent.Load() {
			e.Fault = schema.FaultNotSent
			e.Detail = fmt.Sprintf("%s was not sent: %v", request, e.Err)
		}
	case a.broken.Load():
		e.Err = errLost
		e.Detail = fmt.Sprintf("no answer to %s: %v", request, errLost)
	case errors.Is(x.ctx.Err(), context.DeadlineExceeded):
		e.Err = context.DeadlineExceeded
		what := "no connection for"
		if code != 0 {
			what = "no complete answer to"
		} else if a.sent.Load() {
			what = "no answer to"
		}
		e.Detail = fmt.Sprintf("%s %s within %s", what, request, x.client.timeout)
	case code != 0:
		e.Detail = fmt.Sprintf("the answer to %s is incomplete: %v", request, err)
	default:
		e.Detail = fmt.Sprintf("no answer to %s: %v", request, err)
	}
	return x.fault(e)
}

const maxDetail = 600

// fault completes e: it removes the token, and limits the detail to one line of maxDetail bytes.
func (x *exchange) fault(e *schema.PollError) *schema.PollError {
	e.Sent = x.attempt.whenSent()
	e.Detail = schema.Printable(x.used.masked(e.Detail))
	if len(e.Detail) > maxDetail {
		e.Detail = strings.ToValidUTF8(e.Detail[:maxDetail], "") + "..."
	}
	if e.Err != nil {
		// Some errors of the transport quote the answer.
		if text := e.Err.Error(); x.used.masked(text) != text {
			e.Err = errors.New(x.used.masked(text))
		}
	}
	return e
}

// jsonContentType reports whether a Content-Type header is application/json, or any type that ends in +json.
func jsonContentType(s string) bool {
	s, _, _ = strings.Cut(s, ";")
	s = strings.TrimSpace(s)
	const suffix = "+json"
	return strings.EqualFold(s, "application/json") ||
		strings.Contains(s, "/") && len(s) > len(suffix) && strings.EqualFold(s[len(s)-len(suffix):], suffix)
}
