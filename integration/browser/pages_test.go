package browser

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/integration/harness"
	"statusworker/schema"
)

// ns is the namespace of the tests.
var ns = schema.DefaultNamespace

// The landmarks and controls that every page has, by role and name.
var everywhere = []string{"link Skip to the content", "banner", "navigation Pages", "search",
	"searchbox Interaction identifier", "button Find", "main", "contentinfo"}

// The console works in a browser: every page and every action, with the load of the demo.
func TestConsole(t *testing.T) {
	chromium(t)
	s := demo(t)
	hostile := s.hostile(t)
	b := open(t, s.console)
	for _, test := range []struct {
		name string
		run  func(*browser, stage)
	}{
		{"pages", pages}, {"keyboard", keyboard}, {"filter and purge", filterAndPurge}, {"replay", replay},
		{"lanes", lanes}, {"declare", declare},
		{"hostile payload", func(b *browser, _ stage) { b.hostile(hostile) }},
		{"without JavaScript", withoutJavaScript}, {"forged form", forgedForm}, {"read-only", readOnly},
	} {
		began := time.Now()
		ok := t.Run(test.name, func(t *testing.T) {
			whole := b.t
			b.t = t
			defer func() { b.t = whole }()
			test.run(b, s)
		})
		t.Logf("%s: %s", test.name, time.Since(began).Round(time.Millisecond))
		if !ok {
			break
		}
	}
}

// pages looks at every page.
func pages(b *browser, s stage) {
	for _, p := range []struct {
		path, name, document string
		tree                 []string
	}{
		{"/workers", "workers", "", []string{"heading Workers", "columnheader Until"}},
		{"/interactions", "find", "", []string{"textbox Identifier, in upper or lower case"}},
		{"/dead-letters", "dead-letters", "console-dead-letters", []string{"form Filter", "combobox Reason",
			"textbox Text in the detail", "button Purge the selected…", "region Dead letters"}},
		{"/dead-letters?reason=not_found", "dead-letters-filtered", "", []string{"link Show all"}},
		{"/dead-letters/1", "dead-letter", "", []string{"heading Dead letter @1", "button Purge…"}},
		{"/doctor", "doctor", "console-doctor", []string{"heading Doctor", "heading Passed"}},
		{"/lanes/audio", "lane", "", []string{"combobox Pause for", "button Pause the consumer"}},
		{"/declare", "declare", "", []string{"radio chat", "group Type", "button Declare"}},
		{"/tasks", "tasks", "", []string{"heading Tasks"}},
		{"/none", "none", "", []string{"heading Not Found"}},
		{"/dead-letters/confirm?do=purge-all", "confirm", "", []string{"link Cancel"}},
		{"/", "overview", "console-overview", []string{"heading Overview", "heading Findings", "button Pause updates",
			"region Lanes", "rowheader not_found", "link not_found"}},
	} {
		if p.name == "none" {
			b.expect("404")
		}
		if p.name == "overview" {
			s.load(b.t)
		}
		b.visit(p.path)
		if p.name == "overview" {
			b.until(`document.querySelector("figure .line")`) // two samples of the charts
		}
		tree := b.tree()
		for _, want := range append(p.tree, everywhere...) {
			if !slices.Contains(tree, want) {
				b.t.Errorf("%s has no %q in its accessibility tree:\n%s", p.name, want, strings.Join(tree, "\n"))
			}
		}
		if at := evaluate[string](b, `document.querySelector("nav [aria-current]")?.innerText ?? ""`); at == "" &&
			p.name != "none" && p.name != "lane" {
			b.t.Errorf("%s: no page is current in the navigation", p.name)
		}
		b.look(p.name, p.document)
	}
}

// keyboard reaches the content and the controls with keys alone, and sees where the focus is.
func keyboard(b *browser, _ stage) {
	b.visit("/dead-letters")
	b.do(chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Enter))
	b.until(`document.activeElement.id === "main"`)
	for range 30 {
		b.do(chromedp.KeyEvent(kb.Tab))
		if outline := evaluate[string](b, `getComputedStyle(document.activeElement).outlineStyle`); outline == "none" {
			b.t.Errorf("the focus on %s is not visible", evaluate[string](b, `document.activeElement.outerHTML`))
		}
		if evaluate[bool](b, `document.activeElement.name === "detail"`) {
			break
		}
	}
	b.do(chromedp.KeyEvent("errorMessage"), chromedp.KeyEvent(kb.Enter))
	b.until(`location.search.includes("detail=errorMessage")`)
	b.shows("Show all", "errorMessage")
}

// filterAndPurge purges two selected dead letters of a filtered list.
func filterAndPurge(b *browser, _ stage) {
	b.visit("/dead-letters")
	b.do(chromedp.SetValue(chromedp.CSS("#reason"), string(schema.ProcessingFailed)))
	b.press("Filter")
	b.until(`location.search.includes("reason=processing_failed")`)
	reasons := evaluate[[]string](b, `[...document.querySelectorAll("tbody tr")].map((r) => r.cells[3].innerText)`)
	if len(reasons) < 2 || len(slices.Compact(reasons)) != 1 || reasons[0] != string(schema.ProcessingFailed) {
		b.t.Fatalf("the filtered list has the reasons %q", reasons)
	}
	before := evaluate[int](b, rows)
	b.press("Select this page")
	b.until(`[...document.querySelectorAll("tbody input")].every((i) => i.checked)`)
	evaluate[bool](b, `[...document.querySelectorAll("tbody input")].forEach((i, n) => { i.checked = n < 2; }) ?? true`)
	b.press("Purge the selected…")
	b.shows("Purge 2 dead letters?")
	b.press("Purge 2")
	b.shows("done", "2 of 2")
	b.until(`document.querySelector(".tag.good")`)
	b.look("task", "")
	b.visit("/dead-letters?reason=" + string(schema.ProcessingFailed))
	if after := evaluate[int](b, rows); after != before-2 {
		b.t.Errorf("%d dead letters after the purge of 2 of %d", after, before)
	}
}

// rows is the number of rows of a table.
const rows = `document.querySelectorAll("tbody tr").length`

// replay replays all dead letters of a reason, and watches the progress.
func replay(b *browser, _ stage) {
	b.visit("/dead-letters?reason=" + string(schema.NotFound))
	b.press("Replay all that match…")
	b.shows("Replay 1 dead letter?", "--reason not_found")
	b.press("Replay 1")
	b.until(`document.querySelector(".tag.good")`)
	b.shows("replayed")
}

// lanes pauses and resumes a lane.
func lanes(b *browser, _ stage) {
	b.visit("/")
	b.press("audio")
	b.until(`document.querySelector("h1").innerText === "Lane audio"`)
	b.do(chromedp.SetValue(chromedp.CSS("#for"), "15m"))
	b.press("Pause the consumer")
	b.shows("consumer poll-audio is paused until")
	b.look("paused", "")
	b.press("audio")
	b.press("Resume")
	b.until(`document.querySelector("h1").innerText === "Overview" && !document.body.innerText.includes("is paused")`)
}

// declare declares an interaction, finds it, and watches it until it is processed. The page is not loaded again.
func declare(b *browser, _ stage) {
	id := uuid.NewString()
	b.visit("/declare")
	b.do(chromedp.SendKeys(chromedp.CSS("#ids"), strings.ToUpper(id)), chromedp.Click(chromedp.CSS("#type-chat")))
	b.press("Declare")
	b.until(`document.querySelector(".tag.good")`)
	b.do(chromedp.SendKeys(chromedp.CSS("#find"), id+kb.Enter))
	b.until(`document.querySelector("h1").innerText.includes("` + id + `")`)
	evaluate[bool](b, `(window.sameDocument = true)`)
	b.until(`document.querySelector("[data-part=state]").innerText.includes("processed")`)
	b.shows("processed: cxai")
	if !evaluate[bool](b, `window.sameDocument === true`) {
		b.t.Error("the page was loaded again")
	}
	if tree := b.tree(); !slices.Contains(tree, "region Outcomes") {
		b.t.Errorf("the accessibility tree is\n%s", strings.Join(tree, "\n"))
	}
	b.look("interaction", "console-interaction")
}

// connect connects to the broker of the demo.
func (s stage) connect(t *testing.T) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(s.nats)
	harness.Check(t, err)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	harness.Check(t, err)
	return js
}

// load declares interactions, so that something waits.
func (s stage) load(t *testing.T) {
	t.Helper()
	js := s.connect(t)
	for i := range 200 {
		id, typ := uuid.NewString(), schema.Types()[i%len(schema.Types())]
		_, err := js.PublishAsync(ns.DeclaredSubject(typ, id),
			fmt.Appendf(nil, `{"interactionIdentifier":%q,"type":%q}`, id, typ))
		harness.Check(t, err)
	}
	<-js.PublishAsyncComplete()
}

// hostile stores a dead letter with markup in everything that a producer, the vendor or a foreign client can send. It
// returns its sequence.
func (s stage) hostile(t *testing.T) uint64 {
	t.Helper()
	const markup = `</textarea></td><script>window.hacked = 1</script><img src=x onerror="window.hacked = 2">`
	id := uuid.NewString()
	o := schema.Outcome{
		Identifier: id, Type: schema.Chat, Reason: schema.Rejected, Detail: markup, Observed: time.Now(),
		Origin: schema.Origin{Stream: ns.StreamDeclared(), Subject: ns.DeclaredSubject(schema.Chat, id),
			Sequence: 1, Deliveries: 1, Stored: time.Now().Add(-time.Minute), Polls: 2},
	}
	var err error
	o.Declaration, err = json.Marshal(map[string]string{"interactionIdentifier": id, "type": "chat", "x": markup})
	harness.Check(t, err)
	data, err := o.Marshal()
	harness.Check(t, err)
	ack, err := s.connect(t).Publish(t.Context(), ns.OutcomeSubject(o), data)
	harness.Check(t, err)
	return ack.Sequence
}

// hostile requires that the markup of a dead letter is text.
func (b *browser) hostile(sequence uint64) {
	for _, path := range []string{
		"/dead-letters", fmt.Sprintf("/dead-letters/%d", sequence),
		fmt.Sprintf("/dead-letters/%d?payload=shown", sequence),
	} {
		b.visit(path)
		b.shows(`<script>window.hacked = 1</script>`)
		if evaluate[bool](b, `window.hacked !== undefined || document.querySelector("main img, main script") != null`) {
			b.t.Errorf("%s: the markup was not text", path)
		}
	}
}

// withoutJavaScript uses a page, a form and an action without JavaScript.
func withoutJavaScript(b *browser, _ stage) {
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	defer call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{})
	b.visit("/")
	tree := b.tree()
	for _, want := range []string{"heading Overview", "region Lanes", "link Refresh"} {
		if !slices.Contains(tree, want) {
			b.t.Errorf("the page has no %q without JavaScript", want)
		}
	}
	if slices.Contains(tree, "button Pause updates") {
		b.t.Error("the page has the button Pause updates without JavaScript")
	}
	b.visit("/dead-letters/confirm?do=purge-all&reason=" + string(schema.VendorFailed))
	b.do(chromedp.Click(chromedp.CSS("button.danger")), chromedp.WaitVisible(chromedp.CSS("progress")))
	if tree := b.tree(); !slices.Contains(tree, "heading Purge of 1 dead letter") {
		b.t.Errorf("no task was started:\n%s", strings.Join(tree, "\n"))
	}
}

// forgedForm sends a form from a page of another site, which the browser opens.
func forgedForm(b *browser, _ stage) {
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<title>evil</title><form method="post" action="%s/lanes/chat/pause">
			<input name="for" value="1h">
			<button id="go">Win</button></form>`, b.base)
	}))
	defer evil.Close()
	b.expect(evil.Listener.Addr().String())
	b.expect("favicon.ico")
	b.expect("403")
	elsewhere := strings.Replace(evil.URL, "127.0.0.1", "localhost", 1)
	b.expect(elsewhere)
	b.do(chromedp.Navigate(elsewhere), chromedp.Click(chromedp.CSS("#go")))
	b.shows("cross-origin request refused")
	b.visit("/")
	if text := b.text(); strings.Contains(text, "consumer poll-chat is paused") {
		b.t.Errorf("the form has paused the lane:\n%s", text)
	}
}

// readOnly looks at a console without actions, below a path, and tries them.
func readOnly(b *browser, s stage) {
	base := b.base
	defer func() { b.base = base }()
	b.base = s.readOnly(b.t)
	b.expect("403")
	b.expect("503") // until it is connected
	for {
		b.visit("/")
		if !strings.Contains(b.text(), "waiting for NATS") {
			break
		}
		b.check(b.ctx.Err())
	}
	for _, path := range []string{"/", "/dead-letters", "/dead-letters/1", "/workers", "/doctor"} {
		b.visit(path)
		b.shows("Read-only.")
		controls := `document.querySelectorAll("form[method=post], .actions, main input[type=checkbox]").length`
		if n := evaluate[int](b, controls); n != 0 {
			b.t.Errorf("%s has %d controls of actions", path, n)
		}
	}
	for _, path := range []string{"/dead-letters/purge", "/dead-letters/replay", "/lanes/chat/pause", "/declare"} {
		status, err := chromedp.Run(b.ctx, chromedp.Evaluate[int](fmt.Sprintf(`fetch(%q, {
			method: "POST", body: new URLSearchParams("as-of=9-1&for=1h&ids=x&type=chat"),
		}).then((r) => r.status)`, "/ops"+path), chromedp.EvalAwaitPromise))
		if err != nil || status != http.StatusForbidden {
			b.t.Errorf("%s: status %d, %v", path, status, err)
		}
	}
}
