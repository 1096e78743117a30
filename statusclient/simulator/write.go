package simulator

import (
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

const hugeBytes = 10 << 20

// code is the HTTP status of an answer that meets f, where it would be otherwise; 0 is no answer.
func (f Fault) code(otherwise int) int {
	switch f.Kind {
	case Refused, Foreign:
		return f.Code
	case Hangs, Reset:
		return 0
	case Redirected:
		return http.StatusTemporaryRedirect
	case WrongType, NotJSON, Huge:
		return http.StatusOK
	}
	return otherwise
}

// keepsAnswer tells whether the status of an interaction gets through f.
func (f Fault) keepsAnswer() bool {
	switch f.Kind {
	case Delayed, Gzipped, OtherStatus, Odd, Unsolicited:
		return true
	}
	return false
}

// write answers with rep as fault leaves it; the zero fault leaves it as it is.
func (s *Simulator) write(w http.ResponseWriter, r *http.Request, rep reply, fault Fault) {
	if fault.Delay > 0 && !s.pause(r, fault.Delay) {
		panic(http.ErrAbortHandler)
	}
	header := w.Header()
	header.Set("Content-Type", "application/json; charset=utf-8")
	zipped := rep.large && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip")
	switch fault.Kind {
	case Refused:
		rep = refuse(fault.Code, "simulated: "+http.StatusText(fault.Code))
		if fault.RetryAfter != "" {
			header.Set("Retry-After", fault.RetryAfter)
		} else if !fault.RetryAt.IsZero() {
			header.Set("Retry-After", fault.RetryAt.UTC().Format(http.TimeFormat))
		}
	case Hangs:
		s.pause(r, 0)
		panic(http.ErrAbortHandler)
	case Reset:
		reset(w)
		return
	case Truncated:
		header.Set("Content-Length", strconv.Itoa(len(rep.body)))
		w.WriteHeader(rep.code)
		_, _ = w.Write(rep.body[:len(rep.body)/2]) // the client may be gone, here as below
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	case WrongType:
		header.Set("Content-Type", "text/html")
		rep = reply{code: http.StatusOK, body: []byte("<html><body>We will be back soon.</body></html>")}
	case NotJSON:
		rep = reply{code: http.StatusOK, body: []byte(`{"identifier": oops`)}
	case Huge:
		rep, zipped = reply{code: http.StatusOK, body: huge()}, false
	case Redirected:
		header.Set("Location", fault.Location)
		rep = refuse(http.StatusTemporaryRedirect, "simulated: moved")
	case Gzipped:
		zipped = true
	case Foreign:
		header.Set("Content-Type", fault.ContentType)
		rep = reply{code: fault.Code, body: []byte(fault.Body)}
	case Odd:
		rep.body = odd(rep.body, fault)
	case Unsolicited:
		unsolicited(w, rep, "X-API-Token: "+r.Header.Get("X-API-Token")+"\r\n")
		return
	}
	if zipped {
		rep.body = compress(rep.body)
		header.Set("Content-Encoding", "gzip")
		header.Set("Vary", "Accept-Encoding")
	}
	header.Set("Content-Length", strconv.Itoa(len(rep.body)))
	w.WriteHeader(rep.code)
	_, _ = w.Write(rep.body)
}

// pause waits for d, or without end where it is zero. It is false when the request or the simulator ended before.
func (s *Simulator) pause(r *http.Request, d time.Duration) bool {
	var over <-chan time.Time
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-over:
		return true
	case <-r.Context().Done():
	case <-s.closing:
	}
	return false
}

// reset breaks the connection so that the kernel sends an RST.
func reset(w http.ResponseWriter) {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	if t, ok := c.(interface{ SetLinger(int) error }); ok {
		_ = t.SetLinger(0) // it is closed in any case
	}
	_ = c.Close()
}

// odd gives an answer, a JSON object whose last member is errorMessage, as fault leaves it.
func odd(answer []byte, fault Fault) []byte {
	text := strings.TrimSuffix(string(answer), "}")
	if fault.Members != "" {
		if own := strings.LastIndex(
			text,
			`,"errorMessage":`,
		); own >= 0 &&
			strings.Contains(fault.Members, `"errorMessage":`) {
			text = text[:own]
		}
		text += "," + fault.Members
	}
	return []byte(fault.Prefix + text + "}")
}

// unsolicited answers, and sends more on the connection, which it leaves open.
func unsolicited(w http.ResponseWriter, rep reply, more string) {
	c, out, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	_, _ = fmt.Fprintf(out, "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s%s",
		rep.code, http.StatusText(rep.code), len(rep.body), rep.body, more)
	_ = out.Flush() // the client may be gone
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	_, _ = c.Read(make([]byte, 1)) // until the client has closed it
	_ = c.Close()
}

var huge = sync.OnceValue(func() []byte {
	b := bytes.Repeat([]byte("a"), hugeBytes)
	copy(b, `{"filler":"`)
	copy(b[len(b)-2:], `"}`)
	return b
})

func compress(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write(b) // into memory
	_ = z.Close()
	return out.Bytes()
}
