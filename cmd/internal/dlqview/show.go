package dlqview

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"statusworker/cmd/internal/advice"
	"statusworker/cmd/internal/showview"
	"statusworker/cmd/internal/terminal"
	"statusworker/publisher/dlq"
	"statusworker/schema"
)

// maxMessage limits how much is shown of a message that is not JSON.
const maxMessage = 400

// Field is a fact about a dead letter. Its value is untrusted text.
type Field struct {
	Name, Value string
	// History are the changes of status; then there is no value.
	History []schema.StatusChange
	// Content means that the value is a part of what the producer or the vendor sent.
	Content bool
	// Block means that the value is indented JSON, of several lines.
	Block bool
}

// Describe returns everything about a dead letter for people.
func Describe(l dlq.DeadLetter, now time.Time) []Field {
	d := description{now: now}
	means, todo := l.Reason.Text(), l.Reason.Advice()
	if l.Problem != nil {
		d.add("problem", l.Problem.Error())
	}
	if l.Problem != nil || !l.Reason.Valid() {
		means, todo = "statusworker has no such reason: another program published the message.",
			"Find out who publishes on "+l.Namespace.SubjectsFailed()+" and revoke that permission; then purge it."
	}
	d.add("means", means)
	d.add("to do", todo)
	d.add("detail", l.Detail)
	if status := lastStatus(l); status.Known() {
		d.add("status", string(status)+": "+status.Text())
	}
	d.add("type", string(l.Type))
	if l.Problem == nil {
		d.add("declared", fmt.Sprintf("%s on %s, sequence %d of %s, delivered %s",
			d.at(l.DeclaredAt), l.Source.Subject, l.Source.Sequence, l.Source.Stream, times(l.Source.Deliveries)))
		d.add("ended", d.at(l.ObservedAt))
		if l.Polls > 0 { // not counted with delayed naks
			d.add("polled", times(l.Polls))
		}
		if n := min(len(l.History), schema.MaxHistory); n > 0 {
			d.fields = append(d.fields, Field{Name: "history", History: l.History[:n]})
		}
	}
	d.add("stored", d.at(l.Stored)+" on "+l.Subject)
	d.add("trace", l.Traceparent)
	d.content(l)
	if l.Problem == nil {
		d.add("replay", replayOf(l))
	}
	d.add("purge", advice.Command(l.Namespace, "dlq purge "+l.Name()))
	return d.fields
}

// description collects fields.
type description struct {
	now    time.Time
	fields []Field
}

// add adds a field, unless its value is empty.
func (d *description) add(name, value string) {
	if value != "" {
		d.fields = append(d.fields, Field{Name: name, Value: value})
	}
}

func (d *description) at(t time.Time) string {
	return t.UTC().Format("2006-01-02 15:04:05 UTC") + " (" + ShortAge(d.now.Sub(t)) + " ago)"
}

// content adds what the producer and the vendor sent.
func (d *description) content(l dlq.DeadLetter) {
	add := func(name, value string, block bool) {
		if value != "" {
			d.fields = append(d.fields, Field{Name: name, Value: value, Content: true, Block: block})
		}
	}
	if l.Problem != nil {
		add("message", excerpt(len(l.Message), l.Message), false)
		return
	}
	add("answer", answerOf(l), false)
	add("answer", indented(l.Answer), true)
	add("declaration", indented(l.Declaration), true)
	if l.PayloadSize > 0 {
		add("payload", excerpt(l.PayloadSize, l.Payload), false)
	}
}

// Show writes everything about a dead letter for people.
func Show(w io.Writer, l dlq.DeadLetter, now time.Time, width int) {
	if width == 0 || width > terminal.TextWidth {
		width = terminal.TextWidth
	}
	fmt.Fprintf(w, "%s  %s  %s\n", schema.Printable(l.Identifier), schema.Printable(string(l.Reason)), l.Name())
	for _, f := range Describe(l, now) {
		for _, line := range f.lines(width) {
			fmt.Fprintln(w, line)
		}
	}
}

// lines formats a field for a terminal.
func (f Field) lines(width int) (lines []string) {
	switch {
	case len(f.History) > 0:
		return showview.History(f.History, width)
	case !f.Block:
		return terminal.Fields(f.Name, f.Value, width)
	}
	for line := range strings.SplitSeq(f.Value, "\n") {
		lines = append(lines, fmt.Sprintf("  %-*s%s", terminal.FieldIndent-2, f.Name, line))
		f.Name = ""
	}
	return lines
}

// excerpt shows the beginning of data that is not JSON.
func excerpt(size int, data []byte) string {
	return fmt.Sprintf("%d bytes: %+q", size, data[:min(len(data), maxMessage)])
}

// replayOf returns the command that replays a dead letter, or why it cannot be replayed.
func replayOf(l dlq.DeadLetter) string {
	subject, message, err := l.Declared(l.Namespace)
	if err != nil {
		return "cannot be replayed: " + err.Error()
	}
	if _, refused := l.Namespace.DecodeFrom(subject, message); refused != nil {
		return "would produce another dead letter: " + refused.Error()
	}
	return advice.Command(l.Namespace, "dlq replay "+l.Name())
}

// answerOf returns an answer of the vendor that is not complete JSON, or "".
func answerOf(l dlq.DeadLetter) string {
	if len(l.AnswerPayload) == 0 {
		return ""
	}
	what := "not JSON"
	if l.AnswerSize > len(l.AnswerPayload) {
		what = "truncated"
	}
	return what + ", " + excerpt(max(l.AnswerSize, len(l.AnswerPayload)), l.AnswerPayload)
}

// indented returns JSON on several lines, with unprintable characters escaped, or "" if there is none.
func indented(raw json.RawMessage) string {
	var b bytes.Buffer
	if len(raw) == 0 || string(raw) == "null" || json.Indent(&b, raw, "", "  ") != nil {
		return ""
	}
	return string(escaped(b.Bytes()))
}

// lastStatus returns the status in the vendor's last answer, or "".
func lastStatus(l dlq.DeadLetter) schema.Status {
	var answer struct {
		Status schema.Status `json:"status"`
	}
	if json.Unmarshal(l.Answer, &answer) != nil {
		return ""
	}
	return answer.Status
}

func times(n uint64) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}
