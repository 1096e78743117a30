package overview

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"statusworker/cmd/broker/provisioning"
	"statusworker/schema"
)

const (
	// readAtOnce is how many announcements are read concurrently.
	readAtOnce = 16
	// maxShown is the length in characters to which texts of announcements are cut.
	maxShown = 700
)

// Workers reads the workers of a namespace that are alive, sorted by host. Without the bucket in which they announce
// themselves there are none.
func Workers(ctx context.Context, js jetstream.JetStream, n schema.Namespace) ([]Worker, error) {
	bucket, err := js.Stream(ctx, n.StreamWorkers())
	if provisioning.Absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading stream %s: %w", n.StreamWorkers(), err)
	}
	return alive(ctx, bucket, n)
}

// workers reads the workers that are alive, and the age of the oldest interaction that they polled.
func (t *taking) workers(ctx context.Context) error {
	t.overview.Workers = []Worker{}
	bucket, err := t.stream(ctx, t.names.StreamWorkers())
	if err != nil || bucket == nil {
		return err
	}
	if t.overview.Workers, err = alive(ctx, bucket, t.names); err != nil {
		return err
	}
	for i := range t.overview.Lanes {
		l := &t.overview.Lanes[i]
		for _, w := range t.overview.Workers {
			l.OldestSeconds = max(l.OldestSeconds, w.Oldest[l.Type])
		}
	}
	return nil
}

// alive reads the announcements of the workers that are alive.
func alive(ctx context.Context, bucket jetstream.Stream, n schema.Namespace) ([]Worker, error) {
	info, err := bucket.Info(ctx, jetstream.WithSubjectFilter(n.SubjectsWorkers()))
	if err != nil {
		return nil, fmt.Errorf("reading stream %s: %w", n.StreamWorkers(), err)
	}
	subjects := make([]string, 0, len(info.State.Subjects))
	for s := range info.State.Subjects {
		subjects = append(subjects, s)
	}
	found := make([]*Worker, len(subjects))
	reading, readCtx := errgroup.WithContext(ctx)
	reading.SetLimit(readAtOnce)
	for i, subject := range subjects {
		reading.Go(func() error {
			m, err := bucket.GetLastMsgForSubject(readCtx, subject)
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				return nil // expired or deleted in the meantime
			}
			if err != nil {
				return fmt.Errorf("reading the announcement %s: %w", schema.Quote(subject), err)
			}
			w := readWorker(strings.TrimPrefix(subject, n.WorkerSubject("")), m.Data)
			w.HeardSeconds = seconds(info.TimeStamp.Sub(m.Time))
			found[i] = &w
			return nil
		})
	}
	if err := reading.Wait(); err != nil {
		return nil, err
	}
	workers := []Worker{}
	for _, w := range found {
		if w != nil && w.State != schema.Stopped {
			workers = append(workers, *w)
		}
	}
	slices.SortFunc(workers, func(a, b Worker) int {
		return cmp.Or(cmp.Compare(a.Host, b.Host), a.Started.Compare(b.Started), cmp.Compare(a.Worker, b.Worker))
	})
	return workers, nil
}

// readWorker reads an announcement. It is untrusted input of any client that may publish it.
func readWorker(key string, data []byte) Worker {
	w := Worker{Announcement: schema.Announcement{Worker: plain(key)}}
	if len(data) > schema.MaxAnnouncementBytes {
		w.Problem = fmt.Sprintf("its announcement has %d bytes, allowed are %d", len(data), schema.MaxAnnouncementBytes)
		return w
	}
	var a schema.Announcement
	if err := json.Unmarshal(data, &a); err != nil {
		w.Problem = plain("its announcement is invalid: " + err.Error())
		return w
	}
	if a.State == "" {
		w.Problem = "its announcement has no state"
		return w
	}
	a.Worker, a.Host, a.Version = w.Worker, plain(a.Host), plain(a.Version)
	a.State, a.Cause, a.Detail = schema.WorkerState(plain(string(a.State))), plain(a.Cause), plain(a.Detail)
	for t := range a.Oldest {
		if !t.Valid() {
			delete(a.Oldest, t)
		}
	}
	w.Announcement = a
	return w
}

// plain replaces control characters, and cuts long texts.
func plain(s string) string {
	s = schema.Printable(s)
	if r := []rune(s); len(r) > maxShown {
		return string(r[:maxShown-1]) + "…"
	}
	return s
}

// Readable reports whether the worker's announcement is readable.
func (w Worker) Readable() bool { return w.Problem == "" }
