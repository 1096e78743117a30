package main

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

const docsDirectory = "../../docs/"

func readDoc(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// sampleProgram builds the Go program in a document, and returns its path.
func sampleProgram(t *testing.T, document string) string {
	t.Helper()
	_, rest, _ := strings.Cut(readDoc(t, docsDirectory+document), "```go\n")
	source, _, found := strings.Cut(rest, "```\n")
	if !found || !strings.HasPrefix(source, "package main\n") {
		t.Fatalf("%s has no Go program", document)
	}
	directory := t.TempDir()
	file, program := filepath.Join(directory, "main.go"), filepath.Join(directory, "sample")
	if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	// Built in this module, which requires nats.go.
	build := exec.CommandContext(t.Context(), "go", "build", "-ldflags=-s -w", "-o", program, file)
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // like all other programs of the tests
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the program of %s: %v\n%s", document, err, text)
	}
	return program
}

// The programs in producers.md and consumers.md work with a broker and a worker.
func TestSampleProgramsInDocs(t *testing.T) {
	t.Parallel()
	at, js := provisioned(t)
	program := sampleProgram(t, "producers.md")
	run := func(want string) {
		t.Helper()
		producer := exec.CommandContext(t.Context(), program, someID)
		producer.Env = []string{"NATS_URL=" + at}
		if text, err := producer.CombinedOutput(); err != nil || string(text) != want+" "+someID+"\n" {
			t.Fatalf("the program of producers.md: %v, %s; want %q", err, text, want)
		}
	}
	run("declared")
	run("already waiting")

	vendor, err := simulator.Start(
		simulator.Config{Default: func(string) simulator.Script { return simulator.Processed(1) }},
	)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(vendor.Close)
	worker := command(t, "run")
	maps.Copy(worker.env, workerEnv(at, vendor.URL()))
	worker.start()

	consumer := exec.CommandContext(t.Context(), sampleProgram(t, "consumers.md"))
	consumer.Env = []string{"NATS_URL=" + at}
	var printed output
	consumer.Stdout, consumer.Stderr = &printed, &printed
	if err := consumer.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = consumer.Process.Kill()
		_ = consumer.Wait()
	})
	printed.wait(worker.ctx, t, "audio "+someID+"\n")
	durable, err := js.Consumer(t.Context(), ns.StreamOutcomes(), "transcripts")
	if err != nil {
		t.Fatal(err)
	}
	if policy := durable.CachedInfo().Config.AckPolicy; policy != jetstream.AckExplicitPolicy {
		t.Errorf("the consumer acknowledges by %v", policy)
	}
}

// The tables of permissions.md are the permissions of the users of deploy/nats/statusworker.conf.
func TestPermissionsInDocs(t *testing.T) {
	t.Parallel()
	quoted := regexp.MustCompile(`"([^"]+)"`)
	allowed := map[string][]string{}
	user := ""
	for line := range strings.Lines(readDoc(t, "../../deploy/nats/statusworker.conf")) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "user: "); ok {
			user, _, _ = strings.Cut(name, ",")
		}
		if strings.HasPrefix(line, "#") || strings.HasPrefix(line, "subscribe") {
			continue
		}
		for _, subject := range quoted.FindAllStringSubmatch(line, -1) {
			allowed[user] = append(allowed[user], subject[1])
		}
	}
	documented := map[string][]string{}
	named, row := regexp.MustCompile("^User `([a-z]+)`"), regexp.MustCompile("^\\| `([^`]+)` \\|")
	user = ""
	for line := range strings.Lines(readDoc(t, docsDirectory+"permissions.md")) {
		if m := named.FindStringSubmatch(line); m != nil {
			user = m[1]
		}
		if m := row.FindStringSubmatch(line); m != nil {
			documented[user] = append(documented[user], expanded(m[1])...)
		}
	}
	if len(allowed) < 7 {
		t.Fatalf("found the users %q", slices.Sorted(maps.Keys(allowed)))
	}
	for name := range allowed {
		slices.Sort(allowed[name])
		slices.Sort(documented[name])
		if !slices.Equal(allowed[name], documented[name]) {
			t.Errorf("user %s may publish\n%s\nand permissions.md lists\n%s", name,
				strings.Join(allowed[name], "\n"), strings.Join(documented[name], "\n"))
		}
	}
	if len(documented) != len(allowed) {
		t.Errorf("permissions.md has the users %q", slices.Sorted(maps.Keys(documented)))
	}
}

// expanded replaces the placeholders of permissions.md.
func expanded(subject string) []string {
	var all []string
	switch {
	case strings.Contains(subject, "<type>"):
		for _, typ := range schema.Types() {
			all = append(all, strings.ReplaceAll(subject, "<type>", string(typ)))
		}
	case strings.Contains(subject, "<stream>"):
		for _, stream := range ns.Streams() {
			all = append(all, strings.ReplaceAll(subject, "<stream>", stream))
		}
	default:
		all = append(all, subject)
	}
	return all
}

// Documents and headings that the program names exist.
func TestPrintedReferencesExist(t *testing.T) {
	t.Parallel()
	document := regexp.MustCompile("(?:see `?([A-Z][A-Za-z ]+?)`? in )?docs/([a-z-]+\\.md)")
	found, headings := 0, 0
	for _, pattern := range []string{"*.go", "../*/*.go", "../*/*/*.go", "../../schema/*/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("no %s: %v", pattern, err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			for _, m := range document.FindAllStringSubmatch(readDoc(t, file), -1) {
				found++
				text := readDoc(t, docsDirectory+m[2])
				if m[1] == "" {
					continue
				}
				headings++
				if !regexp.MustCompile(`(?m)^##+ ` + m[1] + `$`).MatchString(text) {
					t.Errorf("%s names %q in %s, which has no such heading", file, m[1], m[2])
				}
			}
		}
	}
	if found < 8 || headings < 4 {
		t.Errorf("found %d documents and %d headings", found, headings)
	}
}
