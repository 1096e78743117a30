package consumer_test

import (
	"flag"
	"os"
	"testing"
)

// Most of these tests wait for reservations to fall due: more of them can run at once than there are processors.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "6"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}
