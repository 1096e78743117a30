package broker_test

import (
	"errors"
	"fmt"
	"maps"
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
		"a condition: no message": {broker.Publication{If: broker.Condition{Subjects: "a.*"}},
			broker.Header{"Nats-Expected-Last-Subject-Sequence": {"0"},
				"Nats-Expected-Last-Subject-Sequence-Subject": {"a.*"}}},
		"a condition: message 7": {broker.Publication{If: broker.Condition{Subjects: "a.*", Last: 7}},
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
			t.Errorf("%s: header %v, want %v", name, got, want)
		}
		if !reflect.DeepEqual(c.p.Header, own) {
			t.Errorf("%s: WireHeader changed the publication's header to %v", name, c.p.Header)
		}
	}
}

// Appending to the values of one header must not change those of another.
func TestWireHeaderValuesDoNotOverlap(t *testing.T) {
	h := broker.Publication{ID: "one", If: broker.Condition{Subjects: "a"}}.WireHeader()
	h["Nats-Msg-Id"] = append(h["Nats-Msg-Id"], "two")
	if got := h.Get(broker.HeaderExpected); got != "0" {
		t.Errorf("appending to the message ID changed the condition to %q", got)
	}
}

func TestDue(t *testing.T) {
	stored := broker.Message{Header: broker.Publication{Schedule: broker.Schedule{At: moment,
		Target: "b"}}.WireHeader()}
	if got := stored.Due(); !got.Equal(moment) {
		t.Errorf("Due() = %v, want %v", got, moment)
	}
	for _, h := range []broker.Header{nil, {"Nats-Schedule": {"@every 1s"}}, {"Nats-Schedule": {"@at soon"}},
		{"nats-schedule": {"@at 2026-11-27T07:09:10Z"}}} {
		if got := (broker.Message{Header: h}).Due(); !got.IsZero() {
			t.Errorf("Due() with %v = %v, want zero", h, got)
		}
	}
}

func TestErrorIsItsKindAndItsCause(t *testing.T) {
	cause := errors.New("wrong last sequence: 7")
	err := fmt.Errorf("reserving: %w", &broker.Error{Op: "publish", Object: "a.b", Kind: broker.ErrRejected,
		Cause: cause})
	if !errors.Is(err, broker.ErrRejected) || !errors.Is(err, cause) || errors.Is(err, broker.ErrFull) {
		t.Errorf("error %v, want one that is ErrRejected and its cause, and not ErrFull", err)
	}
	bare := &broker.Error{Op: "publish", Object: "a.b"}
	if len(bare.Unwrap()) != 0 || !strings.Contains(bare.Error(), "a.b") {
		t.Errorf("error without a kind and a cause: %v, want its object only", bare)
	}
}
