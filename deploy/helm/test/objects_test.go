package test

import (
	"bufio"
	"bytes"
	"strings"
	"testing"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

type objects []runtime.Object

// all returns the objects of one type.
func all[T runtime.Object](in objects) []T {
	var found []T
	for _, o := range in {
		if o, ok := o.(T); ok {
			found = append(found, o)
		}
	}
	return found
}

// one returns the only object of a type.
func one[T runtime.Object](t *testing.T, in objects) T {
	t.Helper()
	found := all[T](in)
	if len(found) != 1 {
		t.Fatalf("%d objects of type %T, want one", len(found), *new(T))
	}
	return found[0]
}

func metaOf(t *testing.T, o runtime.Object) meta.Object {
	t.Helper()
	m, ok := o.(meta.Object)
	if !ok {
		t.Fatalf("%T has no metadata", o)
	}
	return m
}

// value returns the value of a variable, and whether it is set.
func value(env []core.EnvVar, name string) (text string, set bool) {
	for _, e := range env {
		if e.Name != name {
			continue
		}
		if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
			return "secret " + e.ValueFrom.SecretKeyRef.Name + "/" + e.ValueFrom.SecretKeyRef.Key, true
		}
		return e.Value, true
	}
	return "", false
}

func bufioReader(text string) *bufio.Reader { return bufio.NewReader(strings.NewReader(text)) }

// isBlank reports whether a document has only comments.
func isBlank(document []byte) bool {
	var any any
	return len(bytes.TrimSpace(document)) == 0 || yaml.Unmarshal(document, &any) == nil && any == nil
}
