package schema_test

import (
	"errors"
	"io"
	"testing"

	"statusworker/schema"
)

func TestAnswerSchema(t *testing.T) {
	for _, tt := range []struct {
		name, answer string
		valid        bool
	}{
		{"documented sample", string(testdata(t, "answer.json")), true},
		{"an unknown status", `{"status":"reticulating"}`, true},
		{"more members", `{"status":"processing","progress":0.5}`, true},
		{"no status", `{"identifier":"` + guid + `"}`, false},
		{"status null", `{"status":null}`, false},
		{"status empty", `{"status":""}`, false},
		{"errorMessage an object", `{"status":"processing","errorMessage":{"code":"E1"}}`, true},
		{"an array", `["processed"]`, false},
	} {
		if err := validate(t, answerSchema, []byte(tt.answer)); (err == nil) != tt.valid {
			t.Errorf("%s: %v, want valid %t", tt.name, err, tt.valid)
		}
	}
}

func TestPollError(t *testing.T) {
	e := &schema.PollError{Fault: schema.FaultUnavailable, Detail: "ElevateAI answered 503", Err: io.ErrUnexpectedEOF}
	var err error = e
	if got := err.Error(); got != e.Detail {
		t.Errorf("text %q, want the detail", got)
	}
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error("errors.Is does not find the cause")
	}
}
