package admin

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/consumer"
	"statusworker/consumer/survey"
)

// fleet is what one worker tells for all: what waits with the broker. The one whose key comes first looks, every quarter of
// a minute, so that it costs the broker the same for one worker and for a hundred.
type fleet struct {
	surveyor *survey.Surveyor
	nc       *nats.Conn
	last     atomic.Pointer[looked]
	stop     context.CancelFunc
	stopped  chan struct{}
}

type looked struct {
	survey survey.Survey
	at     time.Time
}

const (
	lookEvery   = 15 * time.Second
	lookTimeout = 5 * time.Second
	// lookAge is how long a look is good for: a worker that is not the first any more, or cannot look, tells nothing.
	lookAge = 40 * time.Second
	// firstTry is how often a worker that has just started asks whether it is the first.
	firstTry = time.Second
)

func newFleet(worker *consumer.Worker, js jetstream.JetStream) *fleet {
	ctx, stop := context.WithCancel(context.Background())
	f := &fleet{surveyor: survey.New(js, time.Now), nc: js.Conn(), stop: stop, stopped: make(chan struct{})}
	go func() {
		defer close(f.stopped)
		f.keep(ctx, worker)
	}()
	return f
}

// keep looks again and again while this worker is the first.
func (f *fleet) keep(ctx context.Context, worker *consumer.Worker) {
	timer := time.NewTimer(firstTry)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		timer.Reset(firstTry)
		if worker.First() {
			// Trouble shows: what was told last is gone soon, and the connection has measures of its own.
			s, err := f.look(ctx)
			if err == nil {
				f.last.Store(&looked{s, time.Now()})
			} else if errors.Is(f.nc.LastError(), nats.ErrPermissionViolation) {
				return // the log has heard of it; it would hear of it again each time
			}
			timer.Reset(lookEvery)
		}
	}
}

func (f *fleet) look(ctx context.Context) (survey.Survey, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	return f.surveyor.Look(ctx)
}

// lately is the last look, where it is still good.
func (f *fleet) lately() *survey.Survey {
	if l := f.last.Load(); l != nil && time.Since(l.at) < lookAge {
		return &l.survey
	}
	return nil
}

func (f *fleet) close() {
	f.stop()
	<-f.stopped
}

// statusz is a survey as `statusworker status -o json` gives it, without the outcomes, for which a worker has no rights.
type statusz struct {
	survey.Survey
	Outcomes *survey.Outcomes `json:"outcomes,omitempty"`
}

// serve answers with a survey. Whoever asks too often gets the last one.
func (f *fleet) serve(w http.ResponseWriter, r *http.Request) {
	const freshFor = 2 * time.Second
	l := f.last.Load()
	if l == nil || time.Since(l.at) > freshFor {
		s, err := f.look(r.Context())
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		l = &looked{s, time.Now()}
		f.last.Store(l)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(statusz{Survey: l.survey}) // who asked may have gone
}
