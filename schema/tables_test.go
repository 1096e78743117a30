package schema_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"statusworker/schema"
)

// What the vendor's documentation and the contract define, independent of the tables.
var (
	final = map[schema.Status]schema.Reason{
		"processed":        "",
		"processingFailed": "processing_failed", "fileUploadFailed": "file_upload_failed",
		"fileDownloadFailed": "file_download_failed",
	}
	refusals = map[schema.Fault]schema.Reason{"not_found": "not_found", "rejected": "rejected"}
	// routes are the destinations by the type and the members of a declaration.
	routes = map[schema.Type]map[string][]schema.Destination{
		schema.Audio: {
			"": {schema.ToTranscript, schema.ToCXAI}, `,"includeAiResults":true`: {schema.ToTranscript, schema.ToCXAI},
			`,"includeAiResults":false`: {schema.ToTranscript},
		},
		schema.Chat: {
			"": {schema.ToCXAI}, `,"includeAiResults":true`: {schema.ToCXAI},
			`,"includeAiResults":false`: {schema.Unrouted},
		},
		schema.Transcript: {
			"": {schema.ToCXAI}, `,"includeAiResults":true`: {schema.ToCXAI},
			`,"includeAiResults":false`: {schema.Unrouted},
		},
	}
)

func TestTables(t *testing.T) {
	for _, s := range schema.Statuses() {
		reason, ends := final[s]
		meaning := schema.Pending
		if ends && reason == "" {
			meaning = schema.Processed
		} else if ends {
			meaning = schema.Failed
		}
		if s.Meaning() != meaning || s.Reason() != reason || s.Final() != ends || s.Text() == "" {
			t.Errorf("status %s: %s, reason %q, final %t, %q; want %s, reason %q", s, s.Meaning(), s.Reason(),
				s.Final(), s.Text(), meaning, reason)
		}
		if err := s.Check(); err != nil {
			t.Errorf("status %s: %v", s, err)
		}
	}
	for _, s := range []schema.Status{"", "Processed", "processed ", "reticulating"} {
		if s.Known() || s.Meaning() != schema.Pending || s.Reason() != "" || s.Text() != "" {
			t.Errorf("unknown status %q has the meaning %s and the reason %q", s, s.Meaning(), s.Reason())
		}
	}
	for _, f := range schema.Faults() {
		if reason := refusals[f]; f.Reason() != reason || f.Refusal() != (reason != "") ||
			f.Refusal() != (f.Text() != "") {
			t.Errorf("fault %s: reason %q, refusal %t, %q; want reason %q", f, f.Reason(), f.Refusal(), f.Text(),
				reason)
		}
	}
	for _, r := range schema.Reasons() {
		if !r.Valid() || r.Text() == "" || r.Advice() == "" {
			t.Errorf("reason %s lacks a text or an advice: %q, %q", r, r.Text(), r.Advice())
		}
		if byVendor := len(r.Statuses())+len(r.Faults()) > 0; byVendor != (r.Cause() == schema.ByVendor) {
			t.Errorf("reason %s has the cause %q; statuses %q and faults %q lead to it", r, r.Cause(), r.Statuses(),
				r.Faults())
		}
	}
	if r := schema.Reason("unlucky"); r.Valid() || r.Text() != "" || r.Advice() != "" || r.Cause() != "" {
		t.Errorf("an unknown reason has the text %q", r.Text())
	}
}

func TestDestinations(t *testing.T) {
	reached := map[schema.Destination]bool{}
	for _, typ := range schema.Types() {
		if len(routes[typ]) == 0 {
			t.Errorf("routes of %s are missing in the test", typ)
		}
		for members, want := range routes[typ] {
			d, err := schema.Decode(fmt.Appendf(nil, `{"interactionIdentifier":%q,"type":%q%s}`, guid, typ, members))
			if err != nil {
				t.Fatal(err)
			}
			got := d.Destinations()
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s%s goes to %v, want %v", typ, members, got, want)
			}
			for _, to := range got {
				reached[to] = true
			}
		}
	}
	for _, d := range schema.Destinations() {
		if !reached[d] {
			t.Errorf("no declaration leads to %s", d)
		}
	}
	members := at(t, document(t, declaredSchema), "properties")
	for _, f := range schema.Flags() {
		if member, ok := members[string(f)].(map[string]any); !ok || member["type"] != "boolean" ||
			member["default"] != f.Default() {
			t.Errorf("%s: member %s is %v, want a boolean whose default is %t", declaredSchema, f, members[string(f)],
				f.Default())
		}
	}
}

// Every constant is in its table.
func TestEveryConstantIsListed(t *testing.T) {
	var causes []schema.Cause
	for _, r := range schema.Reasons() {
		causes = append(causes, r.Cause())
	}
	lists := map[string][]string{
		"Status": texts(schema.Statuses()), "Meaning": texts(schema.Meanings()), "Fault": texts(schema.Faults()),
		"Reason":      texts(schema.Reasons()),
		"Destination": texts(schema.Destinations()), "Flag": texts(schema.Flags()), "Type": texts(schema.Types()),
		"Cause": texts(causes),
	}
	found := map[string]int{}
	for name, of := range constants(t) {
		for _, value := range of {
			if list, ok := lists[name]; ok {
				found[name]++
				if !slices.Contains(list, value) {
					t.Errorf("constant %s %q is not in its table", name, value)
				}
			}
		}
	}
	for name, list := range lists {
		if distinct := len(slices.Compact(slices.Sorted(slices.Values(list)))); found[name] != distinct {
			t.Errorf("%d constants of type %s, but %d in the table", found[name], name, distinct)
		}
	}
}

// constants returns the values of this package's typed constants, by the name of the type.
func constants(t *testing.T) map[string][]string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no Go files: %v", err)
	}
	all := map[string][]string{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			typ, _ := spec.Type.(*ast.Ident)
			for _, v := range spec.Values {
				if literal, ok := v.(*ast.BasicLit); ok && typ != nil && literal.Kind == token.STRING {
					value, err := strconv.Unquote(literal.Value)
					if err != nil {
						t.Fatal(err)
					}
					all[typ.Name] = append(all[typ.Name], value)
				}
			}
			return true
		})
	}
	return all
}

const docs = "../docs/"

// The documents name all values that appear in messages and labels.
func TestDocsNameEverything(t *testing.T) {
	polled := slices.DeleteFunc(texts(schema.Faults()), func(f string) bool { return f == string(schema.FaultNotSent) })
	for file, names := range map[string][]string{
		"../README.md":        slices.Concat(texts(schema.Reasons()), texts(schema.Destinations())),
		docs + "producers.md": slices.Concat(texts(schema.Types()), texts(schema.Flags())),
		docs + "consumers.md": slices.Concat(texts(schema.Statuses()), texts(schema.Reasons()),
			texts(schema.Destinations()), texts(schema.Flags())),
		docs + "dead-letters.md": texts(schema.Reasons()),
		docs + "metrics.md": slices.Concat(texts(schema.Meanings()), polled, texts(schema.Reasons()),
			texts(schema.Destinations())),
	} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if !regexp.MustCompile("[`.]" + name + "[`.]").Match(text) {
				t.Errorf("%s does not name `%s`", file, name)
			}
		}
	}
}

// The tables of the documents are generated from those of the code:
//
//	go test ./schema -update
func TestDocsFollowTheTables(t *testing.T) {
	var statuses, destinations, reasons strings.Builder
	statuses.WriteString("| status | what it means | then |\n|---|---|---|\n")
	for _, s := range schema.Statuses() {
		then := "pending"
		switch {
		case s.Reason() != "":
			then = "dead letter `" + string(s.Reason()) + "`"
		case s.Meaning() == schema.Processed:
			then = "processed events"
		}
		fmt.Fprintf(&statuses, "| `%s` | %s | %s |\n", s, s.Text(), then)
	}
	destinations.WriteString("| destination | types | flag |\n|---|---|---|\n")
	for _, d := range schema.Destinations() {
		types, flag := "where there is nothing to fetch", ""
		if len(d.Types()) > 0 {
			types = "`" + strings.Join(texts(d.Types()), "`, `") + "`"
		}
		if f := d.Flag(); f != "" {
			flag = fmt.Sprintf("`%s`, %t by default", f, f.Default())
		}
		fmt.Fprintf(&destinations, "| `%s` | %s | %s |\n", d, types, flag)
	}
	reasons.WriteString("| reason | what it means | what to do |\n|---|---|---|\n")
	for _, r := range schema.Reasons() {
		fmt.Fprintf(&reasons, "| `%s` | %s | %s |\n", r, r.Text(), r.Advice())
	}
	for _, table := range []struct{ file, name, text string }{
		{docs + "consumers.md", "statuses", statuses.String()},
		{docs + "consumers.md", "destinations", destinations.String()},
		{docs + "consumers.md", "reasons", reasons.String()},
		{docs + "consumers.md", "processed-example", example(t, "processed-transcript")},
		{docs + "consumers.md", "failed-example", example(t, "failed-not_found")},
		{docs + "dead-letters.md", "reasons", reasons.String()},
	} {
		text, err := os.ReadFile(table.file)
		if err != nil {
			t.Fatal(err)
		}
		begin, end := "<!-- "+table.name+" -->\n", "<!-- /"+table.name+" -->"
		before, rest, begun := strings.Cut(string(text), begin)
		_, after, ended := strings.Cut(rest, end)
		if !begun || !ended {
			t.Errorf("%s has no table between %s and %s", table.file, strings.TrimSpace(begin), end)
			continue
		}
		refresh(t, table.file, string(text), before+begin+table.text+end+after)
	}
}

// example returns a golden outcome as a Markdown block.
func example(t *testing.T, golden string) string {
	t.Helper()
	text, err := os.ReadFile("testdata/outcomes/" + golden + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := json.Indent(&b, bytes.TrimSpace(text), "", "  "); err != nil {
		t.Fatal(err)
	}
	return "```json\n" + b.String() + "\n```\n"
}

// The lists in the schemas and in the AsyncAPI document are those of the code, in its order.
func TestSchemasFollowTheTables(t *testing.T) {
	data := func(name string) map[string]any { return at(t, document(t, name), "properties", "data") }
	api := document(t, asyncAPI)
	status := at(t, document(t, answerSchema), "properties", "status")
	have := map[string]string{}
	for _, name := range schema.Documents() {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		have[name] = string(text)
	}
	next := map[string]string{}
	for name, text := range have {
		next[name] = text
	}
	for _, list := range []struct {
		got  any
		want []string
	}{
		{at(t, document(t, declaredSchema), "properties", "type")["enum"], texts(schema.Types())},
		{at(t, api, "channels", "declared", "parameters", "type")["enum"], texts(schema.Types())},
		{at(t, data(processedSchema), "properties", "destination")["enum"], texts(schema.Destinations())},
		{at(t, api, "channels", "processed", "parameters", "destination")["enum"], texts(schema.Destinations())},
		{at(t, data(failedSchema), "properties", "reason")["enum"], texts(schema.Reasons())},
		{at(t, api, "channels", "failed", "parameters", "reason")["enum"], texts(schema.Reasons())},
		{status["examples"], texts(schema.Statuses())},
	} {
		got := anyTexts(list.got)
		if slices.Equal(got, list.want) {
			continue
		}
		// A list in several documents is the same in all of them.
		written := regexp.MustCompile(`\[(\s*)"` + strings.Join(got, `",\s*"`) + `"(\s*)\]`)
		for name := range next {
			next[name] = written.ReplaceAllString(next[name], `[${1}"`+strings.Join(list.want, `",${1}"`)+`"${2}]`)
		}
		if !*update {
			t.Errorf("a document lists %q, the code %q", got, list.want)
		}
	}
	var names []string
	for _, s := range schema.Statuses() {
		if s.Final() {
			names = append(names, "`"+string(s)+"`")
		}
	}
	described := "The progress of the interaction. Final values are " + strings.Join(names, ", ") +
		". All other values, including unknown ones, are pending."
	for name := range next {
		next[name] = strings.ReplaceAll(next[name], status["description"].(string), described)
	}
	for name := range next {
		refresh(t, name, have[name], next[name])
	}
}

// refresh fails the test if a file differs, or writes it with -update.
func refresh(t *testing.T, file, have, want string) {
	t.Helper()
	if have == want {
		return
	}
	if !*update {
		t.Errorf("%s differs from the tables of the code: run go test ./schema -update, and review the difference",
			file)
		return
	}
	if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}
