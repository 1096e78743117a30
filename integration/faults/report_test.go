package faults

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"statusworker/consumer"
	"statusworker/integration/harness"
)

// invariants are those that the oracle checks.
var invariants = []string{"I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8", "I9", "I10", "I11", "worker"}

// report prints the figures, and writes them into the document of -record.
func (r *run) report() {
	text := r.figures()
	fmt.Println(text)
	if *flagRecord == "" {
		return
	}
	if r.t.Failed() {
		r.t.Log("the run failed: the record is not changed")
		return
	}
	harness.Check(r.t, record(*flagRecord, r.name, text))
}

// figures returns the figures as Markdown.
func (r *run) figures() string {
	r.oracle.mu.Lock()
	defer r.oracle.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	o := r.oracle
	var b strings.Builder
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "| %s | %s |\n", name, fmt.Sprintf(format, args...))
	}
	b.WriteString("| | |\n|---|---|\n")
	row("command", "`%s`", r.command())
	row("commit", "`%s`", r.commit)
	row("versions", "%s", strings.Join(append(r.tier.Versions(), runtime.Version()), ", "))
	row("interactions", "%d, %d acknowledged declarations, %d dead letters replayed, %d declarations without an "+
		"acknowledgement", len(o.interactions), r.workload.acknowledged.Load(), r.workload.replays.Load(),
		r.workload.unacknowledged.Load())
	row("polls, outcomes", "%d, %d", o.polls, o.outcomes)
	row("faults", "%d in %s, %d calms", len(r.events), r.took.Round(time.Second), r.calms)
	row("min gap", "%.3f poll intervals", o.minGap)
	if r.settings.mode == consumer.Nak {
		row("polls that were too early", "%d", o.early)
	}
	row("after the faults", "servers and workers worked after %s at most, everything due was polled %s later at most",
		r.recovering.Round(100*time.Millisecond), o.stuck.Round(100*time.Millisecond))
	if _, ok := r.tier.(linked); ok {
		row("early after a slow request and another fault", "%d", r.hindered)
	}
	var found []string
	for _, i := range invariants {
		if n := r.violations[i]; n > 0 {
			found = append(found, fmt.Sprintf("%s: %d", i, n))
		}
	}
	if len(found) == 0 {
		found = []string{fmt.Sprintf("none; at 95 %% confidence, fewer than %.4f %% of interactions (3/n)",
			300/float64(max(1, len(o.interactions))))}
	}
	row("violations of I1 to I11", "%s", strings.Join(found, ", "))
	b.WriteString("\n" + r.table())
	return b.String()
}

// table returns the faults by kind and by the state that they met.
func (r *run) table() string {
	counts := map[string]map[string]int{}
	for _, e := range r.events {
		if counts[e.kind.name] == nil {
			counts[e.kind.name] = map[string]int{}
		}
		counts[e.kind.name][e.state]++
	}
	var b strings.Builder
	b.WriteString("| fault | number | met |\n|---|--:|---|\n")
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		total := 0
		var states []string
		for _, state := range slices.Sorted(maps.Keys(counts[name])) {
			n := counts[name][state]
			total += n
			if state != "any" {
				states = append(states, fmt.Sprintf("%s: %d", state, n))
			}
		}
		fmt.Fprintf(&b, "| %s | %d | %s |\n", name, total, strings.Join(states, ", "))
	}
	return b.String()
}

// command returns the command that repeats the run.
func (r *run) command() string {
	text := fmt.Sprintf("go test ./integration/faults -run %s -v -timeout 3h -seed %d -duration %s -interactions %d",
		r.t.Name(), r.seed, short(*flagDuration), *flagInteractions)
	if r.settings.mode != consumer.Schedule {
		text += " -redelivery " + string(r.settings.mode)
	}
	if *flagKinds != "" {
		text += fmt.Sprintf(" -kinds %q", *flagKinds)
	}
	return text
}

// short returns a duration without zero parts: 40m, not 40m0s.
func short(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// commit returns the commit of the module that is tested.
func commit() string {
	out, err := exec.Command("git", "describe", "--always", "--dirty", "--exclude=*").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

// record replaces the part of a document between the comments `<!-- name:begin -->` and `<!-- name:end -->`.
func record(path, name, text string) error {
	if !filepath.IsAbs(path) {
		path = filepath.Join("..", "..", path)
	}
	document, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	begin, end := fmt.Appendf(nil, "<!-- %s:begin -->\n", name), fmt.Appendf(nil, "<!-- %s:end -->", name)
	from, to := bytes.Index(document, begin), bytes.Index(document, end)
	if from < 0 || to < from {
		return fmt.Errorf("%s has no line %q before a line %q: add them where the figures belong", path,
			strings.TrimSpace(string(begin)), end)
	}
	from += len(begin)
	return os.WriteFile(path, slices.Concat(document[:from], []byte("\n"+text+"\n"), document[to:]), 0o644)
}
