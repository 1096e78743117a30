package consumer

import (
	"context"
	"errors"

	"github.com/sirupsen/logrus"

	"statusworker/consumer/redelivery"
	"statusworker/schema"
	"statusworker/schema/broker"
)

// anchor keeps the anchor of the polls stream. Its errors do not stop the worker: only the speed of a backlog depends
// on the anchor.
type anchor struct {
	w *Worker
	// reported is true after a problem that only an operator can solve was logged.
	reported bool
	// denied is true if the user must not store an anchor. The worker does not try again, because the server logs each
	// attempt.
	denied bool
}

// keep stores the anchor if it is missing.
func (a *anchor) keep(ctx context.Context) {
	if a.denied {
		return
	}
	stored, err := redelivery.KeepAnchor(ctx, a.w.broker)
	switch {
	case ctx.Err() != nil:
	case err == nil:
		a.reported = false
		if stored {
			a.w.log.WithField("subject", schema.SubjectAnchor).Info("anchor message stored")
		}
	case errors.Is(err, broker.ErrDenied), errors.Is(err, redelivery.ErrAnchorSubject):
		a.denied = errors.Is(err, broker.ErrDenied)
		if !a.reported {
			a.w.log.WithFields(logrus.Fields{"subject": schema.SubjectAnchor, "advice": a.advice(err)}).WithError(err).
				Warn("anchor message cannot be stored; a backlog drains more slowly")
		}
		a.reported = true
	default:
		a.w.warn("anchor message", err)
	}
}

func (a *anchor) advice(err error) string {
	if denied := (*broker.Error)(nil); errors.As(err, &denied) {
		return "allow the user to publish to " + denied.Object + ", then restart the worker"
	}
	return "run `statusworker provision --update`"
}
