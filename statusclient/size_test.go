package statusclient_test

import (
	"bytes"
	"io"
	"log"
	"net/http"
	"runtime"
	"strconv"
	"testing"
	"time"

	"statusworker/schema"
	"statusworker/statusclient"
)

func discardLog() *log.Logger { return log.New(io.Discard, "", 0) }

func TestStatusGzip(t *testing.T) {
	sample := readFile(t, "testdata/status-processed.json")
	tests := []struct {
		name, encoding string
		body           []byte
		want           schema.Fault
	}{
		{"gzip", "gzip", gzipped(t, sample), ""},
		{"any case", "GZIP", gzipped(t, sample), ""},
		{"two members", "gzip", append(gzipped(t, sample[:50]), gzipped(t, sample[50:])...), ""},
		{"identity", "identity", sample, ""},
		{"not gzip", "gzip", sample, schema.FaultNotAStatus},
		{"half a gzip", "gzip", gzipped(t, sample)[:60], schema.FaultNotAStatus},
		{"garbage behind", "gzip", append(gzipped(t, sample), "garbage"...), schema.FaultNotAStatus},
		{"wrong checksum", "gzip", func() []byte { b := gzipped(t, sample); b[len(b)-6] ^= 1; return b }(),
			schema.FaultNotAStatus},
		{"another encoding", "br", sample, schema.FaultNotAStatus},
		{"gzip without the header", "", gzipped(t, sample), schema.FaultNotAStatus},
		{"twice", "gzip", gzipped(t, gzipped(t, sample)), schema.FaultNotAStatus},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server, _ := answering(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				if tt.encoding != "" {
					w.Header().Set("Content-Encoding", tt.encoding)
				}
				_, _ = w.Write(tt.body)
			})
			c := newClient(t, server.URL, statusclient.Config{})
			if tt.want != "" {
				pollError(t, c, tt.want)
				return
			}
			answer, err := c.Status(t.Context(), identifier, time.Time{})
			if err != nil {
				t.Fatal(err)
			}
			if document, _ := answer.Document(); string(document) != string(bytes.TrimSpace(sample)) {
				t.Errorf("document %s", document)
			}
		})
	}
}

// A large answer does not allocate more memory than a small one.
func TestStatusLargeAnswersAllocateLittle(t *testing.T) {
	spaces := bytes.Repeat([]byte(" "), 1<<20)
	bomb := bytes.Repeat(gzipped(t, spaces), 1000) // 1 GB
	endless := func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := w.Write(spaces); err != nil {
				return
			}
		}
	}
	tests := []struct {
		name    string
		want    schema.Fault
		handler http.HandlerFunc
	}{
		{"gzip bomb", schema.FaultNotAStatus, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(bomb)
		}},
		{"endless", schema.FaultNotAStatus, endless},
		{"1 GB", schema.FaultNotAStatus, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(1<<30))
			endless(w, r)
		}},
		{"endless refusal", schema.FaultUnavailable, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusBadGateway)
			endless(w, r)
		}},
		{"refusal with a gzip bomb", schema.FaultUnavailable, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.WriteHeader(http.StatusBadGateway)
			_, _ = w.Write(bomb)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server, _ := answering(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				tt.handler(w, r)
			})
			c := newClient(t, server.URL, statusclient.Config{})
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			pollError(t, c, tt.want)
			runtime.ReadMemStats(&after)
			// This includes the server, and memory that is free again.
			if cost := after.TotalAlloc - before.TotalAlloc; cost >= 1e6 {
				t.Errorf("%d bytes allocated, want less than 1 MB", cost)
			}
		})
	}
}

// The size of an answer that is cut is that of its Content-Length.
func TestStatusAnswerSize(t *testing.T) {
	const most = 64 << 10
	body := func(size int) []byte {
		const head = `{"identifier":"` + identifier + `","status":"processed","x":"`
		return append(append([]byte(head), bytes.Repeat([]byte("x"), size-len(head)-2)...), `"}`...)
	}
	for _, tt := range []struct {
		name         string
		size         int
		chunked, zip bool
		want         int
		cut          bool
	}{
		{"short", 1000, false, false, 1000, false},
		{"at the limit", most, false, false, most, false},
		{"one more", most + 1, false, false, most + 1, true},
		{"long", 1 << 20, false, false, 1 << 20, true},
		{"long, without a length", 1 << 20, true, false, most + 1, true},
		{"long, compressed", 1 << 20, false, true, most + 1, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server, _ := answering(t, func(w http.ResponseWriter, _ *http.Request) {
				text := body(tt.size)
				w.Header().Set("Content-Type", "application/json")
				if tt.zip {
					text = gzipped(t, text)
					w.Header().Set("Content-Encoding", "gzip")
				}
				if !tt.chunked {
					w.Header().Set("Content-Length", strconv.Itoa(len(text)))
				}
				_, _ = w.Write(text)
			})
			answer, err := newClient(t, server.URL, statusclient.Config{}).Status(t.Context(), identifier, time.Time{})
			if err != nil {
				t.Fatal(err)
			}
			raw, payload := answer.Document()
			if answer.Size != tt.want || tt.cut != (len(payload) == most) || tt.cut == (raw != nil) {
				t.Errorf("size %d, payload of %d, document of %d bytes, want size %d, cut %t",
					answer.Size, len(payload), len(raw), tt.want, tt.cut)
			}
		})
	}
}
