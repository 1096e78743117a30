package showview

import (
	"fmt"
	"time"

	"statusworker/cmd/internal/advice"
	"statusworker/cmd/internal/interaction"
	"statusworker/schema"
	"statusworker/schema/lifecycle"
)

// Next returns what happens next to an interaction, and what an operator has to do about it.
func Next(i interaction.Interaction) string {
	switch i.State {
	case lifecycle.StateDeclared:
		return nextOfDeclared(i)
	case lifecycle.StateWaiting:
		return nextOfWaiting(i)
	case lifecycle.StateDue:
		return nextOfDue(i)
	case lifecycle.StateProcessed:
		return "nothing: ElevateAI has the results, and the events are stored"
	case lifecycle.StateDeadLettered:
		return nextOfDeadLettered(i)
	}
	if i.DeclaredAt != nil {
		return "nothing: it has ended, and its outcome was deleted"
	}
	return "nothing: it was never declared, or its outcome was deleted, by an operator or because of its age"
}

func nextOfDeclared(i interaction.Interaction) string {
	switch i.Problem {
	case interaction.InvalidMessage:
		return "the declared message is not valid, and becomes a dead letter: " + i.Detail
	case interaction.NoWorkers:
		return "a worker takes it in, but none is alive: start one with `statusworker run`"
	case interaction.ConsumerPaused:
		return "a worker takes it in, when the consumer is not paused any more: " + resume(i)
	}
	return "a worker takes it in; " + alive(i.Workers)
}

func nextOfWaiting(i interaction.Interaction) string {
	number := fmt.Sprintf("poll %d", i.Polls+1)
	switch {
	case i.Problem == interaction.ForeignMessage:
		return "no worker stored the message on " + i.Namespace.HoldSubjects(i.Identifier) +
			": find out who publishes there, and delete the message"
	case i.Problem == interaction.Overdue:
		return fmt.Sprintf("%s was due at %s, %s ago, but NATS has not published it: a worker stores it again; if "+
			"this lasts longer than two minutes, run `statusworker doctor`", number, clock(*i.NextPollAt),
			span(i.At.Sub(*i.NextPollAt)))
	case i.Problem == interaction.ConsumerPaused:
		return number + ", when the consumer of its lane is not paused any more: " + resume(i)
	case i.NextPollAt == nil:
		return "a poll, within about one poll interval; only NATS knows when (redelivery nak)"
	case i.NextPollAt.After(i.At):
		return fmt.Sprintf("%s at %s, in %s", number, clock(*i.NextPollAt), span(i.NextPollAt.Sub(i.At)))
	}
	return fmt.Sprintf("%s, due at %s: NATS publishes it within a second", number, clock(*i.NextPollAt))
}

func nextOfDue(i interaction.Interaction) string {
	due := fmt.Sprintf("poll %d, due since %s (%s)", i.Polls+1, clock(*i.Since), span(i.At.Sub(*i.Since)))
	switch {
	case i.Problem == interaction.ForeignMessage:
		return due + "; no worker stored its message: find out who publishes on " +
			i.Namespace.PollSubjects(i.Identifier)
	case i.Problem == interaction.NoWorkers:
		return due + ", but no worker is alive: start one with `statusworker run`"
	case i.Problem == interaction.ConsumerPaused:
		return due + ", but the consumer of its lane is paused: " + resume(i)
	case i.Problem == interaction.Paused:
		until := ""
		if i.Workers.Until != nil {
			until = ", until " + clock(*i.Workers.Until)
		}
		return fmt.Sprintf("%s; %s paused (%s%s), and polls continue after that", due, all(i.Workers.Alive),
			i.Workers.Cause, until)
	case i.Workers.Worker != "":
		return due + "; the worker on " + i.Workers.Worker + " makes it"
	}
	return due + "; one of them makes it: " + alive(i.Workers)
}

func nextOfDeadLettered(i interaction.Interaction) string {
	o := i.Last()
	if o == nil || !o.Reason.Valid() {
		return "nothing, until it is declared again"
	}
	return o.Advice
}

// resume says until when the consumer of an interaction's lane is paused, and how to end that.
func resume(i interaction.Interaction) string {
	lane := i.Lane()
	return "it continues at " + clock(*i.ConsumerPausedUntil) + ", or " +
		advice.Resume(i.Namespace, lane.Stream, lane.Consumer)
}

// all names all workers, as the subject of a sentence about a pause.
func all(n int) string {
	if n == 1 {
		return "the only worker is"
	}
	return fmt.Sprintf("all %d workers are", n)
}

func alive(w *interaction.Workers) string {
	switch {
	case w == nil:
		return ""
	case w.Worker != "":
		return "one is alive, on " + w.Worker
	case w.Paused > 0:
		return fmt.Sprintf("%d are alive, of which %d paused", w.Alive, w.Paused)
	}
	return fmt.Sprintf("%d are alive", w.Alive)
}

// clock formats a time of the day; with its date, if it is more than half a day away.
func clock(t time.Time) string { return t.UTC().Format("15:04:05") + " UTC" }

func span(d time.Duration) string { return schema.Duration(max(0, d).Round(time.Second)) }
