package console

import (
	"net/http"
	"time"

	"statusworker/cmd/internal/statusview"
	"statusworker/consumer"
	"statusworker/schema"
)

// overviewData is the data of the overview and of the page of the workers.
type overviewData struct {
	statusview.View
	Charts []chart
	Lanes  []laneRow
	// Processed and Failed have the kinds of outcomes that are stored, None the others.
	Processed, Failed []outcomeRow
	None              []string
	InFlight          uint64
	Due               uint64
	PollsPerSecond    string
	// FailedLastHour and FailedStored are sums.
	ProcessedLastHour, FailedLastHour, FailedStored uint64
	// Reserving means that interactions wait as reservations. Delayed naks do not show what is due.
	Reserving bool
	Working   int
}

// laneRow is a lane or the intake.
type laneRow struct {
	Name                   string
	Due                    uint64
	Unacked, Redelivered   int
	Waiting                *uint64
	DueSeconds             float64
	OldestSeconds          float64
	PausedUntil            *time.Time
	ShareDue, ShareWaiting int
}

// outcomeRow is a destination or a reason.
type outcomeRow struct {
	Name             string
	LastHour, Stored uint64
	Share            int
}

// overviewPage loads the overview.
func (c *Console) overviewPage(r *http.Request) (loaded, error) {
	view, samples, changed := c.feed.latest(r.Context())
	d := overviewOf(view)
	d.Charts = []chart{
		line("Polls per second", samples, func(s sample) float64 { return s.polls }),
		line("Interactions in flight", samples, func(s sample) float64 { return s.inFlight }),
	}
	return loaded{d, changed}, nil
}

// workersPage loads the workers.
func (c *Console) workersPage(r *http.Request) (loaded, error) {
	view, _, changed := c.feed.latest(r.Context())
	return loaded{overviewOf(view), changed}, nil
}

// overviewOf arranges an overview for the pages.
func overviewOf(v statusview.View) overviewData {
	d := overviewData{View: v, InFlight: inFlight(v.Overview), Reserving: v.Redelivery != consumer.Nak}
	d.lanes()
	d.outcomes()
	polls := 0.0
	for _, w := range v.Workers {
		polls += w.PollsPerSecond
		if w.State == schema.Working {
			d.Working++
		}
	}
	d.PollsPerSecond = short(polls)
	return d
}

func (d *overviewData) lanes() {
	if i := d.Intake; i != nil {
		d.Lanes = append(d.Lanes, laneRow{
			Name: d.Namespace.ConsumerIntake(), Due: i.Waiting, Unacked: i.Unacked, Redelivered: i.Redelivered,
			DueSeconds: i.WaitingSeconds, PausedUntil: i.PausedUntil,
		})
	}
	for _, l := range d.Overview.Lanes {
		d.Lanes = append(d.Lanes, laneRow{
			Name: string(l.Type), Due: l.Due, Unacked: l.Unacked, Redelivered: l.Redelivered, Waiting: l.Waiting,
			DueSeconds: l.DueSeconds, OldestSeconds: l.OldestSeconds, PausedUntil: l.PausedUntil,
		})
	}
	largest := uint64(0)
	for _, l := range d.Lanes {
		largest = max(largest, l.Due+uint64(l.Unacked)+known(l.Waiting))
		d.Due += l.Due
	}
	for i, l := range d.Lanes {
		d.Lanes[i].ShareDue = share(l.Due+uint64(l.Unacked), largest)
		d.Lanes[i].ShareWaiting = min(share(known(l.Waiting), largest), 100-d.Lanes[i].ShareDue)
	}
}

func known(n *uint64) uint64 {
	if n == nil {
		return 0
	}
	return *n
}

func (d *overviewData) outcomes() {
	add := func(rows *[]outcomeRow, name string, lastHour, stored uint64) {
		if stored == 0 && lastHour == 0 {
			d.None = append(d.None, name)
			return
		}
		*rows = append(*rows, outcomeRow{Name: name, LastHour: lastHour, Stored: stored})
	}
	hour, all := d.Outcomes.LastHour, d.Outcomes.Stored
	for _, dest := range schema.Destinations() {
		add(&d.Processed, string(dest), hour.Processed[dest], all.Processed[dest])
		d.ProcessedLastHour += hour.Processed[dest]
	}
	for _, reason := range schema.Reasons() {
		add(&d.Failed, string(reason), hour.Failed[reason], all.Failed[reason])
		d.FailedLastHour += hour.Failed[reason]
		d.FailedStored += all.Failed[reason]
	}
	for _, rows := range [][]outcomeRow{d.Processed, d.Failed} {
		largest := uint64(0)
		for _, o := range rows {
			largest = max(largest, o.Stored)
		}
		for i := range rows {
			rows[i].Share = share(rows[i].Stored, largest)
		}
	}
}
