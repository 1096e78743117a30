package admin

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sirupsen/logrus"
	"golang.org/x/sync/singleflight"

	"statusworker/cmd/broker/permission"
	"statusworker/cmd/broker/provisioning"
	"statusworker/cmd/internal/advice"
	"statusworker/cmd/internal/patience"
	"statusworker/cmd/overview"
	"statusworker/consumer"
)

// fleet is what one worker tells for all: what waits with the broker. The one whose key comes first looks, every
// quarter of a minute, so that it costs the broker the same for one worker and for a hundred.
type fleet struct {
	worker    *consumer.Worker
	inspector *overview.Inspector
	log       logrus.FieldLogger
	looking   singleflight.Group
	last      atomic.Pointer[looked]
	stop      context.CancelFunc
	stopped   chan struct{}
}

type looked struct {
	overview overview.Overview
	at       time.Time
}

const (
	lookEvery = 15 * time.Second
	// lookTimeout is how long nothing may come from the broker.
	lookTimeout = 5 * time.Second
	// lookAgain is when a look is made again that lacked a right: the log hears of each.
	lookAgain = 5 * time.Minute
	// lookAge is how long a look is good for: a worker that is not the first any more, or cannot look, tells nothing.
	lookAge = 40 * time.Second
	// firstTry is how often a worker that has just started asks whether it is the first.
	firstTry = time.Second
)

func newFleet(worker *consumer.Worker, js jetstream.JetStream, log logrus.FieldLogger) *fleet {
	ctx, stop := context.WithCancel(context.Background())
	f := &fleet{
		worker:    worker,
		inspector: overview.New(permission.Wrap(js, patience.Guarded(js.Conn())), time.Now),
		log:       log,
		stop:      stop,
		stopped:   make(chan struct{}),
	}
	go func() {
		defer close(f.stopped)
		f.keep(ctx)
	}()
	return f
}

// keep looks again and again while this worker is the first.
func (f *fleet) keep(ctx context.Context) {
	timer := time.NewTimer(firstTry)
	defer timer.Stop()
	var known provisioning.Report
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		timer.Reset(firstTry)
		if f.worker.First() {
			// Trouble shows: what was told last is gone soon, and the connection has measures of its own.
			l, err := f.look(ctx, 0)
			timer.Reset(pause(err))
			if err == nil {
				f.complain(known, l.overview.Report)
				known = l.overview.Report
			}
		}
	}
}

// complain logs what a look has found, and the one before had not.
func (f *fleet) complain(before, now provisioning.Report) {
	for _, one := range now.Foreign {
		if slices.ContainsFunc(before.Foreign, func(b provisioning.Foreign) bool { return b.Stream == one.Stream }) {
			continue
		}
		f.log.WithFields(logrus.Fields{"stream": one.Stream, "consumers": one.Consumers}).
			Error("foreign consumer takes messages away")
	}
	for _, one := range now.Undelivered {
		known := func(b provisioning.Undelivered) bool { return b.Stream == one.Stream && b.Consumer == one.Consumer }
		if slices.ContainsFunc(before.Undelivered, known) {
			continue
		}
		f.log.WithFields(logrus.Fields{
			"stream": one.Stream, "consumer": one.Consumer, "sequence": one.Sequence, "stored": one.Stored,
			"command": advice.UpdateCommand(f.worker.Mode(), consumer.Config{}),
		}).Error("stored messages are not delivered")
	}
}

// pause is how long after a look the next one comes.
func pause(err error) time.Duration {
	if errors.Is(err, nats.ErrPermissionViolation) {
		return lookAgain
	}
	return lookEvery
}

// look gives an overview that is no older than some time. All that ask meanwhile get the same.
func (f *fleet) look(ctx context.Context, age time.Duration) (*looked, error) {
	l, err, _ := f.looking.Do("", func() (any, error) {
		if l := f.last.Load(); l != nil && time.Since(l.at) <= age {
			return l, nil
		}
		ctx, cancel := patience.WithTimeout(ctx, lookTimeout)
		defer cancel()
		s, err := f.inspector.Look(ctx)
		if err != nil {
			return nil, err
		}
		s.Advice = advice.Overview(s)
		l := &looked{s, time.Now()}
		f.last.Store(l)
		return l, nil
	})
	if err != nil {
		return nil, err
	}
	return l.(*looked), nil
}

// lately is the last look of the first worker, where it is still good. What others have looked at because they were
// asked is not told to Prometheus, where it would be there twice.
func (f *fleet) lately() *overview.Overview {
	if l := f.last.Load(); l != nil && time.Since(l.at) < lookAge && f.worker.First() {
		return &l.overview
	}
	return nil
}

func (f *fleet) close() {
	f.stop()
	<-f.stopped
}

// statusz is an overview as `statusworker status -o json` gives it, without the outcomes, for which a worker has no
// rights.
type statusz struct {
	overview.Overview
	Outcomes *overview.Outcomes `json:"outcomes,omitempty"`
}

// serve answers with an overview. Whoever asks too often gets the last one.
func (f *fleet) serve(w http.ResponseWriter, r *http.Request) {
	const freshFor = 2 * time.Second
	l, err := f.look(context.WithoutCancel(r.Context()), freshFor) // others may wait for it
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(statusz{Overview: l.overview}) // who asked may have gone
}
