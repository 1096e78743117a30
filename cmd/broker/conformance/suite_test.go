// Package conformance_test runs one suite over everything that implements [broker.Broker]: the fake, in a bubble of
// testing/synctest, and the adapter on an embedded NATS server. What a case asserts holds for both. It asserts no time
// that this machine shows: only orders, and least distances by the broker's own clock.
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

// testCase is one thing that both brokers do.
type testCase struct {
	name    string
	streams []broker.StreamConfig
	// restarts says that the case stops its broker, which it therefore has for itself.
	restarts bool
	// single says that replicated streams behave otherwise.
	single bool
	// limited says that the case fills the broker's storage.
	limited bool
	// options are the fake's. What they make frequent is rare with a real broker, and allowed.
	options fake.Options
	run     func(*stage)
}

// stage is a broker for one case. Names of streams and subjects are the case's own.
type stage struct {
	*testing.T
	broker.Broker
	ctx    context.Context
	prefix string
	// fake is nil where the broker is real.
	fake *fake.Broker
	// stop and start stop the broker in good order and start it again.
	stop, start func()
	// fill fills the broker's storage, and free makes room again.
	fill, free func()
	// forget makes the broker forget the state of a consumer.
	forget func(stream, consumer string)
}

// patience is how long a case waits for what must come.
const patience = 30 * time.Second

// onCluster runs the suite on replicated streams as well. It takes longer, and servers for which many machines are too
// slow.
var onCluster = flag.Bool("cluster", false, "run the suite on replicated streams of three embedded servers, too")

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

func TestConformanceOfReplicatedStreams(t *testing.T) {
	if !*onCluster {
		t.Skip("asked for with -args -cluster")
	}
	shared := newCluster(t)
	atOnce(t, allCases(), func(t *testing.T, i int, c testCase) {
		if c.restarts || c.single {
			t.Skip("it is about one server")
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

// atOnce runs all cases at the same time, however many processors there are, because a case waits most of the time:
// t.Parallel would run a few.
func atOnce(t *testing.T, cases []testCase, run func(*testing.T, int, testCase)) {
	var all sync.WaitGroup
	for i, c := range cases {
		all.Go(func() { t.Run(c.name, func(t *testing.T) { run(t, i, c) }) })
	}
	all.Wait()
}

func allCases() []testCase {
	var all []testCase
	for _, some := range [][]testCase{publishCases, readCases, scheduleCases, pullCases, consumerCases, restartCases} {
		all = append(all, some...)
	}
	return all
}

// own gives the streams of a case names and subjects of its own.
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
