// Package logbridge forwards log lines of other packages to the program's log: those of package log (to which net/http
// writes), log/slog and OpenTelemetry.
//
// Such lines can contain data that a peer has sent, at any rate. Therefore:
//
//   - Quotations in a message are removed. A quotation can be part of a secret, which masking does not find.
//   - Of messages that differ only in numbers and quotations, one is logged every [Every].
package logbridge

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/sirupsen/logrus"
)

// Every is the minimum time between two lines of one kind.
const Every = 5 * time.Minute

// maxKinds limits how many kinds of lines are remembered.
const maxKinds = 100

// Bridge is a [slog.Handler] that writes to the program's log. It is safe for concurrent use.
type Bridge struct {
	shared *shared
	source string
	warns  slog.Level
	prefix string
	fields logrus.Fields
}

// shared is the state of a Bridge and of the handlers derived from it.
type shared struct {
	log atomic.Pointer[logrus.Logger]

	mu    sync.Mutex
	kinds map[string]*kind
}

// kind counts lines of one kind.
type kind struct {
	logged     time.Time
	suppressed int // since logged
}

// New returns a Bridge to log, which may be nil. Each line has the field source. Lines at level warns and above are
// logged as warnings, others at debug.
func New(log *logrus.Logger, source string, warns slog.Level) *Bridge {
	b := &Bridge{shared: &shared{kinds: map[string]*kind{}}, source: source, warns: warns}
	b.To(log)
	return b
}

// Standard sets a Bridge as the default logger of packages log and log/slog. Lines before the first call of [Bridge.To]
// are dropped.
func Standard() *Bridge {
	b := New(nil, "go", slog.LevelWarn)
	slog.SetLogLoggerLevel(slog.LevelWarn) // the level of lines from package log
	slog.SetDefault(slog.New(b))           // also redirects package log
	return b
}

// To sets the log. On a nil Bridge it does nothing.
func (b *Bridge) To(log *logrus.Logger) {
	if b != nil {
		b.shared.log.Store(log)
	}
}

// Enabled implements [slog.Handler]. The level is checked in Handle.
func (b *Bridge) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements [slog.Handler].
func (b *Bridge) Handle(_ context.Context, r slog.Record) error {
	log := b.shared.log.Load()
	if log == nil {
		return nil
	}
	level := logrus.DebugLevel
	if r.Level >= b.warns {
		level = logrus.WarnLevel
	}
	if !log.IsLevelEnabled(level) {
		return nil
	}
	message := withoutQuotations(r.Message)
	suppressed, due := b.shared.due(message)
	if !due {
		return nil
	}
	fields := logrus.Fields{"source": b.source}
	for name, value := range b.fields {
		fields[name] = value
	}
	r.Attrs(func(a slog.Attr) bool {
		b.add(fields, b.prefix, a)
		return true
	})
	if suppressed > 0 {
		fields["suppressed"] = suppressed
	}
	log.WithFields(fields).Log(level, message)
	return nil
}

// WithAttrs implements [slog.Handler].
func (b *Bridge) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := *b
	next.fields = logrus.Fields{}
	for name, value := range b.fields {
		next.fields[name] = value
	}
	for _, a := range attrs {
		next.add(next.fields, b.prefix, a)
	}
	return &next
}

// WithGroup implements [slog.Handler].
func (b *Bridge) WithGroup(name string) slog.Handler {
	next := *b
	if name != "" {
		next.prefix += name + "."
	}
	return &next
}

// add adds an attribute. It flattens groups.
func (b *Bridge) add(fields logrus.Fields, prefix string, a slog.Attr) {
	value := a.Value.Resolve()
	if value.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, member := range value.Group() {
			b.add(fields, prefix, member)
		}
		return
	}
	if a.Key == "" {
		return
	}
	content := value.Any()
	if m, ok := content.(logr.Marshaler); ok {
		content = m.MarshalLog()
	}
	name := prefix + a.Key
	if name == "err" { // logr's name
		name = logrus.ErrorKey
	}
	fields[name] = fmt.Sprint(content)
}

// due reports whether to log a line now, and how many of its kind were suppressed since the last one.
func (s *shared) due(message string) (suppressed int, due bool) {
	name := numbers.ReplaceAllString(message, "0")
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.kinds[name]
	if k == nil {
		if len(s.kinds) >= maxKinds {
			clear(s.kinds)
		}
		s.kinds[name] = &kind{logged: now}
		return 0, true
	}
	if now.Sub(k.logged) < Every {
		k.suppressed++
		return 0, false
	}
	suppressed = k.suppressed
	k.logged, k.suppressed = now, 0
	return suppressed, true
}

var (
	numbers    = regexp.MustCompile(`[0-9]+`)
	quotations = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
)

// withoutQuotations removes quoted text.
func withoutQuotations(message string) string {
	return quotations.ReplaceAllString(strings.TrimRight(message, "\n"), `"(withheld)"`)
}
