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
		{"a status nobody knows", `{"status":"reticulating"}`, true},
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
	var err error = &schema.PollError{Fault: schema.FaultUnavailable, Detail: "the vendor answered 503", Err: io.ErrUnexpectedEOF}
	if got := err.Error(); got != "the vendor answered 503" {
		t.Errorf("text %q", got)
	}
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error("the cause cannot be found")
	}
}
