package console

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"
)

const (
	// refreshEvery is how often a browser without JavaScript loads a live page again.
	refreshEvery = 10
	// keepAlive is the time between two messages on a stream, so that a proxy does not close it.
	keepAlive = 15 * time.Second
	// streamFor limits a stream: the browser opens it again, and is then authenticated again.
	streamFor = 15 * time.Minute
	// sendTimeout limits how long one message of a stream may take.
	sendTimeout = 10 * time.Second
)

// loaded is the data of a live page.
type loaded struct {
	data any
	// changed is closed when the data may have changed; nil if nothing on the page changes any more.
	changed <-chan struct{}
}

// loader reads the data of a live page.
type loader func(*http.Request) (loaded, error)

// live returns the handler of a page that has a live part. The page's address answers `Accept: text/event-stream` with
// a stream of that part: one server-sent event for each change, and the event `end` when there are no more.
func (c *Console) live(name string, load loader) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		if strings.Contains(r.Header.Get("Accept"), "text/event-stream") {
			return c.stream(w, r, name, load)
		}
		l, err := load(r)
		if err != nil {
			return err
		}
		f := c.frame(r, name, l.data)
		if f.Live = l.changed != nil; f.Live {
			f.Refresh = refreshEvery
		}
		return c.render(w, http.StatusOK, f)
	}
}

// stream sends the live part of a page when it changes.
func (c *Console) stream(w http.ResponseWriter, r *http.Request, name string, load loader) error {
	ctx, cancel := context.WithTimeout(r.Context(), streamFor)
	defer cancel()
	defer c.feed.watch()()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // of nginx
	out := sender{w, http.NewResponseController(w)}
	if err := out.SetReadDeadline(time.Time{}); err != nil { // it would end the request
		return err
	}
	last := ""
	for {
		changed, text, err := c.next(r, name, load)
		if err != nil {
			return err
		}
		if text != last && out.send(text) != nil {
			return nil // the client is gone
		}
		last = text
		if changed == nil {
			_ = out.send("event: end\ndata:\n\n") // an error means that the client is gone
			return nil
		}
		select {
		case <-changed:
		case <-time.After(keepAlive):
			if out.send(":\n\n") != nil {
				return nil
			}
		case <-ctx.Done():
			return nil
		case <-c.stopping:
			return nil
		}
	}
}

// next returns the next event of a stream: the live part, or what failed. The page shows its last state then.
func (c *Console) next(r *http.Request, name string, load loader) (changed <-chan struct{}, text string, err error) {
	l, err := load(r)
	if err != nil {
		again := make(chan struct{})
		time.AfterFunc(takeEvery, func() { close(again) })
		return again, "event: failed\ndata: " + oneLine(err.Error()) + "\n\n", nil
	}
	part, err := c.part(r, name, l.data)
	return l.changed, event(part), err
}

// sender sends a stream.
type sender struct {
	http.ResponseWriter
	*http.ResponseController
}

func (s sender) send(text string) error {
	if err := s.SetWriteDeadline(time.Now().Add(sendTimeout)); err != nil {
		return err
	}
	if _, err := s.Write([]byte(text)); err != nil {
		return err
	}
	return s.Flush()
}

// part renders the live part of a page.
func (c *Console) part(r *http.Request, name string, data any) (string, error) {
	var b bytes.Buffer
	if err := c.pages[name].ExecuteTemplate(&b, "live", c.frame(r, name, data)); err != nil {
		return "", fmt.Errorf("rendering the live part of the page %s: %w", name, err)
	}
	return b.String(), nil
}

// event returns a server-sent event with a text of several lines.
func event(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString("data: " + strings.TrimRight(line, "\r\n") + "\n")
	}
	b.WriteString("\n")
	return b.String()
}

func oneLine(text string) string { return strings.NewReplacer("\r", " ", "\n", " ").Replace(text) }
