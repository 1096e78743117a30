package permission

import (
	"runtime"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"statusworker/cmd/broker/embedded"
)

// A record goes with its connection.
func TestRecordsAreForgotten(t *testing.T) {
	s, err := embedded.Start(t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	remembered := func() int {
		recordsMu.Lock()
		defer recordsMu.Unlock()
		return len(records)
	}
	before := remembered()
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
	for end := time.Now().Add(20 * time.Second); remembered() > before; time.Sleep(20 * time.Millisecond) {
		if runtime.GC(); time.Now().After(end) {
			t.Fatalf("%d records are left", remembered()-before)
		}
	}
}
