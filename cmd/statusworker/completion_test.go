package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"statusworker/cmd/internal/completion"
	"statusworker/cmd/internal/manpage"
)

// requires skips a test if a program is not installed; with STATUSWORKER_REQUIRE_ENGINE=1 it fails.
func requires(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			if os.Getenv("STATUSWORKER_REQUIRE_ENGINE") == "1" {
				t.Fatalf("STATUSWORKER_REQUIRE_ENGINE=1 requires %s as well: %v", name, err)
			}
			t.Skipf("needs %s: %v", name, err)
		}
	}
}

func TestComplete(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"":                                  "run dev provision",
		"pro":                               "provision",
		"dlq ":                              "ls show replay purge",
		"dlq r":                             "replay",
		"run --log-l":                       "--log-level",
		"run --log-level ":                  "trace debug info warn error",
		"run --log-level d":                 "debug",
		"run --log-level=d":                 "--log-level=debug",
		"run --log-level = d":               "debug", // words of bash
		"run --log-level =":                 "trace debug info warn error",
		"run --log-level debug --log":       "--log-format",
		"run --failed-status x --failed":    "--failed-status", // may be repeated
		"status -o ":                        "table json",
		"status -w -":                       "--help --config --check --output",
		"--config x dlq purge --reas":       "--reason",
		"run --nats-creds ":                 completion.Files,
		"--config ":                         completion.Files,
		"run --concurrency ":                "",
		"run -- --log":                      "",
		"declare --no-include-ai-results -": "",
		"completion ":                       "bash zsh fish",
		"config -o ":                        "table json yaml",
		"config d":                          "dev declare dlq doctor",
		"config dlq sho":                    "show",
		"config status -o ":                 "table json",
		"config status --ch":                "--check",
		"run now --log-l":                   "--log-level",
		"run --nope --log-l":                "--log-level",
		"nothing x":                         "",
	} {
		c := command(t, slices.Concat([]string{"complete", "--"}, strings.Split(line, " "))...).exits(exitOK)
		var got []string
		for text := range strings.Lines(c.stdout.String()) {
			word, _, _ := strings.Cut(strings.TrimSpace(text), "\t")
			got = append(got, word)
		}
		if have := strings.Join(got, " "); !strings.HasPrefix(have, want) || want == "" && have != "" &&
			!strings.HasPrefix(have, "--") {
			t.Errorf("%q: %q, want %q", line, have, want)
		}
	}
}

// completing makes a directory with a program statusworker that completes as this one does, and prints its arguments
// otherwise, and with the script of a shell.
func completing(t *testing.T, shell string) (env []string, script string) {
	t.Helper()
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	script = filepath.Join(dir, "script")
	program := fmt.Sprintf("#!/bin/sh\n[ \"$1\" != complete ] || %s=1 exec '%s' \"$@\" 3>/dev/null\necho \"RAN:$*:\"\n",
		envProcess, own)
	text := command(t, "completion", shell).exits(exitOK).stdout.String()
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "statusworker"), []byte(program), 0o755),
		os.WriteFile(script, []byte(text), 0o644),
		os.WriteFile(filepath.Join(dir, "a-long-name.yaml"), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	path := "PATH=" + dir + ":" + os.Getenv("PATH")
	return []string{path, "HOME=" + dir, "TERM=dumb", "GORACE=atexit_sleep_ms=0"}, script
}

// tabbed are lines with the tab key, and the arguments that the completed line has.
var tabbed = map[string]string{
	"statusworker prov\t":                           "provision",
	"statusworker run --log-le\tdeb\t":              "run --log-level debug",
	"statusworker run --log-level=deb\t":            "run --log-level=debug",
	"statusworker dlq pu\t--reas\tx":                "dlq purge --reason x",
	"statusworker run --config a-lo\t":              "run --config a-long-name.yaml",
	"statusworker config dlq purge --older\t1h":     "config dlq purge --older-than 1h",
	"statusworker show --timeout 3s --output ndj\t": "show --timeout 3s --output ndjson",
}

// The scripts complete in interactive shells.
func TestCompletionInShells(t *testing.T) {
	t.Parallel()
	for shell, prepare := range map[string]struct{ command, begin string }{
		"bash": {"bash --norc --noprofile -i", "PS1=; bind 'set enable-bracketed-paste off'; . %s\n"},
		"zsh":  {"zsh -f -i", "PS1=; unsetopt zle_bracketed_paste; autoload -U compinit; compinit -u -D; . %s\n"},
	} {
		t.Run(shell, func(t *testing.T) {
			t.Parallel()
			requires(t, shell, "script")
			env, script := completing(t, shell)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, "script", "--quiet", "--flush", "--command", prepare.command, "/dev/null")
			cmd.Env, cmd.Dir = env, filepath.Dir(script)
			var out output
			cmd.Stdout, cmd.Stderr = &out, &out
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { // the shell writes its last files when it exits
				_, _ = io.WriteString(in, "\nexit\n")
				_ = cmd.Wait()
			}()
			write := func(text string) {
				if _, err := io.WriteString(in, text); err != nil {
					t.Fatal(err)
				}
			}
			write(fmt.Sprintf(prepare.begin, script) + "echo BEG''UN\n")
			out.wait(ctx, t, "BEGUN")
			for line, want := range tabbed {
				write(line + "\n")
				out.wait(ctx, t, "RAN:"+want+":")
			}
		})
	}
	t.Run("fish", func(t *testing.T) {
		t.Parallel()
		requires(t, "fish")
		env, script := completing(t, "fish")
		for line, want := range tabbed {
			line, _, _ = strings.Cut(line, "\t")
			want = strings.Fields(want)[len(strings.Fields(line))-2]
			cmd := exec.CommandContext(t.Context(), "fish", "--no-config", "--command",
				fmt.Sprintf("source %s; complete --do-complete '%s'", script, line))
			cmd.Env, cmd.Dir = env, filepath.Dir(script)
			got, err := cmd.CombinedOutput()
			if word, _, _ := strings.Cut(strings.TrimSpace(string(got)), "\t"); err != nil || word != want {
				t.Errorf("%q: %q (%v), want %q", line, got, err, want)
			}
		}
	})
}

// The manual page has every command and flag, and the checkers of such pages find nothing.
func TestManualPage(t *testing.T) {
	t.Parallel()
	page := manpage.Page(model(t), "v1.2.3", "1700000000")
	for _, words := range leaves(model(t).Node) {
		title := ".SS \"statusworker " + strings.Join(words, " ")
		if !strings.Contains(page, title+`"`) && !strings.Contains(page, title+" ") {
			t.Errorf("the page has no %s", title)
		}
	}
	for _, name := range []string{"run", "provision", "status", "console"} {
		for _, flag := range flagsOf(t, name) {
			if title := `\fB\-\-` + strings.ReplaceAll(flag.Name, "-", `\-`) + `\fR`; !strings.Contains(page, title) {
				t.Errorf("the page has no flag %s", flag.Name)
			}
		}
	}
	if strings.Count(page, `\fB\-\-nats\-url\fR`) != 1 {
		t.Error("the page does not describe --nats-url exactly once")
	}
	file := filepath.Join(t.TempDir(), "statusworker.1")
	if err := os.WriteFile(file, []byte(page), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, check := range [][]string{
		{"mandoc", "-T", "lint", "-W", "style", file},
		{"man", "--warnings=w", "--encoding=UTF-8", "--troff-device=utf8", "--local-file", file},
	} {
		requires(t, check[0])
		cmd := exec.CommandContext(t.Context(), check[0], check[1:]...)
		cmd.Env = append(os.Environ(), "MANWIDTH=80")
		var complaints output
		cmd.Stderr = &complaints
		if check[0] == "mandoc" {
			cmd.Stdout = &complaints
		}
		if err := cmd.Run(); err != nil || complaints.String() != "" {
			t.Errorf("%v: %v\n%s", check, err, &complaints)
		}
	}
}
