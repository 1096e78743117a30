package mask_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"

	"statusworker/cmd/internal/mask"
)

const secret = `5d9f3c1e-To"ke\n/of<all>&sor ts+ß%41`

func setOf(secrets ...string) *mask.Set {
	s := &mask.Set{}
	s.Add(secrets...)
	return s
}

// spellings returns a text in many encodings.
func spellings(t *testing.T, text string) map[string]string {
	t.Helper()
	inJSON := func(s string) string {
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	all := map[string]string{
		"as it is":        text,
		"lower":           strings.ToLower(text),
		"upper":           strings.ReplaceAll(strings.ToUpper(text), "SS", "ß"),
		"quoted":          strconv.Quote(text),
		"quoted in ASCII": strconv.QuoteToASCII(text),
		"JSON":            inJSON(text),
		"query":           url.QueryEscape(text),
		"path":            url.PathEscape(text),
	}
	for name, once := range all {
		all[name+", quoted"] = strconv.Quote(once)
		all[name+", JSON"] = inJSON(once)
		all[name+", quoted, JSON"] = inJSON(strconv.Quote(once))
		all[name+", JSON twice"] = inJSON(inJSON(once))
	}
	return all
}

func TestEverySpelling(t *testing.T) {
	s := setOf(secret)
	for name, text := range spellings(t, secret) {
		masked := s.Text("before " + text + " after")
		if !strings.Contains(masked, mask.Replacement) || strings.Contains(strings.ToLower(masked), "5d9f") ||
			strings.Contains(masked, "sor") ||
			strings.Contains(masked, "41") {
			t.Errorf("%s: %s", name, masked)
		}
		if !strings.HasPrefix(masked, "before ") || !strings.HasSuffix(masked, " after") {
			t.Errorf("%s: more than the secret is masked: %s", name, masked)
		}
		if json.Valid([]byte(text)) && !json.Valid([]byte(s.Text(text))) {
			t.Errorf("%s: invalid JSON: %s", name, s.Text(text))
		}
	}
}

// The result does not depend on how a text is split into writes.
func TestWriterAcrossWrites(t *testing.T) {
	s := setOf("canary-5d9f3c1e", "canary", "other-secret")
	text := "line canary-5d9f3c1e one\ncanary two other-secret\ncan\nary \\u0063anary %63anary other-secre"
	want := s.Text(text)
	if strings.Count(want, mask.Replacement) != 5 {
		t.Fatalf("masked is %q", want)
	}
	for size := range len(text) {
		var out bytes.Buffer
		w := mask.NewWriter(s, &out)
		for rest := text; rest != ""; {
			n := min(size+1, len(rest))
			if written, err := w.Write([]byte(rest[:n])); written != n || err != nil {
				t.Fatalf("wrote %d of %d: %v", written, n, err)
			}
			rest = rest[n:]
		}
		if err := w.Flush(); err != nil || out.String() != want {
			t.Errorf("in pieces of %d: %q (%v), want %q", size+1, out.String(), err, want)
		}
	}
}

// A prompt is written before its line ends.
func TestWriterBuffersNoMoreThanNecessary(t *testing.T) {
	var out bytes.Buffer
	w := mask.NewWriter(setOf("canary"), &out)
	fmt.Fprint(w, "go on? [y/N] ")
	if out.String() != "go on? [y/N] " {
		t.Errorf("written is %q", out.String())
	}
	fmt.Fprint(w, "can")
	if out.String() != "go on? [y/N] " {
		t.Errorf("written is %q", out.String())
	}
	fmt.Fprint(w, "not\n")
	if out.String() != "go on? [y/N] cannot\n" {
		t.Errorf("written is %q", out.String())
	}
}

// Unquoted numbers and words in JSON are not masked, so that the line stays valid.
func TestJSONStaysJSON(t *testing.T) {
	for _, secret := range []string{"1234", "true", "null", "level", "2028", "e5d9"} {
		s := setOf(secret)
		line := `{"level":"info","polls":1234,"more":91234.5,"on":true,"none": null,` +
			`"text":"a\u2028b ` + secret + ` \"x\":` + secret + `"}`
		masked := s.Text(line)
		var record map[string]any
		if err := json.Unmarshal([]byte(masked), &record); err != nil {
			t.Errorf("%s: %v in %s", secret, err, masked)
			continue
		}
		if strings.Contains(fmt.Sprint(record["text"]), secret) {
			t.Errorf("%s shows in %s", secret, masked)
		}
	}
}

func TestSet(t *testing.T) {
	var s mask.Set
	if got := s.Text("canary"); got != "canary" {
		t.Errorf("an empty set gives %q", got)
	}
	s.Add("", " ", "abc", "  canary\r\n")
	if got := s.Text("abc canary"); got != "abc ***" {
		t.Errorf("masked is %q", got)
	}
	s.Add("second-token")
	if got := s.Text("canary second-token"); got != "*** ***" {
		t.Errorf("masked is %q, want the former secret masked too", got)
	}
}

func TestConcurrentUse(t *testing.T) {
	var s mask.Set
	var out bytes.Buffer
	w := mask.NewWriter(&s, &out)
	var all sync.WaitGroup
	for n := range 8 {
		all.Go(func() {
			for i := range 50 {
				own := fmt.Sprintf("secret-%d-%d.", n, i)
				s.Add(own)
				fmt.Fprintf(w, "it is %s\n", own)
			}
		})
	}
	all.Wait()
	if strings.Contains(out.String(), "secret-") || strings.Count(out.String(), mask.Replacement) != 400 {
		t.Errorf("written is %s", out.String())
	}
}

// broken is a writer that fails.
type broken struct{}

var errBroken = errors.New("broken")

func (broken) Write([]byte) (int, error) { return 0, errBroken }

func TestWriterReturnsErrors(t *testing.T) {
	w := mask.NewWriter(setOf("canary"), broken{})
	if _, err := w.Write([]byte("canary\n")); !errors.Is(err, errBroken) {
		t.Errorf("error %v", err)
	}
}

func BenchmarkWriter(b *testing.B) {
	w := mask.NewWriter(setOf("canary-5d9f3c1e-7a42-4b8e-9c65-0f1e2d3c4b5a", "n4ts-passw0rd"), io.Discard)
	line := []byte(
		`{"level":"debug","msg":"polled","lane":"audio","status":"processing","time":"2026-11-27T00:45:12Z"}` + "\n",
	)
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		_, _ = w.Write(line)
	}
}
