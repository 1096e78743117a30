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

// code returns the HTTP status of an answer with f, which without f has the given status; 0 is no answer.
func (f Fault) code(without int) int {
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
	return without
}

// keepsAnswer reports whether an answer with f contains the status of the interaction.
func (f Fault) keepsAnswer() bool {
	switch f.Kind {
	case Delayed, Gzipped, OtherStatus, Odd, Unsolicited:
		return true
	}
	return false
}

// write answers with rep, as changed by fault. The zero fault does not change it.
func (s *Simulator) write(w http.ResponseWriter, r *http.Request, rep reply, fault Fault) {
	if fault.Delay > 0 && !s.pause(r, fault.Delay) {
		panic(http.ErrAbortHandler)
	}
	header := w.Header()
	header.Set("Content-Type", "application/json; charset=utf-8")
	switch fault.Kind {
	case Hangs:
		s.pause(r, 0)
		panic(http.ErrAbortHandler)
	case Reset:
		reset(w)
		return
	case Truncated:
		header.Set("Content-Length", strconv.Itoa(len(rep.body)))
		w.WriteHeader(rep.code)
		_, _ = w.Write(rep.body[:len(rep.body)/2]) // the client may have disconnected, here and below
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	case Unsolicited:
		unsolicited(w, rep, "X-API-Token: "+r.Header.Get("X-API-Token")+"\r\n")
		return
	}
	rep = fault.change(header, rep)
	accepted := strings.Contains(r.Header.Get("Accept-Encoding"), "gzip")
	if fault.Kind == Gzipped || rep.large && accepted {
		rep.body = compress(rep.body)
		header.Set("Content-Encoding", "gzip")
		header.Set("Vary", "Accept-Encoding")
	}
	header.Set("Content-Length", strconv.Itoa(len(rep.body)))
	w.WriteHeader(rep.code)
	_, _ = w.Write(rep.body)
}

// change returns rep as changed by a fault that answers normally, and sets its headers.
func (f Fault) change(header http.Header, rep reply) reply {
	switch f.Kind {
	case Refused:
		if f.RetryAfter != "" {
			header.Set("Retry-After", f.RetryAfter)
		} else if !f.RetryAt.IsZero() {
			header.Set("Retry-After", f.RetryAt.UTC().Format(http.TimeFormat))
		}
		return refuse(f.Code, "simulated: "+http.StatusText(f.Code))
	case WrongType:
		header.Set("Content-Type", "text/html")
		return reply{code: http.StatusOK, body: []byte("<html><body>We will be back soon.</body></html>")}
	case NotJSON:
		return reply{code: http.StatusOK, body: []byte(`{"identifier": oops`)}
	case Huge:
		return reply{code: http.StatusOK, body: huge()}
	case Redirected:
		header.Set("Location", f.Location)
		return refuse(http.StatusTemporaryRedirect, "simulated: moved")
	case Foreign:
		header.Set("Content-Type", f.ContentType)
		return reply{code: f.Code, body: []byte(f.Body)}
	case Odd:
		rep.body = odd(rep.body, f)
	}
	return rep
}

// pause waits for d, or forever if d is 0. It reports false if the request or the simulator ended first.
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

// reset closes the connection so that the kernel sends an RST.
func reset(w http.ResponseWriter) {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	if t, ok := c.(interface{ SetLinger(int) error }); ok {
		_ = t.SetLinger(0) // on an error the connection is closed without an RST
	}
	_ = c.Close()
}

// odd returns an answer, a JSON object whose last member is errorMessage, with the changes of [Odd].
func odd(answer []byte, fault Fault) []byte {
	text := strings.TrimSuffix(string(answer), "}")
	if fault.Members != "" {
		own := strings.LastIndex(text, `,"errorMessage":`)
		if own >= 0 && strings.Contains(fault.Members, `"errorMessage":`) {
			text = text[:own]
		}
		text += "," + fault.Members
	}
	return []byte(fault.Prefix + text + "}")
}

// unsolicited answers, sends more data, and keeps the connection open.
func unsolicited(w http.ResponseWriter, rep reply, more string) {
	c, out, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	_, _ = fmt.Fprintf(out, "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s%s",
		rep.code, http.StatusText(rep.code), len(rep.body), rep.body, more)
	_ = out.Flush() // the client may have disconnected
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	_, _ = c.Read(make([]byte, 1)) // until the client closes the connection
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
	_, _ = z.Write(b) // to memory
	_ = z.Close()
	return out.Bytes()
}
