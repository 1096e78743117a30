package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sirupsen/logrus"

	"statusworker/cmd/broker/adapter"
	"statusworker/cmd/internal/cli"
	"statusworker/cmd/internal/connect"
	"statusworker/cmd/internal/dlqview"
	"statusworker/cmd/internal/terminal"
	"statusworker/publisher/dlq"
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
	IDs       []string      `arg:"" optional:"" name:"id" help:"Interaction identifiers, last subject tokens of invalid messages such as seq-17, or @ and a sequence (column SEQ of ls). Without one, every dead letter that the flags select."`
	Reason    []string      `name:"reason" placeholder:"REASON" help:"Only these reasons, separated by commas."`
	Type      []string      `name:"type" placeholder:"TYPE" help:"Only these types, separated by commas."`
	OlderThan time.Duration `name:"older-than" placeholder:"AGE" help:"Only dead letters older than this, such as 24h."`
	NewerThan time.Duration `name:"newer-than" placeholder:"AGE" help:"Only dead letters newer than this, such as 1h."`
}

func (f filterFlags) filter() (dlq.Filter, error) {
	filter := dlq.Filter{Names: names(f.IDs...), OlderThan: f.OlderThan, NewerThan: f.NewerThan}
	for _, r := range f.Reason {
		filter.Reasons = append(filter.Reasons, schema.Reason(r))
	}
	for _, t := range f.Type {
		filter.Types = append(filter.Types, schema.Type(t))
	}
	return filter, asFilterUsage(filter.Check())
}

// names adds to a GUID that is not in lower case the one that is: subjects have it so.
func names(ids ...string) (all []string) {
	for _, id := range ids {
		all = append(all, id)
		if lower := strings.ToLower(id); lower != id && schema.CheckIdentifier(lower) == nil {
			all = append(all, lower)
		}
	}
	return all
}

// sought are the names on a command line, and which of them dead letters were found under.
type sought struct {
	ids []string
	// narrowed is true where other flags can exclude what a name stands for.
	narrowed bool
	found    map[string]bool
}

func (f filterFlags) sought() *sought {
	return &sought{ids: f.IDs, narrowed: len(f.Reason)+len(f.Type) > 0 || f.OlderThan+f.NewerThan > 0, found: map[string]bool{}}
}

func (s *sought) saw(l dlq.DeadLetter) {
	if len(s.ids) > 0 {
		s.found[l.Identifier], s.found[l.Name()] = true, true
	}
}

// missing are the names that nothing was found under, each once.
func (s *sought) missing() (missing []string) {
	for _, id := range s.ids {
		if digits, ok := strings.CutPrefix(id, "@"); ok {
			id = "@" + strings.TrimLeft(digits, "0")
		}
		all := names(id)
		if quoted := schema.Quote(all[len(all)-1]); !slices.ContainsFunc(all, func(name string) bool { return s.found[name] }) && !slices.Contains(missing, quoted) {
			missing = append(missing, quoted)
		}
	}
	return missing
}

// report names what is missing. That is a fault, whatever else the command does.
func (s *sought) report(to io.Writer) error {
	missing := s.missing()
	if len(missing) == 0 {
		return nil
	}
	what := "no such dead letter"
	if s.narrowed {
		what += " with this reason, type and age"
	}
	say(to, "%s: %s; `statusworker dlq ls` lists what there is", what, strings.Join(missing, ", "))
	return cli.ErrReported
}

// asFilterUsage turns a complaint about a filter into one about the flag.
func asFilterUsage(err error) error {
	var bad *dlq.FilterError
	if !errors.As(err, &bad) {
		return err
	}
	flags := map[string]string{"Reasons": "reason", "Types": "type", "OlderThan": "older-than", "NewerThan": "newer-than"}
	if flag, ok := flags[bad.Field]; ok {
		return cli.BadFlag(filterFlags{}, flag, bad.Value, bad.Want)
	}
	return cli.Usagef("%s names no dead letter: want %s, as `statusworker dlq ls` shows them", bad.Value, bad.Want)
}

// dlqFlags are those of every command of the dead-letter queue.
type dlqFlags struct {
	connect.Wait
	connect.Flags `embed:"" group:"NATS"`
	cli.LogFlags  `embed:"" group:"Log"`
}

// newQueue makes a dead-letter queue on the streams that are there.
type newQueue func(context.Context, dlq.Broker) (*dlq.Queue, error)

// open connects and makes a dead-letter queue. Call closing when it is done with.
func (f dlqFlags) open(ctx context.Context, p cli.Process, make newQueue) (d *dlq.Queue, log *logrus.Logger, closing func(), err error) {
	log, err = f.Logger(p)
	if err != nil {
		return nil, nil, nil, err
	}
	bounded, cancel, err := f.Bound(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	defer cancel()
	// What cannot be sent at once must not be sent later: see package dlq.
	nc, err := f.Connect(bounded, clientName(), log)
	if err != nil {
		return nil, nil, nil, f.Unanswered(bounded, err)
	}
	js, err := jetstream.New(nc)
	if err == nil {
		err = connect.Settled(bounded, js, log, func(ctx context.Context, js jetstream.JetStream) (err error) {
			d, err = make(ctx, adapter.New(js))
			return err
		})
	}
	if err != nil {
		connect.Close(nc)
		return nil, nil, nil, f.Unanswered(bounded, adviseStreams(err))
	}
	return d, log, func() { connect.Close(nc) }, nil
}

type dlqLsCommand struct {
	filterFlags
	Output string `short:"o" name:"output" default:"table" enum:"table,json,ndjson" help:"Output format: one of ${enum}. JSON has the complete events, each with its place in the stream."`
	dlqFlags
}

// Run lists dead letters as they are read.
func (c dlqLsCommand) Run(ctx context.Context, p cli.Process) error {
	filter, err := c.filter()
	if err != nil {
		return err
	}
	d, _, closing, err := c.open(ctx, p, dlq.New)
	if err != nil {
		return interrupted(ctx, p, err)
	}
	defer closing()
	selection, err := d.Select(ctx, filter)
	if err != nil {
		return interrupted(ctx, p, advisePermission(err))
	}
	out := bufio.NewWriterSize(p.Stdout, 64<<10)
	list, sought := dlqview.NewList(out, c.Output, terminal.Columns(p.Stdout)), c.sought()
	err = selection.Each(ctx, func(l dlq.DeadLetter) error {
		sought.saw(l)
		return list.Add(l)
	})
	if err == nil || c.Output != "json" { // an array that is not whole is not closed
		err = errors.Join(err, list.End())
	}
	if err = errors.Join(err, out.Flush()); err != nil {
		return interrupted(ctx, p, advisePermission(err))
	}
	say(p.Stderr, "%s", deadLetters(list.Count()))
	return sought.report(p.Stderr)
}

// interrupted tells of a stop before the end: whoever called must not take what there is for all.
func interrupted(ctx context.Context, p cli.Process, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		say(p.Stderr, "stopped before the end")
		return cli.ErrReported
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
	ID     string `arg:"" name:"id" help:"Interaction identifier, last subject token of an invalid message, or @ and a sequence (column SEQ of ls)."`
	Output string `short:"o" name:"output" default:"text" enum:"text,json" help:"Output format: one of ${enum}. JSON is the stored event, one per line."`
	dlqFlags
}

// Run shows what there is under an identifier.
func (c dlqShowCommand) Run(ctx context.Context, p cli.Process) error {
	filter := dlq.Filter{Names: names(c.ID)}
	if err := filter.Check(); err != nil {
		return asFilterUsage(err)
	}
	d, _, closing, err := c.open(ctx, p, dlq.New)
	if err != nil {
		return interrupted(ctx, p, err)
	}
	defer closing()
	selection, err := d.Select(ctx, filter)
	if err != nil {
		return interrupted(ctx, p, advisePermission(err))
	}
	n := 0
	err = selection.Each(ctx, func(l dlq.DeadLetter) error {
		if n++; c.Output == "json" {
			_, err := fmt.Fprintf(p.Stdout, "%s\n", dlqview.Event(l))
			return err
		}
		if n > 1 {
			say(p.Stdout, "")
		}
		dlqview.Show(p.Stdout, l, time.Now(), terminal.Columns(p.Stdout))
		return nil
	})
	if err != nil {
		return interrupted(ctx, p, advisePermission(err))
	}
	if n == 0 {
		return fmt.Errorf("there is no dead letter %s; `statusworker dlq ls` lists what there is", schema.Quote(c.ID))
	}
	return nil
}

// sureFlags are those of the commands that delete dead letters.
type sureFlags struct {
	All    bool `name:"all" help:"Select all dead letters. Required if nothing else selects any."`
	DryRun bool `name:"dry-run" help:"Change nothing; list the selected dead letters and what would happen to each."`
	Yes    bool `short:"y" name:"yes" help:"Do not ask for confirmation."`
}

// check refuses what nobody can have meant.
func (f sureFlags) check(p cli.Process, filter dlq.Filter, what string) error {
	switch {
	case filter.All() && !f.All:
		return cli.Usagef("%s which dead letters? Name identifiers, or --reason, --type, --older-than or --newer-than; --all means all of them", what)
	case !filter.All() && f.All:
		return cli.Usagef("--all goes without identifiers, --reason, --type, --older-than and --newer-than: want one or the other")
	case !f.DryRun && !f.Yes && !terminal.Is(p.Stdin):
		return cli.Usagef("nobody is there to be asked (standard input is no terminal): want --yes, or --dry-run to see what would be done")
	}
	return nil
}

// sure counts what is meant, and asks whether to go on. It returns how many there are; 0 also where the answer is no.
// Missing is a fault where a name stands for none of them.
func (f sureFlags) sure(ctx context.Context, p cli.Process, s *dlq.Selection, sought *sought, what string) (n int, missing, err error) {
	reasons := map[schema.Reason]int{}
	err = s.Each(ctx, func(l dlq.DeadLetter) error {
		sought.saw(l)
		reasons[l.Reason]++
		n++
		return nil
	})
	if err != nil {
		return 0, nil, err
	}
	missing = sought.report(p.Stderr)
	switch {
	case n == 0 && missing != nil:
		return 0, missing, nil
	case n == 0:
		say(p.Stderr, "no dead letter matches")
		return 0, nil, nil
	case f.Yes || f.DryRun:
		return n, missing, nil
	}
	var by []string
	for _, r := range slices.Sorted(maps.Keys(reasons)) {
		by = append(by, fmt.Sprintf("%s %d", schema.Printable(string(r)), reasons[r]))
	}
	fmt.Fprintf(p.Stderr, "%s %s (%s)? [y/N] ", what, deadLetters(n), strings.Join(by, ", "))
	yes, err := saysYes(ctx, p.Stdin)
	if err != nil {
		return 0, nil, err
	}
	if !yes {
		say(p.Stderr, "nothing was done")
		return 0, missing, nil
	}
	return n, missing, nil
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
	dlqFlags
}

// Run replays what is meant.
func (c dlqReplayCommand) Run(ctx context.Context, p cli.Process) error {
	return work(ctx, p, c.filterFlags, c.sureFlags, c.dlqFlags, "replay", dlq.NewForReplay, (*dlq.Queue).Replay,
		dlq.Replayed, dlq.Superseded, dlq.Gone, dlq.Left)
}

type dlqPurgeCommand struct {
	filterFlags
	sureFlags
	dlqFlags
}

// Run deletes what is meant.
func (c dlqPurgeCommand) Run(ctx context.Context, p cli.Process) error {
	return work(ctx, p, c.filterFlags, c.sureFlags, c.dlqFlags, "purge", dlq.New, (*dlq.Queue).Purge, dlq.Deleted, dlq.Gone)
}

// work does one thing with every dead letter that is meant, and says what became of them.
func work(ctx context.Context, p cli.Process, f filterFlags, sure sureFlags, open dlqFlags, what string, make newQueue,
	do func(*dlq.Queue, context.Context, *dlq.Selection, bool, dlq.Report) error, results ...dlq.What) error {
	filter, err := f.filter()
	if err != nil {
		return err
	}
	if err := sure.check(p, filter, what); err != nil {
		return err
	}
	d, log, closing, err := open.open(ctx, p, make)
	if err != nil {
		return interrupted(ctx, p, err)
	}
	defer closing()
	selection, err := d.Select(ctx, filter)
	if err != nil {
		return interrupted(ctx, p, advisePermission(err))
	}
	n, missing, err := sure.sure(ctx, p, selection, f.sought(), what)
	if err != nil {
		return interrupted(ctx, p, advisePermission(err))
	}
	if n == 0 {
		return missing
	}
	if sure.DryRun {
		list := dlqview.NewList(p.Stdout, "table", terminal.Columns(p.Stdout))
		if err := errors.Join(selection.Each(ctx, list.Add), list.End()); err != nil {
			return interrupted(ctx, p, advisePermission(err))
		}
	}
	progress := dlqview.NewProgress(p.Stderr, n, results)
	log.SetOutput(progress)
	err = do(d, ctx, selection, sure.DryRun, progress.Add)
	progress.Close()
	if sure.DryRun {
		say(p.Stdout, "dry run, nothing was changed; it would be: %s", progress.Line())
	} else {
		say(p.Stdout, "%s", progress.Line())
	}
	switch {
	case ctx.Err() != nil:
		say(p.Stderr, "stopped: run it again to go on; nothing is lost or done twice")
		return cli.ErrReported
	case err != nil:
		return fmt.Errorf("%w; what is left is as it was: run it again to go on", advisePermission(err))
	case progress.Left() > 0:
		return cli.ErrReported
	}
	return missing
}
