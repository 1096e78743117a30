package mask

import (
	"bytes"
	"io"
	"sync"
)

// Writer passes text on without the secrets of a [Set]. Of an unfinished line it keeps back what may be the beginning
// of a secret, until the rest comes or [Writer.Flush] is called. A Writer is safe for concurrent use.
type Writer struct {
	set *Set
	mu  sync.Mutex
	to  io.Writer
	// kept is the end of what was written and not passed on. No secret reaches over the end of a line.
	kept []byte
}

// NewWriter gives a Writer to w.
func NewWriter(set *Set, w io.Writer) *Writer { return &Writer{set: set, to: w} }

// Unwrap gives the writer behind w.
func (w *Writer) Unwrap() io.Writer { return w.to }

// Write implements [io.Writer].
func (w *Writer) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := w.set.known.Load()
	if k == nil {
		return w.to.Write(b)
	}
	text := append(w.kept, b...)
	ended := bytes.LastIndexByte(text, '\n') + 1
	masked, _ := k.mask(text[:ended], 0, true)
	rest, done := k.mask(text[ended:], 0, false)
	w.kept = bytes.Clone(text[ended+done:])
	if _, err := w.to.Write(append(masked, rest...)); err != nil {
		return 0, err
	}
	return len(b), nil
}

// Flush passes on what was kept back.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.kept) == 0 {
		return nil
	}
	masked, _ := w.set.known.Load().mask(w.kept, 0, true)
	w.kept = nil
	_, err := w.to.Write(masked)
	return err
}
