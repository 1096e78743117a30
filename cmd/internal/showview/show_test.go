package showview

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"statusworker/cmd/internal/interaction"
	"statusworker/cmd/internal/terminal"
	"statusworker/schema"
	"statusworker/schema/lifecycle"
)

// ns is the namespace of the tests.
var ns = schema.DefaultNamespace

const id = "bd5c92f3-c228-44a6-91bf-b52672569878"

var now = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

func before(d time.Duration) *time.Time {
	t := now.Add(-d)
	return &t
}

// situations are interactions in each state with each problem that it may have.
func situations() map[string]interaction.Interaction {
	workers := func(alive, paused int) *interaction.Workers {
		return &interaction.Workers{Alive: alive, Paused: paused}
	}
	one := &interaction.Workers{Alive: 1, Worker: "here"}
	pause := &interaction.Workers{Alive: 2, Paused: 2, Cause: "throttled", Until: before(-time.Minute)}
	made := map[string]interaction.Interaction{
		"declared":          {State: lifecycle.StateDeclared, Workers: workers(2, 0)},
		"declared, one":     {State: lifecycle.StateDeclared, Workers: one},
		"declared, some":    {State: lifecycle.StateDeclared, Workers: workers(3, 1)},
		"declared, none":    {State: lifecycle.StateDeclared, Workers: workers(0, 0), Problem: interaction.NoWorkers},
		"declared, invalid": {State: lifecycle.StateDeclared, Problem: interaction.InvalidMessage, Detail: "why so"},
		"waiting":           {State: lifecycle.StateWaiting, Polls: 4, NextPollAt: before(-12 * time.Second)},
		"waiting, fires":    {State: lifecycle.StateWaiting, Polls: 4, NextPollAt: before(time.Second / 10)},
		"waiting, nak":      {State: lifecycle.StateWaiting},
		"waiting, foreign":  {State: lifecycle.StateWaiting, Problem: interaction.ForeignMessage},
		"waiting, overdue": {State: lifecycle.StateWaiting, Problem: interaction.Overdue,
			NextPollAt: before(90 * time.Second)},
		"due":          {State: lifecycle.StateDue, Polls: 4, Workers: workers(2, 0)},
		"due, one":     {State: lifecycle.StateDue, Polls: 4, Workers: one},
		"due, none":    {State: lifecycle.StateDue, Problem: interaction.NoWorkers, Workers: workers(0, 0)},
		"due, paused":  {State: lifecycle.StateDue, Problem: interaction.Paused, Workers: pause},
		"due, foreign": {State: lifecycle.StateDue, Problem: interaction.ForeignMessage, Workers: one},
		"declared, consumer paused": {State: lifecycle.StateDeclared, Problem: interaction.ConsumerPaused, Workers: one,
			ConsumerPausedUntil: before(-time.Hour)},
		"waiting, consumer paused": {State: lifecycle.StateWaiting, Problem: interaction.ConsumerPaused, Polls: 4,
			NextPollAt: before(-12 * time.Second), ConsumerPausedUntil: before(-time.Hour)},
		"due, consumer paused": {State: lifecycle.StateDue, Problem: interaction.ConsumerPaused, Workers: one,
			ConsumerPausedUntil: before(-time.Hour)},
		"processed":           {State: lifecycle.StateProcessed},
		"dead-lettered":       {State: lifecycle.StateDeadLettered},
		"unknown":             {State: lifecycle.StateUnknown},
		"unknown, once known": {State: lifecycle.StateUnknown, DeclaredAt: before(time.Minute)},
	}
	for name, i := range made {
		i.Type, i.Redelivery = schema.Audio, "schedule"
		i.Identifier, i.At, i.Since = id, now, before(3*time.Second)
		if i.State == lifecycle.StateDeadLettered {
			i.Outcomes = []interaction.Outcome{{Reason: schema.NotFound, Advice: schema.NotFound.Advice(), Sequence: 17,
				Detail: strings.Repeat("long ", 100), Subject: ns.FailedSubject(schema.NotFound, id),
				Stored: *before(time.Minute), DeclaredAt: before(time.Hour), Current: true}}
		}
		made[name] = i
	}
	return made
}

// Each situation has its own text, which names what an operator needs.
func TestNext(t *testing.T) {
	t.Parallel()
	facts := map[string][]string{
		"declared, one": {"here"}, "declared, some": {"3", "1 paused"}, "declared, none": {"statusworker run"},
		"declared, invalid": {"why so"}, "waiting": {"poll 5", "12:00:12", "in 12s"}, "waiting, fires": {"poll 5"},
		"waiting, foreign": {ns.HoldSubjects(id)}, "waiting, overdue": {"1m30s", "two minutes", "statusworker doctor"},
		"due": {"poll 5", "11:59:57", "3s"}, "due, one": {"here"}, "due, none": {"statusworker run"},
		"due, paused": {"throttled", "12:01:00", "2"}, "dead-lettered": {schema.NotFound.Advice()},
		"due, foreign":              {ns.PollSubjects(id)},
		"declared, consumer paused": {"13:00:00", "consumer resume INTERACTIONS_DECLARED intake"},
		"waiting, consumer paused":  {"poll 5", "13:00:00", "consumer resume INTERACTIONS_POLLS poll-audio"},
		"due, consumer paused":      {"13:00:00", "consumer resume INTERACTIONS_POLLS poll-audio"},
	}
	seen := map[string]string{}
	for name, i := range situations() {
		text := Next(i)
		if other, double := seen[text]; double || text == "" {
			t.Errorf("%s: %q, as for %q", name, text, other)
		}
		seen[text] = name
		for _, want := range facts[name] {
			if !strings.Contains(text, want) {
				t.Errorf("%s: %q lacks %q", name, text, want)
			}
		}
	}
}

// Everything fits the terminal, except names that must be copied.
func TestDraw(t *testing.T) {
	t.Parallel()
	for name, i := range situations() {
		for n := range schema.MaxHistory {
			i.History = append(i.History, schema.StatusChange{
				Status: schema.Statuses()[n%len(schema.Statuses())], At: now, Poll: uint64(n),
			})
		}
		i.History[3].Status = "not documented"
		for _, width := range []int{0, 80, 200} {
			lines := Draw(i, width)
			limit := terminal.TextWidth
			if width > 0 {
				limit = min(limit, width)
			}
			for _, line := range lines {
				line = terminal.Unpainted(line)
				if utf8.RuneCountInString(line) > limit && !strings.Contains(line, id) {
					t.Errorf("%s in %d columns: %q", name, width, line)
				}
			}
			text := strings.Join(lines, "\n")
			for _, want := range []string{id, string(i.State), "not documented", "filePendingProcessing: "} {
				if !strings.Contains(text, want) {
					t.Errorf("%s in %d columns lacks %q:\n%s", name, width, want, text)
				}
			}
			if failed := i.State == lifecycle.StateDeadLettered; failed !=
				strings.Contains(text, "statusworker dlq replay @17") {
				t.Errorf("%s in %d columns; the command to replay is only for a dead letter:\n%s", name, width, text)
			}
		}
	}
}
