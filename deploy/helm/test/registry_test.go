package test

import (
	"encoding/json"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	"helm.sh/helm/v4/pkg/action"
	v2 "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	client "helm.sh/helm/v4/pkg/registry"
	"sigs.k8s.io/yaml"
)

// A chart that is packaged and pushed to an OCI registry is the same when it is pulled, and the registry shows what
// describes it.
func TestRegistry(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	helm, err := client.NewClient(client.ClientOptPlainHTTP(), client.ClientOptWriter(io.Discard),
		client.ClientOptCredentialsFile(filepath.Join(t.TempDir(), "none.json")))
	if err != nil {
		t.Fatal(err)
	}
	local, err := loader.LoadDir(chartFolder)
	if err != nil {
		t.Fatal(err)
	}
	ref := strings.TrimPrefix(server.URL, "http://") + "/charts/statusworker:" + local.Metadata.Version
	archive := packaged(t)
	if _, err := helm.Push(archive, ref); err != nil {
		t.Fatal(err)
	}
	pulled, err := helm.Pull(ref)
	if err != nil {
		t.Fatal(err)
	}

	var manifest struct{ Annotations map[string]string }
	if err := json.Unmarshal(pulled.Manifest.Data, &manifest); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"org.opencontainers.image.title":       "statusworker",
		"org.opencontainers.image.version":     local.Metadata.Version,
		"org.opencontainers.image.description": local.Metadata.Description,
		"org.opencontainers.image.authors":     "statusworker maintainers",
		"artifacthub.io/category":              "integration-delivery",
		"artifacthub.io/operator":              "false",
	}
	for name, value := range want {
		if manifest.Annotations[name] != value {
			t.Errorf("the registry shows %s as %q, want %q", name, manifest.Annotations[name], value)
		}
	}
	var config v2.Metadata
	if err := json.Unmarshal(pulled.Config.Data, &config); err != nil {
		t.Fatal(err)
	}
	if config.KubeVersion != local.Metadata.KubeVersion || config.AppVersion != local.Metadata.AppVersion ||
		!slices.Equal(config.Keywords, local.Metadata.Keywords) {
		t.Errorf("the registry shows %+v", config)
	}

	remote, err := loader.LoadArchive(strings.NewReader(string(pulled.Chart.Data)))
	if err != nil {
		t.Fatal(err)
	}
	if have, want := contents(remote), contents(local); !slices.Equal(have, want) {
		t.Errorf("pulled files %q, want %q", have, want)
	}
}

// The archive of the same files has the same bytes, so that its digest can be compared.
func TestPackageIsReproducible(t *testing.T) {
	if first, second := packaged(t), packaged(t); string(first) != string(second) {
		t.Error("two archives of the chart differ")
	}
}

// Image and chart describe themselves in the same way.
func TestDescriptionIsThatOfTheImage(t *testing.T) {
	dockerfile, err := os.ReadFile("../../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	chart, err := loader.LoadDir(chartFolder)
	if err != nil {
		t.Fatal(err)
	}
	for label, want := range map[string]string{"title": chart.Metadata.Name, "description": chart.Metadata.Description} {
		have := regexp.MustCompile(`org\.opencontainers\.image\.` + label + `="([^"]*)"`).FindSubmatch(dockerfile)
		if have == nil || string(have[1]) != want {
			t.Errorf("the image's %s is %q, the chart's %q", label, have, want)
		}
	}
}

// packaged returns the archive that `helm package` makes with SOURCE_DATE_EPOCH.
func packaged(t *testing.T) []byte {
	t.Helper()
	pack := action.NewPackage()
	pack.Destination = t.TempDir()
	epoch := time.Unix(1_700_000_000, 0)
	pack.SourceDateEpoch = &epoch
	file, err := pack.Run(chartFolder, nil)
	if err != nil {
		t.Fatal(err)
	}
	archive, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return archive
}

// contents returns the files of a chart with their text. Packaging writes Chart.yaml again.
func contents(chart *v2.Chart) []string {
	var all []string
	for _, file := range chart.Raw {
		text := string(file.Data)
		if file.Name == "Chart.yaml" {
			metadata, err := yaml.Marshal(chart.Metadata)
			if err != nil {
				return []string{err.Error()}
			}
			text = string(metadata)
		}
		all = append(all, file.Name+"\n"+text)
	}
	slices.Sort(all)
	return all
}
