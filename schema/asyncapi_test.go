package schema_test

import (
	"strings"
	"testing"

	"statusworker/schema"
)

// ns is the namespace of the tests.
var ns = schema.DefaultNamespace

func TestAsyncAPIAddressesAreTheSubjects(t *testing.T) {
	api := document(t, asyncAPI)
	if api["asyncapi"] != "3.0.0" {
		t.Errorf("asyncapi is %v, want 3.0.0", api["asyncapi"])
	}
	for _, tt := range []struct{ channel, want string }{
		{"declared", ns.DeclaredSubject("{type}", "{identifier}")},
		{"processed", ns.ProcessedSubject("{destination}", "{identifier}")},
		{"failed", ns.FailedSubject("{reason}", "{identifier}")},
	} {
		channel := at(t, api, "channels", tt.channel)
		if channel["address"] != tt.want {
			t.Errorf("channel %s has address %v, want %s", tt.channel, channel["address"], tt.want)
		}
		parameters := at(t, channel, "parameters")
		if n := strings.Count(tt.want, "{"); len(parameters) != n {
			t.Errorf("channel %s has %d parameters, its address %d", tt.channel, len(parameters), n)
		}
		for name := range parameters {
			if !strings.Contains(tt.want, "{"+name+"}") {
				t.Errorf("channel %s: parameter %s is not in its address", tt.channel, name)
			}
		}
	}
	for operation, action := range map[string]string{"receiveDeclared": "receive", "sendProcessed": "send",
		"sendFailed": "send"} {
		if got := at(t, api, "operations", operation)["action"]; got != action {
			t.Errorf("operation %s: action %v, want %s", operation, got, action)
		}
	}
}

func TestAsyncAPIReferencesResolve(t *testing.T) {
	api := document(t, asyncAPI)
	used := map[string]bool{}
	var follow func(node any)
	follow = func(node any) {
		switch node := node.(type) {
		case []any:
			for _, sub := range node {
				follow(sub)
			}
		case map[string]any:
			ref, _ := node["$ref"].(string)
			if local, ok := strings.CutPrefix(ref, "#/"); ok {
				at(t, api, strings.Split(local, "/")...)
			} else if ref != "" {
				name := strings.TrimPrefix(ref, "./")
				document(t, name)
				used[name] = true
			}
			for _, sub := range node {
				follow(sub)
			}
		}
	}
	follow(api)
	for _, name := range []string{declaredSchema, cloudEventSchema, processedSchema, failedSchema} {
		if !used[name] {
			t.Errorf("no message refers to %s", name)
		}
	}
}
