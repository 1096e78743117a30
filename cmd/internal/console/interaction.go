package console

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"statusworker/cmd/internal/interaction"
	"statusworker/cmd/internal/showview"
	"statusworker/publisher/dlq"
	"statusworker/schema"
	"statusworker/schema/lifecycle"
)

// lookEvery is how often an interaction that has not ended is read again for its live page.
const lookEvery = time.Second

// findData is the data of the page that finds an interaction.
type findData struct{ Identifier, Problem string }

// findInteraction redirects to the page of an interaction. Without an identifier it shows the form.
func (c *Console) findInteraction(w http.ResponseWriter, r *http.Request) error {
	identifier := strings.ToLower(strings.TrimSpace(r.URL.Query().Get("id")))
	if identifier == "" {
		return c.show(w, r, "find", findData{})
	}
	if err := schema.CheckIdentifier(identifier); err != nil {
		f := c.frame(r, "find", findData{identifier, "Not an identifier: " + err.Error() + "."})
		return c.render(w, http.StatusBadRequest, f)
	}
	c.redirect(w, r, "/interactions/"+identifier)
	return nil
}

// interactionData is the data of the page of an interaction.
type interactionData struct {
	interaction.Interaction
	// Next is what happens next, and what to do.
	Next string
	// Class is the style of the state.
	Class string
	// Why is what the reason of the dead letter means, in the state dead_lettered.
	Why string
	// Failure is the dead letter of an interaction that ended in one, or nil.
	Failure *interaction.Outcome
}

// interactionPage loads an interaction: the screen of `statusworker show`.
func (c *Console) interactionPage(r *http.Request) (loaded, error) {
	identifier := strings.ToLower(r.PathValue("id"))
	if err := schema.CheckIdentifier(identifier); err != nil {
		return loaded{}, &problem{http.StatusNotFound, "Not an identifier: " + err.Error() + ".", err}
	}
	var found interaction.Interaction
	err := c.ask(r.Context(), func(ctx context.Context) error {
		finder, err := interaction.Connect(ctx, c.JS, c.Namespace)
		if missing := (*interaction.MissingStreamError)(nil); errors.As(err, &missing) {
			return &dlq.MissingStreamError{Stream: missing.Stream}
		}
		if err != nil {
			return err
		}
		all, err := finder.Look(ctx, []string{identifier})
		if err == nil {
			found = all[0]
		}
		return err
	})
	if err != nil {
		return loaded{}, err
	}
	d := describe(found)
	if found.State.Ended() || found.State == lifecycle.StateUnknown {
		return loaded{d, nil}, nil
	}
	changed := make(chan struct{})
	time.AfterFunc(lookEvery, func() { close(changed) })
	return loaded{d, changed}, nil
}

func describe(i interaction.Interaction) interactionData {
	d := interactionData{Interaction: i, Next: showview.Next(i), Class: "warn"}
	switch {
	case i.State == lifecycle.StateDeadLettered, i.Problem != "":
		d.Class = "bad"
	case i.State == lifecycle.StateProcessed:
		d.Class = "good"
	case i.State == lifecycle.StateUnknown:
		d.Class = ""
	}
	if last := i.Last(); last != nil && i.State == lifecycle.StateDeadLettered {
		d.Failure, d.Why = last, last.Reason.Text()
	}
	return d
}
