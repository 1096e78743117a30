package harness

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/testcontainers/testcontainers-go"
)

// EnvProductImage is the image of the product to test, for example one that the Dockerfile built. By default, the
// harness builds the last stage of the Dockerfile around a binary that the local Go installation builds.
const EnvProductImage = "STATUSWORKER_TEST_IMAGE"

// Product returns the image of the product under test: the value of [EnvProductImage], or an image that the harness
// builds once for each test process.
func Product(t testing.TB) string {
	t.Helper()
	RequireEngine(t)
	name, err := product()
	Check(t, err)
	return name
}

var product = sync.OnceValues(func() (string, error) {
	if name := os.Getenv(EnvProductImage); name != "" {
		return name, nil
	}
	ctx := context.Background()
	provider, err := engine()
	if err != nil {
		return "", err
	}
	binary, err := build(ctx, "product", "statusworker/cmd/statusworker", "-tags=nodev", "-trimpath", "-buildvcs=false")
	if err != nil {
		return "", err
	}
	stage, err := lastStage(ctx)
	if err != nil {
		return "", err
	}
	archive, err := imageContext("statusworker", binary, stage)
	if err != nil {
		return "", fmt.Errorf("packing the product's image: %w", err)
	}
	name, err := provider.BuildImage(
		ctx,
		&testcontainers.ContainerRequest{FromDockerfile: testcontainers.FromDockerfile{
			ContextArchive: archive, Repo: "statusworker-test-product", Tag: "latest", KeepImage: true,
		}},
	)
	if err != nil {
		return "", fmt.Errorf("building the product's image: %w", err)
	}
	return name, nil
})

// lastStage returns the last stage of the Dockerfile, with the binary taken from the build context.
func lastStage(ctx context.Context) (string, error) {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "statusworker").Output()
	if err != nil {
		return "", fmt.Errorf("locating the module: %w", err)
	}
	file, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(root)), "Dockerfile"))
	if err != nil {
		return "", err
	}
	const from, copied = "\nFROM scratch\n", "COPY --from=build /out/statusworker /out/sbom.txt /\n"
	_, stage, found := strings.Cut(string(file), from)
	if !found || !strings.Contains(stage, copied) {
		return "", fmt.Errorf("the Dockerfile has no last stage %q with %q", strings.TrimSpace(from), copied)
	}
	return "FROM scratch\n" + strings.Replace(stage, copied, "COPY statusworker /\n", 1), nil
}
