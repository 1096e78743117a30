package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

// workerEnv returns the variables of a worker with short poll intervals.
func workerEnv(natsURL, vendorURL string) map[string]string {
	return map[string]string{
		"NATS_URL": natsURL, "ELEVATEAI_BASE_URL": vendorURL, "ELEVATEAI_API_TOKEN": simulator.DefaultToken,
		"STATUSWORKER_AUDIO_INTERVAL": "200ms", "STATUSWORKER_CHAT_INTERVAL": "200ms",
		"STATUSWORKER_TRANSCRIPT_INTERVAL": "200ms",
	}
}

// blockingVendor answers polls only after release, so that a poll is in flight when a signal arrives.
type blockingVendor struct {
	url     string
	arrived chan struct{}
	release func()
}

func newBlockingVendor(t *testing.T) *blockingVendor {
	t.Helper()
	released := make(chan struct{})
	v := &blockingVendor{arrived: make(chan struct{}, 100), release: sync.OnceFunc(func() { close(released) })}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v.arrived <- struct{}{}
		<-released
		vendorSays(`{"identifier":%q,"status":"processed"}`, strings.Split(r.URL.Path, "/")[3])(w, r)
	}))
	t.Cleanup(server.Close)
	t.Cleanup(v.release)
	v.url = server.URL + "/v1"
	return v
}

// polled waits for a poll.
func (v *blockingVendor) polled(t *testing.T) {
	t.Helper()
	select {
	case <-v.arrived:
	case <-time.After(30 * time.Second):
		t.Fatal("no poll arrives")
	}
}

// Each signal to stop lets a worker finish its poll in flight.
func TestSignalsStopAWorkerGracefully(t *testing.T) {
	t.Parallel()
	for _, s := range []syscall.Signal{syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT} {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			at, js := provisioned(t)
			v := newBlockingVendor(t)
			c := processOf(t, workerEnv(at, v.url), "run").launch()
			c.logs(`"working"`)
			identifier := declare(t, js)
			v.polled(t)
			c.signal(s)
			c.logs("stopping")
			v.release()
			c.exits(exitOK)
			says(t, "the log", &c.stderr, `"stopped"`)
			hasOutcome(t, js, identifier)
		})
	}
}

// hasOutcome requires that an interaction is processed.
func hasOutcome(t *testing.T, js jetstream.JetStream, identifier string) {
	t.Helper()
	outcomes, err := js.Stream(t.Context(), ns.StreamOutcomes())
	if err == nil {
		_, err = outcomes.GetLastMsgForSubject(t.Context(), ns.ProcessedSubject(schema.ToTranscript, identifier))
	}
	if err != nil {
		t.Errorf("no outcome of %s: %v", identifier, err)
	}
}

// awaitOutcome waits until an interaction is processed.
func awaitOutcome(t *testing.T, js jetstream.JetStream, identifier string) {
	t.Helper()
	outcomes, err := js.OrderedConsumer(t.Context(), ns.StreamOutcomes(), jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{ns.ProcessedSubject(schema.ToTranscript, identifier)},
	})
	if err == nil {
		_, err = outcomes.Next(jetstream.FetchMaxWait(30 * time.Second))
	}
	if err != nil {
		t.Errorf("no outcome of %s: %v", identifier, err)
	}
}

// A process that was started with nohup ignores SIGHUP.
func TestNohup(t *testing.T) {
	t.Parallel()
	at, js := provisioned(t)
	v := newBlockingVendor(t)
	v.release()
	c := processOf(t, workerEnv(at, v.url))
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	c.Path, c.Args = shell, []string{"sh", "-c", `trap "" HUP; exec "$0" run`, c.Path}
	c.launch()
	c.logs(`"working"`)
	c.signal(syscall.SIGHUP)
	declare(t, js)
	v.polled(t) // it is still working
	c.signal(syscall.SIGTERM)
	c.exits(exitOK)
}

// A worker finishes its poll in flight if the reader of its log has closed the pipe, before or during the shutdown.
func TestShutdownWithAClosedLog(t *testing.T) {
	t.Parallel()
	for _, closed := range []string{"standard error", "standard error and output"} {
		for _, when := range []string{"before", "after"} {
			t.Run(closed+", "+when, func(t *testing.T) {
				t.Parallel()
				at, js := provisioned(t)
				v := newBlockingVendor(t)
				c := processOf(t, workerEnv(at, v.url), "run", "--log-level", "trace")
				reader, writer, err := os.Pipe()
				if err != nil {
					t.Fatal(err)
				}
				c.Stderr = writer
				if closed != "standard error" {
					c.Stdout = writer
				}
				c.launch()
				writer.Close()
				go func() { _, _ = io.Copy(&c.stderr, reader) }() // until the reader is closed
				c.logs(`"working"`)
				identifier := declare(t, js)
				v.polled(t)
				if when == "after" {
					c.signal(syscall.SIGTERM)
					c.logs("stopping")
				}
				reader.Close()
				if when == "before" {
					c.signal(syscall.SIGTERM)
				}
				v.release()
				c.exits(exitOK)
				hasOutcome(t, js, identifier)
			})
		}
	}
}

// With a closed pipe, as in `dlq ls | head`, a command fails without a message.
func TestClosedStandardOutput(t *testing.T) {
	t.Parallel()
	at, js := provisioned(t)
	storeDeadLetter(t, js, deadLetter(schema.NotFound, someID))
	for _, args := range [][]string{
		{"dlq", "ls"}, {"dlq", "ls", "-o", "json"}, {"dlq", "ls", "-o", "ndjson"}, {"status"}, {"status",
			"--watch"}, {"status", "-o", "json"}, {"provision", "--dry-run"}, {"dlq", "show", someID},
		{"version"}, {"--version"}, {"schema"}, {"schema", "declared"}, {"--help"}, {"dlq",
			"--help"}, {"doctor"}, {"doctor", "-o", "json"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			t.Parallel()
			env := workerEnv(at, strings.Replace(nobody(t), "nats:", "http:", 1))
			env["STATUSWORKER_LOG_LEVEL"] = "error" // a slow broker is logged as a warning
			c := processOf(t, env, args...)
			reader, writer, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			reader.Close()
			c.Stdout = writer
			c.launch()
			writer.Close()
			c.exits(exitFault)
			if c.stderr.String() != "" {
				t.Errorf("standard error has %q", c.stderr.String())
			}
		})
	}
}

// A worker that was suspended does not count its own timeouts as failures of the vendor.
func TestSuspendedWorkerDoesNotBlameTheVendor(t *testing.T) {
	t.Parallel()
	at, js := provisioned(t)
	v := newBlockingVendor(t)
	env := workerEnv(at, v.url)
	env["STATUSWORKER_AUDIO_INTERVAL"], env["STATUSWORKER_REQUEST_TIMEOUT"] = "5s", "3s"
	c := processOf(t, env, "run").launch()
	c.logs(`"working"`)
	const n = 5
	identifiers := make([]string, n)
	for i := range identifiers {
		identifiers[i] = declare(t, js)
	}
	for range n {
		v.polled(t)
	}
	c.signal(syscall.SIGSTOP)
	time.Sleep(6 * time.Second) // longer than the worker tolerates; a suspended process gives no event to wait for
	c.signal(syscall.SIGCONT)
	v.polled(t) // the polls in flight have failed, and are repeated
	v.release()
	for _, identifier := range identifiers {
		awaitOutcome(t, js, identifier)
	}
	c.signal(syscall.SIGTERM)
	c.exits(exitOK)
	log := c.stderr.String()
	if strings.Count(log, `"lasted"`) != 1 || strings.Contains(log, "polling paused") || strings.Contains(log,
		"polls failing") {
		t.Errorf("the log is\n%s", log)
	}
}
