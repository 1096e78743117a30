package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// filed is a command line with a configuration file.
type filed struct {
	Do    work `cmd:""`
	Other work `cmd:""`
	Group struct {
		Part work `cmd:""`
	} `cmd:""`
	Several struct {
		Wait []string `name:"wait" var:"TEST_WAIT"`
	} `cmd:""`
	ConfigFlag
}

type work struct {
	Wait    time.Duration `name:"wait" var:"TEST_WAIT" default:"1s"`
	Number  *int          `name:"number" var:"TEST_NUMBER"`
	Word    string        `name:"word" default:"one" enum:"one,two"`
	List    []string      `name:"list" var:"TEST_LIST" sep:","`
	Set     bool          `name:"set"`
	Sure    bool          `name:"sure" config:"-"`
	Secret  string        `name:"secret" var:"TEST_SECRET" secret:"password"`
	User    string        `name:"user" var:"TEST_USER" secret:"user"`
	Address string        `name:"address" var:"TEST_ADDRESS" secret:"url"`
}

// Run prints the settings; it rejects --number 7.
func (w work) Run(_ context.Context, p Process) error {
	number := "nil"
	if w.Number != nil {
		number = fmt.Sprint(*w.Number)
		if *w.Number == 7 {
			return BadFlag(w, "number", "7", "another")
		}
	}
	_, err := fmt.Fprintf(p.Stdout, "%s %s %s %q %t", w.Wait, number, w.Word, w.List, w.Set)
	return err
}

// written writes a configuration file.
func written(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "config.yaml")
	if err := errors.Join(os.WriteFile(name, []byte(text), mode), os.Chmod(name, mode)); err != nil {
		t.Fatal(err)
	}
	return name
}

// ran runs a command of [filed].
func ran(t *testing.T, env map[string]string, args ...string) (stdout, stderr string, code int, err error) {
	t.Helper()
	var out, errs bytes.Buffer
	code, err = Program{Name: "test", Grammar: &filed{}}.Run(t.Context(), Process{
		Args: args, Getenv: func(name string) string { return env[name] },
		Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Leave: t.Context(),
	})
	return out.String(), errs.String(), code, err
}

func TestFileIsBelowVariablesAndFlags(t *testing.T) {
	name := written(t, "wait: 2s\nnumber: 5\nlist: [a, 'b,c', 3]\ndo: {word: two, set: true, number: 6}\n"+
		"group: {word: two, part: {wait: 1m}, wait: 4s}\n", 0o644)
	variable := map[string]string{"TEST_WAIT": "3s", "TEST_LIST": "x"}
	for _, tt := range []struct {
		args string
		env  map[string]string
		want string
	}{
		{"do", nil, `2s 6 two ["a" "b,c" "3"] true`},
		{"do", variable, `3s 6 two ["x"] true`},
		{"do --wait 4s --word one --number 1 --list y", variable, `4s 1 one ["y"] true`},
		{"other", nil, `2s 5 one ["a" "b,c" "3"] false`},
		{"group part", nil, `1m0s 5 two ["a" "b,c" "3"] false`},
	} {
		stdout, stderr, code, _ := ran(t, tt.env, append(strings.Fields(tt.args), "--config", name)...)
		if stdout != tt.want || stderr != "" || code != ExitOK {
			t.Errorf("%s with %v: %q, %q, exit code %d, want %q", tt.args, tt.env, stdout, stderr, code, tt.want)
		}
	}
	stdout, _, _, _ := ran(t, map[string]string{"STATUSWORKER_CONFIG": name}, "do")
	if want := `2s 6 two ["a" "b,c" "3"] true`; stdout != want {
		t.Errorf("by the variable: %q, want %q", stdout, want)
	}
	for _, empty := range []string{"", "# nothing\n", "---\n", "wait:\nlist: []\ndo:\n", "number: ''\n"} {
		stdout, stderr, code, _ := ran(t, nil, "do", "--config", written(t, empty, 0o644))
		if want := `1s nil one [] false`; stdout != want || code != ExitOK {
			t.Errorf("with %q: %q, %q, exit code %d, want %q", empty, stdout, stderr, code, want)
		}
	}
}

// A wrong key or value is rejected with its place, whichever command reads it.
func TestWrongFileIsRejected(t *testing.T) {
	for text, want := range map[string]struct {
		line int
		near string
		is   error
	}{
		"wait: 1s\nnumbr: 3\n":              {2, "number", ErrUnknownKey},
		"TEST_NUMBER: 3\n":                  {1, "number", ErrUnknownKey},
		"\nother:\n  wrod: two\n":           {3, "word", ErrUnknownKey},
		"help: true\n":                      {1, "", ErrUnknownKey},
		"config: x\n":                       {1, "", ErrUnknownKey},
		"<<: {wait: 1s}\n":                  {1, "do", ErrUnknownKey},
		"do: {do: {wait: 1s}}\n":            {1, "", ErrUnknownKey},
		"word: two\n":                       {1, "", ErrOfCommand},
		"do: {sure: true}\n":                {1, "", ErrPerCall},
		"wait: 1s\nwait: 2s\n":              {2, "", nil},
		"do: 3\n":                           {1, "", nil},
		"wait\n":                            {1, "", nil},
		"- wait\n":                          {1, "", nil},
		"wait: 1s\n---\nwait: 2s\n":         {2, "", nil},
		"wait: {\n":                         {0, "", nil},
		"number: *anchor\n":                 {0, "", nil},
		"? [a]\n: b\n":                      {1, "", nil},
		strings.Repeat("# long\n", 200_000): {0, "", nil},
		"list: [a]\nother: {word: two}x":    {0, "", nil},
	} {
		_, stderr, code, err := ran(t, nil, "do", "--config", written(t, text, 0o644))
		var bad *FileError
		if code != ExitUsage || !errors.As(err, &bad) || want.line != 0 && bad.Line != want.line ||
			bad.Near != want.near || want.is != nil && !errors.Is(err, want.is) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%.80q: exit code %d, error %+v, want line %d, near %q, cause %v; standard error:\n%s",
				text, code, bad, want.line, want.near, want.is, stderr)
		}
	}
	for text, line := range map[string]int{
		"wait: soon\n": 1, "wait: 30\n": 1, "\nnumber: x\n": 2, "number: [1]\n": 1, "number: {a: 1}\n": 1,
		"other: {word: three}\n": 1, "other:\n  set: maybe\n": 2, "list: [[a]]\n": 1, "list: {a: b}\n": 1,
		"number: 7\n": 1, "number: '\"5\"'\n": 1, "wait: !custom 1s\n": 1, "list: &a [*a]\n": 1,
		"several: {wait: 1s}\nwait: [1s]\n": 2,
	} {
		_, stderr, code, err := ran(t, nil, "do", "--config", written(t, text, 0o644))
		var bad *SettingError
		if code != ExitUsage || !errors.As(err, &bad) || bad.Line != line || bad.File == "" || bad.Flag == "" {
			t.Errorf("%q: exit code %d, error %+v, want line %d; standard error:\n%s", text, code, bad, line, stderr)
		}
	}
	for _, name := range []string{t.TempDir(), filepath.Join(t.TempDir(), "missing")} {
		var bad *FileError
		if _, _, code, err := ran(t, nil, "do", "--config", name); code != ExitUsage || !errors.As(err, &bad) {
			t.Errorf("%s: exit code %d, error %v", name, code, err)
		}
	}
}

// A file with a secret must not be readable by everybody, and no error shows a secret.
func TestSecretsInAFile(t *testing.T) {
	for text, mode := range map[string]os.FileMode{
		"secret: c4naryword\n": 0o640, "secret: c4naryword\nuser: me\n": 0o600,
		"user: c4naryword\n": 0o640, "address: nats://me:c4naryword@host\n": 0o600,
	} {
		if _, stderr, code, err := ran(t, nil, "do", "--config", written(t, text, mode)); code != ExitOK {
			t.Errorf("%q with mode %o: exit code %d, error %v:\n%s", text, mode, code, err, stderr)
		}
		_, _, code, err := ran(t, nil, "do", "--config", written(t, text, 0o644))
		if code != ExitUsage || !errors.Is(err, ErrReadByAll) {
			t.Errorf("%q, readable by all: exit code %d, error %v", text, code, err)
		}
		_, stderr, code, _ := ran(t, nil, "do", "c4naryword", "--config", written(t, text, mode))
		if code != ExitUsage || stderr == "" {
			t.Errorf("exit code %d, standard error %q", code, stderr)
		}
		_, stderr, code, _ = ran(t, nil, "do", "--config", written(t, text+"do: {word: c4naryword}\n", mode))
		if code != ExitUsage || !strings.Contains(stderr, "***") || strings.Contains(stderr, "c4nary") {
			t.Errorf("exit code %d, standard error %q, want a masked value", code, stderr)
		}
	}
	named := written(t, "user: me\naddress: nats://host\n", 0o644)
	if _, _, code, err := ran(t, map[string]string{"TEST_SECRET": "word"}, "do", "--config", named); code != ExitOK {
		t.Errorf("a user whose password is in a variable: exit code %d, error %v", code, err)
	}
	for _, text := range []string{"secret: *c4nary\n", "secret: !c4nary x\n", "secret: \"c4nary\n",
		"secret: [c4nary]\n", "secret: {c4nary: x}\n", "secret: %c4nary\n", "%c4nary x\n", "secret: '\"c4nary\"'\n"} {
		_, stderr, code, _ := ran(t, nil, "do", "--config", written(t, text, 0o600))
		if code != ExitUsage || strings.Contains(stderr, "c4nary") {
			t.Errorf("%q: exit code %d, standard error %q", text, code, stderr)
		}
	}
}

func TestInForce(t *testing.T) {
	name := written(t, "wait: 2s\nnumber: 5\nlist: [a, b]\nsecret: c4naryword\naddress: 'a,b://x:c4naryword@h'\n"+
		"do: {word: two}\n", 0o600)
	env := map[string]string{"TEST_WAIT": "3s", "TEST_USER": "me"}
	command, list, err := Program{Name: "test", Grammar: &filed{}}.InForce(
		Process{Getenv: func(name string) string { return env[name] }}, []string{"do", "--set", "--config", name})
	if command != "do" || err != nil {
		t.Fatalf("command %q, error %v", command, err)
	}
	want := map[string]Setting{
		"wait":    {Value: "3s", Source: FromVariable, Variable: "TEST_WAIT"},
		"number":  {Value: 5, Source: FromFile, Variable: "TEST_NUMBER", File: name, Line: 2},
		"word":    {Value: "two", Source: FromFile, File: name, Line: 6},
		"list":    {Value: "[a b]", Source: FromFile, Variable: "TEST_LIST", File: name, Line: 3},
		"set":     {Value: true, Source: FromFlag},
		"sure":    {Value: false, Source: FromDefault, PerCall: true},
		"secret":  {Value: "***", Source: FromFile, Variable: "TEST_SECRET", File: name, Line: 4, Secret: true},
		"user":    {Value: "me", Source: FromVariable, Variable: "TEST_USER"},
		"address": {Value: "a,b://h", Source: FromFile, Variable: "TEST_ADDRESS", File: name, Line: 5, Secret: true},
	}
	for _, s := range list {
		w := want[s.Flag]
		if w.Flag = s.Flag; fmt.Sprint(s) != fmt.Sprint(w) {
			t.Errorf("%+v, want %+v", s, w)
		}
	}
	if len(list) != len(want) {
		t.Errorf("%d settings, want %d", len(list), len(want))
	}
	for _, words := range [][]string{{"nothing"}, {"group"}, {"do", "--nope"}, {"do", "--wait", "x"}, {}} {
		var usage *UsageError
		if _, _, err := (Program{Name: "test", Grammar: &filed{}}).InForce(
			Process{Getenv: func(string) string { return "" }}, words); !errors.As(err, &usage) {
			t.Errorf("%v: error %v, want a usage error", words, err)
		}
	}
}
