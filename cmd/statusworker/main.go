// Command statusworker polls ElevateAI for the status of declared interactions, and publishes one outcome for each. See
// README.md.
package main

import (
	"os"
	"regexp"

	_ "golang.org/x/crypto/x509roots/fallback" // certificate authorities for images without any

	"statusworker/cmd/internal/cli"
	"statusworker/cmd/internal/logbridge"
)

// version is set by the linker in released images. Otherwise it comes from the build information.
var version = ""

func main() {
	ctx, leave := handleSignals()
	trimEnvironment()
	code, _ := run(ctx, cli.Process{
		Command:  startedBy(os.Args[0]),
		Args:     os.Args[1:],
		Getenv:   os.Getenv,
		Environ:  os.Environ(),
		Stdin:    os.Stdin,
		Stdout:   os.Stdout,
		Stderr:   os.Stderr,
		Leave:    leave,
		Standard: logbridge.Standard(),
	})
	os.Exit(code)
}

// temporary matches the paths of programs that `go run` builds: in a temporary directory, or in the build cache.
var temporary = regexp.MustCompile(`[/\\](go-build\d+[/\\]b001[/\\]exe|[0-9a-f]{64}-d)[/\\][^/\\]+$`)

// startedBy returns the command that started the program. Its path is that of the process.
func startedBy(path string) string {
	if temporary.MatchString(path) {
		return "go run ./cmd/statusworker"
	}
	return path
}
