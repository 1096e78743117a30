package cli

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/alecthomas/kong"

	"statusworker/schema"
)

// The following mappers parse values for kong, so that a bad value becomes a [SettingError].

func duration(ctx *kong.DecodeContext, target reflect.Value) error {
	return read(ctx, "a duration such as 30s, 5m, 24h or 14d", func(s string) error {
		d, err := schema.ParseDuration(s)
		target.SetInt(int64(d))
		return err
	})
}

func whole(ctx *kong.DecodeContext, target reflect.Value) error {
	return read(ctx, "a whole number", func(s string) error {
		n, err := strconv.ParseInt(s, 10, target.Type().Bits())
		target.SetInt(n)
		return err
	})
}

func number(ctx *kong.DecodeContext, target reflect.Value) error {
	return read(ctx, "a number", func(s string) error {
		f, err := strconv.ParseFloat(s, 64)
		target.SetFloat(f)
		return err
	})
}

func word(ctx *kong.DecodeContext, target reflect.Value) error {
	allowed := ctx.Value.EnumSlice()
	what := "one of " + strings.Join(allowed, ", ")
	if ctx.Value.Enum == "" {
		what = "a text that does not begin with -"
	}
	return read(ctx, what, func(s string) error {
		target.SetString(s)
		if ctx.Value.Enum != "" && !slices.Contains(allowed, s) {
			return strconv.ErrRange
		}
		return nil
	})
}

// namespaceNames is what NewNamespace allows.
const namespaceNames = "1 to 32 lower-case letters, digits, - and _, beginning with a letter, and not kv, obj, kv_* " +
	"or obj_*, which NATS reserves"

func namespace(ctx *kong.DecodeContext, target reflect.Value) error {
	return read(ctx, namespaceNames, func(s string) error {
		n, err := schema.NewNamespace(s)
		target.Set(reflect.ValueOf(n))
		return err
	})
}

// read parses the next value of the command line with set. If set rejects it, the error shows what is allowed. White
// space around the value of a flag is removed: files and secrets often end with a newline. Quotation marks around it
// are rejected.
func read(ctx *kong.DecodeContext, allowed string, set func(string) error) error {
	name, variable := ctx.Value.Name, ctx.Value.Tag.Get("var")
	token := ctx.Scan.Pop()
	// An argument that begins with a dash is a flag, unless it is a negative number.
	if token.IsEOL() || !token.IsValue() && !negative(token.String()) {
		return Usagef("%s has no value: must be %s", settingName(name, variable), allowed)
	}
	value := token.String()
	if ctx.Value.Flag != nil {
		if value = Trimmed(value); InQuotes(value) {
			return quoted(name, variable)
		}
	}
	if set(value) != nil {
		return &UsageError{&SettingError{Flag: name, Variable: variable, Value: schema.Quote(value), Allowed: allowed}}
	}
	return nil
}

// Trimmed returns a value without leading and trailing white space, byte order marks and zero-width spaces.
func Trimmed(value string) string {
	return strings.TrimFunc(value, func(r rune) bool { return unicode.IsSpace(r) || r == '\uFEFF' || r == '\u200B' })
}

// InQuotes reports whether a value begins and ends with matching quotation marks.
func InQuotes(value string) bool {
	marks := []rune(value)
	if len(marks) < 2 {
		return false
	}
	switch first, last := marks[0], marks[len(marks)-1]; first {
	case '"', '\'', '`':
		return last == first
	case '\u201C', '\u201E': // “ and „
		return last == '\u201D' || last == '\u201C'
	case '\u2018', '\u201A': // ‘ and ‚
		return last == '\u2019' || last == '\u2018'
	case '\u00AB': // «
		return last == '\u00BB'
	}
	return false
}

func negative(s string) bool {
	return len(s) > 1 && s[0] == '-' && (s[1] == '.' || '0' <= s[1] && s[1] <= '9')
}
