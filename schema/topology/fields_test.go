package topology_test

import (
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/consumer"
	"statusworker/publisher"
	"statusworker/schema"
	"statusworker/schema/topology"
)

// ns is the namespace of the tests.
var ns = schema.DefaultNamespace

// The fields that may have any value, and why.
var (
	harmlessStreamFields = map[string]string{
		"Name":           "identifies the stream",
		"Description":    "has no effect",
		"MaxConsumers":   "the broker rejects a consumer beyond it, with an error to the user who creates it",
		"Placement":      "where the replicas are; their number is compared",
		"DenyDelete":     "acknowledgements still delete; a user who deletes a dead letter gets an error",
		"DenyPurge":      "statusworker never purges; the broker disables it in a stream with schedules",
		"Compression":    "how messages are written",
		"FirstSeq":       "generations depend on times; a sequence is only shown",
		"MirrorDirect":   "only for a mirror, which is compared",
		"ConsumerLimits": "their effect on a consumer is compared there",
		"Metadata":       "has no effect; the server stores its own metadata there",
		"Template":       "servers do not support templates any more",
		"AllowBatchPublish": "the messages of a batch are subject to the same conditions as single messages; the " +
			"contract requires the publisher to wait for the acknowledgement",
	}
	harmlessConsumerFields = map[string]string{
		"Name":               "identifies the consumer",
		"Durable":            "identifies the consumer",
		"Description":        "has no effect",
		"RateLimit":          "only with a deliver subject, which is compared",
		"SampleFrequency":    "only produces advisories",
		"MaxRequestMaxBytes": "limits requests with a size, which workers do not send",
		"Replicas":           "in a work queue the broker accepts only the stream's number",
		"Metadata":           "has no effect; the server stores its own metadata there",
		"PauseUntil":         "set by an operator, and temporary; doctor and status report it",
		"PinnedTTL":          "only with a priority policy, which is compared",
		"DeliverGroup":       "only with a deliver subject, which is compared",
		"FlowControl":        "only with a deliver subject, which is compared",
		"IdleHeartbeat":      "only with a deliver subject, which is compared",
	}
)

// alter changes a value.
func alter(t *testing.T, field string, v reflect.Value) {
	t.Helper()
	switch at := v.Addr().Interface().(type) {
	case **jetstream.RePublish:
		*at = &jetstream.RePublish{Destination: ns.ProcessedSubject(schema.ToCXAI, "{{wildcard(2)}}")}
		return
	case **time.Time:
		*at = &time.Time{}
		return
	case *time.Duration:
		*at += time.Hour
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(max(v.Int(), 0) + 1)
	case reflect.Uint8, reflect.Uint64:
		v.SetUint(v.Uint() + 1)
	case reflect.String:
		v.SetString(v.String() + "other")
	case reflect.Slice:
		item := reflect.New(v.Type().Elem()).Elem()
		alter(t, field, item)
		v.Set(reflect.Append(v, item))
	case reflect.Map:
		m := reflect.MakeMap(v.Type())
		m.SetMapIndex(reflect.ValueOf("other"), reflect.ValueOf("value"))
		v.Set(m)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
	case reflect.Struct:
		alter(t, field, v.Field(0))
	default:
		t.Fatalf("%s is a %s: add another value of this kind to the test", field, v.Kind())
	}
}

// everything returns all streams and consumers, of both redelivery modes, as a server with all features reports them.
func everything() (set topology.Set) {
	for _, mode := range []consumer.Mode{consumer.Schedule, consumer.Nak} {
		set = set.Add(consumer.Topology(consumer.Config{}, consumer.Choices{Mode: mode}))
	}
	set = set.Add(publisher.Topology(publisher.Choices{MaxAge: publisher.DefaultMaxAge}))
	for i := range set.Streams {
		set.Streams[i].Metadata = map[string]string{"_nats.level": "5"}
	}
	return set
}

// fields checks that each field of a configuration is either compared, in at least one object, or harmless for a
// reason, and that a merge restores the compared fields.
func fields[C any](
	t *testing.T,
	wanted []C,
	rules []string,
	harmless map[string]string,
	compare func(have, want C) []topology.Difference,
	merge func(have, want C) C,
) {
	t.Helper()
	known := map[string]bool{}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[C]()) {
		known[f.Name] = true
		reason, isHarmless := harmless[f.Name]
		if compared := slices.Contains(rules, f.Name); compared == isHarmless || isHarmless && reason == "" {
			t.Errorf("%s: compared %t, harmless %t (%q); want either, and a reason if harmless",
				f.Name, compared, isHarmless, reason)
			continue
		}
		found := 0
		for _, want := range wanted {
			have := want
			alter(t, f.Name, reflect.ValueOf(&have).Elem().FieldByIndex(f.Index))
			differ := compare(have, want)
			found += len(differ)
			if isHarmless && len(differ) > 0 {
				t.Errorf("%s is harmless, but compared: %v", f.Name, differ)
			}
			if left := compare(merge(have, want), want); len(left) > 0 {
				t.Errorf("%s: differences after a merge: %v", f.Name, left)
			}
		}
		if !isHarmless && found == 0 {
			t.Errorf("%s: a changed value is not found in any object", f.Name)
		}
	}
	for _, name := range slices.Concat(rules, slices.Collect(maps.Keys(harmless))) {
		if !known[name] {
			t.Errorf("field %s does not exist", name)
		}
	}
	t.Logf("%d fields: %d compared, %d harmless", len(known), len(rules), len(harmless))
}

func TestEveryFieldIsComparedOrHarmless(t *testing.T) {
	t.Parallel()
	streams, consumers := topology.ComparedFields()
	set := everything()
	fields(t, set.Streams, streams, harmlessStreamFields, topology.CompareStream, topology.MergeStream)
	compareConsumers := func(have, want jetstream.ConsumerConfig) []topology.Difference {
		return topology.CompareConsumer(have, topology.Consumer{Config: want})
	}
	var configs []jetstream.ConsumerConfig
	for _, c := range set.Consumers {
		configs = append(configs, c.Config)
	}
	fields(t, configs, consumers, harmlessConsumerFields, compareConsumers, topology.MergeConsumer)
}

// A server before 2.12 has no atomic batches. The servers report their API level, from 2.11 on.
func TestAtomicBatchesNeedAServerThatHasThem(t *testing.T) {
	t.Parallel()
	want := publisher.Topology(publisher.Choices{Replicas: 3}).Streams[0]
	for level, differs := range map[string]bool{"": false, "1": false, "2": true, "5": true} {
		have := want
		have.AllowAtomicPublish, have.Metadata = false, map[string]string{"_nats.level": level}
		differ := topology.CompareStream(have, want)
		if got := topology.MergeStream(have, want).AllowAtomicPublish; (len(differ) > 0) != differs || got != differs {
			t.Errorf("API level %q: differences %v, updated to %t; want %t", level, differ, got, differs)
		}
	}
}
