package console

import (
	"context"
	"errors"
	"iter"
	"net/http"
	"strings"
	"time"

	"github.com/nats-io/nuid"
	"github.com/sirupsen/logrus"
)

// progressEvery is how often the page of a running task is updated.
const progressEvery = 500 * time.Millisecond

// begin starts a task, logs who started it and how it ended, and redirects to its page.
func (c *Console) begin(
	w http.ResponseWriter, r *http.Request, t *task, facts logrus.Fields, do func(context.Context, *task) error,
) error {
	if !c.nc.IsConnected() {
		return c.asked(errDisconnected)
	}
	t.User = userOf(r)
	t.ID = nuid.Next()
	log := c.Log.WithFields(facts).WithFields(logrus.Fields{
		"user": t.User, "remote": r.RemoteAddr, "task": t.ID, "total": t.Total,
	})
	err := c.tasks.start(t, do, func(v taskView) {
		log := log.WithField("stopped", v.Stopped)
		for _, one := range v.Counts {
			log = log.WithField(strings.ReplaceAll(one.Name, " ", "_"), one.N)
		}
		if v.Error != "" {
			log = log.WithField(logrus.ErrorKey, v.Error)
		}
		log.Info("task ended")
	})
	if errors.As(err, new(tooManyError)) {
		return &problem{http.StatusTooManyRequests, "Not started: " + err.Error() + ".", err}
	}
	log.Info("task started")
	c.redirect(w, r, "/tasks/"+t.ID)
	return nil
}

// tasksPage lists the tasks since the console started.
func (c *Console) tasksPage(w http.ResponseWriter, r *http.Request) error {
	return c.show(w, r, "tasks", c.tasks.views())
}

// taskPage loads one task.
func (c *Console) taskPage(r *http.Request) (loaded, error) {
	t, err := c.taskOf(r)
	if err != nil {
		return loaded{}, err
	}
	v := t.view()
	if !v.Running {
		return loaded{v, nil}, nil
	}
	changed := make(chan struct{})
	time.AfterFunc(progressEvery, func() { close(changed) })
	return loaded{v, changed}, nil
}

func (c *Console) taskOf(r *http.Request) (*task, error) {
	if t := c.tasks.find(r.PathValue("id")); t != nil {
		return t, nil
	}
	return nil, &problem{http.StatusNotFound,
		"There is no such task. The console remembers the latest ones, until it is restarted.", nil}
}

// stopTask stops a task.
func (c *Console) stopTask(w http.ResponseWriter, r *http.Request) error {
	t, err := c.taskOf(r)
	if err != nil {
		return err
	}
	c.record(r).WithField("task", t.ID).Info("task stopped by a user")
	t.cancel()
	c.redirect(w, r, "/tasks/"+t.ID)
	return nil
}

// lines returns the lines of a text that are not empty.
func lines(text string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for line := range strings.Lines(text) {
			if line = strings.TrimSpace(line); line != "" && !yield(line) {
				return
			}
		}
	}
}
