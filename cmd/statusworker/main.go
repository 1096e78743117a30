// Command statusworker polls ElevateAI for the status of declared interactions, and publishes one outcome for each. See
// README.md.
package main

import (
	"os"

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
