package faults

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"statusworker/integration/harness"
)

// clockVariable is how many nanoseconds the wall clock of a [shiftedServer] is ahead.
const clockVariable = "FAULTS_CLOCK_AHEAD"

// shiftedNow replaces the beginning of time.Now. The monotonic clock is not shifted.
const shiftedNow = `
// clockAhead is set by the harness of this build.
var clockAhead = func() (ahead int64) {
	text, _ := syscall.Getenv("` + clockVariable + `")
	sign := int64(1)
	for i, c := range []byte(text) {
		if i == 0 && c == '-' {
			sign = -1
			continue
		}
		ahead = ahead*10 + int64(c-'0')
	}
	return sign * ahead
}()

func Now() Time {
	sec, nsec, mono := runtimeNow()
	shifted := int64(nsec) + clockAhead
	sec += shifted / 1e9
	if shifted %= 1e9; shifted < 0 {
		shifted += 1e9
		sec--
	}
	nsec = int32(shifted)
`

// shiftedServer builds the nats-server of go.mod with a time.Now that adds what an environment variable says, so that
// servers on one machine have different clocks. It returns the path of the program.
func shiftedServer(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	harness.Check(t, err)
	original := filepath.Join(strings.TrimSpace(string(root)), "src", "time", "time.go")
	source, err := os.ReadFile(original)
	harness.Check(t, err)
	const head = "\nfunc Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	text := string(source)
	if strings.Count(text, head) != 1 || !strings.Contains(text, "import (\n") {
		t.Fatalf("%s is not as expected: adapt the replacement of time.Now", original)
	}
	text = strings.Replace(text, head, shiftedNow, 1)
	text = strings.Replace(text, "import (\n", "import (\n\t\"syscall\"\n", 1)
	// A linkname of Now must be next to it.
	replaced := filepath.Join(folder, "time.go")
	harness.Check(t, os.WriteFile(replaced, []byte(text), 0o600))
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{original: replaced}})
	harness.Check(t, err)
	harness.Check(t, os.WriteFile(filepath.Join(folder, "overlay.json"), overlay, 0o600))
	path := filepath.Join(folder, "nats-server")
	build(t, nil, "-overlay", filepath.Join(folder, "overlay.json"), "-ldflags=-s -w", "-o", path,
		"github.com/nats-io/nats-server/v2")
	return path
}
