package embedded

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// The range of [FreePorts]. It is below the range of ephemeral ports, which begins at 32768 on Linux.
const lowPort, highPort = 20000, 32000

var given = struct {
	sync.Mutex
	ports map[int]bool
}{ports: make(map[int]bool)}

// FreePorts returns n loopback ports on which nothing listens. It returns each port at most once per process. The
// kernel does not assign these ports, so a stopped server finds its port free when it starts again. The kernel could
// assign an ephemeral port in between, even to a client that keeps dialling that server.
func FreePorts(n int) ([]int, error) {
	given.Lock()
	defer given.Unlock()
	var free []int
	for range 1000 {
		if len(free) == n {
			return free, nil
		}
		p := lowPort + rand.IntN(highPort-lowPort)
		if given.ports[p] {
			continue
		}
		l, err := net.Listen("tcp", net.JoinHostPort(loopback, strconv.Itoa(p)))
		if err != nil {
			continue
		}
		l.Close()
		given.ports[p] = true
		free = append(free, p)
	}
	return nil, fmt.Errorf("found only %d free ports from %d to %d, need %d", len(free), lowPort, highPort-1, n)
}
