package main

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/schema"
)

func polls(t *testing.T, js jetstream.JetStream) jetstream.Stream {
	t.Helper()
	s, err := js.Stream(t.Context(), schema.StreamPolls)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// anchors returns how many anchors are stored.
func anchors(t *testing.T, js jetstream.JetStream) uint64 {
	t.Helper()
	info, err := polls(t, js).Info(t.Context(), jetstream.WithSubjectFilter(schema.SubjectAnchor))
	if err != nil {
		t.Fatal(err)
	}
	return info.State.Subjects[schema.SubjectAnchor]
}

func deleteAnchor(t *testing.T, js jetstream.JetStream) {
	t.Helper()
	if err := polls(t, js).Purge(t.Context(), jetstream.WithPurgeSubject(schema.SubjectAnchor)); err != nil {
		t.Fatal(err)
	}
}

// refuseAnchor makes the polls stream one that was created without the anchor.
func refuseAnchor(t *testing.T, js jetstream.JetStream) {
	t.Helper()
	deleteAnchor(t, js)
	changed := polls(t, js).CachedInfo().Config
	changed.Subjects = []string{schema.SubjectsHold, schema.SubjectsPoll}
	if _, err := js.UpdateStream(t.Context(), changed); err != nil {
		t.Fatal(err)
	}
}

// awaitNoAnchor waits until a foreign consumer has taken the anchor.
func awaitNoAnchor(t *testing.T, js jetstream.JetStream) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for anchors(t, js) > 0 {
		if ctx.Err() != nil {
			t.Fatal("the anchor is still stored")
		}
	}
}

// The anchor is the first message of a new stream. Without --update, provision stores a missing one; with it, it also
// adds the subject.
func TestProvisionStoresTheAnchor(t *testing.T) {
	t.Parallel()
	at, js := provisioned(t)
	first, err := polls(t, js).GetMsg(t.Context(), polls(t, js).CachedInfo().State.FirstSeq)
	if err != nil || first.Subject != schema.SubjectAnchor {
		t.Fatalf("the first message is %+v, %v", first, err)
	}
	object := "message " + schema.StreamPolls + "/" + schema.SubjectAnchor
	provision := func(more ...string) *call {
		return command(t, append([]string{"provision", "--nats-url", at}, more...)...)
	}
	deleteAnchor(t, js)
	says(t, "dry run", &provision("--dry-run").exits(exitFault).stdout, "would create "+object)
	if n := anchors(t, js); n != 0 {
		t.Fatalf("a dry run stored %d anchors", n)
	}
	says(t, "provision", &provision().exits(exitOK).stdout, "created "+object)
	if n := anchors(t, js); n != 1 {
		t.Fatalf("%d anchors are stored", n)
	}

	refuseAnchor(t, js)
	says(t, "without --update", &provision().exits(exitFault).stdout, schema.StreamPolls+": subjects is ")
	if n := anchors(t, js); n != 0 {
		t.Fatalf("%d anchors are stored on a subject that the stream does not accept", n)
	}
	says(t, "--update", &provision("--update").exits(exitOK).stdout, "updated stream "+schema.StreamPolls,
		"created "+object)
	if n := anchors(t, js); n != 1 {
		t.Fatalf("%d anchors are stored", n)
	}
	says(t, "again", &provision("--dry-run").exits(exitOK).stdout, "nothing to change")
}

// A worker runs on a polls stream without the anchor's subject, and with a user who may not publish it. It logs that
// once, with what to do.
func TestWorkersWithoutTheAnchor(t *testing.T) {
	t.Parallel()
	t.Run("subject", func(t *testing.T) {
		t.Parallel()
		at, js := provisioned(t)
		refuseAnchor(t, js)
		w := worker(t, at).start()
		w.logs("`statusworker provision --update`")
		w.stop()
		w.end()
	})
	t.Run("permission", func(t *testing.T) {
		t.Parallel()
		at := users(t, func(all []*server.User) []*server.User {
			i := slices.IndexFunc(all, func(u *server.User) bool { return u.Username == "worker" })
			all[i] = lacking(all[i], "worker", schema.SubjectAnchor)
			return append(all, &server.User{Username: "admin", Password: userPassword, Account: all[i].Account})
		})
		command(t, append([]string{"provision", "--nats-url", at}, as("provision")...)...).exits(exitOK)
		nc, err := nats.Connect(at, nats.UserInfo("admin", userPassword))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		deleteAnchor(t, js)
		w := worker(t, at, as("worker")...).start()
		w.logs("allow the user to publish to " + schema.SubjectAnchor)
		declare(t, js)
		for polls(t, js).CachedInfo().State.Msgs == 0 {
			if w.ctx.Err() != nil {
				t.Fatalf("no interaction was taken in:\n%s", &w.stderr)
			}
		}
		w.stop()
		w.end()
	})
}
