package console

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/sirupsen/logrus"

	"statusworker/cmd/broker/adapter"
	"statusworker/cmd/internal/advice"
	"statusworker/cmd/internal/dlqview"
	"statusworker/publisher/dlq"
	"statusworker/schema"
)

// waitingResult is the result of dead letters that wait for another result.
const waitingResult = string(dlq.Waiting)

// deletion is an action on dead letters: replay or purge.
type deletion struct {
	Name, Title string
	do          func(*dlq.Queue, context.Context, *dlq.Selection, bool, dlq.Report) error
	results     []dlq.Action
}

var deletions = []deletion{
	{"replay", "Replay", (*dlq.Queue).Replay, []dlq.Action{dlq.Replayed, dlq.Superseded, dlq.Gone, dlq.Unchanged}},
	{"purge", "Purge", (*dlq.Queue).Purge, []dlq.Action{dlq.Deleted, dlq.Gone, dlq.Unchanged}},
}

func deletionOf(name string) (deletion, error) {
	i := slices.IndexFunc(deletions, func(d deletion) bool { return d.Name == name })
	if i < 0 {
		return deletion{}, &problem{http.StatusNotFound, "There is no action " + schema.Quote(name) +
			": must be replay or purge.", nil}
	}
	return deletions[i], nil
}

// confirmData is the data of the page that asks for confirmation.
type confirmData struct {
	Deletion deletion
	Filter   filterForm
	// AsOf is the moment of the selection, as a field of the form.
	AsOf    string
	Total   int
	Reasons []dlq.Count
	// Selected means that dead letters are selected one by one.
	Selected bool
	// Command is the command line that does the same.
	Command string
}

// confirmPage shows how many dead letters an action would change, before it does.
func (c *Console) confirmPage(w http.ResponseWriter, r *http.Request) error {
	form := readFilter(r)
	verb, scope, _ := strings.Cut(r.FormValue("do"), "-")
	switch scope {
	case "selected":
		if len(form.names) == 0 {
			return &problem{http.StatusBadRequest, "No dead letter is selected.", nil}
		}
		form = filterForm{names: form.names}
	default: // all that match
		form.names = nil
	}
	d, err := deletionOf(verb)
	if err != nil {
		return err
	}
	data := confirmData{Deletion: d, Filter: form, Selected: len(form.names) > 0}
	data.Command = advice.Command(c.Namespace, "dlq "+d.Name+" "+form.Command())
	err = c.ask(r.Context(), func(ctx context.Context) error {
		queue, err := c.queue(ctx)
		if err != nil {
			return err
		}
		selection, err := c.selection(ctx, queue, form)
		if err != nil {
			return err
		}
		data.AsOf = writeMoment(selection.Moment())
		data.Reasons, err = selection.Count(ctx)
		for _, one := range data.Reasons {
			data.Total += one.N
		}
		return err
	})
	if err != nil {
		return err
	}
	return c.show(w, r, "confirm", data)
}

func (c *Console) selection(ctx context.Context, queue *dlq.Queue, form filterForm) (*dlq.Selection, error) {
	filter, err := form.filter()
	if err != nil {
		return nil, err
	}
	return queue.Select(ctx, filter)
}

// deleteDeadLetters starts the task that replays or purges what the user has confirmed.
func (c *Console) deleteDeadLetters(w http.ResponseWriter, r *http.Request) error {
	d, err := deletionOf(r.PathValue("action"))
	if err != nil {
		return err
	}
	form := readFilter(r)
	if form.asOf == "" {
		return &problem{http.StatusBadRequest, "as-of is missing: send the form of the page that asks for " +
			"confirmation.", nil}
	}
	if _, err := form.filter(); err != nil {
		return err
	}
	total, err := positive(r, "total")
	if err != nil {
		return err
	}
	command := form.Command()
	t := &task{
		Title: fmt.Sprintf("%s of %s", d.Title, deadLetters(int(total))), Total: int(total),
		Command: advice.Command(c.Namespace, "dlq "+d.Name+" "+command),
	}
	facts := logrus.Fields{"action": d.Name, "selection": command, "as_of": form.asOf}
	return c.begin(w, r, t, facts, func(ctx context.Context, t *task) error {
		return c.delete(ctx, t, d, form)
	})
}

func deadLetters(n int) string {
	if n == 1 {
		return "1 dead letter"
	}
	return number(n) + " dead letters"
}

// delete replays or purges the dead letters of a filter.
func (c *Console) delete(ctx context.Context, t *task, d deletion, form filterForm) error {
	queue, err := dlq.NewForDeletion(ctx, adapter.New(c.JS), c.Namespace)
	if err != nil {
		return c.asked(err)
	}
	selection, err := c.selection(ctx, queue, form)
	if err != nil {
		return err
	}
	results := &results{task: t, n: map[dlq.Action]int{}, waiting: map[uint64]bool{}}
	for _, what := range d.results {
		t.set(string(what), 0)
	}
	if err = d.do(queue, ctx, selection, false, results.add); err != nil {
		t.note("The other dead letters are unchanged: run the action again to continue.")
		return c.asked(err)
	}
	if missing := t.Total - t.view().Done; missing > 0 {
		t.note("No longer stored: " + deadLetters(missing) + ", replayed or purged since the page that asked for " +
			"confirmation, or older than outcomes are kept.")
	}
	return nil
}

// results counts the results of dead letters.
type results struct {
	task *task

	mu      sync.Mutex
	n       map[dlq.Action]int
	waiting map[uint64]bool
	waited  bool
}

// add is a [dlq.Report].
func (r *results) add(l dlq.DeadLetter, result dlq.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	line := fmt.Sprintf("%s %s: %s: %s", l.Name(), l.Identifier, result.Action, dlqview.Cause(result))
	if result.Action == dlq.Waiting {
		if !r.waited {
			r.task.note(line)
		}
		r.waiting[l.Sequence], r.waited = true, true
	} else {
		delete(r.waiting, l.Sequence)
		r.n[result.Action]++
		r.task.set(string(result.Action), r.n[result.Action])
	}
	if r.waited {
		r.task.set(waitingResult, len(r.waiting))
	}
	if result.Action == dlq.Unchanged {
		r.task.note(line)
	}
}
