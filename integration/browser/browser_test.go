package browser

import (
	"context"
	_ "embed"
	"encoding/json"
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"statusworker/integration/harness"
)

var update = flag.Bool("update", false, "rewrite the screenshots in docs/images")

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

//go:embed testdata/audit.js
var audit string

// chromium returns the path of Chromium.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv(harness.EnvRequireEngine) == "1" {
		t.Fatalf("%s=1 requires Chromium too: install it (Debian package chromium)", harness.EnvRequireEngine)
	}
	t.Skip("SKIPPED: the console was NOT tested in a browser: install chromium to run this test")
	return ""
}

// browser is a tab of Chromium.
type browser struct {
	t   *testing.T
	ctx context.Context
	// base is the address of the console, without a slash.
	base string

	mu       sync.Mutex
	reported []string
	// expected are parts of reports that a test causes on purpose.
	expected []string
}

// open starts Chromium, without any host but this machine.
func open(t *testing.T, base string) *browser {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chromium(t)), chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(width, height),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"),
		chromedp.WSURLReadTimeout(30*time.Second))
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	b := &browser{t: t, ctx: ctx, base: base}
	b.check(chromedp.Listen(ctx, b.heard))
	call(b, cdplog.Enable, cdp.Empty{})
	call(b, network.Enable, network.EnableParams{})
	call(b, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{
		Source: `addEventListener("securitypolicyviolation",
			(e) => console.error("policy: " + e.violatedDirective + " " + e.blockedURI))`,
	})
	t.Cleanup(b.reports)
	return b
}

func (b *browser) check(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// heard records what the browser reports: errors, violations of the Content-Security-Policy, requests to other hosts.
func (b *browser) heard(event any) {
	report := ""
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning {
			report = "console:"
			for _, arg := range e.Args {
				report += " " + string(arg.Value)
			}
		}
	case *runtime.EventExceptionThrown:
		report = "exception: " + e.ExceptionDetails.Text
	case *cdplog.EventEntryAdded:
		if e.Entry.Level == cdplog.EntryLevelError || e.Entry.Level == cdplog.EntryLevelWarning {
			report = "log: " + e.Entry.Text + " " + e.Entry.URL
		}
	case *network.EventRequestWillBeSent:
		u, err := url.Parse(e.Request.URL)
		if err != nil || u.Scheme != "data" && !strings.HasPrefix(b.base+"/", "http://"+u.Host+"/") {
			report = "request to another host: " + e.Request.URL
		}
	}
	if report != "" {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.reported = append(b.reported, report)
	}
}

// expect accepts reports with a text.
func (b *browser) expect(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expected = append(b.expected, text)
}

func (b *browser) reports() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.reported {
		if !slices.ContainsFunc(b.expected, func(text string) bool { return strings.Contains(r, text) }) {
			b.t.Errorf("the browser reports: %s", r)
		}
	}
}

// do runs actions.
func (b *browser) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 20*time.Second)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatalf("%v at\n%s", err, b.text())
	}
}

// evaluate returns the value of an expression.
func evaluate[T any](b *browser, expression string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// visit opens a page of the console.
func (b *browser) visit(path string) {
	b.t.Helper()
	b.do(chromedp.Navigate(b.base + path))
}

// text returns what the page shows.
func (b *browser) text() string {
	text, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](`document.body.innerText`))
	if err != nil {
		return err.Error()
	}
	return text
}

// shows waits until the page shows a text.
func (b *browser) shows(texts ...string) {
	b.t.Helper()
	for _, text := range texts {
		quoted, _ := json.Marshal(text)
		b.until(fmt.Sprintf(`document.body.innerText.includes(%s)`, quoted))
	}
}

// until waits until a condition holds on the page, or on the next one. It is evaluated whenever the page changes.
func (b *browser) until(condition string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 20*time.Second)
	defer cancel()
	script := fmt.Sprintf(`new Promise((done) => {
		const check = () => { if (document.readyState !== "loading" && %s) done(true); };
		document.addEventListener("DOMContentLoaded", check);
		new MutationObserver(check).observe(document,
			{ subtree: true, childList: true, attributes: true, characterData: true });
		check();
	})`, condition)
	for {
		_, err := chromedp.Run(ctx, chromedp.Evaluate[bool](script, chromedp.EvalAwaitPromise))
		if err == nil {
			return
		}
		if ctx.Err() != nil { // otherwise the browser has loaded another page
			b.t.Fatalf("%s never holds; the page shows\n%s", condition, b.text())
		}
	}
}

// press clicks a button or a link by its name.
func (b *browser) press(name string) {
	b.t.Helper()
	quoted, _ := json.Marshal(name)
	at := fmt.Sprintf(`[...document.querySelectorAll("main a, main button")].find((e) =>
		e.innerText.trim() === %s)`, quoted)
	b.until(at + " !== undefined")
	for !evaluate[bool](b, `(() => { const e = `+at+`; e?.click(); return e !== undefined; })()`) {
		b.until(at + " !== undefined") // an update has replaced it
	}
}

// call runs a command of the protocol.
func call[P, R any](b *browser, command cdp.Command[P, R], params P) R {
	b.t.Helper()
	r, err := chromedp.Call(b.ctx, command, params)
	b.check(err)
	return r
}

// scheme makes the browser prefer light or dark colours.
func (b *browser) scheme(name string) {
	b.t.Helper()
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}},
	})
}

// named are roles that need a name.
var named = []string{"button", "link", "textbox", "searchbox", "combobox", "checkbox", "radio", "img", "region",
	"navigation", "form", "progressbar", "heading", "columnheader", "rowheader"}

// tree returns the accessibility tree, as lines of role and name. Each role that needs a name must have one.
func (b *browser) tree() (lines []string) {
	b.t.Helper()
	for _, n := range call(b, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{}).Nodes {
		if n.Ignored || n.Role == nil {
			continue
		}
		role, name := textOf(n.Role), textOf(n.Name)
		if slices.Contains(named, role) && name == "" {
			b.t.Errorf("a %s has no name, on\n%s", role, b.text())
		}
		lines = append(lines, strings.TrimSpace(role+" "+name))
	}
	return lines
}

func textOf(v *accessibility.Value) string {
	if v == nil {
		return ""
	}
	var text string
	_ = json.Unmarshal(v.Value, &text) // other values are no texts
	return strings.TrimSpace(text)
}

// images is where screenshots for the documents are stored.
const images = "../../docs/images"

// The size of the window.
const width, height = 1200, 900

// look checks the page that is open, in light and dark, and in a window of 320 pixels. It takes screenshots, which
// document is stored for the documents unless it is empty.
func (b *browser) look(name, document string) {
	b.t.Helper()
	for _, scheme := range []string{"light", "dark"} {
		b.scheme(scheme)
		b.audit(name + ", " + scheme)
		b.shoot(filepath.Join(b.t.ArtifactDir(), name+"-"+scheme+".png"))
		if *update && (scheme == "light" && document != "" || document == "console-overview") {
			b.do(chromedp.EmulateViewport(960, 600))
			b.shoot(filepath.Join(images, document+"-"+scheme+".png"))
			b.do(chromedp.EmulateViewport(width, height))
		}
	}
	b.do(chromedp.EmulateViewport(320, 640))
	b.audit(name + ", 320 pixels")
	b.shoot(filepath.Join(b.t.ArtifactDir(), name+"-narrow.png"))
	b.do(chromedp.EmulateViewport(width, height))
	b.scheme("light")
}

func (b *browser) audit(what string) {
	b.t.Helper()
	for _, problem := range evaluate[[]string](b, audit) {
		b.t.Errorf("%s: %s", what, problem)
	}
}

func (b *browser) shoot(file string) {
	b.t.Helper()
	png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	b.check(err)
	b.check(os.MkdirAll(filepath.Dir(file), 0o755))
	b.check(os.WriteFile(file, png, 0o644))
}

// stage is a demo that runs, with its console.
type stage struct {
	console, nats string
}

// demo starts `statusworker dev --keep`, and waits until its interactions have ended.
func demo(t *testing.T) stage {
	t.Helper()
	ctx := harness.Context(t, time.Minute)
	p := harness.StartWorker(t, "dev", nil, "dev", "--keep", "--speed", "40", "--count", "60")
	find := func(pattern string) string {
		line, err := p.AwaitLine(ctx, pattern)
		harness.Check(t, err)
		return regexp.MustCompile(pattern).FindStringSubmatch(line)[1]
	}
	return stage{console: find(`^  console (http://\S+)/$`), nats: find(`^  NATS    (nats://\S+)$`)}
}

// readOnly starts another console on the same broker, without actions, below a path.
func (s stage) readOnly(t *testing.T) string {
	t.Helper()
	p := harness.StartWorker(t, "console", nil,
		"console", "--addr", "127.0.0.1:0", "--base-path", "/ops", "--nats-url", s.nats)
	line, err := p.AwaitLine(harness.Context(t, 20*time.Second), `"address":`)
	harness.Check(t, err)
	var entry struct{ Address string }
	harness.Check(t, json.Unmarshal([]byte(line), &entry))
	return strings.TrimSuffix(entry.Address, "/")
}
