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
)

// Status asks the vendor once for the status of an interaction. It never repeats a request, and follows no redirect.
// The request is not written after sendBy, however long the connection took; zero sets no such limit. The error is
// always a [*schema.PollError]; one that is [schema.FaultNotSent] proves that the vendor saw nothing of the request.
// Where ctx ended the call, the error wraps its error.
//
// The answer belongs to the caller. Should the vendor repeat the token in it, asterisks stand in its place.
func (c *Client) Status(ctx context.Context, identifier string, sendBy time.Time) (schema.Answer, error) {
	return c.ask(ctx, identifier, c.path+identifier+"/status", sendBy, nil)
}

// ask makes a request for a path, about an interaction. What it learns on the way is noted in seen, unless that is nil.
func (c *Client) ask(
	ctx context.Context,
	identifier, path string,
	sendBy time.Time,
	seen *Examination,
) (schema.Answer, error) {
	if err := schema.CheckIdentifier(identifier); err != nil {
		return schema.Answer{}, &schema.PollError{
			Fault: schema.FaultRejected, Detail: "the vendor was not asked: identifier " + err.Error(), Err: err,
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
	if a.tooLate() {
		a.late.Store(true)
		return schema.Answer{}, x.failure(errLate, 0)
	}

	req := c.template.WithContext(httptrace.WithClientTrace(reqCtx, &httptrace.ClientTrace{GotConn: a.gotConn}))
	req.URL = &url.URL{Scheme: c.base.Scheme, Host: c.base.Host, Path: path}
	req.Header = used.header
	// The transport, not a client around it: that would follow redirects.
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return schema.Answer{}, x.failure(err, 0)
	}
	defer func() { _ = resp.Body.Close() }() // whatever mattered has been read
	if seen != nil {
		seen.StatusCode, seen.JSON = resp.StatusCode, jsonContentType(resp.Header.Get("Content-Type"))
	}
	b := bodies.Get().(*body)
	defer b.release()
	if resp.StatusCode != http.StatusOK {
		return schema.Answer{}, x.refusal(resp, b)
	}
	return x.answer(resp, b)
}

// exchange is one request with what is needed to tell what became of it.
type exchange struct {
	client     *Client
	caller     context.Context // the caller's
	ctx        context.Context // with the time-out
	attempt    *attempt
	used       *credential
	begun      time.Time
	identifier string
	path       string
	seen       *Examination // nil where nobody wants to know
}

// answer reads a 200.
func (x *exchange) answer(resp *http.Response, b *body) (schema.Answer, error) {
	if contentType := resp.Header.Get("Content-Type"); !jsonContentType(contentType) {
		return schema.Answer{}, x.noStatus(
			resp,
			"has the Content-Type "+x.used.quote(contentType)+", want application/json",
			nil,
		)
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
	answer, err := decodeAnswer(text, cut, x.identifier)
	if err != nil {
		why := err.Error()
		if cut {
			why = fmt.Sprintf("is longer than %d bytes, and %s up to there", maxAnswerBytes, why)
		}
		return schema.Answer{}, x.noStatus(resp, why, err)
	}
	answer.Size = len(b.buf)
	if resp.Header.Get("Content-Encoding") == "" {
		answer.Size = max(answer.Size, int(min(resp.ContentLength, math.MaxInt32)))
	}
	return answer, nil
}

func (x *exchange) noStatus(resp *http.Response, why string, cause error) *schema.PollError {
	return x.fault(&schema.PollError{
		Fault: schema.FaultNotAStatus, StatusCode: resp.StatusCode,
		Detail: x.answered(resp.StatusCode) + ", but the answer " + why, Err: cause,
	})
}

func (x *exchange) answered(code int) string {
	return fmt.Sprintf("the vendor answered %d %s for GET %s", code, http.StatusText(code), x.path)
}

// failure explains why there is no answer, or, where code is set, only the beginning of one.
func (x *exchange) failure(err error, code int) *schema.PollError {
	e := &schema.PollError{Fault: schema.FaultUnavailable, StatusCode: code, Err: err}
	request := "GET " + x.path
	switch a := x.attempt; {
	case a.late.Load():
		e.Fault, e.Err = schema.FaultNotSent, errLate
		e.Detail = fmt.Sprintf(
			"%s was not sent: it could not be sent by %s",
			request,
			a.sendBy.UTC().Format(time.RFC3339Nano),
		)
	case x.caller.Err() != nil:
		e.Err = x.caller.Err()
		e.Detail = fmt.Sprintf("%s was given up before the answer was complete: %v", request, e.Err)
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
		e.Detail = fmt.Sprintf("the answer to %s broke off: %v", request, err)
	default:
		e.Detail = fmt.Sprintf("no answer to %s: %v", request, err)
	}
	return x.fault(e)
}

const maxDetail = 600

// fault makes e fit to be shown: without the token, on one line, of bounded length.
func (x *exchange) fault(e *schema.PollError) *schema.PollError {
	e.Detail = schema.Printable(x.used.masked(e.Detail))
	if len(e.Detail) > maxDetail {
		e.Detail = strings.ToValidUTF8(e.Detail[:maxDetail], "") + "..."
	}
	if e.Err != nil {
		// Some of the transport's errors quote what the vendor sent.
		if text := e.Err.Error(); x.used.masked(text) != text {
			e.Err = errors.New(x.used.masked(text))
		}
	}
	return e
}
