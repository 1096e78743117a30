package integration

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/integration/harness"
)

// declareAll adds interactions to the vendor and to the expected outcomes, and publishes their declared messages, which
// the broker must accept.
func (s *scenario) declareAll(interactions []interaction) {
	s.t.Helper()
	for _, i := range interactions {
		s.expect(i)
	}
	work := make(chan interaction)
	errs := make(chan error, len(interactions))
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for i := range work {
				errs <- s.publish(i)
			}
		})
	}
	for _, i := range interactions {
		work <- i
	}
	close(work)
	wg.Wait()
	close(errs)
	for err := range errs {
		harness.Check(s.t, err)
	}
}

// expect adds an interaction to the vendor and to the expected outcomes.
func (s *scenario) expect(i interaction) {
	if i.script != nil {
		s.vendor.Declare(i.identifier, *i.script)
	}
	s.types[i.identifier] = i.typ
	s.want.Add(i.identifier, i.kinds...)
}

// publish publishes a declared message until the broker has stored it. After an attempt without a response, a rejection
// of the next one means that the message is stored.
func (s *scenario) publish(i interaction) error {
	unknown := false
	return harness.Eventually(s.ctx, "the broker to accept "+i.identifier, func(ctx context.Context) error {
		err := s.declare(ctx, i)
		if unknown && isStoredAlready(err) {
			return nil
		}
		unknown = unknown || err != nil && !isStoredAlready(err)
		return err
	})
}

// declare publishes a declared message once.
func (s *scenario) declare(ctx context.Context, i interaction) error {
	bounded, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	_, err := s.js.Publish(bounded, ns.DeclaredSubject(i.typ, i.identifier), i.declaration())
	return err
}

// isStoredAlready reports whether err is the rejection of a declared message because one is stored on its subject.
func isStoredAlready(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == 10077
}

// end lets the interactions of [endless] end at the vendor, within two seconds.
func (s *scenario) end(all []interaction) {
	for n, i := range all {
		s.vendor.Declare(i.identifier, i.end(2*time.Second*time.Duration(n)/time.Duration(len(all))))
	}
}
