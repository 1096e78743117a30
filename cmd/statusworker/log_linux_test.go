package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"statusworker/cmd/internal/cli"

	"golang.org/x/sys/unix"
)

// terminalPair returns a pseudo-terminal: tty for the program, seen to read its output.
func terminalPair(t *testing.T) (tty *os.File, seen *os.File) {
	t.Helper()
	seen, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatalf("opening a pseudo-terminal: %v", err)
	}
	t.Cleanup(func() { seen.Close() })
	if err := unix.IoctlSetPointerInt(int(seen.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(seen.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tty.Close() })
	return tty, seen
}

func TestLogColours(t *testing.T) {
	t.Parallel()
	at := nobody(t)
	for _, tt := range []struct {
		name, value string
		colours     bool
	}{
		{"TERM", "xterm", true}, {"NO_COLOR", "", true}, {"NO_COLOR", "1", false}, {"TERM", "dumb", false},
	} {
		tty, seen := terminalPair(t)
		code, _ := run(t.Context(), cli.Process{
			Args: []string{"status", "--timeout", "300ms", "--nats-url", at},
			Getenv: func(name string) string {
				if name == tt.name {
					return tt.value
				}
				return ""
			},
			Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: tty, Leave: t.Context(),
		})
		tty.Close()
		all, _ := io.ReadAll(seen) // ends with an error when the other end is closed
		if code != exitFault || !strings.Contains(string(all), "waiting for NATS") {
			t.Fatalf("exit code %d, on the terminal:\n%q", code, all)
		}
		if got := strings.Contains(string(all), "\x1b["); got != tt.colours {
			t.Errorf("%s=%s: colours %t, want %t, in:\n%q", tt.name, tt.value, got, tt.colours, all)
		}
	}
}
