package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"statusworker/cmd/internal/cli"
)

// leaves returns the words of every command that is shown in the help.
func leaves(node *kong.Node, words ...string) (list [][]string) {
	for _, child := range node.Children {
		if child.Hidden || child.Type != kong.CommandNode {
			continue
		}
		below := append(slices.Clone(words), child.Name)
		if child.Leaf() {
			list = append(list, below)
		}
		list = append(list, leaves(child, below...)...)
	}
	return list
}

// inForce returns what `config -o json` shows, by the names of the settings.
func inForce(t *testing.T, c *call) map[string]cli.Setting {
	t.Helper()
	var shown struct{ Settings []cli.Setting }
	if err := json.Unmarshal([]byte(c.exits(exitOK).stdout.String()), &shown); err != nil {
		t.Fatalf("%v in:\n%s", err, &c.stdout)
	}
	of := map[string]cli.Setting{}
	for _, s := range shown.Settings {
		of[s.Flag] = s
	}
	return of
}

// What `config -o yaml` prints for a command is a configuration file with the same settings, and one file may hold the
// settings of all commands.
func TestConfigIsAConfigurationFile(t *testing.T) {
	t.Parallel()
	commands := leaves(model(t).Node)
	if len(commands) < 10 {
		t.Fatalf("commands %v", commands)
	}
	name, settings := filepath.Join(t.TempDir(), "config.yaml"), 0
	for _, words := range commands {
		if words[0] == "config" {
			continue
		}
		before := inForce(t, command(t, append([]string{"config", "-o", "json"}, words...)...))
		text := command(t, append([]string{"config", "-o", "yaml"}, words...)...).exits(exitOK).stdout.String()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c := command(t, append([]string{"config", "-o", "json", "--config", name}, words...)...)
		c.env = map[string]string{}
		after := inForce(t, c)
		for flag, s := range after {
			if was := before[flag]; fmt.Sprint(was.Value) != fmt.Sprint(s.Value) {
				t.Errorf("%v --%s: %v, was %v", words, flag, s.Value, was.Value)
			}
			if s.Source == cli.FromFile {
				settings++
			} else if was := before[flag].Value; was != nil && was != "" && s.Source != cli.FromFlag &&
				!slices.Contains(perCall, flag) {
				t.Errorf("%v --%s: the file does not have it:\n%s", words, flag, text)
			}
		}
		if len(after) != len(before) {
			t.Errorf("%v: %d settings, were %d", words, len(after), len(before))
		}
	}
	t.Logf("%d settings of %d commands came from a file", settings, len(commands))
	if settings < 100 {
		t.Errorf("only %d settings came from a file", settings)
	}
}

// perCall are the flags that cannot be in a file: they confirm that dead letters are deleted.
var perCall = []string{"all", "yes"}

// Settings in a file reach the command: it rejects a bad one with its place, and its secrets are masked.
func TestConfigFile(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "config.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("audio-interval: 5s\napi-token: c4nary-token\nstatus: {output: json}\n")
	c := command(t, "run", "--config", name)
	if bad := c.rejects(fmt.Sprintf("audio-interval in %s, line 1,", name)); bad.Line != 1 {
		t.Errorf("%+v, want line 1", bad)
	}
	c = command(t, "run")
	c.env["STATUSWORKER_CONFIG"], c.env["STATUSWORKER_AUDIO_INTERVAL"] = name, "7s"
	c.rejects("--audio-interval ($STATUSWORKER_AUDIO_INTERVAL)")

	for _, format := range []string{"table", "json", "yaml"} {
		c := command(t, "config", "-o", format, "--config", name, "run", "--nats-password", "c4nary-word",
			"--nats-url", "nats://me:c4nary-url@127.0.0.1")
		c.env["NATS_USER"] = "me"
		c.exits(exitOK)
		says(t, "standard output", &c.stdout, "api-token", "***", "nats-password")
		if all := c.stdout.String() + c.stderr.String(); strings.Contains(all, "c4nary") {
			t.Errorf("%s shows a secret:\n%s", format, all)
		}
	}
	at, _ := provisioned(t)
	write("nats-url: " + at + "\nstatus:\n  output: json\nprovision: {replicas: 1}\n")
	if c := command(t, "status", "--config", name).exits(exitOK); !json.Valid([]byte(c.stdout.String())) {
		t.Errorf("the output is not JSON:\n%s", &c.stdout)
	}
}

func TestCommandsWithoutSettingsIgnoreAWrongFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(name, []byte("no-such-setting: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, words := range [][]string{{"version"}, {"man"}, {"completion", "bash"}} {
		command(t, append(words, "--config", name)...).exits(exitOK)
	}
	command(t, "status", "--config", name).exits(exitUsage)
}

// A group of commands has no settings: the error lists its commands.
func TestConfigOfAGroup(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := command(t, "config", "--config", file, "dlq")
	c.exits(exitUsage)
	for _, name := range []string{"ls", "show", "replay", "purge"} {
		says(t, "the error", &c.stderr, name)
	}
	if strings.Contains(c.stderr.String(), "--config") {
		t.Errorf("the error shows a flag that is not the problem:\n%s", &c.stderr)
	}
}
