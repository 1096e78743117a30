package harness

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// envChild makes the test binary play the program under test; see process_test.go.
const envChild = "HARNESS_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(envChild) != "" {
		os.Exit(child())
	}
	os.Exit(Main(m))
}

// child prints two lines, and ends with 7 at a SIGTERM.
func child() int {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	fmt.Println("ready on stdout: " + os.Getenv("GREETING") + os.Getenv("LEAKED"))
	fmt.Fprintln(os.Stderr, "ready on stderr")
	<-signals
	fmt.Print("bye, without a line feed")
	return 7
}

// inProcess is a server in this process, for what needs no container.
func inProcess(t testing.TB) string {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true,
		// The address of nothing, to see whether a client can be led around the proxy.
		ClientAdvertise: "127.0.0.1:1", Cluster: server.ClusterOpts{},
	})
	Check(t, err)
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(readyWithin) {
		t.Fatalf("the embedded server is not ready after %v", readyWithin)
	}
	return "nats://" + s.Addr().String()
}
