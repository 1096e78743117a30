package harness

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/testcontainers/testcontainers-go"
	tclog "github.com/testcontainers/testcontainers-go/log"
)

// Environment variables that steer the container tests.
const (
	// EnvRequireEngine set to 1 turns "no container engine" from a skip into a failure.
	EnvRequireEngine = "STATUSWORKER_REQUIRE_ENGINE"
	// EnvNATSImage names the NATS image to test against, instead of one built from the version in go.mod.
	EnvNATSImage = "STATUSWORKER_TEST_NATS_IMAGE"
	// EnvFigures names a file to which each scenario's line is appended, because `go test` hides what passing
	// packages print.
	EnvFigures = "STATUSWORKER_TEST_FIGURES"
)

// Label is on every container and network that the harness makes; its value is the name of the test.
const Label = "statusworker.test"

// Main runs the tests of m and gives their exit code; call it from TestMain. It prepares what the container client
// reads from the environment, and removes what was built for the tests.
func Main(m *testing.M) int {
	// The image of the usual reaper cannot be pulled where there is no registry; the harness has one of its own.
	setDefaultEnv("TESTCONTAINERS_RYUK_DISABLED", "true")
	if engineIsLocal() && exists("/.dockerenv") {
		// In a container beside a local engine, the client would take the default gateway for the engine's address.
		setDefaultEnv("TESTCONTAINERS_HOST_OVERRIDE", "127.0.0.1")
	}
	tclog.SetDefault(tclog.NewNoopLogger())
	if run := os.Getenv(envReaper); run != "" {
		if err := reap(context.Background(), os.Stdin, run); err != nil {
			return 1
		}
		return 0
	}

	dir, err := os.MkdirTemp("", "statusworker-test-")
	if err != nil {
		fmt.Fprintf(os.Stderr, "making a folder for test binaries: %v\n", err)
		return 1
	}
	defer os.RemoveAll(dir)
	buildDir = dir
	return m.Run()
}

// buildDir holds the binaries built for one run of a test package.
var buildDir string

func setDefaultEnv(name, value string) {
	if _, set := os.LookupEnv(name); !set {
		os.Setenv(name, value)
	}
}

func engineIsLocal() bool {
	host := os.Getenv("DOCKER_HOST")
	return host == "" || strings.HasPrefix(host, "unix://")
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// engine is the container engine, or why there is none.
var engine = sync.OnceValues(func() (*testcontainers.DockerProvider, error) {
	provider, err := testcontainers.NewDockerProvider()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := provider.Client().Ping(ctx, client.PingOptions{}); err != nil {
		return nil, err
	}
	return provider, nil
})

// RequireEngine lets the test go on only where a container engine answers. Otherwise the test is skipped, loudly; with
// [EnvRequireEngine] set to 1 it fails.
func RequireEngine(t testing.TB) {
	t.Helper()
	_, err := engine()
	if err == nil {
		return
	}
	if os.Getenv(EnvRequireEngine) == "1" {
		t.Fatalf(
			"no container engine answers, and %s=1 requires one: start it, or point DOCKER_HOST at it: %v",
			EnvRequireEngine,
			err,
		)
	}
	sayNoEngine(err)
	t.Skipf("no container engine answers: start one to run this test: %v", err)
}

var sayNoEngineOnce sync.Once

// sayNoEngine prints one line for each test package, and on the terminal too, where there is one: `go test` hides the
// output of packages that pass.
func sayNoEngine(err error) {
	sayNoEngineOnce.Do(func() {
		line := fmt.Sprintf(
			"SKIPPED: no container engine answers; the container tests of %s did NOT run (%s=1 makes this a failure): %v\n",
			filepath.Base(os.Args[0]),
			EnvRequireEngine,
			err,
		)
		fmt.Fprint(os.Stderr, line)
		if tty, err := os.OpenFile("/dev/tty", os.O_WRONLY, 0); err == nil {
			fmt.Fprint(tty, line)
			tty.Close()
		}
	})
}

// Image is the NATS image under test: what [EnvNATSImage] names, or an image built from scratch around the
// nats-server in go.mod, tagged with its version and reused while the engine has it.
func Image(t testing.TB) string {
	t.Helper()
	RequireEngine(t)
	name, err := image()
	Check(t, err)
	return name
}

var image = sync.OnceValues(func() (string, error) {
	if name := os.Getenv(EnvNATSImage); name != "" {
		return name, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	provider, err := engine()
	if err != nil {
		return "", err
	}
	const repo, tag = "statusworker-test-nats", server.VERSION
	if _, err := provider.Client().ImageInspect(ctx, repo+":"+tag); err == nil {
		return repo + ":" + tag, nil
	} else if !errdefs.IsNotFound(err) {
		return "", fmt.Errorf("looking for the NATS image: %w", err)
	}
	binary, err := build(ctx, "nats-server", "github.com/nats-io/nats-server/v2", "CGO_ENABLED=0")
	if err != nil {
		return "", err
	}
	archive, err := imageContext(binary)
	if err != nil {
		return "", fmt.Errorf("packing the NATS image: %w", err)
	}
	name, err := provider.BuildImage(
		ctx,
		&testcontainers.ContainerRequest{FromDockerfile: testcontainers.FromDockerfile{
			ContextArchive: archive, Repo: repo, Tag: tag, KeepImage: true,
		}},
	)
	if err != nil {
		return "", fmt.Errorf("building the NATS image: %w", err)
	}
	return name, nil
})

// build builds a main package of this module, or of one that it requires, once into the run's folder.
func build(ctx context.Context, name, pkg string, env ...string) (string, error) {
	path := filepath.Join(buildDir, name)
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, pkg)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s: %w\n%s", pkg, err, out)
	}
	return path, nil
}

// imageContext is a build context with the server and nothing else.
func imageContext(binary string) (*bytes.Reader, error) {
	program, err := os.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range []struct {
		name string
		mode int64
		data []byte
	}{
		{"nats-server", 0o755, program},
		{"Dockerfile", 0o644, []byte("FROM scratch\nCOPY nats-server /nats-server\nENTRYPOINT [\"/nats-server\"]\n")},
	} {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.data))}); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.data); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return bytes.NewReader(b.Bytes()), nil
}
