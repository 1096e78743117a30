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

// fleetReporter takes the overviews that one worker reports for all. The worker whose key is first inspects the broker,
// so that the cost for the broker does not depend on the number of workers.
type fleetReporter struct {
	worker     *consumer.Worker
	inspector  *overview.Inspector
	every      time.Duration // how often the first worker inspects the broker
	log        logrus.FieldLogger
	inspecting singleflight.Group
	last       atomic.Pointer[inspected]
	stop       context.CancelFunc
	stopped    chan struct{}
}

type inspected struct {
	overview overview.Overview
	at       time.Time
}

const (
	inspectEvery = 15 * time.Second
	// inspectTimeout is how long the broker may send nothing.
	inspectTimeout = 5 * time.Second
	// deniedPause is the pause after an inspection that lacked a permission, because the server logs each violation.
	deniedPause = 5 * time.Minute
	// maxAge is the age up to which an overview is reported. A worker that is no longer the first, or cannot inspect
	// the broker, reports nothing.
	maxAge = 40 * time.Second
	// checkFirst is how often a worker checks whether it is the first.
	checkFirst = time.Second
)

// newFleetReporter starts a goroutine, which close ends.
func newFleetReporter(
	worker *consumer.Worker, js jetstream.JetStream, every time.Duration, log logrus.FieldLogger,
) *fleetReporter {
	ctx, stop := context.WithCancel(context.Background())
	f := &fleetReporter{
		worker:    worker,
		inspector: overview.New(permission.Wrap(js, patience.Guarded(js.Conn())), worker.Namespace(), time.Now),
		every:     every,
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

// keep inspects the broker repeatedly while this worker is the first.
func (f *fleetReporter) keep(ctx context.Context) {
	check := min(checkFirst, f.every)
	timer := time.NewTimer(check)
	defer timer.Stop()
	var known overview.Overview
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		timer.Reset(check)
		if f.worker.First() {
			// Errors show in the metrics: the overview expires, and the connection has metrics of its own.
			l, err := f.inspect(ctx, 0)
			timer.Reset(pause(f.every, err))
			if err == nil {
				f.logNew(known, l.overview)
				known = l.overview
			}
		}
	}
}

// logNew logs the problems of an inspection that the one before it did not have.
func (f *fleetReporter) logNew(before, now overview.Overview) {
	if len(now.Denied) > 0 && !slices.Equal(before.Denied, now.Denied) {
		f.log.WithField("subjects", now.Denied).
			Warn("permission missing; no metric shows whether consumers of outcomes keep up")
	}
	for _, one := range now.Foreign {
		if slices.ContainsFunc(before.Foreign, func(b provisioning.Foreign) bool { return b.Stream == one.Stream }) {
			continue
		}
		f.log.WithFields(logrus.Fields{"stream": one.Stream, "consumers": one.Consumers}).
			Error("work queue has foreign consumers; no worker gets the messages that they take")
	}
	for _, one := range now.Undelivered {
		known := func(b provisioning.Undelivered) bool { return b.Stream == one.Stream && b.Consumer == one.Consumer }
		if slices.ContainsFunc(before.Undelivered, known) {
			continue
		}
		update := advice.UpdateCommand(f.worker.Mode(), consumer.Config{Namespace: f.worker.Namespace()})
		f.log.WithFields(logrus.Fields{
			"stream": one.Stream, "consumer": one.Consumer, "sequence": one.Sequence, "stored": one.Stored,
			"advice": advice.Undelivered(f.worker.Mode(), update),
		}).Error("consumer does not deliver stored messages")
	}
}

// pause returns the pause after an inspection that ended with err.
func pause(every time.Duration, err error) time.Duration {
	if errors.Is(err, nats.ErrPermissionViolation) {
		return deniedPause
	}
	return every
}

// inspect returns an overview that is no older than age. Concurrent calls share one inspection.
func (f *fleetReporter) inspect(ctx context.Context, age time.Duration) (*inspected, error) {
	l, err, _ := f.inspecting.Do("", func() (any, error) {
		if l := f.last.Load(); l != nil && time.Since(l.at) <= age {
			return l, nil
		}
		ctx, cancel := patience.WithTimeout(ctx, inspectTimeout)
		defer cancel()
		o, err := f.inspector.TakeWithoutOutcomes(ctx)
		if err != nil {
			return nil, err
		}
		o.Advice = advice.Overview(o)
		l := &inspected{o, time.Now()}
		f.last.Store(l)
		return l, nil
	})
	if err != nil {
		return nil, err
	}
	return l.(*inspected), nil
}

// current returns the last overview of the first worker, or nil if it has expired. Other workers return nil even after
// a request for an overview, so that Prometheus does not scrape the metrics of the fleet twice.
func (f *fleetReporter) current() *overview.Overview {
	if l := f.last.Load(); l != nil && time.Since(l.at) < maxAge && f.worker.First() {
		return &l.overview
	}
	return nil
}

// close ends the goroutine, and waits until an inspection in progress has ended.
func (f *fleetReporter) close() {
	f.stop()
	<-f.stopped
}

// statusz is an overview as `statusworker status -o json` prints it, without the outcomes: a worker has no permission
// to count them.
type statusz struct {
	overview.Overview
	Outcomes *overview.Outcomes `json:"outcomes,omitempty"`
}

// serve answers with an overview, at most two seconds old.
func (f *fleetReporter) serve(w http.ResponseWriter, r *http.Request) {
	const freshFor = 2 * time.Second
	l, err := f.inspect(context.WithoutCancel(r.Context()), freshFor) // other requests may share the inspection
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(statusz{Overview: l.overview}) // fails only if the client has disconnected
}
