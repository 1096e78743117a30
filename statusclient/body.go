package statusclient

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
)

// body reads and decodes answers. Its buffers are reused from one answer to the next.
type body struct {
	source source
	zip    *gzip.Reader
	buf    []byte
}

var bodies = sync.Pool{New: func() any { return &body{buf: make([]byte, 0, 2<<10)} }}

// release hands b back. It holds on to nothing of the answer but its buffers.
func (b *body) release() {
	b.source = source{}
	b.buf = b.buf[:0]
	bodies.Put(b)
}

// source remembers how reading from the wire failed, so that a broken connection is not taken for broken gzip.
type source struct {
	io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// errEncoding says that an answer cannot be decoded.
var errEncoding = errors.New("cannot be decoded")

// read takes at most most bytes of the decompressed answer into b.buf. The error is that of the wire, wraps
// errEncoding, or is nil, also where there is more. It does not show the token that the answer may repeat.
func (b *body) read(resp *http.Response, most int, used *credential) error {
	b.source = source{Reader: resp.Body}
	var r io.Reader = &b.source
	switch encoding := resp.Header.Get("Content-Encoding"); {
	case encoding == "", strings.EqualFold(encoding, "identity"):
	case strings.EqualFold(encoding, "gzip"), strings.EqualFold(encoding, "x-gzip"):
		if b.zip == nil {
			b.zip = new(gzip.Reader)
		}
		if err := b.zip.Reset(r); err != nil {
			return b.failed(err)
		}
		r = b.zip
	default:
		return fmt.Errorf("%w: its Content-Encoding is %s", errEncoding, used.quote(encoding))
	}
	b.buf = b.buf[:0]
	for len(b.buf) < most {
		if len(b.buf) == cap(b.buf) {
			b.buf = append(b.buf, 0)[:len(b.buf)]
		}
		n, err := r.Read(b.buf[len(b.buf):min(cap(b.buf), most)])
		b.buf = b.buf[:len(b.buf)+n]
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return b.failed(err)
		}
	}
	return nil
}

func (b *body) failed(err error) error {
	if b.source.err != nil {
		return b.source.err
	}
	return fmt.Errorf("%w: %w", errEncoding, err)
}
