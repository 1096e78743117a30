package cli

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// UsageError reports bad configuration or a bad command line. The exit code is [ExitUsage].
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap returns the error without the exit code.
func (e *UsageError) Unwrap() error { return e.Err }

// Usagef formats a [UsageError].
func Usagef(format string, args ...any) error { return &UsageError{fmt.Errorf(format, args...)} }

// ErrReported means that the command has failed and has already written why.
var ErrReported = errors.New("reported")

// SettingError reports a flag or variable with a bad value, and what is allowed.
type SettingError struct {
	// Flag and Variable are names without -- and $. One of them may be empty.
	Flag, Variable string
	// File and Line are the place of the value in a configuration file. File is empty if it is not in one.
	File string
	Line int
	// Value is safe to show: quoted, and without secrets.
	Value string
	// Allowed completes the sentence "must be ...".
	Allowed string
}

func (e *SettingError) Error() string {
	return fmt.Sprintf("%s is %s: must be %s", e.Name(), e.Value, e.Allowed)
}

// Name returns the flag and the variable, as --flag ($VARIABLE), or the key and its place in a configuration file.
func (e *SettingError) Name() string {
	if e.File != "" {
		return fmt.Sprintf("%s in %s, line %d,", e.Flag, e.File, e.Line)
	}
	return settingName(e.Flag, e.Variable)
}

// BadVariable returns a [UsageError] about a variable without a flag. The value must be safe to show.
func BadVariable(variable, value, allowed string) error {
	return &UsageError{&SettingError{Variable: variable, Value: value, Allowed: allowed}}
}

// BadFlag returns a [UsageError] about a flag that a field of the struct flags declares. The value must be safe to
// show.
func BadFlag(flags any, flag, value, allowed string) error {
	return &UsageError{&SettingError{Flag: flag, Variable: Variable(flags, flag), Value: value, Allowed: allowed}}
}

// Positive rejects a duration of 0 or less.
func Positive(flags any, flag string, d time.Duration) error {
	if d > 0 {
		return nil
	}
	return BadFlag(flags, flag, d.String(), "more than 0")
}

// Variable returns the environment variable of a flag that a field of the struct flags declares, or "".
func Variable(flags any, flag string) string {
	for _, f := range reflect.VisibleFields(reflect.TypeOf(flags)) {
		if f.Tag.Get("name") == flag {
			return f.Tag.Get("var")
		}
	}
	return ""
}

// QuotedVariable returns a [UsageError] about a variable whose value is in quotation marks. It does not show the value,
// which may be a secret.
func QuotedVariable(name string) error { return quoted("", name) }

func quoted(flag, variable string) error {
	return &UsageError{&SettingError{Flag: flag, Variable: variable, Value: "in quotation marks",
		Allowed: "without them: a shell removes them, but an env file, a manifest and a secret keep them"}}
}

func settingName(flag, variable string) string {
	switch {
	case flag == "":
		return "$" + variable
	case variable == "":
		return "--" + flag
	}
	return "--" + flag + " ($" + variable + ")"
}

// OneLine returns the text of an error without line breaks.
func OneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
