package dlqview

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"statusworker/cmd/internal/terminal"
	"statusworker/publisher/dlq"
	"statusworker/schema"
)

// failed is a dead letter whose detail is long.
func failed() dlq.DeadLetter {
	l := dlq.DeadLetter{Sequence: 1, Stored: time.Now(), Message: []byte(`{"specversion":"1.0"}`)}
	l.Identifier, l.Reason, l.Type = uuid.NewString(), schema.FileDownloadFailed, schema.Audio
	l.Detail = strings.Repeat("long ", 100)
	return l
}

// On a terminal of 80 columns, the detail is on the line below its dead letter.
func TestTableFitsATerminal(t *testing.T) {
	var out bytes.Buffer
	list, l := NewList(&out, "table", 80), failed()
	if err := list.Add(l); err != nil {
		t.Fatal(err)
	}
	if err := list.End(); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(terminal.Unpainted(out.String())), "\n")
	for _, line := range lines {
		if n := len([]rune(line)); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	for _, want := range []string{l.Name(), string(l.Reason), l.Identifier, string(l.Type)} {
		if !strings.Contains(lines[1], want) {
			t.Errorf("no %q in %s", want, lines[1])
		}
	}
	if !strings.Contains(lines[2], "long long") {
		t.Errorf("no detail in %s", lines[2])
	}
}

// Lists in JSON are complete, also without dead letters.
func TestListsInJSON(t *testing.T) {
	for _, n := range []int{0, 1, 3} {
		var array, lines bytes.Buffer
		whole, single := NewList(&array, "json", 0), NewList(&lines, "ndjson", 0)
		for range n {
			for _, list := range []*List{whole, single} {
				if err := list.Add(failed()); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, list := range []*List{whole, single} {
			if err := list.End(); err != nil || list.Count() != n {
				t.Errorf("error %v, %d dead letters, want %d", err, list.Count(), n)
			}
		}
		var all []struct{ Sequence uint64 }
		if err := json.Unmarshal(array.Bytes(), &all); err != nil || len(all) != n {
			t.Errorf("%v in %s", err, &array)
		}
		if got := strings.Count(lines.String(), "\n"); got != n {
			t.Errorf("%d lines, want %d", got, n)
		}
	}
}

// Dead letters that are left are shown up to a limit, and counted beyond it.
func TestProgressShowsWhatIsLeft(t *testing.T) {
	var out bytes.Buffer
	p := NewProgress(&out, maxNamed+10, []dlq.Action{dlq.Replayed, dlq.Unchanged})
	for range maxNamed + 9 {
		p.Add(failed(), dlq.Result{Action: dlq.Unchanged, Cause: "the vendor"})
	}
	p.Add(failed(), dlq.Result{Action: dlq.Replayed})
	p.Close()
	if n := strings.Count(out.String(), "\n"); n != maxNamed+1 || p.Left() != maxNamed+9 {
		t.Errorf("%d lines and %d left, want %d and %d", n, p.Left(), maxNamed+1, maxNamed+9)
	}
}

// Dead letters that wait are counted until they have a result. The first shows why it waits.
func TestProgressShowsWhatWaits(t *testing.T) {
	var out bytes.Buffer
	p := NewProgress(&out, 3, []dlq.Action{dlq.Replayed, dlq.Unchanged})
	wait := dlq.Result{Action: dlq.Waiting, Cause: dlq.PollPending, Until: time.Now().Add(time.Minute)}
	var letters []dlq.DeadLetter
	for i := range 3 {
		letters = append(letters, failed())
		letters[i].Sequence = uint64(i + 1)
		p.Add(letters[i], wait)
	}
	if n := strings.Count(out.String(), "\n"); n != 1 || !strings.Contains(out.String(), letters[0].Identifier) ||
		!strings.Contains(out.String(), Cause(wait)) {
		t.Errorf("%d lines, want one about the first:\n%s", n, &out)
	}
	for i, want := range []string{"replayed 0, unchanged 0, waiting 3", "replayed 1, unchanged 0, waiting 2",
		"replayed 2, unchanged 0, waiting 1"} {
		if p.Line() != want {
			t.Errorf("after %d results: %s, want %s", i, p.Line(), want)
		}
		p.Add(letters[i], dlq.Result{Action: dlq.Replayed})
	}
	if p.Close(); p.Line() != "replayed 3, unchanged 0" {
		t.Errorf("at the end: %s", p.Line())
	}
}

// A dead letter is shown with its history, of a forged one at most as much as of one of a worker.
func TestShowHasTheHistory(t *testing.T) {
	var out bytes.Buffer
	l := failed()
	for n := range 2 * schema.MaxHistory {
		l.History = append(l.History, schema.StatusChange{
			Status: schema.Status(fmt.Sprintf("status %d \x1b[31m", n)), At: time.Now(), Poll: uint64(n),
		})
	}
	Show(&out, l, time.Now(), 80)
	text := out.String()
	if !strings.Contains(text, "status 15") || strings.Contains(text, "status 16") || strings.Contains(text, "\x1b") {
		t.Errorf("want the first %d changes, printable:\n%s", schema.MaxHistory, text)
	}
}
