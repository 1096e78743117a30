package cli

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
)

// A detail that quotes JSON is readable, comes last, and cannot begin a line of its own.
func TestTextFormat(t *testing.T) {
	var out bytes.Buffer
	log := logrus.New()
	log.SetOutput(&out)
	log.SetFormatter(TextFormat{Time: "15h"})
	log.WithFields(logrus.Fields{"cause": "throttled", "detail": `the answer is "{\"code\":\"E1\"}"` + "\nlevel=error",
		"pauses": 1, "variable": ""}).
		WithError(errors.New("broken")).Warn("polling paused")
	_, line, _ := strings.Cut(out.String(), "h ")
	want := `WARN  polling paused  cause=throttled  pauses=1  variable=""  ` +
		`detail=the answer is "{"code":"E1"}" level=error  error=broken` + "\n"
	if line != want {
		t.Errorf("the line is\n%q, want\n%q", line, want)
	}
}
