package integration

import (
	"flag"
	"os"
	"testing"

	"statusworker/integration/harness"
)

// Most of these scenarios wait: for reservations to fall due, for brokers to come back. More of them can run at once
// than there are processors.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "3"); err != nil {
		panic(err)
	}
	os.Exit(harness.Main(m))
}
