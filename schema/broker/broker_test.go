package broker_test

import (
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"statusworker/schema/broker"
)

var moment = time.Date(2026, 11, 27, 8, 9, 10, 123456789, time.FixedZone("", 3600))

func TestWireHeader(t *testing.T) {
	own := broker.Header{"X": {"1", "2"}}
	for name, c := range map[string]struct {
		p    broker.Publication
		adds broker.Header
	}{
		"nothing": {},
		"an ID":   {broker.Publication{ID: "one"}, broker.Header{"Nats-Msg-Id": {"one"}}},
		"that none is": {broker.Publication{If: broker.Condition{Subjects: "a.*"}},
			broker.Header{"Nats-Expected-Last-Subject-Sequence": {"0"},
				"Nats-Expected-Last-Subject-Sequence-Subject": {"a.*"}}},
		"that 7 is": {broker.Publication{If: broker.Condition{Subjects: "a.*", Last: 7}},
			broker.Header{"Nats-Expected-Last-Subject-Sequence": {"7"},
				"Nats-Expected-Last-Subject-Sequence-Subject": {"a.*"}}},
		"a schedule": {broker.Publication{Schedule: broker.Schedule{At: moment, Target: "b"}},
			broker.Header{"Nats-Schedule": {"@at 2026-11-27T07:09:10.123456789Z"}, "Nats-Schedule-Target": {"b"}}},
		"all of it": {broker.Publication{ID: "one", If: broker.Condition{Subjects: "a", Last: 1},
			Schedule: broker.Schedule{At: moment, Target: "b"}}, broker.Header{
			"Nats-Msg-Id": {"one"}, "Nats-Expected-Last-Subject-Sequence": {"1"},
			"Nats-Expected-Last-Subject-Sequence-Subject": {"a"},
			"Nats-Schedule": {"@at 2026-11-27T07:09:10.123456789Z"}, "Nats-Schedule-Target": {"b"},
		}},
	} {
		c.p.Header = maps.Clone(own)
		want := maps.Clone(own)
		maps.Copy(want, c.adds)
		if got := c.p.WireHeader(); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: the header is %v, want %v", name, got, want)
		}
		if !reflect.DeepEqual(c.p.Header, own) {
			t.Errorf("%s: the publication's own header has become %v", name, c.p.Header)
		}
	}
}

// Nobody who appends to one header's values may reach another's.
func TestWireHeadersAreApart(t *testing.T) {
	h := broker.Publication{ID: "one", If: broker.Condition{Subjects: "a"}}.WireHeader()
	h["Nats-Msg-Id"] = append(h["Nats-Msg-Id"], "two")
	if got := h.Get(broker.HeaderExpected); got != "0" {
		t.Errorf("the condition has become %q", got)
	}
}

func TestDue(t *testing.T) {
	stored := broker.Message{Header: broker.Publication{Schedule: broker.Schedule{At: moment,
		Target: "b"}}.WireHeader()}
	if got := stored.Due(); !got.Equal(moment) {
		t.Errorf("it is due at %v, want %v", got, moment)
	}
	for _, h := range []broker.Header{nil, {"Nats-Schedule": {"@every 1s"}}, {"Nats-Schedule": {"@at soon"}},
		{"nats-schedule": {"@at 2026-11-27T07:09:10Z"}}} {
		if got := (broker.Message{Header: h}).Due(); !got.IsZero() {
			t.Errorf("%v is due at %v", h, got)
		}
	}
}

func TestErrorIsItsKindAndItsCause(t *testing.T) {
	cause := errors.New("wrong last sequence: 7")
	err := fmt.Errorf("reserving: %w", &broker.Error{Op: "publish", Object: "a.b", Kind: broker.ErrRefused,
		Cause: cause})
	if !errors.Is(err, broker.ErrRefused) || !errors.Is(err, cause) || errors.Is(err, broker.ErrFull) {
		t.Errorf("%v is neither what it should be, or something else", err)
	}
	bare := &broker.Error{Op: "publish", Object: "a.b"}
	if len(bare.Unwrap()) != 0 || !strings.Contains(bare.Error(), "a.b") {
		t.Errorf("an error without a kind is %v", bare)
	}
}

// The vocabulary is pure: it needs nothing but the standard library.
func TestImports(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) < 2 {
		t.Fatalf("the files are %v, %v", files, err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range f.Imports {
			if path := strings.Trim(spec.Path.Value, `"`); strings.Contains(path, ".") ||
				strings.HasPrefix(path, "statusworker") {
				t.Errorf("%s imports %s, want the standard library only", file, path)
			}
		}
	}
}
