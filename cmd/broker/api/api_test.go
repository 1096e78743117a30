package api_test

import (
	"slices"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/api"
)

func TestPrefix(t *testing.T) {
	nc := &nats.Conn{}
	plain, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	domain, err := jetstream.NewWithDomain(nc, "hub")
	if err != nil {
		t.Fatal(err)
	}
	prefix, err := jetstream.NewWithAPIPrefix(nc, "of.other")
	if err != nil {
		t.Fatal(err)
	}
	dotted, err := jetstream.NewWithAPIPrefix(nc, "of.other.")
	if err != nil {
		t.Fatal(err)
	}
	const key, declared = "$KV.B.k", "interactions.declared.audio.x"
	for name, tt := range map[string]struct {
		js       jetstream.JetStream
		subjects []string
		key      string
	}{
		"default": {plain, []string{"$JS.API.STREAM.INFO.S"}, key},
		"domain":  {domain, []string{"$JS.hub.API.STREAM.INFO.S", "$JS.API.STREAM.INFO.S"}, "$JS.hub.API." + key},
		"prefix":  {prefix, []string{"of.other.STREAM.INFO.S", "$JS.API.STREAM.INFO.S"}, "of.other." + key},
		"dotted":  {dotted, []string{"of.other.STREAM.INFO.S", "$JS.API.STREAM.INFO.S"}, "of.other." + key},
	} {
		t.Run(name, func(t *testing.T) {
			p := api.Of(tt.js)
			if got := p.Subject("STREAM.INFO", "S"); got != tt.subjects[0] {
				t.Errorf("subject %s, want %s", got, tt.subjects[0])
			}
			if got := p.Subjects("STREAM.INFO", "S"); !slices.Equal(got, tt.subjects) {
				t.Errorf("subjects %s, want %s", got, tt.subjects)
			}
			if got := p.Published(key); got != tt.key {
				t.Errorf("key on %s, want %s", got, tt.key)
			}
			if got := p.Published(declared); got != declared {
				t.Errorf("declared message on %s", got)
			}
		})
	}
}
