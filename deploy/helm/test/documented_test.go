package test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/strvals"
	apps "k8s.io/api/apps/v1"
)

// docs/deploy.md builds, pushes and installs the same image.
func TestDocumentedInstall(t *testing.T) {
	text, err := os.ReadFile("../../../docs/deploy.md")
	if err != nil {
		t.Fatal(err)
	}
	command := strings.ReplaceAll(string(text), "\\\n", " ")
	install := regexp.MustCompile(`(?m)^helm install \S+ deploy/helm/statusworker (.*)$`).FindStringSubmatch(command)
	build := regexp.MustCompile(`(?m)^docker build -t (\S+) --build-arg VERSION=(\S+) \.$`).FindStringSubmatch(command)
	push := regexp.MustCompile(`(?m)^docker push (\S+)$`).FindStringSubmatch(command)
	if install == nil || build == nil || push == nil {
		t.Fatalf("the page has install %q, build %q, push %q", install, build, push)
	}
	values := map[string]any{}
	for _, set := range regexp.MustCompile(`--set (\S+)`).FindAllStringSubmatch(install[1], -1) {
		if err := strvals.ParseInto(set[1], values); err != nil {
			t.Fatal(err)
		}
	}
	found, err := render(t, values)
	if err != nil {
		t.Fatal(err)
	}
	image := one[*apps.Deployment](t, found).Spec.Template.Spec.Containers[0].Image
	if image != build[1] || image != push[1] {
		t.Errorf("the workers are of image %s; what is built is %s, what is pushed %s", image, build[1], push[1])
	}
	chart, err := loader.LoadDir(chartFolder)
	if err != nil {
		t.Fatal(err)
	}
	if build[2] != chart.Metadata.AppVersion {
		t.Errorf("VERSION is %s, and the chart's appVersion %s", build[2], chart.Metadata.AppVersion)
	}
}
