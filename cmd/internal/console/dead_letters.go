package console

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"statusworker/cmd/internal/dlqview"
	"statusworker/publisher/dlq"
	"statusworker/schema"
)

// pageSize is the number of dead letters on a page.
const pageSize = 50

// deadLettersData is the data of the list of dead letters.
type deadLettersData struct {
	Filter      filterForm
	DeadLetters []deadLetterRow
	// Older is the query of the next page; empty if there is none. Incomplete means that the search continues there.
	Older      string
	Incomplete bool
	// First means that no newer dead letter is left out.
	First bool
	// Total is the number of stored dead letters, of all reasons.
	Total uint64
}

// deadLetterRow is a dead letter in the list.
type deadLetterRow struct {
	Name         string
	Sequence     uint64
	Stored       time.Time
	Reason, Type string
	Identifier   string
	Detail       string
	// IsInteraction means that the identifier is that of an interaction.
	IsInteraction bool
}

// maxRowDetail is the length in characters to which a detail is cut in the list.
const maxRowDetail = 300

// deadLettersPage shows dead letters, the newest first.
func (c *Console) deadLettersPage(w http.ResponseWriter, r *http.Request) error {
	form := readFilter(r)
	form.names = nil
	filter, err := form.filter()
	if err != nil {
		return err
	}
	before, err := positive(r, "before")
	if err != nil {
		return err
	}
	d := deadLettersData{Filter: form, First: before == 0}
	var p dlq.Page
	err = c.ask(r.Context(), func(ctx context.Context) error {
		queue, err := c.queue(ctx)
		if err != nil {
			return err
		}
		selection, err := queue.Select(ctx, filter)
		if err != nil {
			return err
		}
		p, err = selection.Page(ctx, before, pageSize)
		return err
	})
	if err != nil {
		return err
	}
	for _, l := range p.DeadLetters {
		d.DeadLetters = append(d.DeadLetters, rowOf(l))
	}
	if p.Before > 0 {
		v := form.values()
		v.Set("before", fmt.Sprint(p.Before))
		d.Older, d.Incomplete = v.Encode(), p.Incomplete
	}
	view, _, _ := c.feed.latest(r.Context())
	d.Total = overviewOf(view).FailedStored
	return c.show(w, r, "dead-letters", d)
}

func rowOf(l dlq.DeadLetter) deadLetterRow {
	detail := []rune(schema.Printable(l.Why()))
	if len(detail) > maxRowDetail {
		detail = append(detail[:maxRowDetail-1], '…')
	}
	return deadLetterRow{
		Name: l.Name(), Sequence: l.Sequence, Stored: l.Stored, Reason: string(l.Reason), Type: string(l.Type),
		Identifier: l.Identifier, Detail: string(detail),
		IsInteraction: schema.CheckIdentifier(l.Identifier) == nil,
	}
}

// deadLetterData is the data of the page of one dead letter.
type deadLetterData struct {
	deadLetterRow
	Fields []dlqview.Field
	// Hidden is the number of fields that have what producer and vendor sent, and are not shown.
	Hidden int
	// Shown means that these fields are shown.
	Shown      bool
	Replayable bool
}

// deadLetterPage shows one dead letter. What the producer and the vendor sent is shown only on request.
func (c *Console) deadLetterPage(w http.ResponseWriter, r *http.Request) error {
	name := "@" + strings.TrimPrefix(r.PathValue("sequence"), "@") // pages and commands show it with @
	var found *dlq.DeadLetter
	err := c.ask(r.Context(), func(ctx context.Context) error {
		queue, err := c.queue(ctx)
		if err != nil {
			return err
		}
		selection, err := queue.Select(ctx, dlq.Filter{Names: []string{name}})
		if err != nil {
			return err
		}
		return selection.Each(ctx, func(l dlq.DeadLetter) error {
			found = &l
			return nil
		})
	})
	if err != nil {
		return err
	}
	if found == nil {
		return &problem{http.StatusNotFound, "There is no dead letter " + schema.Printable(name) +
			". It was replayed, purged, or is older than outcomes are kept.", nil}
	}
	d := deadLetterData{deadLetterRow: rowOf(*found), Shown: r.URL.Query().Get("payload") == "shown"}
	if d.Shown {
		c.record(r).WithField("dead_letter", found.Name()).Info("payload shown")
	}
	for _, f := range dlqview.Describe(*found, time.Now()) {
		switch {
		case !f.Content || d.Shown:
			d.Fields = append(d.Fields, f)
		default:
			d.Hidden++
		}
	}
	_, _, err = found.Declared(c.Namespace)
	d.Replayable = found.Problem == nil && err == nil
	return c.show(w, r, "dead-letter", d)
}
