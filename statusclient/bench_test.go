package statusclient_test

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"statusworker/statusclient"
)

// The results include the server, which runs in the same process.
func BenchmarkStatus(b *testing.B) {
	sample := readFile(b, "testdata/status-processed.json")
	zipped := gzipped(b, sample)
	for _, bm := range []struct {
		name     string
		encoding string
		body     []byte
	}{{"plain", "", sample}, {"gzip", "gzip", zipped}} {
		b.Run(bm.name, func(b *testing.B) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				h := w.Header()
				h.Set("Content-Type", "application/json; charset=utf-8")
				h.Set("Content-Length", strconv.Itoa(len(bm.body)))
				if bm.encoding != "" {
					h.Set("Content-Encoding", bm.encoding)
				}
				_, _ = w.Write(bm.body)
			}))
			defer server.Close()
			c := newClient(b, server.URL, statusclient.Config{})
			sendBy := time.Now().Add(time.Hour)
			b.ReportAllocs()
			b.SetParallelism(16)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := c.Status(b.Context(), identifier, sendBy); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
