package permission

import (
	"runtime"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"statusworker/cmd/broker/embedded"
)

// The record of a connection is deleted with it.
func TestRecordsAreDeleted(t *testing.T) {
	s, err := embedded.Start(t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	count := func() int {
		recordsMu.Lock()
		defer recordsMu.Unlock()
		return len(records)
	}
	before := count()
	for range 3 {
		nc, err := nats.Connect(s.URL())
		if err != nil {
			t.Fatal(err)
		}
		if first := recordOf(nc); recordOf(nc) != first {
			t.Error("a connection has two records")
		}
		nc.Close()
	}
	for end := time.Now().Add(20 * time.Second); count() > before; time.Sleep(20 * time.Millisecond) {
		if runtime.GC(); time.Now().After(end) {
			t.Fatalf("%d records are left", count()-before)
		}
	}
}
