package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"statusworker/schema"
)

// natsStub creates a nats command that records its calls, and lists the given streams. A call whose text contains the
// argument fails exits with an error. The argument older selects the syntax before version 0.5.
func natsStub(t *testing.T, streams []string, fails string, older bool) (environment []string, calls func() []string) {
	t.Helper()
	directory := t.TempDir()
	log := filepath.Join(directory, "calls")
	script := `#!/bin/sh
case "$*" in
*--help) exit ` + map[bool]string{true: "1", false: "0"}[older] + ` ;;
*"stream ls --names") printf '%s\n' ` + strings.Join(streams, " ") + ` ;;
*) echo "$*" >> ` + log + ` ;;
esac
case "$*" in *"` + fails + `"*) exit 1 ;; esac
exit 0
`
	if fails == "" {
		script = strings.Replace(script, `case "$*" in *""*) exit 1 ;; esac`, "", 1)
	}
	if err := os.WriteFile(filepath.Join(directory, "nats"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return append(os.Environ(), "PATH="+directory+":"+os.Getenv("PATH")), func() []string {
		data, err := os.ReadFile(log)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		return strings.FieldsFunc(string(data), func(r rune) bool { return r == '\n' })
	}
}

// STATUSWORKER_NAMESPACE selects the streams of a backup and of a restore.
func TestBackupOfANamespace(t *testing.T) {
	t.Parallel()
	n, err := schema.NewNamespace("eu-west_1")
	if err != nil {
		t.Fatal(err)
	}
	own := []string{n.StreamDeclared(), n.StreamPolls(), n.StreamOutcomes()}
	environment, calls := natsStub(t, append(ns.Streams(), own...), "", false)
	environment = append(environment, "STATUSWORKER_NAMESPACE="+n.String())
	directory := filepath.Join(t.TempDir(), "backup")
	for _, script := range []string{"backup.sh", "restore.sh"} {
		command := exec.CommandContext(t.Context(), "sh", "../../deploy/nats/"+script, directory)
		command.Env = environment
		if output, err := command.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", script, err, output)
		}
		for _, s := range own { // as `nats` does
			if err := os.MkdirAll(filepath.Join(directory, s), 0o700); err != nil {
				t.Fatal(err)
			}
		}
	}
	var streams []string
	for _, call := range calls() {
		for word := range strings.FieldsSeq(call) {
			if word = filepath.Base(word); strings.HasSuffix(call, filepath.Join(directory, word)+" --no-progress") ||
				strings.Contains(call, " "+word+" "+filepath.Join(directory, word)) {
				streams = append(streams, word)
				break
			}
		}
	}
	if want := append(slices.Clone(own), own[2], own[1], own[0]); !slices.Equal(streams, want) {
		t.Errorf("backed up and restored %v, want %v; calls:\n%s", streams, want, strings.Join(calls(), "\n"))
	}
}

// Streams are backed up in the order in which an interaction moves through them. In another order, the backup would
// lack interactions that move between two snapshots.
func TestBackupOrder(t *testing.T) {
	t.Parallel()
	all := []string{"KV_INTERACTIONS_WORKERS", ns.StreamOutcomes(), ns.StreamPolls(),
		"INTERACTIONS_POLLS_OF_OTHERS", ns.StreamDeclared()}
	for name, tt := range map[string]struct {
		streams []string
		fails   string
		older   bool
		want    []string // streams in the order of their backups
		fault   bool
	}{
		"reservations": {streams: all, want: []string{ns.StreamDeclared(), ns.StreamPolls(),
			ns.StreamOutcomes()}},
		"an older nats": {streams: all, older: true, want: []string{ns.StreamDeclared(), ns.StreamPolls(),
			ns.StreamOutcomes()}},
		"delayed naks": {streams: []string{ns.StreamOutcomes(), ns.StreamDeclared()},
			want: []string{ns.StreamDeclared(), ns.StreamOutcomes()}},
		"a snapshot fails": {streams: all, fails: ns.StreamPolls() + " ", want: []string{ns.StreamDeclared(),
			ns.StreamPolls()}, fault: true},
		"the broker is silent": {streams: all, fails: "stream ls", fault: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			environment, calls := natsStub(t, tt.streams, tt.fails, tt.older)
			directory := filepath.Join(t.TempDir(), "backup")
			backup := exec.CommandContext(t.Context(), "sh", "../../deploy/nats/backup.sh", directory, "--context",
				"production")
			backup.Env = environment
			output, err := backup.CombinedOutput()
			if (err != nil) != tt.fault {
				t.Errorf("the backup ended with %v: %s", err, output)
			}
			verb := "backup stream"
			if tt.older {
				verb = "stream backup"
			}
			var want []string
			for _, s := range tt.want {
				consumers := "--no-consumers"
				if s == ns.StreamOutcomes() {
					consumers = "--consumers"
				}
				want = append(want, "--context production "+verb+" "+s+" "+filepath.Join(directory,
					s)+" "+consumers+" --no-progress")
			}
			if got := calls(); !slices.Equal(got, want) {
				t.Errorf("nats was called with\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			if tt.fault {
				return
			}
			again := exec.CommandContext(t.Context(), "sh", "../../deploy/nats/backup.sh", directory)
			again.Env = environment
			if err := again.Run(); err == nil || len(calls()) != len(want) {
				t.Error("the backup overwrote another one")
			}

			for _, s := range tt.want {
				if err := os.Mkdir(filepath.Join(directory, s), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			restore := exec.CommandContext(t.Context(), "sh", "../../deploy/nats/restore.sh", directory)
			restore.Env = environment
			if output, err := restore.CombinedOutput(); err != nil {
				t.Errorf("the restore ended with %v: %s", err, output)
			}
			var restored []string
			for _, call := range calls()[len(want):] {
				words := strings.Fields(call)
				restored = append(restored, filepath.Base(words[len(words)-2]))
			}
			slices.Reverse(restored)
			if !slices.Equal(restored, tt.want) {
				t.Errorf("restored in reverse order: %v, want %v", restored, tt.want)
			}
		})
	}
}
