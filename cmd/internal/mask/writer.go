package mask

import (
	"bytes"
	"io"
	"slices"
	"sync"
)

// Writer replaces the secrets of a [Set] in the text that it passes to another writer. It buffers the end of an
// unfinished line that may be the beginning of a secret, until more text or [Writer.Flush]. A Writer is safe for
// concurrent use.
type Writer struct {
	set *Set
	mu  sync.Mutex
	to  io.Writer
	// buffered is the end of the text that was not passed on. No secret spans two lines.
	buffered []byte
}

// NewWriter returns a Writer to w.
func NewWriter(set *Set, w io.Writer) *Writer { return &Writer{set: set, to: w} }

// Unwrap returns the underlying writer.
func (w *Writer) Unwrap() io.Writer { return w.to }

// Write implements [io.Writer].
func (w *Writer) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := w.set.known.Load()
	if k == nil {
		return w.to.Write(b)
	}
	text := slices.Concat(w.buffered, b)
	ended := bytes.LastIndexByte(text, '\n') + 1
	masked, _ := k.mask(text[:ended], true)
	unfinished, done := k.mask(text[ended:], false)
	w.buffered = bytes.Clone(text[ended+done:])
	if _, err := w.to.Write(append(masked, unfinished...)); err != nil {
		return 0, err
	}
	return len(b), nil
}

// Flush passes on the buffered text.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.buffered) == 0 {
		return nil
	}
	masked, _ := w.set.known.Load().mask(w.buffered, true)
	w.buffered = nil
	_, err := w.to.Write(masked)
	return err
}
