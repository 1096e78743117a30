package manifest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"statusworker/schema/topology"
)

// APIVersion is the API group and version of NACK's resources.
const APIVersion = "jetstream.nats.io/v1beta2"

// field is a field of a resource.
type field struct {
	api  string // in JetStream's API
	nack string // in the resource; empty if the kind of the resource implies it
}

// The fields of the resources, in the order in which they are written. Durations are Go durations in the resources, and
// nanoseconds in JetStream's API.
var (
	streamFields = []field{
		{"name", "name"}, {"description", "description"}, {"subjects", "subjects"}, {"retention", "retention"},
		{"discard", "discard"}, {"discard_new_per_subject", "discardPerSubject"},
		{"max_msgs_per_subject", "maxMsgsPerSubject"}, {"max_msgs", "maxMsgs"}, {"max_bytes", "maxBytes"},
		{"max_age", "maxAge"}, {"duplicate_window", "duplicateWindow"},
		{"allow_msg_schedules", "allowMsgSchedules"}, {"allow_rollup_hdrs", "allowRollup"},
		{"allow_atomic", "allowAtomicPublish"},
		{"storage", "storage"}, {"num_replicas", "replicas"},
	}
	bucketFields = []field{
		{"name", ""}, {"description", "description"}, {"max_msgs_per_subject", "history"}, {"max_age", "ttl"},
		{"max_bytes", "maxBytes"}, {"storage", "storage"}, {"num_replicas", "replicas"},
		{"subjects", ""}, {"retention", ""}, {"discard", ""}, {"duplicate_window", ""}, {"allow_rollup_hdrs", ""},
		{"deny_delete", ""}, {"allow_direct", ""},
	}
	consumerFields = []field{
		{"durable_name", "durableName"}, {"filter_subject", "filterSubject"},
		{"deliver_policy", "deliverPolicy"}, {"ack_policy", "ackPolicy"}, {"ack_wait", "ackWait"},
		{"max_deliver", "maxDeliver"}, {"max_ack_pending", "maxAckPending"}, {"replay_policy", "replayPolicy"},
	}
	durations = []string{"max_age", "duplicate_window", "ack_wait"}
)

const (
	bucketPrefix = "KV_"
	kindStream   = "Stream"
)

// NACK returns the custom resources for NACK: streams, the workers' bucket, and consumers. Deleting a resource does not
// delete what it describes.
func NACK(set topology.Set) ([]Document, error) {
	var documents []Document
	add := func(kind, name string, own []any, cfg any, known []field) error {
		all, err := fields(cfg)
		if err != nil {
			return err
		}
		if _, ok := all["max_age"]; !ok && kind == kindStream {
			all["max_age"] = json.Number("0") // without the field, NACK sets a year
		}
		spec, err := specOf(own, all, known)
		if err != nil {
			return fmt.Errorf("%s %s: %w", kind, name, err)
		}
		body, err := resource(kind, name, spec)
		if err != nil {
			return err
		}
		documents = append(documents, Document{File: name + ".yaml", Body: body})
		return nil
	}
	for _, s := range set.Streams {
		kind, own, known := kindStream, []any(nil), streamFields
		if bucket, ok := strings.CutPrefix(s.Name, bucketPrefix); ok {
			kind, own, known = "KeyValue", []any{"bucket", bucket}, bucketFields
		}
		name := ResourceName(strings.TrimPrefix(s.Name, bucketPrefix), "")
		if err := add(kind, name, own, explicit(s), known); err != nil {
			return nil, err
		}
	}
	for _, c := range set.Consumers {
		name := ResourceName(c.Stream, c.Config.Durable)
		if err := add("Consumer", name, []any{"streamName", c.Stream}, c.Config, consumerFields); err != nil {
			return nil, err
		}
	}
	return documents, nil
}

// specOf returns the fields of a resource's spec, as alternating names and values. It returns an error if the
// configuration has a field that the resource cannot have.
func specOf(own []any, cfg map[string]any, known []field) ([]any, error) {
	spec := own
	for _, f := range known {
		v, ok := cfg[f.api]
		delete(cfg, f.api)
		if !ok || f.nack == "" {
			continue
		}
		if n, isNumber := v.(json.Number); isNumber {
			i, err := n.Int64()
			if err != nil {
				return nil, fmt.Errorf("reading %s: %w", f.api, err)
			}
			v = i
			if slices.Contains(durations, f.api) {
				v = time.Duration(i).String()
			}
		}
		spec = append(spec, f.nack, v)
	}
	if len(cfg) > 0 {
		return nil, fmt.Errorf("the resource has no field for %s",
			strings.Join(slices.Sorted(maps.Keys(cfg)), ", "))
	}
	return append(spec, "preventDelete", true), nil
}

// resource encodes a resource.
func resource(kind, name string, spec []any) ([]byte, error) {
	metadata, err := mapping("name", name)
	if err != nil {
		return nil, err
	}
	content, err := mapping(spec...)
	if err != nil {
		return nil, err
	}
	root, err := mapping("apiVersion", APIVersion, "kind", kind, "metadata", metadata, "spec", content)
	if err != nil {
		return nil, err
	}
	var body bytes.Buffer
	e := yaml.NewEncoder(&body)
	e.SetIndent(2)
	if err := e.Encode(root); err != nil {
		return nil, fmt.Errorf("encoding %s %s: %w", kind, name, err)
	}
	return body.Bytes(), nil
}

// mapping returns a mapping of alternating names and values, in their order.
func mapping(pairs ...any) (*yaml.Node, error) {
	m := &yaml.Node{Kind: yaml.MappingNode}
	for _, v := range pairs {
		node, ok := v.(*yaml.Node)
		if !ok {
			node = &yaml.Node{}
			if err := node.Encode(v); err != nil {
				return nil, fmt.Errorf("encoding %v: %w", v, err)
			}
		}
		m.Content = append(m.Content, node)
	}
	return m, nil
}

func checksum(s string) string { return fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(s))) }
