// Package docs checks that what the documents name exists: documents and headings, test functions, and the paths of
// commands.
package docs

import (
	"bufio"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// kind is the kind of what does not exist.
type kind string

const (
	link    kind = "file of a link"
	heading kind = "heading"
	test    kind = "test"
	folder  kind = "path of a command"
)

// missing is something that a file names, and that does not exist.
type missing struct {
	file, name string
	kind       kind
}

// tree is the source with its documents.
type tree struct {
	fs.FS
	found []missing
	// tests are the test functions in each directory.
	tests map[string][]string
}

func TestDocuments(t *testing.T) {
	source := &tree{FS: os.DirFS("..")}
	if n := source.check(t); n < 15 {
		t.Errorf("%d documents, want at least 15", n)
	}
	for _, m := range source.found {
		t.Errorf("%s names the %s %s, which does not exist", m.file, m.kind, m.name)
	}
}

// Each kind of wrong name is found, and nothing else.
func TestWrongNamesAreFound(t *testing.T) {
	source := &tree{FS: fstest.MapFS{
		"README.md": {Data: []byte("# Top\n[a](docs/a.md) [b](docs/none.md) [c](#top) [d](#none)\n" +
			"[e](https://a.example/#x) [f](docs/a.md#a-b) [g](docs/a.md#a-c) [h](docs) [i](docs/a.md#a-b-1)\n" +
			"`TestReal` `TestNone` in `pkg`, and `TestOther` in `pkg`.\n\n| `TestOther` | `go doc ./pkg/none` |\n")},
		"docs/a.md": {Data: []byte("# A: `b`?\n## A b\nRun `go test\n-run TestReal ./pkg/...`,\n" +
			"`go test -run 'TestRe|TestNo' ./pkg`, `go run ./none -x`, `go test -run NAME ./PACKAGE`.\n" +
			"```\n# no heading\ngo run ./pkg x ./none2   # a comment\n" +
			"(cd pkg && go test -run '^$' -bench BenchmarkNone ./...)\n```\n")},
		"pkg/a_test.go":   {Data: []byte("func TestReal(t *testing.T) {\n}\n")},
		"other/a_test.go": {Data: []byte("func TestOther(t *testing.T) {\n}\n")},
		"rules.yaml": {Data: []byte("runbook: docs/a.md#none\nother: docs/a.md#a-b\n" +
			"see `A b` in docs/a.md\nsee \"C\" in docs/a.md\n")},
		"main.go": {Data: []byte("// see docs/nowhere.md\n")},
	}}
	source.check(t)
	want := []missing{
		{"README.md", "docs/none.md", link}, {"README.md", "#none", heading}, {"README.md", "docs/a.md#a-c", heading},
		{"README.md", "TestNone in pkg", test}, {"README.md", "TestOther in pkg", test},
		{"README.md", "./pkg/none", folder},
		{"docs/a.md", "-run TestNo ./pkg", test}, {"docs/a.md", "./none", folder},
		{"docs/a.md", "-bench BenchmarkNone ./pkg/...", test},
		{"rules.yaml", "docs/a.md#none", heading}, {"rules.yaml", "C in docs/a.md", heading},
		{"main.go", "docs/nowhere.md", link},
	}
	for _, m := range want {
		if !slices.Contains(source.found, m) {
			t.Errorf("not found: %v", m)
		}
	}
	if len(source.found) != len(want) {
		t.Errorf("found %d: %v, want %d", len(source.found), source.found, len(want))
	}
}

// check checks all documents, and the files that name documents. It returns the number of documents.
func (s *tree) check(t *testing.T) (documents int) {
	t.Helper()
	s.tests = map[string][]string{}
	var files []string
	err := fs.WalkDir(s, ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.HasPrefix(d.Name(), ".") && name != "." {
			return fs.SkipDir
		}
		if err == nil && d.Type().IsRegular() {
			files = append(files, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	function := regexp.MustCompile(`(?m)^func ((?:Test|Benchmark|Fuzz)\w+)\(`)
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			for _, m := range function.FindAllStringSubmatch(s.read(name), -1) {
				s.tests[path.Dir(name)] = append(s.tests[path.Dir(name)], m[1])
			}
		}
	}
	for _, name := range files {
		switch text := s.read(name); {
		case path.Ext(name) == ".md" && (path.Dir(name) == "." || path.Dir(name) == "docs"):
			documents++
			prose, commands := parts(text)
			s.links(name, prose)
			for _, paragraph := range prose {
				s.names(name, paragraph)
			}
			for _, command := range commands {
				s.command(name, command)
			}
		case slices.Contains([]string{".go", ".yaml", ".sh"}, path.Ext(name)) && !strings.HasSuffix(name, "_test.go"):
			s.references(name, text)
		}
	}
	return documents
}

func (s *tree) read(name string) string {
	text, err := fs.ReadFile(s, name)
	if err != nil {
		return ""
	}
	return string(text)
}

func (s *tree) miss(file, name string, k kind) { s.found = append(s.found, missing{file, name, k}) }

var code = regexp.MustCompile("`([^`]+)`")

// parts splits a document into paragraphs of prose, each in one line, and commands: lines of code blocks, and code in
// the prose. Each heading, list item and row of a table is a paragraph.
func parts(document string) (prose, commands []string) {
	inCode, open := false, false
	begins := regexp.MustCompile(`^\s*(#+ |\||- |\d+\. )`)
	for lines := bufio.NewScanner(strings.NewReader(document)); lines.Scan(); {
		line := lines.Text()
		switch {
		case strings.HasPrefix(strings.TrimSpace(line), "```"):
			inCode, open = !inCode, false
		case inCode:
			commands = append(commands, line)
		case strings.TrimSpace(line) == "":
			open = false
		case !open || begins.MatchString(line):
			prose, open = append(prose, line), !strings.HasPrefix(line, "#")
		default:
			prose[len(prose)-1] += " " + strings.TrimSpace(line)
		}
	}
	for _, paragraph := range prose {
		for _, m := range code.FindAllStringSubmatch(paragraph, -1) {
			commands = append(commands, m[1])
		}
	}
	return prose, commands
}

// links checks the relative links of a document.
func (s *tree) links(file string, prose []string) {
	target := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for _, m := range target.FindAllStringSubmatch(strings.Join(prose, "\n"), -1) {
		if strings.Contains(m[1], "://") {
			continue
		}
		name, anchor, _ := strings.Cut(m[1], "#")
		if name != "" {
			name = path.Join(path.Dir(file), name)
		} else {
			name = file
		}
		s.document(file, m[1], name, anchor)
	}
}

// document checks that a file exists, and has the heading of an anchor unless that is empty.
func (s *tree) document(file, shown, name, anchor string) {
	if _, err := fs.Stat(s, name); err != nil {
		s.miss(file, shown, link)
	} else if anchor != "" && !slices.Contains(s.anchors(name), anchor) {
		s.miss(file, shown, heading)
	}
}

// references checks where a file that is no document names one: its name, with an anchor or a quoted heading.
func (s *tree) references(file, text string) {
	named := regexp.MustCompile("(?:[`\"]([^`\"\n]+)[`\"] in )?\\b(docs/[a-z-]+\\.md)(?:#([a-z0-9-]+))?")
	for _, m := range named.FindAllStringSubmatch(text, -1) {
		switch quoted, name, anchor := m[1], m[2], m[3]; {
		case quoted != "":
			s.document(file, quoted+" in "+name, name, slug(quoted))
		case anchor != "":
			s.document(file, name+"#"+anchor, name, anchor)
		default:
			s.document(file, name, name, "")
		}
	}
}

// anchors returns the anchors of a document's headings, as GitHub makes them.
func (s *tree) anchors(name string) (all []string) {
	prose, _ := parts(s.read(name))
	seen := map[string]int{}
	for _, line := range prose {
		if text := strings.TrimLeft(line, "#"); text != line {
			anchor := slug(strings.TrimSpace(text))
			if n := seen[anchor]; n > 0 {
				all = append(all, fmt.Sprintf("%s-%d", anchor, n))
			} else {
				all = append(all, anchor)
			}
			seen[anchor]++
		}
	}
	return all
}

var noAnchor = regexp.MustCompile(`[^\p{L}\p{N} _-]`)

func slug(text string) string {
	return strings.ReplaceAll(noAnchor.ReplaceAllString(strings.ToLower(text), ""), " ", "-")
}

// names checks the tests that a paragraph names, in the package that follows them if there is one.
func (s *tree) names(file, paragraph string) {
	var pending []string
	known := func(in string) {
		for _, name := range pending {
			if in == "" && !s.has("./...", "^"+name+"$") {
				s.miss(file, name, test)
			} else if in != "" && !s.has("./"+in, "^"+name+"$") {
				s.miss(file, name+" in "+in, test)
			}
		}
		pending = nil
	}
	words := regexp.MustCompile("`(Test[A-Z]\\w*)`|\\bin `([a-z/]+)`")
	for _, m := range words.FindAllStringSubmatch(paragraph, -1) {
		if m[1] != "" {
			pending = append(pending, m[1])
			continue
		}
		known(m[2])
	}
	known("")
}

// has reports whether a test in the packages of a pattern matches an expression.
func (s *tree) has(packages, expression string) bool {
	matches, err := regexp.Compile(expression)
	if err != nil {
		return false
	}
	directory, below := strings.CutSuffix(path.Clean(packages), "...")
	directory = path.Clean(directory)
	for in, names := range s.tests {
		inside := in == directory || below && (directory == "." || strings.HasPrefix(in, directory+"/"))
		if inside && slices.ContainsFunc(names, matches.MatchString) {
			return true
		}
	}
	return false
}

// command checks the commands of the go tool in a line: their paths, and the tests that they select.
func (s *tree) command(file, line string) {
	line, _, _ = strings.Cut(line, " #")
	directory := "."
	verbs := []string{"run", "test", "build", "doc", "vet"}
	for _, part := range regexp.MustCompile(`&&|[;|()]\s`).Split(strings.Trim(line, "()"), -1) {
		words := strings.Fields(part)
		switch {
		case len(words) > 1 && words[0] == "cd":
			directory = path.Join(directory, words[1])
		case len(words) > 1 && words[0] == "go" && slices.Contains(verbs, words[1]):
			s.goCommand(file, directory, words[1:])
		}
	}
}

// placeholder is a path that the reader replaces.
var placeholder = regexp.MustCompile(`^\./[A-Z]+$`)

func (s *tree) goCommand(file, directory string, words []string) {
	selected := map[string]string{}
	var packages []string
	for i, word := range words {
		switch {
		case (word == "-run" || word == "-bench") && i+1 < len(words):
			selected[word] = strings.Trim(words[i+1], `'"`)
		case words[0] == "run" && len(packages) > 0: // an argument of the program
		case strings.HasPrefix(word, "./") && !placeholder.MatchString(word):
			packages = append(packages, "./"+path.Join(directory, word))
			if _, err := fs.Stat(s, path.Join(directory, strings.TrimSuffix(word, "..."))); err != nil {
				s.miss(file, word, folder)
				return
			}
		}
	}
	for flag, expression := range selected {
		for _, alternative := range strings.Split(expression, "|") {
			named := strings.ContainsAny(alternative, "abcdefghijklmnopqrstuvwxyz")
			if named && !slices.ContainsFunc(packages, func(p string) bool { return s.has(p, alternative) }) {
				s.miss(file, fmt.Sprintf("%s %s %s", flag, alternative, strings.Join(packages, " ")), test)
			}
		}
	}
}
