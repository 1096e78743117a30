package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// A file that the process may not read is rejected with the user and the mode, for each flag that names one.
func TestUnreadableFilesNameTheUserAndTheMode(t *testing.T) {
	t.Parallel()
	open, err := os.MkdirTemp("", "statusworker-files-") // not t.TempDir: another user must be able to search it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(open) })
	readable, locked := filepath.Join(open, "readable"), filepath.Join(open, "locked")
	closed := filepath.Join(open, "closed")
	within := filepath.Join(closed, "file")
	if err := errors.Join(os.Chmod(open, 0o755), os.WriteFile(readable, []byte("x"), 0o644),
		os.WriteFile(locked, []byte("x"), 0o200),
		os.Mkdir(closed, 0o700), os.WriteFile(within, []byte("x"), 0o644), os.Chmod(closed, 0o600)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(closed, 0o700) })
	user, env := os.Getuid(), map[string]string{}
	if user == 0 { // root may read every file
		user = 65532
		env[envUser] = strconv.Itoa(user)
	}
	for _, args := range [][]string{
		{"run", "--api-token-file"}, {"run", "--vendor-ca"}, {"status", "--nats-creds"}, {"status", "--nats-nkey"},
		{"provision", "--nats-ca"}, {"dlq", "ls", "--nats-key", locked, "--nats-cert"},
		{"doctor", "--nats-cert", readable, "--nats-key"},
		{"declare", "--type", "audio", someID, "--data"},
	} {
		for path, mode := range map[string]string{locked: "0200", within: "0600"} {
			c := processOf(t, env, append(args, path)...).launch()
			c.exits(exitUsage)
			for _, fact := range []string{args[len(args)-1], path, fmt.Sprintf("user ID %d ", user), "owner", mode} {
				if !strings.Contains(c.stderr.String(), fact) {
					t.Errorf("%v: no %q in %s", args, fact, &c.stderr)
				}
			}
		}
	}
}
