package main

import (
	"fmt"
	"slices"

	"statusworker/cmd/broker/provisioning"
	"statusworker/cmd/internal/cli"
	"statusworker/schema/topology"
)

// progress prints what is done, and keeps what is left to do.
type progress struct {
	p    cli.Process
	verb string // such as created
	did  int
	left []string
}

func (w *progress) done(objects []string) {
	for _, object := range objects {
		say(w.p.Stdout, "%s %s", w.verb, object)
		w.left = slices.DeleteFunc(w.left, func(s string) bool { return s == object })
		w.did++
	}
}

// stopped prints what is left, and returns the error with how to continue.
func (w *progress) stopped(err error) error {
	for _, object := range w.left {
		say(w.p.Stdout, "not %s %s", w.verb, object)
	}
	return &partialError{err, w.verb, w.did, w.did + len(w.left)}
}

// partialError is the error of a command that did a part of its work.
type partialError struct {
	err       error
	verb      string
	did, want int
}

func (e *partialError) Error() string {
	return fmt.Sprintf("%v; %s %d of %d; when the cause is removed, run the command again: it continues with the rest",
		e.err, e.verb, e.did, e.want)
}

func (e *partialError) Unwrap() error { return e.err }

// missing returns the objects that do not exist.
func missing(found []topology.Difference) []string {
	return objects(found, func(d topology.Difference) bool { return d.Missing })
}

// differing returns the objects that differ, or whose messages are not delivered.
func differing(found []topology.Difference, undelivered []provisioning.Undelivered) []string {
	all := objects(found, func(d topology.Difference) bool { return !d.Missing })
	for _, u := range undelivered {
		if object := topology.ConsumerObject(u.Stream, u.Consumer); !slices.Contains(all, object) {
			all = append(all, object)
		}
	}
	return all
}

func objects(found []topology.Difference, are func(topology.Difference) bool) (names []string) {
	for _, d := range found {
		if are(d) && !slices.Contains(names, d.Object) {
			names = append(names, d.Object)
		}
	}
	return names
}
