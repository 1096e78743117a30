package consumer_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/consumer"
	"statusworker/consumer/breaker"
	"statusworker/integration/stage"
	"statusworker/schema"
	"statusworker/statusclient"
	"statusworker/statusclient/simulator"
)

// announcements are what the workers say of themselves now, by their keys.
func (s *testStage) announcements() map[string]schema.Announcement {
	s.T.Helper()
	all := map[string]schema.Announcement{}
	bucket, err := s.JS.KeyValue(s.Ctx, schema.BucketWorkers)
	if err != nil {
		s.T.Fatal(err)
	}
	keys, err := bucket.Keys(s.Ctx)
	if errors.Is(err, jetstream.ErrNoKeysFound) {
		return all
	}
	if err != nil {
		s.T.Fatal(err)
	}
	for _, key := range keys {
		entry, err := bucket.Get(s.Ctx, key)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			continue // it has just faded
		}
		if err != nil {
			s.T.Fatal(err)
		}
		var a schema.Announcement
		if err := json.Unmarshal(entry.Value(), &a); err != nil {
			s.T.Fatalf("%s: %v", entry.Value(), err)
		}
		if a.Worker != key {
			s.T.Errorf("worker %q announces itself as %q", a.Worker, key)
		}
		all[key] = a
	}
	return all
}

// announced waits until what the workers say is as wanted.
func (s *testStage) announced(
	within time.Duration,
	why string,
	wanted func(map[string]schema.Announcement) bool,
) map[string]schema.Announcement {
	s.T.Helper()
	over := time.After(within)
	for {
		all := s.announcements()
		if wanted(all) {
			return all
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-over:
			s.T.Fatalf("%s: after %s the workers say %+v", why, within, all)
		}
	}
}

func states(all map[string]schema.Announcement, state schema.WorkerState) (n int) {
	for _, a := range all {
		if a.State == state {
			n++
		}
	}
	return n
}

// The bucket that provision makes is one for NATS's own tools as well; a worker is in it while it lives.
func TestWorkersAnnounceThemselves(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode consumer.Mode) {
		s := newStage(t, mode, func(c *consumer.Config) { c.Host, c.Version = "a-host", "v1.2.3" })
		s.Declare(schema.Chat, simulator.Never())
		first, second := s.Start(), s.Start()
		all := s.announced(
			10*time.Second,
			"two workers",
			func(all map[string]schema.Announcement) bool { return states(all, schema.Working) == 2 },
		)
		for _, a := range all {
			if a.Host != "a-host" || a.Version != "v1.2.3" || a.Cause != "" || a.Until != nil || a.RateLimit != 0 ||
				a.Share != 0 ||
				a.At.Before(a.Started) {
				t.Errorf("it says %+v", a)
			}
		}
		s.announced(15*time.Second, "who polls says so", func(all map[string]schema.Announcement) bool {
			return slices.ContainsFunc(values(all), func(a schema.Announcement) bool {
				return a.Polls > 2 && a.PollsPerSecond > 0 && a.Oldest[schema.Chat] > 1
			})
		})

		s.Vendor.SetFaults(simulator.Refusal(http.StatusUnauthorized))
		all = s.announced(
			20*time.Second,
			"a worker that rests says why",
			func(all map[string]schema.Announcement) bool {
				return states(all, schema.Paused)+states(all, schema.Probing) > 0
			},
		)
		for _, a := range all {
			if a.State != schema.Working &&
				(a.Cause != string(breaker.Unauthorized) || a.Until == nil || a.Detail == "") {
				t.Errorf("it says %+v, want why, until when, and what the vendor said", a)
			}
		}
		first.Stop()
		second.Kill() // as a crash: it says nothing any more
		s.announced(
			5*time.Second,
			"who stops says so",
			func(all map[string]schema.Announcement) bool { return states(all, schema.Stopped) == 1 },
		)
		s.announced(
			20*time.Second,
			"who is dead fades",
			func(all map[string]schema.Announcement) bool { return len(all) == 0 },
		)
	})
}

func values(all map[string]schema.Announcement) []schema.Announcement {
	var vs []schema.Announcement
	for _, a := range all {
		vs = append(vs, a)
	}
	return vs
}

// However many workers there are, and while they come and go: no more requests than the rate limit. One that dies gives
// its share back, and the others take it.
func TestRateLimitHoldsForTheFleet(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode consumer.Mode) {
		const limiter = 20.0
		s := newStage(t, mode, func(c *consumer.Config) { c.MaxPollsPerSecond = limiter })
		for range 40 { // four times as many are due as the rate limit allows, or with naks a third more
			s.Declare(schema.Chat, simulator.Never())
		}
		shares := func(want float64, n int) func(map[string]schema.Announcement) bool {
			return func(all map[string]schema.Announcement) bool {
				got := 0
				for _, a := range all {
					if a.State != schema.Stopped && a.Share > want*0.99 && a.Share < want*1.01 {
						got++
					}
				}
				return got == n
			}
		}
		const workers = 3
		var running []*stage.Worker
		for range workers {
			running = append(running, s.Start())
		}
		s.announced(20*time.Second, "three shares", shares(limiter/3, 3))
		began := s.Vendor.Count()
		s.WaitPolls(began + 60)

		// Another joins.
		running = append(running, s.Start())
		s.announced(20*time.Second, "four shares", shares(limiter/4, 4))

		// Two die without a word. What they had is taken within 15 s of it.
		for _, r := range running[:2] {
			r.Kill()
		}
		s.announced(15*time.Second, "two shares", shares(limiter/2, 2))
		s.WaitPolls(s.Vendor.Count() + 60)

		// Each worker may have one poll more than its share in any time, and some come to the vendor later than others.
		polls := s.Vendor.Polls()
		slices.SortFunc(polls, func(a, b simulator.Poll) int { return a.At.Compare(b.At) })
		const window = 3 * time.Second
		const most = limiter*3.2 + workers + 1
		for i, last := 0, 0; last < len(polls); last++ {
			for polls[last].At.Sub(polls[i].At) > window {
				i++
			}
			if n := last - i + 1; float64(n) > most {
				t.Fatalf("%d polls within %s, want at most %v", n, window, most)
			}
		}
		s.CheckIntervals()
		// Nobody was given a message a second time because AckWait ran out: it would be polled too early with naks, and
		// refused a reservation otherwise.
		for _, r := range running[2:] {
			if stats := r.Stats(); stats.Faults != 0 || stats.RefusedReservations != 0 {
				t.Errorf("%d faults, %d refused reservations", stats.Faults, stats.RefusedReservations)
			}
		}
	})
}

// A worker that cannot read the bucket keeps its share, and goes on.
func TestRateLimitWithoutItsBucket(t *testing.T) {
	t.Parallel()
	s := newStage(t, consumer.Schedule, func(c *consumer.Config) { c.MaxPollsPerSecond = 20 })
	for range 10 {
		s.Declare(schema.Chat, simulator.Never())
	}
	s.Start()
	s.WaitPolls(5)
	if err := s.JS.DeleteStream(s.Ctx, schema.StreamWorkers); err != nil {
		t.Fatal(err)
	}
	s.WaitPolls(s.Vendor.Count() + 100) // some five seconds: more than one announcement has failed
	s.CheckIntervals()
}

// A rate limit far below what is due: whoever waits too long is handed back, nobody is polled too early, all end.
func TestSmallRateLimit(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode consumer.Mode) {
		s := newStage(t, mode, func(c *consumer.Config) { c.MaxPollsPerSecond, c.Concurrency = 1, 8 })
		const n = 9
		for i := range n {
			id := uuid.NewString()
			s.Vendor.Declare(id, simulator.Processed(0))
			typ := schema.Types()[i%2+1]
			s.DeclareAs(typ, id)
		}
		s.Start()
		got := s.WaitOutcomes(n)
		s.WaitDrained()
		if len(got) != n || s.Vendor.Count() != n {
			t.Errorf("%d outcomes of %d polls, want %d of each", len(got), s.Vendor.Count(), n)
		}
	})
}

// A revoked token makes the worker rest; the new one in its file, swapped in as Kubernetes does, is used by itself.
func TestTokenRotation(t *testing.T) {
	t.Parallel()
	s := newStage(t, consumer.Schedule, nil)
	const old, renewed = simulator.DefaultToken, "11111111-5157-4a75-8000-000000000000"
	dir := t.TempDir()
	write := func(version, token string) {
		t.Helper()
		folder := filepath.Join(dir, version)
		if err := errors.Join(
			os.Mkdir(folder, 0o700),
			os.WriteFile(filepath.Join(folder, "token"), []byte(token+"\n"), 0o600),
			os.Symlink(
				version,
				filepath.Join(dir, "..new"),
			),
			os.Rename(filepath.Join(dir, "..new"), filepath.Join(dir, "..data")),
		); err != nil {
			t.Fatal(err)
		}
	}
	write("..v1", old)
	if err := os.Symlink(filepath.Join("..data", "token"), filepath.Join(dir, "token")); err != nil {
		t.Fatal(err)
	}
	client, err := statusclient.New(
		statusclient.Config{BaseURL: s.Vendor.URL(), TokenFile: filepath.Join(dir, "token")},
	)
	if err != nil {
		t.Fatal(err)
	}
	r := s.Start(stage.Ports{Client: client})
	const n = 12
	declare := func() {
		for range n {
			s.Declare(schema.Chat, simulator.Processed(time.Second))
		}
	}
	declare()
	s.WaitOutcomes(n)
	s.Vendor.SetToken(renewed)
	declare()
	rests := func(why string, is func(breaker.State) bool) breaker.State {
		t.Helper()
		for {
			if now := r.Breaker(); is(now) {
				return now
			}
			select {
			case <-time.After(10 * time.Millisecond):
			case <-s.Ctx.Done():
				t.Fatalf("%s: %+v", why, r.Breaker())
			}
		}
	}
	first := rests("the worker does not rest", func(now breaker.State) bool { return now.State != schema.Working })
	if first.Cause != breaker.Unauthorized {
		t.Errorf("it rests because of %q", first.Cause)
	}
	// All that was out has come in when a probe has been refused.
	rests("no probe was refused", func(now breaker.State) bool {
		return now.State == schema.Paused && now.Until.Sub(first.Until) > time.Second
	})
	write("..v2", renewed)
	before := s.refusals()
	for _, o := range s.WaitOutcomes(2 * n) {
		if o.Data.Reason != "" {
			t.Errorf("dead letter %s: %s", o.Subject, o.Data.Detail)
		}
	}
	if more := s.refusals() - before; more != 0 {
		t.Errorf("%d polls were refused after the file had changed, want none", more)
	}
	if r.Breaker().State != schema.Working {
		t.Errorf("it still rests: %+v", r.Breaker())
	}
}

func (s *testStage) refusals() int { return s.Vendor.Counts().Codes[http.StatusUnauthorized] }

// What is out when a rest begins is not due again before it is over.
func TestWaitingUntilThePauseIsOver(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode consumer.Mode) {
		s := newStage(t, mode, nil)
		const n, wait = 5, 4 * time.Second
		var ids []string
		for range n {
			ids = append(ids, s.Declare(schema.Chat, simulator.Processed(0).With(simulator.Throttle(wait).On(1, 1))))
		}
		s.Start()
		s.WaitOutcomes(n)
		for _, id := range ids {
			polls := s.Vendor.PollsOf(id)
			if len(polls) != 2 {
				t.Errorf("%s was polled %d times, want twice", id, len(polls))
				continue
			}
			if gap := polls[1].At.Sub(polls[0].At); gap < wait {
				t.Errorf("%s was polled again after %s, the vendor asked for %s", id, gap, wait)
			}
		}
	})
}
