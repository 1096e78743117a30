package faults

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"statusworker/consumer"
	"statusworker/integration/harness"
)

// restartAll restarts everything, one after the other, as docs/deploy.md says: the nodes, each when all replicas are
// current; then provision; then each worker is replaced by a new one. Other faults go on meanwhile, so it waits for a
// limited time only. It ends when the fault is healed.
func (c *containers) restartAll(ctx context.Context, _ *rand.Rand) (struck, error) {
	release, ok := c.claim("everything", "")
	if !ok {
		return struck{}, errNoTarget
	}
	done := make(chan error, 1)
	go func() { done <- errors.Join(c.restartNodes(ctx), c.replaceWorkers(ctx)) }()
	return struck{target: "nodes and workers", state: "one by one", heal: func(ctx context.Context) error {
		defer release()
		select {
		case err := <-done:
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}}, nil
}

// patience is how long a rolling restart waits for one step, if other faults prevent it.
const patience = 20 * time.Second

func (c *containers) restartNodes(ctx context.Context) error {
	for _, n := range c.nodes {
		release, err := c.await(ctx, n)
		if err != nil {
			continue // another fault has it
		}
		err = errors.Join(c.terminate(ctx, n), c.launch(n)(ctx))
		release()
		if err != nil {
			return err
		}
		bounded, cancel := context.WithTimeout(ctx, patience)
		_ = c.cluster.AwaitCurrent(bounded) // another fault may prevent it
		cancel()
	}
	return nil
}

// await claims the process of a container when no other fault has it.
func (c *containers) await(ctx context.Context, b *box) (release func(), err error) {
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err = harness.Eventually(bounded, b.Name, func(context.Context) error {
		var ok bool
		if release, ok = c.claim(b.Name, ofProcess); !ok {
			return errNoTarget
		}
		return nil
	})
	return release, err
}

// replaceWorkers provisions, and replaces each worker by a new one that starts before the old one ends.
func (c *containers) replaceWorkers(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, patience)
	_ = c.provision(bounded) // another fault may prevent it; nothing is missing
	cancel()
	for _, w := range c.running() {
		release, err := c.await(ctx, w)
		if err != nil {
			continue
		}
		fresh, err := c.startWorker(ctx)
		if err != nil {
			release()
			return err
		}
		bounded, cancel := context.WithTimeout(ctx, patience)
		_ = c.ready(bounded, fresh) // another fault may prevent it
		cancel()
		c.mu.Lock()
		c.workers[slices.Index(c.workers, w)] = fresh
		c.mu.Unlock()
		// The claim remains: nothing hits the old one any more.
		if err := c.terminate(ctx, w); err != nil {
			return err
		}
	}
	return nil
}

// running returns the workers that have not been replaced.
func (c *containers) running() []*box {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.workers)
}

// ready waits until a worker works.
func (c *containers) ready(ctx context.Context, w *box) error {
	return harness.Eventually(ctx, w.Name, func(ctx context.Context) error { return c.readyNow(ctx, w) })
}

// readyNow asks a worker whether it works.
func (c *containers) readyNow(ctx context.Context, w *box) error {
	_, err := c.get(ctx, w, "/readyz")
	return err
}

// get requests a page from a worker.
func (c *containers) get(ctx context.Context, w *box, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	inside, _ := c.addresses(w)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s:8080%s", inside, path), nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %s: %s", w.Name, resp.Status, body)
	}
	return string(body), err
}

func (c *containers) usage(ctx context.Context, w *box) (usage, error) {
	metrics, err := c.get(ctx, w, "/metrics")
	if err != nil {
		return usage{}, err
	}
	return usageIn(metrics)
}

// atRest checks I9: when idle connections were closed, a worker uses about as much as before the first interaction.
func (c *containers) atRest(ctx context.Context, w *box) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	err := harness.Eventually(ctx, w.Name+" to be at rest", func(ctx context.Context) error {
		now, err := c.usage(ctx, w)
		if err != nil {
			return err
		}
		return now.atRest(c.idle)
	})
	if err != nil {
		c.run.violated("I9", "", err.Error(), nil)
	}
}

// stateOf is what a fault meets at a container.
func (c *containers) stateOf(ctx context.Context, b *box) string {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if !b.node {
		if c.readyNow(ctx, b) == nil {
			return "ready"
		}
		return "not ready"
	}
	stream, what := ns.StreamPolls(), "polls"
	if c.settings.mode == consumer.Nak {
		stream, what = ns.StreamDeclared(), "declared messages"
	}
	switch leader, err := c.cluster.LeaderNow(ctx, stream); {
	case err != nil:
		return "cluster without a leader"
	case leader == b.Name:
		return "leader of " + what
	}
	return "follower of " + what
}

// Recover waits until all replicas are current, and all workers work. One that has ended is started again, as a
// platform does.
func (c *containers) Recover(ctx context.Context) error {
	if err := c.cluster.AwaitCurrent(ctx); err != nil {
		return err
	}
	for _, w := range c.running() {
		state, err := w.State(ctx)
		if err != nil {
			return err
		}
		if !state.Running {
			what := fmt.Sprintf("%s has ended by itself, with exit code %d", w.Name, state.ExitCode)
			c.run.violated("worker", "", what, nil)
			log, err := w.Log(ctx)
			c.t.Logf("end of its log (%v): %s", err, log[max(0, len(log)-2000):])
			if err := c.launch(w)(ctx); err != nil {
				return err
			}
		}
		if err := c.ready(ctx, w); err != nil {
			return err
		}
	}
	return nil
}

// Stop checks I9, and ends all workers with SIGTERM.
func (c *containers) Stop(ctx context.Context) error {
	var errs []error
	for _, w := range c.running() {
		if *flagDuration > smoke {
			c.atRest(ctx, w)
		}
		errs = append(errs, c.terminate(ctx, w))
	}
	return errors.Join(errs...)
}
