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

// What breaks no promise, whatever it is, and why.
var (
	harmlessStreamFields = map[string]string{
		"Name":               "by it the stream is found",
		"Description":        "nobody goes by it",
		"MaxConsumers":       "the broker refuses a consumer beyond it, and says so to who creates it",
		"Placement":          "where the copies are; that there are enough is checked by themselves",
		"DenyDelete":         "consumers settle all the same; who deletes a dead letter is told",
		"DenyPurge":          "nothing of the stage purges; the broker switches it off where there are schedules",
		"Compression":        "how it is written",
		"FirstSeq":           "generations go by time; a sequence is only shown",
		"MirrorDirect":       "of a mirror only, which is compared",
		"ConsumerLimits":     "what they make of a consumer is compared there",
		"Metadata":           "nobody goes by it; the server keeps its own there",
		"Template":           "servers have none any more",
		"AllowAtomicPublish": "a batch passes the same conditions as its messages would one by one",
		"AllowBatchPublish":  "the same; who publishes so awaits the acknowledgement as the contract says",
	}
	harmlessConsumerFields = map[string]string{
		"Name":               "by it the consumer is found",
		"Durable":            "the same",
		"Description":        "nobody goes by it",
		"RateLimit":          "the broker takes it with a deliver subject only, which is compared",
		"SampleFrequency":    "it makes advisories",
		"MaxRequestMaxBytes": "it bounds requests that name a size, which those of a worker do not",
		"Replicas":           "in a work queue the broker takes no other number than the stream's",
		"Metadata":           "nobody goes by it; the server keeps its own there",
		"PauseUntil":         "an operator's, with an end; doctor and status report it",
		"PinnedTTL":          "with a priority policy only, which is compared",
		"DeliverGroup":       "with a deliver subject only, which is compared",
		"FlowControl":        "with a deliver subject only, which is compared",
		"IdleHeartbeat":      "with a deliver subject only, which is compared",
	}
)

// alter gives a value that differs.
func alter(t *testing.T, field string, v reflect.Value) {
	t.Helper()
	switch at := v.Addr().Interface().(type) {
	case **jetstream.RePublish:
		*at = &jetstream.RePublish{Destination: schema.ProcessedSubject(schema.ToCXAI, "{{wildcard(2)}}")}
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
		t.Fatalf("%s is a %s: give the test another value of it", field, v.Kind())
	}
}

// everything is all that the stage has, with reservations and with delayed naks.
func everything() (set topology.Set) {
	for _, mode := range []consumer.Mode{consumer.Schedule, consumer.Nak} {
		set = set.Add(consumer.Topology(consumer.Config{}, consumer.Choices{Mode: mode}))
	}
	return set.Add(publisher.Topology(publisher.Choices{MaxAge: publisher.DefaultMaxAge}))
}

// fields checks of each field of a configuration that it is either compared, in some object at least, or harmless for a
// reason, and that an update brings back what is compared.
func fields[C any](
	t *testing.T,
	wanted []C,
	rules []string,
	harmless map[string]string,
	compare func(have, want C) []topology.Difference,
	over func(have, want C) C,
) {
	t.Helper()
	known := map[string]bool{}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[C]()) {
		known[f.Name] = true
		reason, isHarmless := harmless[f.Name]
		if compared := slices.Contains(rules, f.Name); compared == isHarmless || isHarmless && reason == "" {
			t.Errorf(
				"%s: compared %t, harmless %t (%q): want one of both, and a reason",
				f.Name,
				compared,
				isHarmless,
				reason,
			)
			continue
		}
		found := 0
		for _, want := range wanted {
			have := want
			alter(t, f.Name, reflect.ValueOf(&have).Elem().FieldByIndex(f.Index))
			differ := compare(have, want)
			found += len(differ)
			if isHarmless && len(differ) > 0 {
				t.Errorf("%s is harmless, and compared: %v", f.Name, differ)
			}
			if left := compare(over(have, want), want); len(left) > 0 {
				t.Errorf("%s: after an update there is still %v", f.Name, left)
			}
		}
		if !isHarmless && found == 0 {
			t.Errorf("%s: another value of it shows nowhere", f.Name)
		}
	}
	for _, name := range slices.Concat(rules, slices.Collect(maps.Keys(harmless))) {
		if !known[name] {
			t.Errorf("there is no field %s", name)
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
