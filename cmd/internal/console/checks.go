package console

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"statusworker/cmd/internal/doctor"
)

// checksFresh is how long the findings of the doctor are shown again, instead of running the checks.
const checksFresh = 5 * time.Second

// checks has the last findings.
type checks struct {
	mu    sync.Mutex
	at    time.Time
	found []doctor.Finding
}

// doctorData is the data of the page of the doctor.
type doctorData struct {
	At       time.Time
	Findings []doctor.Finding // failures first, then warnings
	Passed   []doctor.Finding
	Skipped  []doctor.Finding
}

// doctorPage runs the checks, and shows their findings.
func (c *Console) doctorPage(w http.ResponseWriter, r *http.Request) error {
	at, found := c.checks.run(r.Context(), c.Doctor)
	d := doctorData{At: at}
	for _, f := range found {
		switch f.Result {
		case doctor.Pass:
			d.Passed = append(d.Passed, f)
		case doctor.Skip:
			d.Skipped = append(d.Skipped, f)
		default:
			d.Findings = append(d.Findings, f)
		}
	}
	slices.SortStableFunc(d.Findings, func(a, b doctor.Finding) int {
		return rank(a) - rank(b)
	})
	return c.show(w, r, "doctor", d)
}

func rank(f doctor.Finding) int {
	if f.Result == doctor.Fail {
		return 0
	}
	return 1
}

// run returns the findings. Only one request at a time runs the checks.
func (c *checks) run(
	ctx context.Context, examine func(context.Context) []doctor.Finding,
) (time.Time, []doctor.Finding) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.at) > checksFresh {
		// The next request shows the same findings, even if this one is cancelled.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTimeout)
		defer cancel()
		c.found, c.at = examine(ctx), time.Now()
	}
	return c.at, c.found
}
