// Package api names the subjects of requests to JetStream.
//
// A JetStream domain or an API prefix changes the beginning of these subjects. The domain's own servers map the
// subjects back to the default ones before they check permissions, other servers do not: a violation can name either
// form.
package api

import (
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/schema"
)

// Prefix begins the subjects of requests. It ends with a dot.
type Prefix string

// Default is the prefix without a domain.
const Default Prefix = jetstream.DefaultAPIPrefix

// Domain returns the prefix of a JetStream domain.
func Domain(domain string) Prefix { return Prefix("$JS." + domain + ".API.") }

// JetStream returns the JetStream with the prefix, over a connection.
func (p Prefix) JetStream(nc *nats.Conn, options ...jetstream.JetStreamOpt) (jetstream.JetStream, error) {
	js, err := jetstream.NewWithAPIPrefix(nc, string(p), options...)
	if err != nil {
		return nil, fmt.Errorf("using JetStream: %w", err)
	}
	return js, nil
}

// Of returns the prefix that js uses.
func Of(js jetstream.JetStream) Prefix {
	switch o := js.Options(); {
	case o.Domain != "":
		return Domain(o.Domain)
	case o.APIPrefix != "":
		return Prefix(strings.TrimSuffix(o.APIPrefix, ".") + ".")
	}
	return Default
}

// Subject returns the subject of a request, such as STREAM.INFO with the name of a stream.
func (p Prefix) Subject(what string, of ...string) string {
	return string(p) + strings.Join(append([]string{what}, of...), ".")
}

// Subjects returns the subjects by which a violation may name a request.
func (p Prefix) Subjects(what string, of ...string) []string {
	if p == Default {
		return []string{p.Subject(what, of...)}
	}
	return []string{p.Subject(what, of...), Default.Subject(what, of...)}
}

// Mapped returns the default form of a subject with the prefix.
func (p Prefix) Mapped(subject string) string {
	after := strings.TrimPrefix(subject, string(p))
	if after == subject || strings.HasPrefix(after, schema.BucketKeys) {
		return after
	}
	return string(Default) + after
}

// Published returns the subject on which to publish a message for a stream. Leaf nodes do not pass the keys of buckets
// on to another domain, except behind its prefix.
func (p Prefix) Published(subject string) string {
	if p != Default && strings.HasPrefix(subject, schema.BucketKeys) {
		return string(p) + subject
	}
	return subject
}
