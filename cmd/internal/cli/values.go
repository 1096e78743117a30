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

// These read values, so that a bad one is reported like any other bad configuration.

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
	return read(ctx, "one of "+strings.Join(allowed, ", "), func(s string) error {
		target.SetString(s)
		if ctx.Value.Enum != "" && !slices.Contains(allowed, s) {
			return strconv.ErrRange
		}
		return nil
	})
}

// read takes the next value of the command line; where set refuses it, the error says what is wanted. White space
// around the value of a flag or a variable does not count: files and secrets end with a new line. Quotation marks
// around it are a mistake.
func read(ctx *kong.DecodeContext, want string, set func(string) error) error {
	bad := func(value string) error {
		return &UsageError{
			&SettingError{Flag: ctx.Value.Name, Variable: ctx.Value.Tag.Get("var"), Value: value, Want: want},
		}
	}
	token := ctx.Scan.Pop()
	// What begins with a dash is a flag, and no value, unless it is a negative number.
	if token.IsEOL() || !token.IsValue() && !negative(token.String()) {
		return Usagef("%s has no value: want %s", settingName(ctx.Value.Name, ctx.Value.Tag.Get("var")), want)
	}
	value := token.String()
	if ctx.Value.Flag != nil {
		if value = Trimmed(value); InQuotes(value) {
			return quoted(ctx.Value.Name, ctx.Value.Tag.Get("var"))
		}
	}
	if set(value) != nil {
		return bad(schema.Quote(value))
	}
	return nil
}

// Trimmed is a value without the white space around it, and without what is as invisible: a byte order mark, a space of
// no width.
func Trimmed(value string) string {
	return strings.TrimFunc(value, func(r rune) bool { return unicode.IsSpace(r) || r == '\uFEFF' || r == '\u200B' })
}

// InQuotes reports whether a value has quotation marks around it, as if a shell read it.
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
