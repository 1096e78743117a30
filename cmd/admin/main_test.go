package admin_test

import (
	"flag"
	"fmt"
	"os"
	"testing"
)

// The tests mostly wait, so more of them than there are processors run at the same time.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "6"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	os.Exit(m.Run())
}
