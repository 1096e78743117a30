package consumer_test

import (
	"net/http"
	"path"
	"strconv"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/nats-io/nats-server/v2/server"

	"statusworker/consumer"
	"statusworker/integration/stage"
	"statusworker/schema"
)

// On the smallest server that workers accept, every interaction ends, however large its declared message and the
// vendor's answer are, and however much larger they become when they are encoded.
func TestLargestOutcomesFitTheSmallestServer(t *testing.T) {
	t.Parallel()
	small, err := server.NewServer(&server.Options{
		Host:       "127.0.0.1",
		Port:       server.RANDOM_PORT,
		JetStream:  true,
		StoreDir:   t.TempDir(),
		MaxPayload: schema.MaxMessageBytes,
		NoSigs:     true,
		NoLog:      true,
	})
	if err != nil {
		t.Fatal(err)
	}
	small.Start()
	t.Cleanup(small.Shutdown)
	s := stage.New(t, stage.Options{
		Mode: consumer.Schedule, URL: small.ClientURL(),
		Worker: consumer.Config{RequestTimeout: consumer.DefaultRequestTimeout},
	})

	answers := map[string]string{} // by identifier
	fill := func(head, unit string, size int) string {
		return head + strings.Repeat(unit, (size-len(head)-2)/len(unit)) + `"}`
	}
	want := map[string]bool{}
	for _, unit := range []string{"x", "\u2028", "<", `\"`, `\u0000`, "\x01", "\xff", "\U0001F600"} {
		for _, status := range []schema.Status{schema.StatusProcessed, schema.StatusProcessingFailed} {
			for _, size := range []int{schema.MaxPayloadBytes, schema.MaxPayloadBytes + 1000} {
				id := uuid.NewString()
				answers[id] = fill(`{"identifier":"`+id+`","status":"`+string(status)+`","errorMessage":"`, unit, size)
				if want[ns.ProcessedSubject(schema.ToCXAI, id)] = true; status != schema.StatusProcessed {
					delete(want, ns.ProcessedSubject(schema.ToCXAI, id))
					want[ns.FailedSubject(schema.ProcessingFailed, id)] = true
				}
				filler := unit
				if unit == "\x01" || unit == "\xff" { // such a declared message is not taken in
					filler = `\u0001`
				}
				s.Publish(
					ns.DeclaredSubject(schema.Chat, id),
					fill(`{"interactionIdentifier":"`+id+`","type":"chat","x":"`, filler, schema.MaxDeclaredBytes),
				)
			}
		}
	}
	s.Start(stage.Ports{Client: s.ServeVendor(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := answers[path.Base(path.Dir(r.URL.Path))]
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
		_, _ = w.Write([]byte(answer))
	}))})
	for _, o := range s.WaitOutcomes(len(want)) {
		_, id, _ := ns.SplitSubject(o.Subject)
		if !want[o.Subject] {
			t.Errorf("outcome on %s: %s", o.Subject, o.Data.Detail)
		}
		size, has := len(answers[id]), len(o.Data.AnswerPayload)
		if string(o.Data.Answer) == "null" && (o.Data.AnswerSize != size || has != min(size, schema.MaxPayloadBytes)) {
			t.Errorf("%s: the answer had %d bytes, the outcome has %d of %d", o.Subject, size, has, o.Data.AnswerSize)
		}
	}
	s.WaitDrained()
}
