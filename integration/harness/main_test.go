package harness

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// envChild makes the test binary act as a program under test; see process_test.go.
const envChild = "HARNESS_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(envChild) != "" {
		os.Exit(child())
	}
	os.Exit(Main(m))
}

// child prints two lines, and exits with code 7 on SIGTERM.
func child() int {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	fmt.Println("ready on stdout: " + os.Getenv("GREETING") + os.Getenv("LEAKED"))
	fmt.Fprintln(os.Stderr, "ready on stderr")
	<-signals
	fmt.Print("bye, without a line feed")
	return 7
}

// inProcess starts a server in this process, for tests that need no container.
func inProcess(t testing.TB) string {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true,
		// Nothing listens there: a client that bypasses the proxy fails.
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
