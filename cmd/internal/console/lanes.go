package console

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"statusworker/cmd/broker/api"
	"statusworker/cmd/broker/permission"
	"statusworker/consumer"
	"statusworker/schema"
)

// pauses are the durations to choose from. NATS resumes a paused consumer by itself.
var pauses = []string{"15m", "1h", "4h", "24h"}

// maxPause is the longest pause.
const maxPause = 7 * 24 * time.Hour

// laneData is the data of the page of a lane.
type laneData struct {
	laneRow
	Stream, Consumer string
	Pauses           []string
	// Commands are the command lines that pause and resume.
	Pause, Resume string
}

// lane returns the lane of a request. Its consumer depends on the redelivery mode.
func (c *Console) lane(r *http.Request) (laneData, error) {
	name := r.PathValue("lane")
	view, _, _ := c.feed.latest(r.Context())
	if view.Redelivery == "" {
		return laneData{}, c.asked(fmt.Errorf("the redelivery mode is not known yet: %w", errDisconnected))
	}
	d := laneData{
		Pauses: pauses, Stream: view.Redelivery.PollStream(c.Namespace),
		Consumer: c.Namespace.PollConsumer(schema.Type(name)),
	}
	if name == c.Namespace.ConsumerIntake() && view.Redelivery != consumer.Nak {
		d.Stream, d.Consumer = c.Namespace.StreamDeclared(), c.Namespace.ConsumerIntake()
	} else if !schema.Type(name).Valid() {
		return d, &problem{http.StatusNotFound, "There is no lane " + schema.Quote(name) + ".", nil}
	}
	for _, l := range overviewOf(view).Lanes {
		if l.Name == name {
			d.laneRow = l
		}
	}
	d.Name = name
	nats := "nats --inbox-prefix " + c.nc.Opts.InboxPrefix + " consumer "
	d.Pause = nats + "pause " + d.Stream + " " + d.Consumer + " 1h"
	d.Resume = nats + "resume " + d.Stream + " " + d.Consumer
	return d, nil
}

// lanePage shows a lane, and the forms that pause and resume it.
func (c *Console) lanePage(w http.ResponseWriter, r *http.Request) error {
	d, err := c.lane(r)
	if err != nil {
		return err
	}
	return c.show(w, r, "lane", d)
}

// changeLane pauses or resumes the consumer of a lane.
func (c *Console) changeLane(w http.ResponseWriter, r *http.Request) error {
	d, err := c.lane(r)
	if err != nil {
		return err
	}
	log := c.record(r).WithField("lane", d.Name)
	until := time.Time{} // resumes
	switch action := r.PathValue("action"); action {
	case "resume":
		log = log.WithField("action", action)
	case "pause":
		length, err := schema.ParseDuration(r.FormValue("for"))
		if err != nil || length <= 0 || length > maxPause {
			return &problem{http.StatusBadRequest, "The duration is " + schema.Quote(r.FormValue("for")) +
				": must be more than 0 and at most " + schema.Duration(maxPause) + ".", err}
		}
		until = time.Now().Add(length)
		log = log.WithField("action", action).WithField("until", until.UTC().Format(time.RFC3339))
	default:
		return &problem{http.StatusNotFound, "There is no action " + schema.Quote(action) + ".", nil}
	}
	err = c.ask(r.Context(), func(ctx context.Context) error {
		subjects := api.Of(c.JS).Subjects("CONSUMER.PAUSE", d.Stream, d.Consumer)
		return permission.Guard(ctx, c.nc, func(ctx context.Context) error {
			_, err := c.JS.PauseConsumer(ctx, d.Stream, d.Consumer, until)
			return err
		}, subjects...)
	})
	if err != nil {
		log.WithError(err).Warn("lane not changed")
		return err
	}
	log.Info("lane changed")
	c.feed.refresh(r.Context())
	c.redirect(w, r, "/")
	return nil
}
