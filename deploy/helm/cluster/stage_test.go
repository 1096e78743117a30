package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/google/uuid"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	core "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const vendorToken = "token-of-the-simulator"

// stage is what the chart's users bring: NATS with JetStream and monitoring, ElevateAI, simulated, and secrets.
type stage struct {
	url        string
	monitoring string
	jetstream  jetstream.JetStream
}

// startStage starts NATS on ports of its own, and creates the secrets of a namespace.
func startStage(t *testing.T, p *plane, namespace string) *stage {
	t.Helper()
	broker, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, HTTPHost: "127.0.0.1", HTTPPort: server.RANDOM_PORT,
		JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	broker.Start()
	t.Cleanup(func() {
		broker.Shutdown()
		broker.WaitForShutdown()
	})
	if !broker.ReadyForConnections(patience) {
		t.Fatal("NATS does not accept connections")
	}
	s := &stage{url: broker.ClientURL(), monitoring: broker.MonitorAddr().String()}
	connection, err := nats.Connect(s.url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(connection.Close)
	if s.jetstream, err = jetstream.New(connection); err != nil {
		t.Fatal(err)
	}
	s.startVendor(t, p)
	certificate, err := os.ReadFile(p.file("vendor/certificate.pem"))
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string]map[string][]byte{
		"elevateai": {"token": []byte(vendorToken)}, "elevateai-ca": {"ca.crt": certificate},
	} {
		secret := &core.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: data}
		_, err := p.client.CoreV1().Secrets(namespace).Create(t.Context(), secret, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// startVendor starts the simulated ElevateAI, which processes an interaction 2 s after its first poll.
func (*stage) startVendor(t *testing.T, p *plane) {
	t.Helper()
	start(t, p.dir, "statusworker", nil, "simulator", "--addr=127.0.0.1:8443", "--certificate="+p.file("vendor"),
		"--token="+vendorToken, "--after=2s")
	listens(t, "127.0.0.1:8443")
}

// values are the chart's values for this stage.
func (s *stage) values(t *testing.T, more string) map[string]any {
	t.Helper()
	values := parse(t, `
image: {repository: registry.example/statusworker}
vendor:
  baseUrl: https://127.0.0.1:8443/v1
  token: {existingSecret: elevateai}
  ca: {existingSecret: elevateai-ca}
timing: {audioInterval: 1s, chatInterval: 1s, transcriptInterval: 1s}
provision: {timeout: 10s, backoffLimit: 0, activeDeadlineSeconds: 60}
`)
	merge(values, map[string]any{"nats": map[string]any{"url": s.url}})
	merge(values, parse(t, more))
	return values
}

func merge(into, from map[string]any) {
	for key, value := range from {
		a, okA := into[key].(map[string]any)
		b, okB := value.(map[string]any)
		if okA && okB {
			merge(a, b)
		} else {
			into[key] = value
		}
	}
}

// declare declares interactions.
func (s *stage) declare(t *testing.T, count int) {
	t.Helper()
	var ids []string
	for range count {
		ids = append(ids, uuid.NewString())
	}
	args := append([]string{"declare", "--type=chat", "--nats-url", s.url}, ids...)
	declare := exec.Command(program("statusworker"), args...)
	if out, err := declare.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// processed waits until the number of processed events is reached.
func (s *stage) processed(t *testing.T, count uint64) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d interactions have ended", count), func(ctx context.Context) error {
		stream, err := s.jetstream.Stream(ctx, "INTERACTIONS_OUTCOMES")
		if err != nil {
			return err
		}
		info, err := stream.Info(ctx, jetstream.WithSubjectFilter("interactions.processed.>"))
		if err != nil {
			return err
		}
		if found := info.State.Msgs; found != count {
			return fmt.Errorf("%d messages in %v", found, info.State.Subjects)
		}
		return nil
	})
}
