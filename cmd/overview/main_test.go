package overview_test

import (
	"flag"
	"fmt"
	"os"
	"statusworker/schema"
	"testing"
)

// ns is the namespace of the tests.
var ns = schema.DefaultNamespace

// The tests mostly wait, so more of them than there are processors run at the same time.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "6"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	os.Exit(m.Run())
}
