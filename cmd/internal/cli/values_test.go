package cli

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestQuotationMarksAroundAValue(t *testing.T) {
	for value, want := range map[string]bool{
		`"x"`: true, `''`: true, "`x`": true, "“x”": true, "„x“": true, "‘x’": true, "«x»": true,
		`"`: false, `a"b"`: false, `"a`: false, `'a"`: false, "": false,
	} {
		if got := InQuotes(value); got != want {
			t.Errorf("InQuotes(%s) is %t", value, got)
		}
	}
}

func TestWhiteSpaceAroundAValue(t *testing.T) {
	for _, space := range []string{"\n", "\r\n", " \t", "\uFEFF", "\u00A0\n", "\u200B"} {
		if got := Trimmed(space + "a b" + space); got != "a b" {
			t.Errorf("with %q around it: %q", space, got)
		}
	}
}

// grammar is a command line with one command, do.
type grammar struct {
	Do do `cmd:""`
}

type do struct {
	Wait   time.Duration `name:"wait" var:"TEST_WAIT" default:"1s"`
	Number int           `name:"number" var:"TEST_NUMBER" default:"1"`
	Word   string        `name:"word" var:"TEST_WORD" default:"one" enum:"one,two"`
	Secret string        `name:"secret" var:"TEST_SECRET" secret:"token"`
}

// Run prints --wait, or fails if --word or --secret is set.
func (d do) Run(_ context.Context, p Process) error {
	if d.Word == "two" {
		return BadFlag(d, "number", "2", "another")
	}
	if d.Secret != "" {
		return errors.New("it is " + d.Secret)
	}
	_, err := p.Stdout.Write([]byte(d.Wait.String()))
	return err
}

func TestRunTurnsErrorsIntoExitCodes(t *testing.T) {
	for name, tt := range map[string]struct {
		args   string
		env    map[string]string
		code   int
		stdout string
		stderr string // a part
	}{
		"a default":           {"do", nil, ExitOK, "1s", ""},
		"a flag":              {"do --wait 2s", nil, ExitOK, "2s", ""},
		"a variable":          {"do", map[string]string{"TEST_WAIT": " 3s\n"}, ExitOK, "3s", ""},
		"a flag wins":         {"do --wait 2s", map[string]string{"TEST_WAIT": "3s"}, ExitOK, "2s", ""},
		"an empty variable":   {"do", map[string]string{"TEST_WAIT": ""}, ExitOK, "1s", ""},
		"no duration":         {"do --wait soon", nil, ExitUsage, "", "--wait ($TEST_WAIT)"},
		"no number":           {"do --number x", nil, ExitUsage, "", "--number ($TEST_NUMBER)"},
		"not in the enum":     {"do --word three", nil, ExitUsage, "", "one, two"},
		"no value":            {"do --wait", nil, ExitUsage, "", "--wait ($TEST_WAIT)"},
		"no such flag":        {"do --nope", nil, ExitUsage, "", "test do --help"},
		"rejected by command": {"do --word two", nil, ExitUsage, "", "--number ($TEST_NUMBER)"},
		"failed":              {"do --secret s3cret-value", nil, ExitFault, "", "it is ***"},
	} {
		var stdout, stderr bytes.Buffer
		code, _ := Program{Name: "test", Grammar: &grammar{}}.Run(t.Context(), Process{
			Args:   strings.Fields(tt.args),
			Getenv: func(name string) string { return tt.env[name] },
			Stdin:  strings.NewReader(""),
			Stdout: &stdout,
			Stderr: &stderr,
			Leave:  t.Context(),
		})
		if code != tt.code || stdout.String() != tt.stdout || !strings.Contains(stderr.String(), tt.stderr) ||
			(tt.stderr == "") != (stderr.Len() == 0) {
			t.Errorf("%s: exit code %d, standard output %q, standard error %q", name, code, &stdout, &stderr)
		}
	}
}

// The error about a flag without its value says what is allowed.
func TestFlagWithoutAValue(t *testing.T) {
	t.Parallel()
	for flag, want := range map[string]string{"--secret": "a text", "--word": "one of one, two"} {
		_, stderr, code, _ := ran(t, nil, "do", flag)
		if code != ExitUsage || !strings.Contains(stderr, "must be "+want) {
			t.Errorf("%s: exit code %d, standard error %q", flag, code, stderr)
		}
	}
}
