package consumer_test

import (
	"flag"
	"os"
	"testing"
)

// Tests on a server mostly wait for reservations to fall due, so more of them can run at once than there are
// processors.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "6"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}
