package consumer_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"statusworker/consumer"
	"statusworker/consumer/breaker"
	"statusworker/integration/stage"
	"statusworker/schema"
	"statusworker/statusclient"
	"statusworker/statusclient/simulator"
)

// tokenFolder has a token file that is replaced as Kubernetes does it: by another target of a symbolic link.
type tokenFolder string

func (f tokenFolder) file() string { return filepath.Join(string(f), "token") }

func (f tokenFolder) write(version, token string) error {
	folder := filepath.Join(string(f), version)
	next, current := filepath.Join(string(f), "..new"), filepath.Join(string(f), "..data")
	return errors.Join(
		os.Mkdir(folder, 0o700),
		os.WriteFile(filepath.Join(folder, "token"), []byte(token+"\n"), 0o600),
		os.Symlink(version, next),
		os.Rename(next, current),
	)
}

// A revoked token makes the worker pause. It uses the new one in the file without a restart.
func TestTokenRotation(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := inMemory(t, consumer.Schedule, nil)
		const renewed = "11111111-5157-4a75-8000-000000000000"
		folder := tokenFolder(t.TempDir())
		s.Check(folder.write("..v1", simulator.DefaultToken))
		s.Check(os.Symlink(filepath.Join("..data", "token"), folder.file()))
		w := s.Start(stage.Ports{Client: s.ClientWith(statusclient.Config{TokenFile: folder.file()})})
		var want []string
		declare := func() {
			for range 12 {
				id := s.Declare(schema.Chat, simulator.Processed(time.Second))
				want = append(want, ns.ProcessedSubject(schema.ToCXAI, id))
			}
		}
		declare()
		s.WantOutcomes(want...)
		s.Vendor.SetToken(renewed)
		declare()
		s.Until("a pause", func() bool { return w.Breaker().State != schema.Working })
		first := w.Breaker()
		if first.Cause != breaker.Unauthorized {
			t.Errorf("it pauses because of %q", first.Cause)
		}
		// When a probe was refused, the requests that were in flight before have ended.
		s.Until("a refused probe", func() bool {
			now := w.Breaker()
			return now.State == schema.Paused && now.Until.Sub(first.Until) > time.Second
		})
		s.Check(folder.write("..v2", renewed))
		refused := func() int { return s.Vendor.Counts().Codes[http.StatusUnauthorized] }
		before := refused()
		s.WantOutcomes(want...)
		if n := refused() - before; n != 0 {
			t.Errorf("%d polls were refused after the file had changed, want none", n)
		}
		if got := w.Stats().VendorFailures; got != uint64(refused()) {
			t.Errorf("%d vendor failures counted, want the %d of the vendor", got, refused())
		}
		if w.Breaker().State != schema.Working {
			t.Errorf("it still pauses: %+v", w.Breaker())
		}
	})
}
