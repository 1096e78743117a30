package cli

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// UsageError is bad configuration or a bad command line: exit code 2.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap gives what is wrong.
func (e *UsageError) Unwrap() error { return e.Err }

// Usagef gives a [UsageError] with that text.
func Usagef(format string, args ...any) error { return &UsageError{fmt.Errorf(format, args...)} }

// ErrReported is a fault that the command has reported already.
var ErrReported = errors.New("reported")

// SettingError says which flag and variable are wrong, with which value, and what is allowed.
type SettingError struct {
	// Flag and Variable are names; one of them may be empty.
	Flag, Variable string
	// Value is as it may be shown.
	Value, Want string
}

func (e *SettingError) Error() string {
	return fmt.Sprintf("%s is %s: want %s", e.Name(), e.Value, e.Want)
}

// Name names the flag and the variable.
func (e *SettingError) Name() string { return settingName(e.Flag, e.Variable) }

// BadVariable gives a [UsageError] about a variable that belongs to no flag. The value is shown as it is.
func BadVariable(variable, value, want string) error {
	return &UsageError{&SettingError{Variable: variable, Value: value, Want: want}}
}

// BadFlag gives a [UsageError] about a flag that one of the fields of the struct flags declares. The value is shown as
// it is.
func BadFlag(flags any, flag, value, want string) error {
	return &UsageError{&SettingError{Flag: flag, Variable: Variable(flags, flag), Value: value, Want: want}}
}

// Positive refuses a duration that is not more than 0.
func Positive(flags any, flag string, d time.Duration) error {
	if d > 0 {
		return nil
	}
	return BadFlag(flags, flag, d.String(), "more than 0")
}

// Variable is the variable of a flag that one of the fields of the struct flags declares, or nothing.
func Variable(flags any, flag string) string {
	for _, f := range reflect.VisibleFields(reflect.TypeOf(flags)) {
		if f.Tag.Get("name") == flag {
			return f.Tag.Get("var")
		}
	}
	return ""
}

// QuotedVariable is about a variable whose value is in quotation marks. It does not show the value, which may be a
// secret.
func QuotedVariable(name string) error { return quoted("", name) }

func quoted(flag, variable string) error {
	return &UsageError{&SettingError{Flag: flag, Variable: variable, Value: "in quotation marks",
		Want: "it without them: a shell takes them away, but an env file, a manifest and a secret keep them"}}
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

// OneLine is the text of an error without line breaks.
func OneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
