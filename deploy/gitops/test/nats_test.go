package gitops

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The commands that are printed, run by the `nats` command itself, create everything.
func TestNATSCommand(t *testing.T) {
	t.Parallel()
	for name, flags := range everything {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, _, _ := broker(t)
			folder := filepath.Join(t.TempDir(), "streams")
			printed, err := command(t, url, statusworker,
				append([]string{"provision", "--output=json", "--output-dir=" + folder}, flags...)...)
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(strings.TrimSpace(printed), "\n")
			files, err := os.ReadDir(folder)
			if err != nil || len(files) != len(lines) {
				t.Fatalf("%d commands and %d files (%v), want a command for each file", len(lines), len(files), err)
			}
			for _, line := range lines {
				words := strings.Fields(line)
				if words[0] != "nats" {
					t.Fatalf("the command is %q, want nats", line)
				}
				if _, err := command(t, url, natsCommand, words[1:]...); err != nil {
					t.Error(err)
				}
			}
			fits(t, url)
		})
	}
}

// `nats stream edit` accepts the same documents, and changes what differs.
func TestNATSCommandEdits(t *testing.T) {
	t.Parallel()
	url, _, _ := broker(t)
	if _, err := command(t, url, statusworker, "provision", "--max-age=72h"); err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	if _, err := command(t, url, statusworker, "provision", "--output=json", "--output-dir="+folder); err != nil {
		t.Fatal(err)
	}
	const name = "INTERACTIONS_OUTCOMES"
	if _, err := command(t, url, natsCommand, "stream", "edit", name, "--force", "--config",
		filepath.Join(folder, name+".json")); err != nil {
		t.Fatal(err)
	}
	out, err := command(t, url, statusworker, "provision", "--dry-run", "--max-age=336h")
	if err != nil || out != "nothing to change\n" {
		t.Errorf("a difference is left: %v\n%s", err, out)
	}
}
