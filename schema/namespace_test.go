package schema_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"statusworker/schema"
)

func namespace(t *testing.T, name string) schema.Namespace {
	t.Helper()
	n, err := schema.NewNamespace(name)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestNewNamespace(t *testing.T) {
	for _, name := range []string{
		"a", "interactions", "b2b", "eu-west_1", "kva", "kv-a", "object", strings.Repeat("z", 32),
	} {
		if n, err := schema.NewNamespace(name); err != nil || n.String() != name {
			t.Errorf("%q: %q, %v", name, n, err)
		}
	}
	for _, name := range []string{
		"", strings.Repeat("z", 33), "A", "aB", "1", "-a", "_a", "a.b", "a b", "*", "a*", ">", "$KV", "a/b", `a\b`,
		"a\n", "\na", "é", "a\x00", "\xff",
		"kv", "kv_", "kv_a", "obj", "obj_a",
	} {
		n, err := schema.NewNamespace(name)
		if err == nil {
			t.Errorf("NewNamespace(%q) succeeds, want an error", name)
			continue
		}
		if n != schema.DefaultNamespace || !strings.Contains(err.Error(), schema.Quote(name)) {
			t.Errorf("%q: %q, %v, want the zero value and an error with the name", name, n, err)
		}
		checkOneLine(t, err.Error())
	}
}

func TestDefaultNamespace(t *testing.T) {
	if n := namespace(t, "interactions"); n != schema.DefaultNamespace || n != (schema.Namespace{}) {
		t.Errorf("NewNamespace(interactions) = %#v, want DefaultNamespace", n)
	}
	if n := namespace(t, "other"); n == schema.DefaultNamespace || n != namespace(t, "other") {
		t.Errorf("%#v: namespaces do not compare by name", n)
	}
	n := schema.DefaultNamespace
	for _, tt := range []struct{ got, want string }{
		{n.StreamDeclared(), "INTERACTIONS_DECLARED"},
		{n.StreamPolls(), "INTERACTIONS_POLLS"},
		{n.StreamOutcomes(), "INTERACTIONS_OUTCOMES"},
		{n.StreamWorkers(), "KV_INTERACTIONS_WORKERS"},
		{n.BucketWorkers(), "INTERACTIONS_WORKERS"},
		{n.ConsumerIntake(), "intake"},
		{n.SubjectsDeclared(), "interactions.declared.*.*"},
		{n.SubjectsHold(), "interactions.hold.*.*"},
		{n.SubjectsPoll(), "interactions.poll.*.*"},
		{n.SubjectsProcessed(), "interactions.processed.*.*"},
		{n.SubjectsFailed(), "interactions.failed.*.*"},
		{n.SubjectsWorkers(), "$KV.INTERACTIONS_WORKERS.>"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s, want %s", tt.got, tt.want)
		}
	}
}

func TestNamespaceOfAStream(t *testing.T) {
	for _, n := range names(t) {
		for _, stream := range n.Streams() {
			if got, ok := schema.NamespaceOf(stream); !ok || got != n {
				t.Errorf("NamespaceOf(%s) = %s, %t, want %s", stream, got, ok, n)
			}
		}
	}
	for _, stream := range []string{
		"", "_", "INTERACTIONS", "_DECLARED", "INTERACTIONS_OTHER", "interactions_DECLARED", "INTERACTIONS_WORKERS",
		"KV_INTERACTIONS_DECLARED", "KV_KV_A_WORKERS",
	} {
		if n, ok := schema.NamespaceOf(stream); ok {
			t.Errorf("NamespaceOf(%q) = %s, want none", stream, n)
		}
	}
}

func TestNamespaceAsText(t *testing.T) {
	for _, want := range names(t) {
		text, err := json.Marshal(want)
		var got schema.Namespace
		if err != nil || string(text) != `"`+want.String()+`"` || json.Unmarshal(text, &got) != nil || got != want {
			t.Errorf("%s becomes %s, %v, and %s", want, text, err, got)
		}
	}
	if n := namespace(t, "a"); n.UnmarshalText([]byte("A")) == nil || n != schema.DefaultNamespace {
		t.Errorf("an invalid text becomes %s", n)
	}
}

func TestNamesOfANamespace(t *testing.T) {
	n := namespace(t, "eu-west_1")
	for _, tt := range []struct{ got, want string }{
		{n.StreamDeclared(), "EU-WEST_1_DECLARED"},
		{n.StreamWorkers(), "KV_EU-WEST_1_WORKERS"},
		{n.WorkerSubject("w"), "$KV.EU-WEST_1_WORKERS.w"},
		{n.PollConsumer(schema.Chat), "poll-chat"},
		{n.DeclaredSubject(schema.Audio, guid), "eu-west_1.declared.audio." + guid},
		{n.WaitingSubjects(guid), "eu-west_1.*.*." + guid},
		{n.OutcomeSubject(schema.Outcome{Identifier: guid, Reason: schema.NotFound}),
			"eu-west_1.failed.not_found." + guid},
		{n.OutcomeSubject(schema.Outcome{Identifier: guid, Destination: schema.ToCXAI}),
			"eu-west_1.processed.cxai." + guid},
	} {
		if tt.got != tt.want {
			t.Errorf("%s, want %s", tt.got, tt.want)
		}
	}
}

// streamsOf returns the subjects of each stream of a namespace, by the name of the stream.
func streamsOf(n schema.Namespace) map[string][]string {
	return map[string][]string{
		n.StreamDeclared(): {n.SubjectsDeclared()},
		n.StreamPolls():    {n.SubjectsHold(), n.SubjectsPoll()},
		n.StreamOutcomes(): {n.SubjectsProcessed(), n.SubjectsFailed()},
		n.StreamWorkers():  {n.SubjectsWorkers()},
	}
}

// filtersOf returns the filters within the streams of a namespace.
func filtersOf(n schema.Namespace) []string {
	return []string{
		n.DeclaredSubjects(guid), n.HoldSubjects(guid), n.PollSubjects(guid), n.WaitingSubjects(guid),
		n.FailedSubjects(guid),
		n.OutcomeSubjects(guid), n.WorkerSubject("w"),
	}
}

// overlap reports whether a subject can match both patterns.
func overlap(a, b string) bool {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(as), len(bs)) {
		switch {
		case as[i] == ">", bs[i] == ">":
			return true
		case as[i] != bs[i] && as[i] != "*" && bs[i] != "*":
			return false
		}
	}
	return len(as) == len(bs)
}

// names returns namespaces with similar names, and some with random names.
func names(t *testing.T) []schema.Namespace {
	t.Helper()
	all := map[schema.Namespace]bool{}
	for _, name := range []string{
		"interactions", "interaction", "interactions_", "interactions_declared", "interactions_polls",
		"interactions-polls",
		"a", "a_", "a-", "a__", "a_workers", "a_workers_workers", "declared", "poll", "kv-a", "workers",
		"kvinteractions",
	} {
		all[namespace(t, name)] = true
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 15 {
		name := []byte{"ak"[random.IntN(2)]}
		for range random.IntN(4) {
			name = append(name, "av0-_"[random.IntN(5)])
		}
		if n, err := schema.NewNamespace(string(name)); err == nil {
			all[n] = true
		}
	}
	return slices.Collect(maps.Keys(all))
}

func TestNamespacesShareNothing(t *testing.T) {
	all := names(t)
	for _, a := range all {
		if len(streamsOf(a)) != len(a.Streams()) {
			t.Errorf("%s: streams %q, want %d that differ", a, a.Streams(), len(streamsOf(a)))
		}
		for _, b := range all {
			if a == b {
				continue
			}
			others := filtersOf(b)
			for stream, patterns := range streamsOf(b) {
				if streamsOf(a)[stream] != nil {
					t.Errorf("%s and %s share the stream %s", a, b, stream)
				}
				others = append(others, patterns...)
			}
			mine := append(filtersOf(a), slices.Concat(slices.Collect(maps.Values(streamsOf(a)))...)...)
			for _, one := range mine {
				for _, other := range others {
					if overlap(one, other) {
						t.Errorf("%s and %s share subjects: %s, %s", a, b, one, other)
					}
				}
			}
		}
	}
}

// Only the stream of the workers' bucket has the name of a bucket's stream.
func TestStreamsOfBuckets(t *testing.T) {
	for _, n := range names(t) {
		for _, stream := range n.Streams() {
			if isBucket := strings.HasPrefix(stream, "KV_"); isBucket != (stream == n.StreamWorkers()) {
				t.Errorf("%s has the stream %s", n, stream)
			}
		}
	}
}

func TestSubjectsSplitBack(t *testing.T) {
	all := names(t)
	for _, n := range all {
		for subject, kind := range map[string]string{
			n.DeclaredSubject(schema.Audio, guid):        "audio",
			n.HoldSubject(schema.Chat, guid):             "chat",
			n.PollSubject(schema.Transcript, guid):       "transcript",
			n.ProcessedSubject(schema.ToCXAI, guid):      "cxai",
			n.FailedSubject(schema.InvalidMessage, guid): "invalid_message",
		} {
			for _, by := range all {
				gotKind, id, ok := by.SplitSubject(subject)
				if want := by == n; ok != want || want && (gotKind != kind || id != guid) || !want && gotKind+id != "" {
					t.Errorf("%s splits %s into %q, %q, %t", by, subject, gotKind, id, ok)
				}
				is := []bool{by.IsDeclaredSubject(subject), by.IsPollSubject(subject), by.IsFailedSubject(subject)}
				want := []bool{by == n && kind == "audio", by == n && kind == "transcript",
					by == n && kind == "invalid_message"}
				if !slices.Equal(is, want) {
					t.Errorf("%s: subject %s is declared, poll, failed: %t, want %t", by, subject, is, want)
				}
			}
		}
		for _, stream := range n.Streams() {
			pattern, err := n.SubjectPattern(stream, schema.Chat)
			switch stream {
			case n.StreamDeclared(), n.StreamPolls():
				if _, _, ok := n.SplitSubject(pattern); err != nil || !ok {
					t.Errorf("%s: SubjectPattern(%s) = %q, %v", n, stream, pattern, err)
				}
			default:
				if err == nil {
					t.Errorf("%s: SubjectPattern(%s) = %q, want an error", n, stream, pattern)
				}
			}
		}
	}
}

func TestDecodeFromANamespace(t *testing.T) {
	n := namespace(t, "eu")
	message := []byte(`{"interactionIdentifier":"` + guid + `","type":"audio"}`)
	if _, err := n.DecodeFrom(n.DeclaredSubject(schema.Audio, guid), message); err != nil {
		t.Error(err)
	}
	if _, err := n.DecodeFrom(ns.DeclaredSubject(schema.Audio, guid), message); err == nil {
		t.Error("a subject of another namespace is accepted")
	}
}

// A name that is written elsewhere, or is of the default namespace, would be the same in every namespace.
func TestNamesAreBuiltInOnePlace(t *testing.T) {
	name := regexp.MustCompile(`interactions\.($|[a-z*{<>])|INTERACTIONS|\$KV\.|KV_[A-Z]|^poll-|Statusworker-`)
	places := map[string]string{ // the files that have names, and which
		"schema/namespace.go": "names",
		"schema/names.go":     "headers",
	}
	found := map[string]bool{}
	root := ".."
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		file, err := filepath.Rel(root, path)
		if err != nil || entry.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return err
		}
		file = filepath.ToSlash(file)
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(parsed, func(node ast.Node) bool {
			if chosen, ok := node.(*ast.SelectorExpr); ok && chosen.Sel.Name == "DefaultNamespace" &&
				!strings.HasPrefix(file, "integration/") {
				t.Errorf("%s:%d: DefaultNamespace: use the namespace of the flags", file,
					set.Position(chosen.Pos()).Line)
			}
			literal, ok := node.(*ast.BasicLit)
			if !ok || literal.Kind != token.STRING {
				return true
			}
			text, err := strconv.Unquote(literal.Value)
			if err != nil || !name.MatchString(text) {
				return true
			}
			found[file] = true
			if places[file] == "" {
				t.Errorf("%s:%d: %s is a name on the wire: use schema.Namespace, or the constants of headers in schema",
					file, set.Position(literal.Pos()).Line, literal.Value)
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for file, what := range places {
		if !found[file] {
			t.Errorf("found no %s in %s, want at least one", what, file)
		}
	}
}
