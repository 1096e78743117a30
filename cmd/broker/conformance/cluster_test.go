package conformance_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/adapter"
	"statusworker/cmd/broker/embedded"
	"statusworker/schema/broker"
)

// Two publishes to one subject are in progress on a replicated stream at the same time. If their conditions have the
// same filter, one of them is rejected. If they have different ones, the stream may store both.
func TestConditionsInProgress(t *testing.T) {
	if testing.Short() {
		t.Skip("starts NATS servers")
	}
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	one, other := clusterOfThree(ctx, t)
	both := func(filters ...string) (stored int) {
		for n := range 200 {
			id := fmt.Sprintf("%s-%d", filters[1], n)
			var errs [2]error
			var wg sync.WaitGroup
			for i, b := range []*adapter.Broker{one, other} {
				wg.Go(func() {
					_, errs[i] = b.Publish(ctx, broker.Publication{
						Subject: "a.hold.chat." + id, If: broker.Condition{Subjects: filters[i] + id},
					})
				})
			}
			wg.Wait()
			accepted := 0
			for _, err := range errs {
				switch {
				case err == nil:
					accepted++
				case !errors.Is(err, broker.ErrRejected):
					t.Fatal(err)
				}
			}
			if accepted == 2 {
				stored++
			}
		}
		return stored
	}
	same, different := both("a.*.*.", "a.*.*."), both("a.*.*.", "a.hold.*.")
	t.Logf("pairs=200 both_stored_with_one_filter=%d both_stored_with_two_filters=%d", same, different)
	if same > 0 {
		t.Errorf("%d of 200 pairs with the same filter were both stored", same)
	}
}

// clusterOfThree returns two connections to a cluster with a stream of three replicas.
func clusterOfThree(ctx context.Context, t *testing.T) (one, other *adapter.Broker) {
	t.Helper()
	routes, err := embedded.FreePorts(3)
	if err != nil {
		t.Fatal(err)
	}
	var url string
	for i, route := range routes {
		s, err := embedded.StartNode(t.TempDir(), embedded.Node{
			Name: "n" + strconv.Itoa(i), Route: route, Routes: routes,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Stop)
		url = s.URL()
	}
	connect := func() jetstream.JetStream {
		nc, err := nats.Connect(url)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		return js
	}
	js := connect()
	for {
		attempt, cancel := context.WithTimeout(ctx, 2*time.Second)
		_, err := js.CreateStream(attempt, jetstream.StreamConfig{
			Name: "S", Subjects: []string{"a.>"}, Replicas: 3, MaxMsgsPerSubject: 1,
		})
		cancel()
		if err == nil {
			return adapter.New(js), adapter.New(connect())
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}
