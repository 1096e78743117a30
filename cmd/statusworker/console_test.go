package main

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/nats-io/nats-server/v2/server"
	"golang.org/x/crypto/bcrypt"

	"statusworker/cmd/internal/cli"
)

// serving starts a console, and returns its address.
func serving(t *testing.T, c *call) string {
	t.Helper()
	c.start().logs("serving the console")
	for line := range strings.Lines(c.stderr.String()) {
		var entry struct{ Msg, Address string }
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Address != "" {
			return strings.TrimSuffix(entry.Address, "/")
		}
	}
	t.Fatalf("no address in\n%s", &c.stderr)
	return ""
}

// page requests a page, until the console is connected.
func page(t *testing.T, c *call, address string) string {
	t.Helper()
	for {
		r, err := http.NewRequestWithContext(c.ctx, http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		a, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(a.Body)
		a.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if a.StatusCode != http.StatusServiceUnavailable {
			if a.StatusCode != http.StatusOK {
				t.Fatalf("%s: %s\n%s", address, a.Status, text)
			}
			return string(text)
		}
	}
}

// The shipped user operator may do what the console does, and read every page.
func TestConsoleAsOperator(t *testing.T) {
	t.Parallel()
	at := users(t, unchanged)
	command(t, append([]string{"provision", "--nats-url", at}, as("provision")...)...).exits(exitOK)
	c := command(t, append([]string{"console", "--addr", "127.0.0.1:0", "--allow-writes", "--base-path", "/ops",
		"--nats-url", at}, as("operator")...)...)
	address := serving(t, c)
	for path, want := range map[string]string{
		"/": "no worker is alive", "/dead-letters": "There are no dead letters", "/workers": "No worker is alive",
		"/interactions/" + uuid.NewString(): "unknown", "/lanes/audio": "open", "/livez": "ok", "/readyz": "ok",
	} {
		if text := page(t, c, address+path); !strings.Contains(text, want) {
			t.Errorf("%s does not contain %q:\n%s", path, want, text)
		}
	}
	checked := page(t, c, address+"/doctor")
	for _, passed := range []string{"connection", "jetstream", "topology", "server version", "clock"} {
		if !regexp.MustCompile(`PASS</span> ` + passed).MatchString(checked) {
			t.Errorf("the check %s has not passed:\n%s", passed, checked)
		}
	}
	for _, other := range []string{"permission ack", "vendor", "deadline", "FAIL"} {
		if strings.Contains(checked, other) {
			t.Errorf("the doctor shows %q", other)
		}
	}
	id := uuid.NewString()
	for _, action := range []string{
		"/declare?type=chat&ids=" + id, "/lanes/chat/pause?for=1h", "/lanes/chat/resume", "/lanes/intake/pause?for=1h",
	} {
		a, err := http.Post(address+action, "application/x-www-form-urlencoded", nil)
		if err != nil || a.StatusCode != http.StatusOK { // after the redirect
			t.Fatalf("%s: %v, %v", action, a, err)
		}
		a.Body.Close()
	}
	c.logs(`"msg":"task ended"`)
	says(t, "the log", &c.stderr, `"declared":1`, `"user":"local"`, id, `"lane":"chat"`)
	c.stop()
	if code := c.end(); code != exitOK {
		t.Errorf("exit code %d after a stop, want 0:\n%s", code, &c.stderr)
	}
}

// The console waits for NATS, and ends when NATS rejects its credentials.
func TestConsoleWithoutNATS(t *testing.T) {
	t.Parallel()
	c := command(t, "console", "--addr", "127.0.0.1:0", "--nats-url", nobody(t))
	address := serving(t, c)
	a, err := http.Get(address + "/")
	if err != nil || a.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("%v, %v", a, err)
	}
	a.Body.Close()
	c.stop()
	if code := c.end(); code != exitOK {
		t.Errorf("exit code %d after a stop, want 0:\n%s", code, &c.stderr)
	}
	at := bare(t, server.Options{Username: "operator", Password: "right"})
	command(t, "console", "--addr", "127.0.0.1:0", "--nats-url", at).exits(exitFault)
}

// Beyond loopback, the console requires users, and the names by which browsers reach it.
func TestConsoleRequiresUsers(t *testing.T) {
	t.Parallel()
	hash, err := bcrypt.GenerateFromPassword([]byte("right"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	good, bad := filepath.Join(t.TempDir(), "users"), filepath.Join(t.TempDir(), "plain")
	if err := errors.Join(os.WriteFile(good, []byte("ann:"+string(hash)+"\n"), 0o600),
		os.WriteFile(bad, []byte("ann:s3cret\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"--addr", "0.0.0.0:0"}, {"--addr", ":0"}, {"--addr", "0.0.0.0:0", "--password-file", good},
		{"--addr", "0.0.0.0:0", "--host", "console.example"},
		{"--password-file", good, "--user-header", "X-User"},
	} {
		c := command(t, append([]string{"console"}, args...)...).exits(exitUsage)
		if !errors.As(c.err, new(*cli.UsageError)) {
			t.Errorf("%v: %v", args, c.err)
		}
	}
	for setting, args := range map[string][]string{
		"--addr": {"--addr", "8090"}, "--host": {"--host", "a b"}, "--base-path": {"--base-path", "ops/"},
		"--user-header": {"--user-header", "X User"}, "--password-file": {"--password-file", bad},
	} {
		command(t, append([]string{"console"}, args...)...).rejects(setting)
	}
	at, _ := provisioned(t)
	c := command(t, "console", "--addr", "0.0.0.0:0", "--host", "console.example", "--password-file", good,
		"--nats-url", at)
	address := strings.Replace(serving(t, c), "[::]", "127.0.0.1", 1)
	address = strings.Replace(address, "0.0.0.0", "127.0.0.1", 1)
	page(t, c, address+"/livez")
	page(t, c, address+"/readyz")
	a, err := http.Get(address + "/")
	if err != nil || a.StatusCode != http.StatusUnauthorized {
		t.Errorf("%v, %v", a, err)
	}
	a.Body.Close()
	if strings.Contains(c.stderr.String(), "s3cret") {
		t.Errorf("a password is in the log:\n%s", &c.stderr)
	}
}
