package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"

	"statusworker/publisher/desk"
	"statusworker/schema"
)

type dlqCommand struct {
	Ls     dlqLsCommand     `cmd:"" help:"List dead letters."`
	Show   dlqShowCommand   `cmd:"" help:"Show one dead letter, what its reason means, and what to do."`
	Replay dlqReplayCommand `cmd:"" help:"Publish the declared messages again, and delete the dead letters."`
	Purge  dlqPurgeCommand  `cmd:"" help:"Delete dead letters for good."`
}

// filterFlags say which dead letters are meant.
type filterFlags struct {
	IDs       []string      `arg:"" optional:"" name:"id" help:"Interaction identifiers, or last tokens of invalid messages such as seq-17; without any, all that the flags mean."`
	Reason    []string      `name:"reason" placeholder:"REASON" help:"Only these reasons, separated by commas."`
	Type      []string      `name:"type" placeholder:"TYPE" help:"Only these types, separated by commas."`
	OlderThan time.Duration `name:"older-than" placeholder:"AGE" help:"Only what became a dead letter longer ago than this, such as 24h."`
	NewerThan time.Duration `name:"newer-than" placeholder:"AGE" help:"Only what became a dead letter within this time."`
}

func (f filterFlags) filter() (desk.Filter, error) {
	filter := desk.Filter{OlderThan: f.OlderThan, NewerThan: f.NewerThan}
	for _, id := range f.IDs {
		filter.Identifiers = append(filter.Identifiers, canonical(id))
	}
	for _, r := range f.Reason {
		filter.Reasons = append(filter.Reasons, schema.Reason(r))
	}
	for _, t := range f.Type {
		filter.Types = append(filter.Types, schema.Type(t))
	}
	return filter, asFilterUsage(filter.Check())
}

// canonical writes a GUID in lower case, as subjects have it.
func canonical(id string) string {
	if lower := strings.ToLower(id); schema.CheckIdentifier(lower) == nil {
		return lower
	}
	return id
}

// asFilterUsage turns a complaint about a filter into one about the flag.
func asFilterUsage(err error) error {
	var bad *desk.FilterError
	if !errors.As(err, &bad) {
		return err
	}
	flags := map[string]string{"Reasons": "reason", "Types": "type", "OlderThan": "older-than", "NewerThan": "newer-than"}
	if flag, ok := flags[bad.Field]; ok {
		return badFlag(flag, "", schema.Quote(bad.Value), bad.Want)
	}
	return usagef("identifier %s: want %s", schema.Quote(bad.Value), bad.Want)
}

// deskFlags are those of every command of the desk.
type deskFlags struct {
	brokerFlags `embed:"" group:"NATS"`
	logFlags    `embed:"" group:"Log"`
}

// open connects and makes a desk. Call closing when it is done with.
func (f deskFlags) open(ctx context.Context, p process) (d *desk.Desk, log *logrus.Logger, closing func(), err error) {
	log, err = f.logger(p.stderr)
	if err != nil {
		return nil, nil, nil, err
	}
	nc, err := f.connect(ctx, clientName(), log)
	if err != nil {
		return nil, nil, nil, err
	}
	js, err := jetstream.New(nc)
	if err == nil {
		err = settledBroker(ctx, js, log, func(ctx context.Context) (err error) {
			d, err = desk.New(ctx, js)
			return err
		})
	}
	if err != nil {
		closeConnection(nc)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			err = fmt.Errorf("%w: run `statusworker provision` once, with the rights to create streams", err)
		}
		return nil, nil, nil, err
	}
	return d, log, func() { closeConnection(nc) }, nil
}

type dlqLsCommand struct {
	filterFlags
	Output string `short:"o" name:"output" default:"table" enum:"table,json,ndjson" help:"One of ${enum}. JSON has the whole events."`
	deskFlags
}

// Run lists dead letters as they are read.
func (c dlqLsCommand) Run(ctx context.Context, p process) error {
	filter, err := c.filter()
	if err != nil {
		return err
	}
	d, _, closing, err := c.open(ctx, p)
	if err != nil {
		return interrupted(ctx, p, err)
	}
	defer closing()
	out := bufio.NewWriterSize(p.stdout, 64<<10)
	list := newDLQList(out, c.Output, columns(p.stdout))
	err = d.Each(ctx, filter, list.add)
	if err = errors.Join(err, list.end(), out.Flush()); err != nil {
		return interrupted(ctx, p, err)
	}
	if c.Output == "table" {
		say(p.stderr, "%s", deadLetters(list.n))
	}
	return nil
}

// interrupted tells of a stop before the end: whoever called must not take what there is for all.
func interrupted(ctx context.Context, p process, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		say(p.stderr, "stopped before the end")
		return errReported
	}
	return err
}

func deadLetters(n int) string {
	if n == 1 {
		return "1 dead letter"
	}
	return fmt.Sprintf("%d dead letters", n)
}

type dlqShowCommand struct {
	ID     string `arg:"" name:"id" help:"Interaction identifier, or last token of an invalid message; #N is the dead letter with that stream sequence (the column SEQ of ls)."`
	Output string `short:"o" name:"output" default:"text" enum:"text,json" help:"One of ${enum}. JSON is the event as it is stored, one a line."`
	deskFlags
}

// Run shows what there is under an identifier.
func (c dlqShowCommand) Run(ctx context.Context, p process) error {
	filter := desk.Filter{Identifiers: []string{canonical(c.ID)}}
	if n, ok := strings.CutPrefix(c.ID, "#"); ok {
		filter = desk.Filter{}
		if _, err := fmt.Sscanf(n, "%d", &filter.Sequence); err != nil || filter.Sequence == 0 || fmt.Sprint(filter.Sequence) != n {
			return usagef("identifier %s: want #N, a stream sequence as in the column SEQ of `statusworker dlq ls`", schema.Quote(c.ID))
		}
	}
	if err := filter.Check(); err != nil {
		return asFilterUsage(err)
	}
	d, _, closing, err := c.open(ctx, p)
	if err != nil {
		return interrupted(ctx, p, err)
	}
	defer closing()
	n := 0
	err = d.Each(ctx, filter, func(l desk.Letter) error {
		if n++; c.Output == "json" {
			_, err := fmt.Fprintf(p.stdout, "%s\n", eventLine(l))
			return err
		}
		if n > 1 {
			say(p.stdout, "")
		}
		showLetter(p.stdout, l, time.Now())
		return nil
	})
	if err != nil {
		return interrupted(ctx, p, err)
	}
	if n == 0 {
		return fmt.Errorf("there is no dead letter %s; `statusworker dlq ls` lists what there is", schema.Quote(c.ID))
	}
	return nil
}

// sureFlags are those of the commands that delete dead letters.
type sureFlags struct {
	All    bool `name:"all" help:"Mean all dead letters, where nothing else says which."`
	DryRun bool `name:"dry-run" help:"Do nothing; say which dead letters are meant."`
	Yes    bool `short:"y" name:"yes" help:"Do not ask."`
}

// check refuses what nobody can have meant.
func (f sureFlags) check(p process, filter desk.Filter, what string) error {
	switch {
	case filter.Empty() && !f.All:
		return usagef("%s which dead letters? Name identifiers, or --reason, --type, --older-than or --newer-than; --all means all of them", what)
	case !filter.Empty() && f.All:
		return usagef("--all goes without identifiers, --reason, --type, --older-than and --newer-than: want one or the other")
	case !f.DryRun && !f.Yes && !terminal(p.stdin):
		return usagef("nobody is there to be asked (standard input is no terminal): want --yes, or --dry-run to see what would be done")
	}
	return nil
}

// confirm counts what is meant and asks whether to go on. It returns how many there are; 0 also where the answer is no.
func (f sureFlags) confirm(ctx context.Context, p process, d *desk.Desk, filter desk.Filter, what string) (int, error) {
	n := 0
	reasons := map[schema.Reason]int{}
	list := newDLQList(p.stdout, "table", columns(p.stdout))
	err := d.Each(ctx, filter, func(l desk.Letter) error {
		n++
		reasons[l.Reason]++
		if f.DryRun {
			return list.add(l)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	var by []string
	for _, r := range schema.Reasons() {
		if reasons[r] > 0 {
			by = append(by, fmt.Sprintf("%s %d", r, reasons[r]))
			n -= reasons[r]
		}
	}
	if n > 0 {
		by = append(by, fmt.Sprintf("other %d", n))
	}
	n = 0
	for _, m := range reasons {
		n += m
	}
	switch {
	case n == 0:
		say(p.stderr, "no dead letter matches")
		return 0, nil
	case f.DryRun:
		say(p.stderr, "would %s %s: %s", what, deadLetters(n), strings.Join(by, ", "))
		return 0, nil
	case f.Yes:
		return n, nil
	}
	fmt.Fprintf(p.stderr, "%s %s (%s)? [y/N] ", what, deadLetters(n), strings.Join(by, ", "))
	yes, err := saysYes(ctx, p.stdin)
	if err != nil {
		return 0, err
	}
	if !yes {
		say(p.stderr, "nothing was done")
		return 0, nil
	}
	return n, nil
}

// saysYes reads one line; only a y or yes is one.
func saysYes(ctx context.Context, from io.Reader) (bool, error) {
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(from).ReadString('\n') // an end without an answer is no
		answer <- line
	}()
	select {
	case line := <-answer:
		return slices.Contains([]string{"y", "yes"}, strings.ToLower(strings.TrimSpace(line))), nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

type dlqReplayCommand struct {
	filterFlags
	sureFlags
	deskFlags
}

// Run replays what is meant.
func (c dlqReplayCommand) Run(ctx context.Context, p process) error {
	return work(ctx, p, c.filterFlags, c.sureFlags, c.deskFlags, "replay", []desk.Result{desk.Replayed, desk.Superseded, desk.Ending, desk.Impossible, desk.Failed},
		func(ctx context.Context, d *desk.Desk, l desk.Letter) (desk.Result, error) { return d.Replay(ctx, l) })
}

type dlqPurgeCommand struct {
	filterFlags
	sureFlags
	deskFlags
}

const purged desk.Result = "purged"

// Run deletes what is meant.
func (c dlqPurgeCommand) Run(ctx context.Context, p process) error {
	return work(ctx, p, c.filterFlags, c.sureFlags, c.deskFlags, "purge", []desk.Result{purged, desk.Failed},
		func(ctx context.Context, d *desk.Desk, l desk.Letter) (desk.Result, error) {
			if err := d.Delete(ctx, l); err != nil {
				return desk.Failed, err
			}
			return purged, nil
		})
}

const (
	// atOnce is how many dead letters are worked on at once.
	atOnce = 32
	// barAbove is above how many a bar is shown.
	barAbove = 100
	// tooMany is after how many failures in a row the rest is not tried.
	tooMany = 64
	// leftAtMost is how many that were left are named, each with its reason.
	leftAtMost = 50
)

var errTooMany = errors.New("the broker fails for all")

// work does one thing with every dead letter that is meant, several at once, and says what became of them.
func work(ctx context.Context, p process, f filterFlags, sure sureFlags, open deskFlags, what string, results []desk.Result,
	do func(context.Context, *desk.Desk, desk.Letter) (desk.Result, error)) error {
	filter, err := f.filter()
	if err != nil {
		return err
	}
	if err := sure.check(p, filter, what); err != nil {
		return err
	}
	d, log, closing, err := open.open(ctx, p)
	if err != nil {
		return interrupted(ctx, p, err)
	}
	defer closing()
	n, err := sure.confirm(ctx, p, d, filter, what)
	if err != nil || n == 0 {
		return interrupted(ctx, p, err)
	}
	progress := newDLQProgress(p.stderr, n, results)
	log.SetOutput(progress)
	var failures atomic.Int64 // in a row
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	err = d.Each(groupCtx, filter, func(l desk.Letter) error {
		group.Go(func() error {
			result, err := do(groupCtx, d, l)
			if result != desk.Failed {
				failures.Store(0)
			} else if groupCtx.Err() == nil && failures.Add(1) >= tooMany {
				err = fmt.Errorf("%w, given up after %d in a row; what was not done is left for another run: %w", errTooMany, tooMany, err)
				progress.add(l, result, err)
				return err
			}
			progress.add(l, result, err)
			return nil
		})
		return nil
	})
	failed := group.Wait()
	progress.close()
	say(p.stdout, "%s", progress.line())
	switch {
	case failed != nil:
		return failed
	case ctx.Err() != nil:
		say(p.stderr, "stopped: run it again to go on, nothing is lost or done twice")
		return errReported
	case err != nil:
		return err
	case progress.left() > 0:
		return errReported
	}
	return nil
}

// dlqProgress counts what becomes of dead letters, and shows it.
type dlqProgress struct {
	progress
	results []desk.Result
	n       map[desk.Result]int
	named   int
}

func newDLQProgress(w io.Writer, most int, results []desk.Result) *dlqProgress {
	p := &dlqProgress{results: results, n: map[desk.Result]int{}}
	if most <= barAbove {
		w = plainWriter{w}
	}
	p.start(w, int64(most), p.line)
	return p
}

// plainWriter hides that a writer is a terminal.
type plainWriter struct{ io.Writer }

// line says what became of how many.
func (p *dlqProgress) line() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text()
}

func (p *dlqProgress) text() string {
	var parts []string
	for _, r := range p.results {
		parts = append(parts, fmt.Sprintf("%s %d", r, p.n[r]))
	}
	return strings.Join(parts, ", ")
}

// left is how many dead letters are still there.
func (p *dlqProgress) left() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for r, m := range p.n {
		if r != purged && !r.Done() {
			n += m
		}
	}
	return n
}

func (p *dlqProgress) add(l desk.Letter, r desk.Result, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n[r]++
	if err != nil {
		switch p.named++; {
		case p.named <= leftAtMost:
			_, _ = p.write(fmt.Appendf(nil, "#%d %s: %s: %s\n", l.Sequence, printable(l.Identifier), r, printable(oneLine(err)))) // standard error: there is nobody to tell
		case p.named == leftAtMost+1:
			_, _ = p.write([]byte("more are left; only their number is told\n"))
		}
	}
	done := 0
	for _, m := range p.n {
		done += m
	}
	p.draw(int64(done), p.text())
}

// eventLine is an event on one line: as it is stored where that is JSON, else what is known of it.
func eventLine(l desk.Letter) []byte {
	if json.Valid(l.Raw) {
		var b strings.Builder
		if compact(&b, l.Raw) == nil {
			return []byte(b.String())
		}
	}
	line, err := json.Marshal(map[string]any{"subject": l.Subject, "sequence": l.Sequence, "problem": l.Problem.Error(), "raw": l.Raw})
	if err != nil {
		panic(err) // strings, a number and bytes can always be encoded
	}
	return line
}
