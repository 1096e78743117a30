package publisher_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/provisioning"
	"statusworker/publisher"
	"statusworker/schema/topology"
)

// Compare-and-set requires that all outcomes stay stored, and are read from the leader.
func TestTopology(t *testing.T) {
	t.Parallel()
	s := onServer(t, kind{window: longWindow, single: true})
	set := publisher.Topology(publisher.Choices{MaxAge: time.Hour, MaxBytes: 4096})
	one := set.Streams[0]
	if len(set.Streams) != 1 || len(set.Consumers) != 0 || one.Name != ns.StreamOutcomes() ||
		one.Retention != jetstream.LimitsPolicy ||
		one.AllowDirect || one.MaxMsgsPerSubject > 0 ||
		one.Replicas != 1 {
		t.Errorf("topology %+v, want one stream that keeps every outcome and does not allow direct gets", set)
	}
	three := publisher.Topology(publisher.Choices{Replicas: 3}).Streams[0]
	if three.Replicas != 3 || !three.AllowAtomicPublish || one.AllowAtomicPublish {
		t.Errorf("topologies %+v and %+v, want 3 replicas with atomic batches, and one without", three, one)
	}
	differ, err := provisioning.Compare(s.ctx, s.server.js, set)
	object := "stream " + ns.StreamOutcomes()
	want := []topology.Difference{
		{Object: object, Field: "max age", Have: "14d", Want: "1h", Choice: true},
		{Object: object, Field: "max bytes", Have: "unlimited", Want: "4096", Choice: true},
	}
	if err != nil || !reflect.DeepEqual(differ, want) {
		t.Errorf("Compare with the default = %v, %v, want %v", differ, err, want)
	}
}
