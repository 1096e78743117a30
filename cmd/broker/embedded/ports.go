package embedded

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// The ports that [FreePorts] gives lie below the range from which kernels take the ports of outgoing connections and of
// listeners that leave the choice to them (from 32768 on with Linux).
const lowPort, highPort = 20000, 32000

var given = struct {
	sync.Mutex
	ports map[int]bool
}{ports: make(map[int]bool)}

// FreePorts gives n loopback ports on which nothing listens, each once in the life of this process. A server that is
// stopped finds its port free when it starts again: the kernel gives it to nobody in between. It would give away a port
// of its own choice, and a client that dials a server that is away again and again could get that server's own port.
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
	return nil, fmt.Errorf("found %d free ports from %d to %d, want %d", len(free), lowPort, highPort-1, n)
}
