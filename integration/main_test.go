package integration

import (
	"os"
	"testing"

	"statusworker/integration/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }
