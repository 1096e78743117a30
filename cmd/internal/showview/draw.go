// Package showview formats an interaction for a terminal, with what happens next to it.
package showview

import (
	"fmt"
	"strings"
	"time"

	"statusworker/cmd/internal/advice"
	"statusworker/cmd/internal/interaction"
	"statusworker/cmd/internal/terminal"
	"statusworker/schema"
	"statusworker/schema/lifecycle"
)

// Draw returns everything about an interaction as lines of at most width columns; 0 is the width of prose.
func Draw(i interaction.Interaction, width int) []string {
	if width == 0 || width > terminal.TextWidth {
		width = terminal.TextWidth
	}
	d := drawing{i: i, width: width}
	d.head()
	failed := i.State == lifecycle.StateDeadLettered
	if last := i.Last(); failed && last != nil {
		d.field("why", why(*last))
		d.field("detail", last.Detail)
	}
	name := "next"
	if failed {
		name = "to do"
	}
	d.field(name, Next(i))
	if i.DeclaredAt != nil {
		d.field("declared", d.at(*i.DeclaredAt))
	}
	if i.Polls > 0 {
		d.field("polled", times(i.Polls))
	}
	d.lines = append(d.lines, History(i.History, width)...)
	d.outcomes()
	return d.lines
}

type drawing struct {
	i     interaction.Interaction
	width int
	lines []string
}

// head has the identifier, the state and the type.
func (d *drawing) head() {
	paint := terminal.Yellow
	switch {
	case d.i.State == lifecycle.StateDeadLettered, d.i.Problem != "":
		paint = terminal.Red
	case d.i.State == lifecycle.StateProcessed:
		paint = terminal.Green
	case d.i.State == lifecycle.StateUnknown:
		paint = terminal.Faint
	}
	head := d.i.Identifier + "  " + paint.On(string(d.i.State))
	if d.i.Type != "" {
		head += "  " + string(d.i.Type)
	}
	d.lines = append(d.lines, head)
}

func (d *drawing) field(name, value string) {
	d.lines = append(d.lines, terminal.Fields(name, value, d.width)...)
}

// at formats a time with its age.
func (d *drawing) at(t time.Time) string {
	return t.UTC().Format("2006-01-02 15:04:05 UTC") + " (" + span(d.i.At.Sub(t)) + " ago)"
}

// why names the reason of a dead letter, and what it means.
func why(o interaction.Outcome) string {
	if text := o.Reason.Text(); text != "" {
		return string(o.Reason) + ": " + text
	}
	return string(o.Reason)
}

// History lists changes of status as a field of at most width columns.
func History(history []schema.StatusChange, width int) (lines []string) {
	name := "history"
	for n, c := range history {
		if n == schema.MaxHistory/2 && len(history) == schema.MaxHistory {
			lines = append(lines, terminal.Fields(name, "...", width)...)
		}
		poll := ""
		if c.Poll > 0 {
			poll = fmt.Sprintf("poll %-3d ", c.Poll)
		}
		status := schema.Printable(string(c.Status))
		if text := c.Status.Text(); text != "" {
			status += ": " + text
		}
		// The columns survive the wrapping, because only the rest of the line is wrapped.
		before := c.At.UTC().Format("2006-01-02 15:04:05") + "  " + poll
		for l, line := range terminal.Wrap(status, width-terminal.FieldIndent-len(before)-1) {
			if l > 0 {
				before = strings.Repeat(" ", len(before))
			}
			lines = append(lines, fmt.Sprintf("  %-*s%s %s", terminal.FieldIndent-2, name, before, line))
			name = ""
		}
	}
	return lines
}

// outcomes lists the stored outcomes, the oldest first.
func (d *drawing) outcomes() {
	name := "outcomes"
	for _, o := range d.i.Outcomes {
		text := fmt.Sprintf("%s on %s, sequence %d", d.at(o.Stored), o.Subject, o.Sequence)
		switch {
		case o.DeclaredAt == nil:
			text += "; statusworker did not publish it"
		case !o.Current:
			text += "; of another generation, declared " + o.DeclaredAt.UTC().Format("2006-01-02 15:04:05 UTC")
		}
		d.field(name, text)
		name = ""
	}
	if last := d.i.Last(); d.i.State == lifecycle.StateDeadLettered && last != nil {
		d.field("more", advice.Command(d.i.Namespace, fmt.Sprintf("dlq show @%d", last.Sequence)))
		d.field("replay", advice.Command(d.i.Namespace, fmt.Sprintf("dlq replay @%d", last.Sequence)))
	}
}

func times(n uint64) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}
