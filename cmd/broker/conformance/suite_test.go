// Package conformance_test runs one suite against each implementation of [broker.Broker]: the fake, in a bubble of
// testing/synctest, and the adapter on an embedded NATS server. Cases check the order of events, and minimum durations
// by the broker's clock, but no durations by this machine's clock.
package conformance_test

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"statusworker/cmd/broker/fake"
	"statusworker/schema/broker"
)

// testCase is a behaviour that all brokers share.
type testCase struct {
	name    string
	streams []broker.StreamConfig
	// restarts is true if the case stops its broker, so that it needs one of its own.
	restarts bool
	// single is true if replicated streams behave differently.
	single bool
	// limited is true if the case fills the broker's storage.
	limited bool
	// options are those of the fake. They make frequent what is rare, and allowed, with a real broker.
	options fake.Options
	run     func(*stage)
}

// stage is a broker for one case, with streams and subjects of its own.
type stage struct {
	*testing.T
	broker.Broker
	ctx    context.Context
	prefix string
	// fake is nil for a real broker.
	fake *fake.Broker
	// inCluster is true if the broker is a cluster.
	inCluster bool
	// stop and start stop the broker gracefully and start it again.
	stop, start func()
	// fill fills the broker's storage, and free frees it again.
	fill, free func()
	// forget makes the broker lose the state of a consumer.
	forget func(stream, consumer string)
}

// patience is how long a case waits for something that must happen.
const patience = 30 * time.Second

// onCluster also runs the suite on replicated streams. It takes longer, and many machines are too slow for its servers.
var onCluster = flag.Bool("cluster", false, "also run the suite on replicated streams of three embedded servers")

func TestConformance(t *testing.T) {
	t.Parallel()
	cases := allCases()
	var onFake, onServer atomic.Int64
	t.Run("fake", func(t *testing.T) {
		for i, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { c.run(onTheFake(t, i, c)) })
				onFake.Add(1)
			})
		}
	})
	version := ""
	t.Run("server", func(t *testing.T) {
		shared := newServer(t)
		version = shared.js.Conn().ConnectedServerVersion()
		atOnce(t, cases, func(t *testing.T, i int, c testCase) {
			s := shared
			switch {
			case c.restarts:
				s = newServer(t)
			case c.limited:
				s = newLimitedServer(t)
			}
			c.run(onTheServer(t, s, i, c))
			onServer.Add(1)
		})
	})
	if t.Failed() {
		t.Logf("conformance: %d cases, FAILED", len(cases))
		return
	}
	ok := func(n int64) string {
		if n == int64(len(cases)) {
			return "ok"
		}
		return fmt.Sprintf("ok, %d not run", int64(len(cases))-n)
	}
	t.Logf("conformance: %d cases, fake %s, embedded nats-server v%s %s", len(cases), ok(onFake.Load()), version,
		ok(onServer.Load()))
}

func TestConformanceWithReplicas(t *testing.T) {
	if !*onCluster {
		t.Skip("run with -args -cluster")
	}
	shared := newCluster(t)
	atOnce(t, allCases(), func(t *testing.T, i int, c testCase) {
		if c.restarts || c.single {
			t.Skip("a case for a single server")
		}
		s := shared
		if c.limited {
			s = newLimitedCluster(t)
		}
		c.streams = slices.Clone(c.streams)
		for i := range c.streams {
			c.streams[i].Replicas = 3
		}
		c.run(onTheServer(t, s, i, c))
	})
}

// atOnce runs all cases concurrently. t.Parallel would run only as many as there are processors, and cases mostly wait.
func atOnce(t *testing.T, cases []testCase, run func(*testing.T, int, testCase)) {
	var all sync.WaitGroup
	for i, c := range cases {
		all.Go(func() { t.Run(c.name, func(t *testing.T) { run(t, i, c) }) })
	}
	all.Wait()
}

func allCases() []testCase {
	var all []testCase
	for _, some := range [][]testCase{
		publishCases, batchCases, readCases, scheduleCases, pullCases, consumerCases, restartCases,
	} {
		all = append(all, some...)
	}
	return all
}

// own returns the streams of a case with a prefix that makes their names and subjects unique.
func (c testCase) own(i int) (prefix string, streams []broker.StreamConfig) {
	prefix = fmt.Sprintf("c%02d", i)
	for _, s := range c.streams {
		s.Name = prefix + "_" + s.Name
		s.Subjects = prefixed(prefix, s.Subjects)
		consumers := s.Consumers
		s.Consumers = nil
		for _, of := range consumers {
			if of.Filter != "" {
				of.Filter = prefix + "." + of.Filter
			}
			s.Consumers = append(s.Consumers, of)
		}
		streams = append(streams, s)
	}
	return prefix, streams
}

func prefixed(prefix string, subjects []string) []string {
	var own []string
	for _, s := range subjects {
		own = append(own, prefix+"."+s)
	}
	return own
}

func onTheFake(t *testing.T, i int, c testCase) *stage {
	prefix, streams := c.own(i)
	b := fake.New(c.options, streams...)
	t.Cleanup(b.Close)
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	t.Cleanup(cancel)
	return &stage{T: t, Broker: b, ctx: ctx, prefix: prefix, fake: b, stop: b.Stop, start: b.Start,
		fill: func() { b.SetFull(true) }, free: func() { b.SetFull(false) },
		forget: func(string, string) { b.Crash() }}
}
