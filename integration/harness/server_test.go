package harness

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// TestServerSurvivesKill kills and restarts a broker several times. It keeps its messages and its address, and an
// oracle and a connection from before continue.
func TestServerSurvivesKill(t *testing.T) {
	t.Parallel()
	began := time.Now()
	s := StartServer(t)
	t.Logf("started after %v", time.Since(began))
	js := JetStream(t, s.URL)
	outcomeStream(t, js, 1)
	o := StartOracle(t, s.URL)
	want := Expected{}
	ctx := Context(t, time.Minute)
	ends := []func(context.Context) error{s.Kill, s.Kill, s.Stop}
	for i, end := range ends {
		want.Add(id(i), "processed.cxai")
		publish(t, js, "processed.cxai", id(i))
		Check(t, end(ctx))
		if nc, err := nats.Connect(s.URL, nats.Timeout(time.Second)); err == nil {
			nc.Close()
			t.Fatal("the server answers after it has exited")
		}
		began := time.Now()
		Check(t, s.Start(ctx))
		t.Logf("restarted after %v", time.Since(began))
		Check(t, Eventually(ctx, "the reconnect", func(ctx context.Context) error {
			stream, err := js.Stream(ctx, "INTERACTIONS_OUTCOMES")
			if err == nil && stream.CachedInfo().State.Msgs != uint64(i+1) {
				err = fmt.Errorf("%d messages are stored, want %d", stream.CachedInfo().State.Msgs, i+1)
			}
			return err
		}))
	}
	want.Add(id(9), "processed.cxai")
	publish(t, js, "processed.cxai", id(9))
	Check(t, o.Await(ctx, want))
	r, err := o.Report(ctx, want)
	Check(t, err)
	Check(t, r.Err())
	log, err := s.Log(ctx)
	if err != nil || strings.Count(log, "Server is ready") != len(ends)+1 {
		t.Errorf("the log does not show %d starts (%v):\n%s", len(ends)+1, err, log)
	}
}

// TestServerConfiguration adds configuration: users.
func TestServerConfiguration(t *testing.T) {
	s := StartServer(t, `authorization { users: [ { user: worker, password: secret } ] }`)
	if _, err := nats.Connect(s.URL); err == nil {
		t.Error("connected without a password")
	}
	_, err := JetStream(t, s.URL, nats.UserInfo("worker", "secret")).AccountInfo(Context(t, readyWithin))
	Check(t, err)
}

// TestClusterSurvives kills the leader of a replicated stream, and lets leaders step down.
func TestClusterSurvives(t *testing.T) {
	t.Parallel()
	began := time.Now()
	c := StartCluster(t)
	t.Logf("started after %v", time.Since(began))
	ctx := Context(t, 2*time.Minute)
	js := JetStream(t, c.URLs())
	outcomeStream(t, js, 3)
	stream, err := js.Stream(ctx, "INTERACTIONS_OUTCOMES")
	Check(t, err)
	_, err = stream.CreateConsumer(
		ctx,
		jetstream.ConsumerConfig{Durable: "reader", AckPolicy: jetstream.AckExplicitPolicy},
	)
	Check(t, err)
	Check(t, c.AwaitCurrent(ctx))
	o := StartOracle(t, c.URLs())
	want := Expected{}
	store := func(n int) {
		t.Helper()
		want.Add(id(n), "processed.cxai")
		Check(t, Eventually(ctx, "a publish ack", func(ctx context.Context) error {
			return try(ctx, time.Second, func(ctx context.Context) error {
				_, err := js.Publish(ctx, "interactions.processed.cxai."+id(n), nil, jetstream.WithMsgID(id(n)))
				return err
			})
		}))
	}
	store(1)
	for n := 2; n <= 3; n++ {
		began := time.Now()
		leader, err := c.Leader(ctx, "INTERACTIONS_OUTCOMES")
		Check(t, err)
		Check(t, c.Nodes[leader].Kill(ctx))
		Check(t, c.AwaitLeaders(ctx))
		after, err := c.Leader(ctx, "INTERACTIONS_OUTCOMES")
		Check(t, err)
		if after == leader {
			t.Errorf("node %d leads after it was killed", leader)
		}
		t.Logf("another leader after %v", time.Since(began))
		store(n)
		began = time.Now()
		Check(t, c.Nodes[leader].Start(ctx))
		Check(t, c.AwaitCurrent(ctx))
		t.Logf("three replicas after another %v", time.Since(began))
	}
	before, err := c.Leader(ctx, "INTERACTIONS_OUTCOMES")
	Check(t, err)
	began = time.Now()
	Check(t, c.StepDown(ctx, "INTERACTIONS_OUTCOMES"))
	Check(t, c.StepDownConsumer(ctx, "INTERACTIONS_OUTCOMES", "reader"))
	t.Logf("stepped down twice in %v", time.Since(began))
	if after, err := c.Leader(ctx, "INTERACTIONS_OUTCOMES"); err != nil || after == before {
		t.Errorf("node %d still leads (%v)", after, err)
	}
	store(4)
	Check(t, o.Await(ctx, want))
	r, err := o.Report(ctx, want)
	Check(t, err)
	Check(t, r.Err())
}

// TestReaper kills a test process, which then cannot clean up.
func TestReaper(t *testing.T) {
	RequireEngine(t)
	ctx := Context(t, time.Minute)
	victim := StartProcess(
		t,
		"test process",
		testBinary(t),
		[]string{envOrphan + "=1"},
		"-test.run=^TestOrphan$",
		"-test.v",
	)
	line, err := victim.AwaitLine(ctx, `orphan: `)
	Check(t, err)
	run := line[strings.Index(line, "orphan: ")+len("orphan: "):]
	left := func(ctx context.Context) (int, error) {
		provider, err := engine()
		if err != nil {
			return 0, err
		}
		list, err := provider.Client().ContainerList(ctx, client.ContainerListOptions{
			All: true, Filters: make(client.Filters).Add("label", labelRun+"="+run)})
		return len(list.Items), err
	}
	if n, err := left(ctx); err != nil || n != 1 {
		t.Fatalf("the test process has %d containers (%v), want 1", n, err)
	}
	victim.Kill()
	Check(t, Eventually(ctx, "the reaper", func(ctx context.Context) error {
		n, err := left(ctx)
		if err == nil && n > 0 {
			err = fmt.Errorf("%d containers are left", n)
		}
		return err
	}))
}

// envOrphan makes [TestOrphan] start a server and wait until it is killed.
const envOrphan = "HARNESS_TEST_ORPHAN"

func TestOrphan(t *testing.T) {
	if os.Getenv(envOrphan) == "" {
		return // TestReaper runs it in a process of its own
	}
	StartServer(t)
	fmt.Println("orphan: " + runName())
	<-t.Context().Done()
}
