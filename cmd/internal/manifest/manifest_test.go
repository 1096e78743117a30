package manifest_test

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/internal/manifest"
	"statusworker/consumer"
	"statusworker/publisher"
	"statusworker/schema/topology"
)

// set returns the streams and consumers with all choices.
func set(mode consumer.Mode) topology.Set {
	choices := consumer.Choices{Mode: mode, Replicas: 3, DeclaredMaxMsgs: 1, DeclaredMaxBytes: 2, WorkersMaxBytes: 4}
	if mode == consumer.Schedule {
		choices.PollsMaxBytes, choices.MaxAckPending = 3, 5
	}
	return consumer.Topology(consumer.Config{}, choices).
		Add(publisher.Topology(publisher.Choices{Replicas: 3, MaxAge: time.Hour, MaxBytes: 6}))
}

// The documents for `nats` have every setting.
func TestNATS(t *testing.T) {
	t.Parallel()
	for _, mode := range []consumer.Mode{consumer.Schedule, consumer.Nak} {
		want := set(mode)
		documents, err := manifest.NATS(want)
		if err != nil || len(documents) != len(want.Streams)+len(want.Consumers) {
			t.Fatalf("%d documents, %v", len(documents), err)
		}
		var files []string
		for i, d := range documents {
			files = append(files, d.File)
			if i < len(want.Streams) {
				var got jetstream.StreamConfig
				decode(t, d.Body, &got)
				if differ := topology.CompareStream(got, want.Streams[i]); len(differ) > 0 {
					t.Errorf("%s: %v", d.File, differ)
				}
				continue
			}
			var got struct{ Config jetstream.ConsumerConfig }
			decode(t, d.Body, &got)
			if differ := topology.CompareConsumer(got.Config, want.Consumers[i-len(want.Streams)]); len(differ) > 0 {
				t.Errorf("%s: %v", d.File, differ)
			}
		}
		slices.Sort(files)
		if distinct := slices.Compact(slices.Clone(files)); len(distinct) != len(files) {
			t.Errorf("files %v: want distinct names", files)
		}
	}
}

func decode(t *testing.T, body []byte, to any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(body))
	if err := d.Decode(to); err != nil {
		t.Fatal(err)
	}
}

// The resources have a field for every setting. A setting without a field is an error, and not left out.
func TestNACK(t *testing.T) {
	t.Parallel()
	for _, mode := range []consumer.Mode{consumer.Schedule, consumer.Nak} {
		want := set(mode)
		documents, err := manifest.NACK(want)
		if err != nil || len(documents) != len(want.Streams)+len(want.Consumers) {
			t.Errorf("%d resources, %v", len(documents), err)
		}
		want.Streams[0].AllowMsgCounter = true
		if _, err := manifest.NACK(want); err == nil {
			t.Error("no error about a setting without a field")
		}
	}
}

// Names are valid in Kubernetes, and distinct.
func TestResourceName(t *testing.T) {
	t.Parallel()
	valid := regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)
	seen := map[string]string{}
	for _, namespace := range []string{
		"INTERACTIONS", "A", "A-B", "A_B", "A-B_", "A_B-", "A__B", "A_-B", "A--B", "A-", "A_",
	} {
		for _, name := range [][2]string{
			{"_DECLARED", ""}, {"_POLLS", ""}, {"_DECLARED", "intake"}, {"_POLLS", "poll-audio"},
		} {
			got := manifest.ResourceName(namespace+name[0], name[1])
			if !valid.MatchString(got) || seen[got] != "" {
				t.Errorf("the name of %s%v is %q, also that of %q; want a valid one of its own", namespace, name, got,
					seen[got])
			}
			seen[got] = namespace + name[0] + name[1]
		}
	}
	if got := manifest.ResourceName("INTERACTIONS_POLLS", "poll-audio"); got != "interactions-polls-poll-audio" {
		t.Errorf("the name is %q", got)
	}
}
