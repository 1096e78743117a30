package main

import (
	"bytes"
	"encoding"
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"statusworker/cmd/overview"
	"statusworker/schema"
)

// compiledSchema returns a schema of the contract as JSON, and compiled.
func compiledSchema(t *testing.T, name string) (map[string]any, *jsonschema.Schema) {
	t.Helper()
	text, err := schema.Document(name)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource(name, doc); err != nil {
		t.Fatal(err)
	}
	compiled, err := compiler.Compile(name)
	if err != nil {
		t.Fatal(err)
	}
	return doc.(map[string]any), compiled
}

// What `status -o json` prints in each state, and what a worker serves at /statusz, is valid.
func TestStatusIsValidByItsSchema(t *testing.T) {
	t.Parallel()
	_, compiled := compiledSchema(t, "status")
	for name, tt := range map[string]struct {
		provision []string
		prepare   func(t *testing.T, js jetstream.JetStream)
		code      int
		has       []string // members
	}{
		"nothing is provisioned": {code: exitFault, has: []string{"missing", "advice"}},
		"nothing is stored": {provision: []string{"--redelivery", "schedule"},
			has: []string{"intake", "overdue", "waiting"}},
		"delayed naks": {provision: []string{"--redelivery", "nak"}, has: []string{"lanes"},
			prepare: func(t *testing.T, js jetstream.JetStream) { declare(t, js) }},
		"messages, workers and paused consumers": {
			provision: []string{"--redelivery", "schedule"},
			has:       []string{"workers", "outcomes", "pausedUntil", "problem"},
			prepare: func(t *testing.T, js jetstream.JetStream) {
				declare(t, js)
				storeDeadLetter(t, js, deadLetter(schema.NotFound, uuid.NewString()))
				put(t, js, ns.PollSubject(schema.Audio, someID), nil)
				until := time.Now().Add(time.Hour)
				announced, err := json.Marshal(schema.Announcement{
					Host: "pod", Version: "v1", Started: time.Now(), At: time.Now(),
					State: schema.Paused, Cause: "throttled", Until: &until, Detail: "429", Polls: 7,
					PollsPerSecond: 0.5, RateLimit: 10, Share: 5,
					Oldest: map[schema.Type]float64{schema.Chat: 16.5},
				})
				if err != nil {
					t.Fatal(err)
				}
				for key, data := range map[string][]byte{"one": announced, "two": []byte("no JSON")} {
					if _, err := js.Publish(t.Context(), ns.WorkerSubject(key), data); err != nil {
						t.Fatal(err)
					}
				}
				for stream, consumer := range map[string]string{
					ns.StreamDeclared(): ns.ConsumerIntake(), ns.StreamPolls(): ns.PollConsumer(schema.Chat),
				} {
					if _, err := js.PauseConsumer(t.Context(), stream, consumer, until); err != nil {
						t.Fatal(err)
					}
				}
			}},
		"a foreign consumer": {provision: []string{"--redelivery", "schedule"}, has: []string{"foreign"},
			prepare: func(t *testing.T, js jetstream.JetStream) {
				if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
					Name: "COPY", Sources: []*jetstream.StreamSource{{Name: ns.StreamPolls()}},
				}); err != nil {
					t.Fatal(err)
				}
				awaitConsumers(t, js, ns.StreamPolls())
			}},
		"undelivered messages": {provision: []string{"--redelivery", "schedule"}, has: []string{"undelivered"},
			prepare: func(t *testing.T, js jetstream.JetStream) { skip(t, js) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, js := broker(t)
			if tt.provision != nil {
				command(t, append([]string{"provision", "--nats-url", s.URL()}, tt.provision...)...).exits(exitOK)
			}
			if tt.prepare != nil {
				tt.prepare(t, js)
			}
			c := command(t, "status", "-o", "json", "--nats-url", s.URL()).exits(tt.code)
			validStatus(t, compiled, c.stdout.String())
			for _, member := range tt.has {
				says(t, "the status", &c.stdout, `"`+member+`":`)
			}
		})
	}
	t.Run("statusz", func(t *testing.T) {
		t.Parallel()
		at, _ := provisioned(t)
		w := working(t, at, vendorOf(t))
		_, address, _ := strings.Cut(w.stderr.String(), `"admin":"`)
		address, _, _ = strings.Cut(address, `"`)
		answer, err := http.Get("http://" + address + "/statusz")
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err != nil || answer.StatusCode != http.StatusOK {
			t.Fatalf("%s, %v: %s", answer.Status, err, body)
		}
		validStatus(t, compiled, string(body))
	})
}

func validStatus(t *testing.T, compiled *jsonschema.Schema, text string) {
	t.Helper()
	status, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	if err := compiled.Validate(status); err != nil {
		t.Errorf("%v in %s", err, text)
	}
}

// The schema describes every member that a status can have, and requires those that it always has.
func TestStatusSchemaHasEveryMember(t *testing.T) {
	t.Parallel()
	doc, _ := compiledSchema(t, "status")
	compareMembers(t, "status", doc, reflect.TypeFor[overview.Overview]())
}

func compareMembers(t *testing.T, at string, node map[string]any, of reflect.Type) {
	t.Helper()
	for of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	switch {
	case of.Kind() == reflect.Slice:
		items, _ := node["items"].(map[string]any)
		compareMembers(t, at+"/items", items, of.Elem())
		return
	case of.Kind() != reflect.Struct || of.Implements(reflect.TypeFor[encoding.TextMarshaler]()): // such as a time
		return
	}
	described, _ := node["properties"].(map[string]any)
	var have, always []string
	for _, f := range reflect.VisibleFields(of) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" {
			if !f.Anonymous {
				t.Errorf("%s: the field %s has no name", at, f.Name)
			}
			continue
		}
		have = append(have, name)
		if !strings.Contains(options, "omitempty") && name != "outcomes" { // which /statusz does not have
			always = append(always, name)
		}
		member, ok := described[name].(map[string]any)
		if !ok {
			t.Errorf("%s: the schema does not describe %s", at, name)
			continue
		}
		compareMembers(t, at+"/"+name, member, f.Type)
	}
	for name := range described {
		if !slices.Contains(have, name) {
			t.Errorf("%s: the schema describes %s, which no status has", at, name)
		}
	}
	var required []string
	for _, name := range node["required"].([]any) {
		required = append(required, name.(string))
	}
	slices.Sort(required)
	if slices.Sort(always); !slices.Equal(required, always) {
		t.Errorf("%s: the schema requires %q, want %q", at, required, always)
	}
}
