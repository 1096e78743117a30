package integration

import (
	"flag"
	"os"
	"runtime"
	"strconv"
	"testing"

	"statusworker/integration/harness"
	"statusworker/schema"
)

// ns is the namespace of the tests.
var ns = schema.DefaultNamespace

// The scenarios mostly wait: for reservations to fall due, for brokers to restart. So more of them run at once than
// there are processors.
const scenariosPerProcessor = 4

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", strconv.Itoa(scenariosPerProcessor*runtime.NumCPU())); err != nil {
		panic(err)
	}
	os.Exit(harness.Main(m))
}
