package main

import (
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"statusworker/cmd/internal/cli"
	"statusworker/publisher/dlq"
	"statusworker/schema"
)

// filterFlags select dead letters.
type filterFlags struct {
	IDs       []string      `arg:"" optional:"" name:"id" help:"Dead letters, each by its interaction identifier, by the last subject token of an invalid message (such as seq-17), or by @N, its sequence in column SEQ of ls. Without one, all that the flags select."`
	Reason    []string      `name:"reason" placeholder:"REASON" help:"Only these reasons, separated by commas."`
	Type      []string      `name:"type" placeholder:"TYPE" help:"Only these types, separated by commas."`
	OlderThan time.Duration `name:"older-than" placeholder:"AGE" help:"Only dead letters older than this, such as 24h."`
	NewerThan time.Duration `name:"newer-than" placeholder:"AGE" help:"Only dead letters newer than this, such as 1h."`
	Detail    string        `name:"detail" placeholder:"TEXT" help:"Only dead letters whose detail contains this text, ignoring case."`
}

func (f filterFlags) filter() (dlq.Filter, error) {
	filter := dlq.Filter{Names: names(f.IDs...), OlderThan: f.OlderThan, NewerThan: f.NewerThan, Detail: f.Detail}
	for _, r := range f.Reason {
		filter.Reasons = append(filter.Reasons, schema.Reason(r))
	}
	for _, t := range f.Type {
		filter.Types = append(filter.Types, schema.Type(t))
	}
	return filter, asFilterUsage(filter.Check())
}

// names adds the lower-case form of a GUID, which is the form in subjects.
func names(ids ...string) (all []string) {
	for _, id := range ids {
		all = append(all, id)
		if lower := strings.ToLower(id); lower != id && schema.CheckIdentifier(lower) == nil {
			all = append(all, lower)
		}
	}
	return all
}

// sought are the names on a command line, and those of them that were found.
type sought struct {
	ids []string
	// narrowed means that other flags may exclude a named dead letter.
	narrowed bool
	found    map[string]bool
}

func (f filterFlags) sought() *sought {
	narrowed := len(f.Reason)+len(f.Type) > 0 || f.OlderThan+f.NewerThan > 0 || f.Detail != ""
	return &sought{ids: f.IDs, narrowed: narrowed, found: map[string]bool{}}
}

func (s *sought) saw(l dlq.DeadLetter) {
	if len(s.ids) > 0 {
		s.found[l.Identifier], s.found[l.Name()] = true, true
	}
}

// missing returns the names without a dead letter, each once.
func (s *sought) missing() (missing []string) {
	for _, id := range s.ids {
		if digits, ok := strings.CutPrefix(id, "@"); ok {
			id = "@" + strings.TrimLeft(digits, "0")
		}
		all := names(id)
		if slices.ContainsFunc(all, func(name string) bool { return s.found[name] }) {
			continue
		}
		if quoted := schema.Quote(all[len(all)-1]); !slices.Contains(missing, quoted) {
			missing = append(missing, quoted)
		}
	}
	return missing
}

// report reports the missing names as an error.
func (s *sought) report(to io.Writer) error {
	missing := s.missing()
	if len(missing) == 0 {
		return nil
	}
	what := "no such dead letter"
	if s.narrowed {
		what += " that the flags select"
	}
	say(to, "%s: %s; `statusworker dlq ls` lists all", what, strings.Join(missing, ", "))
	return cli.ErrReported
}

// asFilterUsage converts an error about a filter to a usage error about the flag.
func asFilterUsage(err error) error {
	var bad *dlq.FilterError
	if !errors.As(err, &bad) {
		return err
	}
	flags := map[string]string{
		"Reasons": "reason", "Types": "type", "OlderThan": "older-than", "NewerThan": "newer-than",
	}
	if flag, ok := flags[bad.Field]; ok {
		return cli.BadFlag(filterFlags{}, flag, bad.Value, bad.Want)
	}
	return cli.Usagef("%s is not the name of a dead letter: must be %s, as `statusworker dlq ls` shows them",
		bad.Value, bad.Want)
}
