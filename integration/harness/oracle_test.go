package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/schema"
)

func outcomeStream(t *testing.T, js jetstream.JetStream, replicas int) {
	t.Helper()
	_, err := js.CreateStream(Context(t, readyWithin), jetstream.StreamConfig{
		Name:     ns.StreamOutcomes(),
		Subjects: []string{ns.SubjectsProcessed(), ns.SubjectsFailed()},
		Replicas: replicas,
	})
	Check(t, err)
}

func id(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }

func publish(t *testing.T, js jetstream.JetStream, kind, identifier string) {
	t.Helper()
	_, err := js.Publish(Context(t, readyWithin), "interactions."+kind+"."+identifier, nil)
	Check(t, err)
}

func TestOracle(t *testing.T) {
	url := inProcess(t)
	js := JetStream(t, url)
	outcomeStream(t, js, 1)
	o := StartOracle(t, url)
	want := Expected{}
	want.Add(id(1), "processed.transcript", "processed.cxai")
	want.Add(id(2), "failed.not_found")
	publish(t, js, "processed.transcript", id(1))
	publish(t, js, "failed.not_found", id(2))
	awaited := make(chan error)
	ctx := Context(t, readyWithin)
	go func() { awaited <- o.Await(ctx, want) }()
	publish(t, js, "processed.cxai", id(1))
	Check(t, await(ctx, t, awaited, "the expected outcomes"))
	r, err := o.Report(ctx, want)
	Check(t, err)
	if r.Err() != nil || r.Outcomes != 3 {
		t.Errorf("report %+v, want 3 outcomes and no error", r)
	}
	of := o.Of(id(1))
	if len(of) != 2 || of[0].Kind != "processed.transcript" || of[0].Sequence != 1 || of[0].Stored.IsZero() {
		t.Errorf("outcomes of the first: %+v", of)
	}

	publish(t, js, "processed.cxai", id(1))   // a duplicate
	publish(t, js, "failed.not_found", id(1)) // a contradiction
	publish(t, js, "processed.cxai", id(9))   // of an interaction that is not expected
	want.Add(id(3), "processed.cxai")         // lost
	want.Add(id(2), "failed.not_found")       // expected twice, lost once
	want.Add(id(4), "processed.unrouted")     // published next
	publish(t, js, "processed.unrouted", id(4))
	r, err = o.Report(ctx, want)
	Check(t, err)
	got := fmt.Sprintf("%d %q %q %q", r.Outcomes, r.Duplicates, r.Lost, r.Unexpected)
	wanted := fmt.Sprintf("%d %q %q %q", 6,
		[]string{"processed.cxai of " + id(1)},
		[]string{"failed.not_found of " + id(2), "processed.cxai of " + id(3)},
		[]string{"failed.not_found of " + id(1) + " (1)", "processed.cxai of " + id(9) + " (1)"})
	if got != wanted {
		t.Errorf("report\n%s, want\n%s", got, wanted)
	}
	if r.Err() == nil {
		t.Error("Err returns nil, want an error")
	}

	err = o.Await(Context(t, 100*time.Millisecond), want)
	if err == nil || !strings.Contains(err.Error(), "failed.not_found of "+id(2)+", processed.cxai of "+id(3)) {
		t.Errorf("waiting for outcomes that do not come: error %v, want one that lists them", err)
	}
}

func TestAwaitDrained(t *testing.T) {
	js := JetStream(t, inProcess(t))
	ctx := Context(t, readyWithin)
	Check(t, AwaitDrained(ctx, js)) // there is no stream
	stream, err := js.CreateStream(
		ctx,
		jetstream.StreamConfig{Name: ns.StreamDeclared(), Subjects: []string{ns.SubjectsDeclared()}},
	)
	Check(t, err)
	subject := ns.DeclaredSubject(schema.Audio, id(1))
	_, err = js.Publish(ctx, subject, nil)
	Check(t, err)
	left, err := Left(ctx, js)
	if err != nil || len(left) != 1 || left[0] != subject {
		t.Errorf("Left returns %q (%v), want %q", left, err, subject)
	}
	short := Context(t, 100*time.Millisecond)
	if err := AwaitDrained(short, js); err == nil || !strings.Contains(err.Error(), subject) {
		t.Errorf("error %v, want one that contains %s", err, subject)
	}
	drained := make(chan error)
	go func() { drained <- AwaitDrained(ctx, js) }()
	Check(t, stream.DeleteMsg(ctx, 1))
	Check(t, await(ctx, t, drained, "the drained stream"))
}

func TestFigures(t *testing.T) {
	f := Figures{Scenario: "example", Interactions: 500, Polls: 2100, MinGap: 3_000_999 * time.Microsecond,
		Interval: 3 * time.Second, Outcomes: 700}
	const want = "scenario=example interactions=500 polls=2100 min_gap=3.000s interval=3.000s " +
		"outcomes=700 duplicates=0 lost=0"
	if f.String() != want {
		t.Errorf("got  %s\nwant %s", f, want)
	}
	path := filepath.Join(t.TempDir(), "figures")
	t.Setenv(EnvFigures, path)
	f.Print(t)
	f.Print(t)
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want+"\n"+want+"\n" {
		t.Errorf("the file contains %q (%v)", got, err)
	}
}
