// Package manifest writes the streams and consumers that statusworker needs as documents for tools that create them:
// the `nats` command, and NACK, the controller of JetStream on Kubernetes.
package manifest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/schema/topology"
)

// Document is one stream, bucket or consumer.
type Document struct {
	// File is the name of a file for the document. It is distinct for each document of a set.
	File string
	Body []byte
	// Command is the command that applies the file at a path, up to the path; empty if one command applies all files.
	Command string
}

// NATS returns the documents for `nats stream add --config` and `nats consumer add --config`, in the order in which
// they must be applied.
func NATS(set topology.Set) ([]Document, error) {
	var documents []Document
	for _, s := range set.Streams {
		cfg, err := fields(explicit(s))
		if err != nil {
			return nil, err
		}
		d, err := jsonDocument(s.Name, "nats stream add --config", cfg)
		if err != nil {
			return nil, err
		}
		documents = append(documents, d)
	}
	for _, c := range set.Consumers {
		cfg, err := fields(c.Config)
		if err != nil {
			return nil, err
		}
		// The form of `nats consumer info --json`, which the command accepts: it names the stream.
		d, err := jsonDocument(c.Stream+"."+c.Config.Durable, "nats consumer add "+c.Stream+" --config", map[string]any{
			"stream_name": c.Stream, "name": c.Config.Durable, "config": cfg,
		})
		if err != nil {
			return nil, err
		}
		documents = append(documents, d)
	}
	return documents, nil
}

func jsonDocument(name, command string, v any) (Document, error) {
	var body bytes.Buffer
	e := json.NewEncoder(&body)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return Document{}, fmt.Errorf("encoding %s: %w", name, err)
	}
	return Document{File: name + ".json", Body: body.Bytes(), Command: command}, nil
}

// explicit states what the broker would set by itself: NACK asks it to reject a configuration that it would change.
func explicit(s jetstream.StreamConfig) jetstream.StreamConfig {
	s.AllowRollup = s.AllowRollup || s.AllowMsgSchedules
	return s
}

// defaults are the texts of defaults that are not empty.
var defaults = map[string]any{"compression": "none", "persist_mode": "default", "priority_policy": "none"}

// fields returns a configuration as the fields of JetStream's API, without those that have their default.
func fields(cfg any) (map[string]any, error) {
	text, err := json.Marshal(cfg)
	if err != nil {
		return nil, fmt.Errorf("encoding a configuration: %w", err)
	}
	var all map[string]any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber() // a duration in nanoseconds is not exact in a float64
	if err := d.Decode(&all); err != nil {
		return nil, fmt.Errorf("decoding a configuration: %w", err)
	}
	for name, v := range all {
		if isZero(v) || v == defaults[name] {
			delete(all, name)
		}
	}
	return all, nil
}

func isZero(v any) bool {
	switch v := v.(type) {
	case json.Number:
		return v == "0"
	case map[string]any:
		return len(v) == 0
	case nil:
		return true
	}
	return reflect.ValueOf(v).IsZero()
}

// ResourceName returns the name of a Kubernetes resource for a stream, and for a consumer of it: lower-case letters,
// digits and hyphens. Namespaces that differ only in `-` and `_` get different names.
func ResourceName(stream, consumer string) string {
	prefix, kind := stream, ""
	if i := strings.LastIndexByte(stream, '_'); i >= 0 {
		prefix, kind = stream[:i], stream[i+1:]
	}
	parts := []string{prefix, kind, consumer}
	if strings.ContainsRune(prefix, '_') {
		parts = append(parts, checksum(prefix))
	}
	var name []string
	for _, part := range parts {
		if part != "" {
			name = append(name, part)
		}
	}
	return strings.ToLower(strings.ReplaceAll(strings.Join(name, "-"), "_", "-"))
}
