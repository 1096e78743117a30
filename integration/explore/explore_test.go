//go:debug randseednop=0

package explore

import (
	"flag"
	"fmt"
	"math/rand"
	"os"
	"runtime"
	"testing"
	"time"

	"statusworker/consumer"
)

var (
	histories = flag.Int("histories", 20, "histories")
	seed      = flag.Uint64("seed", 1, "seed")
)

func TestMain(m *testing.M) {
	flag.Parse()
	runtime.GOMAXPROCS(1)
	os.Exit(m.Run())
}

func TestHistories(t *testing.T) {
	began := time.Now()
	for n := range uint64(*histories) {
		s := *seed + n
		rand.Seed(int64(s))
		w := RandomWorld(s, consumer.Schedule, 20)
		var p Plan
		h := run(t, w, newRandom(s, w, 20, &p), os.Getenv("SHOW") != "")
		fmt.Printf("seed=%d steps=%d polls=%d took=%s gap=%.3f slowest=%s hash=%x faults=%v real=%s %v\n", s, h.Steps, h.Polls, h.Took, h.LeastGap, h.Slowest, h.Hash, h.Faults, time.Since(began), h.Violations)
		for _, l := range h.Lines {
			fmt.Println(l)
		}
	}
}
