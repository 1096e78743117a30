package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sirupsen/logrus"

	"statusworker/cmd/internal/advice"
	"statusworker/cmd/internal/producer"
	"statusworker/cmd/internal/producer/source"
	"statusworker/publisher/dlq"
	"statusworker/schema"
)

// maxDeclared is the maximum number of identifiers of one form.
const maxDeclared = 5000

// declareData is the data of the form.
type declareData struct {
	Types []schema.Type
	Max   int
}

// declarePage shows the form that declares interactions.
func (c *Console) declarePage(w http.ResponseWriter, r *http.Request) error {
	return c.show(w, r, "declare", declareData{schema.Types(), maxDeclared})
}

// declare starts the task that declares interactions.
func (c *Console) declare(w http.ResponseWriter, r *http.Request) error {
	messages, err := declaredMessages(r)
	if err != nil {
		return err
	}
	t := &task{
		Title: fmt.Sprintf("Declaration of %s of type %s", interactions(len(messages.IDs)), messages.Type),
		Total: len(messages.IDs), Command: advice.Command(c.Namespace, "declare --type "+messages.Type+" ID..."),
	}
	facts := logrus.Fields{"action": "declare", "type": messages.Type, "identifiers": listed(messages.IDs)}
	return c.begin(w, r, t, facts, func(ctx context.Context, t *task) error {
		return c.publishDeclared(ctx, t, messages)
	})
}

// declaredMessages reads the form.
func declaredMessages(r *http.Request) (source.Arguments, error) {
	m := source.Arguments{IDs: strings.Fields(r.FormValue("ids")), Type: r.FormValue("type")}
	bad := func(text string, err error) (source.Arguments, error) {
		return m, &problem{http.StatusBadRequest, text, err}
	}
	switch {
	case len(m.IDs) == 0:
		return bad("There are no identifiers: enter at least one.", nil)
	case len(m.IDs) > maxDeclared:
		return bad(fmt.Sprintf("There are %d identifiers: must be at most %d.", len(m.IDs), maxDeclared), nil)
	case !schema.Type(m.Type).Valid():
		return bad("The type is "+schema.Quote(m.Type)+": must be audio, chat or transcript.", nil)
	}
	if r.FormValue("ai-results") == "no" {
		without := false
		m.IncludeAIResults = &without
	}
	if data := strings.TrimSpace(r.FormValue("data")); data != "" {
		if err := m.Add([]byte(data)); err != nil {
			return bad("The additional members are not valid: "+err.Error()+".", err)
		}
	}
	return m, nil
}

// publishDeclared declares the interactions, and counts the results.
func (c *Console) publishDeclared(ctx context.Context, t *task, messages source.Source) error {
	p, err := producer.Open(ctx, c.JS, c.Namespace, c.Log, t.note)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		err = &dlq.MissingStreamError{Stream: c.Namespace.StreamDeclared()}
	}
	if err != nil {
		return c.asked(err)
	}
	progress := producer.NewProgress(t, 0)
	showCounts := func() {
		n := progress.Counts()
		for _, one := range []count{
			{"declared", n.Declared}, {"already waiting", n.Waiting}, {"already processed", n.Processed},
			{"invalid", n.Invalid}, {"not stored", n.NotStored},
		} {
			t.set(one.Name, one.N)
		}
	}
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx, ctx, messages, progress) }()
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			showCounts()
		case err := <-done:
			progress.Close()
			showCounts()
			return err
		}
	}
}

func interactions(n int) string {
	if n == 1 {
		return "1 interaction"
	}
	return number(n) + " interactions"
}

// listed returns some identifiers for the log.
func listed(ids []string) string {
	const shown = 20
	text := schema.Printable(strings.Join(ids[:min(len(ids), shown)], " "))
	if len(ids) > shown {
		text += fmt.Sprintf(" and %d more", len(ids)-shown)
	}
	return text
}
