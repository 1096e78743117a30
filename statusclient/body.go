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

// body reads and decompresses answers. Its buffers are reused.
type body struct {
	source source
	zip    *gzip.Reader
	buf    []byte
}

var bodies = sync.Pool{New: func() any { return &body{buf: make([]byte, 0, 2<<10)} }}

// release returns b to the pool.
func (b *body) release() {
	b.source = source{}
	b.buf = b.buf[:0]
	bodies.Put(b)
}

// source records the error of the connection, to distinguish a broken connection from invalid gzip.
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

// errEncoding is the error of an answer that cannot be decompressed.
var errEncoding = errors.New("cannot be decompressed")

// read reads at most maxBytes of the decompressed answer into b.buf, and ignores the rest. The error is that of the
// connection, or wraps errEncoding. It does not contain the token, even if the answer repeats it.
func (b *body) read(resp *http.Response, maxBytes int, used *credential) error {
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
		return fmt.Errorf("%w: Content-Encoding %s is not supported", errEncoding, used.quote(encoding))
	}
	b.buf = b.buf[:0]
	for len(b.buf) < maxBytes {
		if len(b.buf) == cap(b.buf) {
			b.buf = append(b.buf, 0)[:len(b.buf)]
		}
		n, err := r.Read(b.buf[len(b.buf):min(cap(b.buf), maxBytes)])
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
