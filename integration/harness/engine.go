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

// Environment variables that configure the container tests.
const (
	// EnvRequireEngine set to 1 makes tests fail instead of skip when there is no container engine.
	EnvRequireEngine = "STATUSWORKER_REQUIRE_ENGINE"
	// EnvNATSImage is the NATS image to test against. The default is the image of the nats-server version in go.mod.
	EnvNATSImage = "STATUSWORKER_TEST_NATS_IMAGE"
	// EnvFigures is a file to which each scenario appends its figures. `go test` hides the output of packages that
	// pass.
	EnvFigures = "STATUSWORKER_TEST_FIGURES"
)

// Label is a label of every container and network of the harness. Its value is the name of the test.
const Label = "statusworker.test"

// Main runs the tests of m and returns their exit code. Call it from TestMain. It sets the environment of the container
// client, and removes the binaries that were built for the tests.
func Main(m *testing.M) int {
	// The reaper of testcontainers needs an image from a registry; the harness has its own reaper.
	setDefaultEnv("TESTCONTAINERS_RYUK_DISABLED", "true")
	if engineIsLocal() && exists("/.dockerenv") {
		// In a container with the engine's socket, the client would use the default gateway as the engine's address.
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
		fmt.Fprintf(os.Stderr, "creating a directory for test binaries: %v\n", err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	buildDir = dir
	return m.Run()
}

// buildDir contains the binaries that this test process builds.
var buildDir string

func setDefaultEnv(name, value string) {
	if _, set := os.LookupEnv(name); !set {
		_ = os.Setenv(name, value) // fails only for an invalid name
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

// engine returns the container engine, or the reason why there is none.
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

// RequireEngine skips the test, with a line on standard error, when no container engine answers. With
// [EnvRequireEngine] set to 1 the test fails.
func RequireEngine(t testing.TB) {
	t.Helper()
	_, err := engine()
	if err == nil {
		return
	}
	if os.Getenv(EnvRequireEngine) == "1" {
		t.Fatalf(
			"no container engine, but %s=1 requires one: start it, or set DOCKER_HOST to its address: %v",
			EnvRequireEngine,
			err,
		)
	}
	reportSkip(err)
	t.Skipf("no container engine: start one to run this test: %v", err)
}

var reportSkipOnce sync.Once

// reportSkip prints one line for each test process, to the terminal too if there is one: `go test` hides the output of
// packages that pass.
func reportSkip(err error) {
	reportSkipOnce.Do(func() {
		line := fmt.Sprintf(
			"SKIPPED: no container engine; the container tests of %s did NOT run (%s=1 makes this a failure): %v\n",
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

// Image returns the NATS image under test: the value of [EnvNATSImage], or an image that contains the nats-server in
// go.mod. The harness builds that image once for each version of nats-server.
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
		return "", fmt.Errorf("inspecting the NATS image: %w", err)
	}
	binary, err := build(ctx, "nats-server", "github.com/nats-io/nats-server/v2")
	if err != nil {
		return "", err
	}
	archive, err := imageContext("nats-server", binary,
		"FROM scratch\nCOPY nats-server /nats-server\nENTRYPOINT [\"/nats-server\"]\n")
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

// build builds a main package of this module, or of a required one, into [buildDir]. The program is static, as an image
// without other files needs it.
func build(ctx context.Context, name, pkg string, flags ...string) (string, error) {
	path := filepath.Join(buildDir, name)
	args := append([]string{"build", "-ldflags=-s -w", "-o", path}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, pkg)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s: %w\n%s", pkg, err, out)
	}
	return path, nil
}

// imageContext returns a build context that contains a binary, under a name, and a Dockerfile.
func imageContext(name, binary, dockerfile string) (*bytes.Reader, error) {
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
		{name, 0o755, program},
		{"Dockerfile", 0o644, []byte(dockerfile)},
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
