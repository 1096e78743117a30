package console

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"mime"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"statusworker/cmd/internal/dlqview"
	"statusworker/schema"
)

//go:embed templates/*.html
var templates embed.FS

//go:embed static
var static embed.FS

// page is a parsed page: the layout, its title, its content, and its live part if it has one.
type page struct {
	name string
	*template.Template
}

// frame is what the layout needs beside the data of a page.
type frame struct {
	*Console
	// Page is the name of the page.
	Page, User string
	// Refresh is after how many seconds a browser without JavaScript loads the page again; 0 is never.
	Refresh int
	// Live means that the page's address streams its live part.
	Live bool
	Now  time.Time
	Data any
}

// parse parses the templates. They are a part of the program, so an error in them is a bug.
func (c *Console) parse() map[string]*page {
	files, err := templates.ReadDir("templates")
	if err != nil {
		panic(err)
	}
	pages := map[string]*page{}
	for _, f := range files {
		name := strings.TrimSuffix(f.Name(), ".html")
		if name == "layout" || name == "parts" {
			continue
		}
		t := template.New("layout.html").Funcs(c.functions())
		template.Must(t.ParseFS(templates, "templates/layout.html", "templates/parts.html", "templates/"+f.Name()))
		pages[name] = &page{name, t}
	}
	return pages
}

// functions are the functions of the templates.
func (c *Console) functions() template.FuncMap {
	return template.FuncMap{
		"link":    c.link,
		"address": c.with,
		"asset":   func(name string) string { return c.link("/static/" + name + "?" + digests[name]) },
		"text":    schema.Printable,
		"age":     dlqview.ShortAge,
		"since":   func(now, t time.Time) string { return dlqview.ShortAge(now.Sub(t)) },
		"seconds": func(s float64) string {
			if s <= 0 {
				return "–"
			}
			return dlqview.ShortAge(time.Duration(s * float64(time.Second)))
		},
		"utc":    func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
		"clock":  func(t time.Time) string { return t.UTC().Format("15:04:05 UTC") },
		"iso":    func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"number": number,
		"has":    slices.Contains[[]string],
		"parts":  parts,
		"omitted": func(n int, all []schema.StatusChange) bool {
			return n == schema.MaxHistory/2 && len(all) >= schema.MaxHistory
		},
	}
}

// part is a part of a text for people: a command or a name in backticks, or what is between them.
type part struct {
	Text string
	Code bool
}

// parts divides a text at its backticks. An odd one is text.
func parts(text string) (all []part) {
	words := strings.Split(text, "`")
	if len(words)%2 == 0 {
		words = append(words[:len(words)-2], words[len(words)-2]+"`"+words[len(words)-1])
	}
	for i, word := range words {
		if word != "" {
			all = append(all, part{word, i%2 == 1})
		}
	}
	return all
}

// number formats a number with separators, as 12,345. A nil pointer is an unknown number.
func number(n any) string {
	if p, ok := n.(*uint64); ok {
		if p == nil {
			return "–"
		}
		n = *p
	}
	digits := fmt.Sprint(n)
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// digests are hashes of the static files, so that a browser loads a changed file.
var digests = func() map[string]string {
	all := map[string]string{}
	files, err := static.ReadDir("static")
	if err != nil {
		panic(err) // embedded
	}
	for _, f := range files {
		text, _ := static.ReadFile("static/" + f.Name())
		sum := sha256.Sum256(text)
		all[f.Name()] = hex.EncodeToString(sum[:6])
	}
	return all
}()

func (c *Console) static(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	text, err := static.ReadFile("static/" + name)
	if err != nil {
		answer(w, http.StatusNotFound, "there is no such file")
		return
	}
	w.Header().Set("Content-Type", mime.TypeByExtension(path.Ext(name)))
	if r.URL.RawQuery == digests[name] {
		w.Header().Set("Cache-Control", "private, max-age=31536000, immutable")
	}
	_, _ = w.Write(text)
}

// frame returns the frame of a page.
func (c *Console) frame(r *http.Request, name string, data any) frame {
	return frame{Console: c, Page: name, User: userOf(r), Now: time.Now(), Data: data}
}

// render writes a page. It renders the whole page first, so that an error cannot leave a part of it.
func (c *Console) render(w http.ResponseWriter, status int, f frame) error {
	var b bytes.Buffer
	if err := c.pages[f.Page].ExecuteTemplate(&b, "layout.html", f); err != nil {
		return fmt.Errorf("rendering the page %s: %w", f.Page, err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Vary", "Accept")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
	return nil
}

// show writes a page with status 200.
func (c *Console) show(w http.ResponseWriter, r *http.Request, name string, data any) error {
	return c.render(w, http.StatusOK, c.frame(r, name, data))
}

// failure is the data of the page of an error.
type failure struct {
	Status int
	Title  string
	Text   string
}

// handle answers an error of a handler with a page.
func (c *Console) handle(h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		err := h(w, r)
		if err == nil || r.Context().Err() != nil {
			return
		}
		var p *problem
		if !errors.As(err, &p) {
			p = &problem{http.StatusInternalServerError, "The console failed: " + err.Error() + ".", err}
		}
		if p.status >= http.StatusInternalServerError {
			c.record(r).WithError(err).Warn("page failed")
		}
		data := failure{p.status, http.StatusText(p.status), p.text}
		if err := c.render(w, p.status, c.frame(r, "error", data)); err != nil {
			c.record(r).WithError(err).Error("page failed")
			answer(w, http.StatusInternalServerError, p.text)
		}
	}
}

// positive reads a whole number of a query; 0 if it is missing.
func positive(r *http.Request, name string) (uint64, error) {
	text := r.FormValue(name)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, &problem{http.StatusBadRequest, name + " is " + schema.Quote(text) + ": must be a whole number.", err}
	}
	return n, nil
}
