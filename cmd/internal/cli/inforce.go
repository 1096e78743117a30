package cli

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"statusworker/cmd/internal/mask"
	"statusworker/schema"
)

// Source is where the value of a setting comes from.
type Source string

// Sources, in the order of their precedence.
const (
	FromFlag     Source = "flag"
	FromVariable Source = "variable"
	FromFile     Source = "file"
	FromDefault  Source = "default"
)

// Setting is the value of a flag that is in force.
type Setting struct {
	Flag     string `json:"flag"`
	Variable string `json:"variable,omitempty"`
	// Value is a string, a number, a bool, a list of them, or nil if it is unset. Secrets in it are masked.
	Value  any    `json:"value"`
	Source Source `json:"source"`
	// File and Line are set if the source is a file.
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
	// Secret reports that a part of the value is masked.
	Secret bool `json:"secret,omitempty"`
	// PerCall reports that the setting cannot be in a configuration file.
	PerCall bool `json:"-"`
}

// InForce returns the settings of a command for a command line, and the name of the command. It does not require the
// arguments of the command.
func (g Program) InForce(p Process, args []string) (command string, list []Setting, err error) {
	p.Args, p.file = args, &file{}
	if p.Secrets == nil {
		p.Secrets = &mask.Set{}
	}
	parser, err := g.Parser(p)
	if err != nil {
		return "", nil, err
	}
	g.addSecrets(p, parser.Model)
	k, err := kong.Trace(parser, args)
	if err == nil {
		err = errors.Join(k.Error, k.Reset())
	}
	if err == nil {
		if err = k.Resolve(); err == nil {
			_, err = k.Apply()
		}
	}
	var usage *UsageError
	switch {
	case errors.As(err, &usage):
		return "", nil, usage
	case err != nil:
		return "", nil, Usagef("%w; name a command, and then its flags", err)
	case k.Selected() == nil || !k.Selected().Leaf():
		at := cmp.Or(k.Selected(), parser.Model.Node)
		return "", nil, Usagef("%s is not a complete command: must be one of %s", schema.Quote(at.FullPath()),
			strings.Join(commandsBelow(at), ", "))
	}
	list = []Setting{}
	for _, flag := range k.Flags() {
		if flag.Hidden || flag.Name == "help" || flag.Name == configFlag {
			continue
		}
		list = append(list, p.setting(k, flag))
	}
	names := []string{}
	for at := k.Selected(); at.Type == kong.CommandNode; at = at.Parent {
		names = append([]string{at.Name}, names...)
	}
	return strings.Join(names, " "), list, nil
}

// commandsBelow returns the words of each command below a node.
func commandsBelow(node *kong.Node) (words []string) {
	for _, leaf := range node.Leaves(true) {
		words = append(words, leaf.Path())
	}
	return words
}

func (p Process) setting(k *kong.Context, flag *kong.Flag) Setting {
	s := Setting{Flag: flag.Name, Variable: flag.Tag.Get("var"), Value: plain(flag.Target),
		PerCall: flag.Tag.Get(configFlag) == "-"}
	if s.Source = p.source(k, flag); s.Source == FromFile {
		s.File, s.Line = p.file.name, p.file.of[flag].line
	}
	value, ok := s.Value.(string)
	if !ok || value == "" {
		return s
	}
	switch flag.Tag.Get("secret") {
	case secretToken, secretPassword:
		value = mask.Replacement
	case secretLocation:
		if len(SecretsIn(value)) > 0 {
			value = mask.Replacement
		}
	case secretUser: // a token, if there is no password
		if !slices.ContainsFunc(k.Flags(), func(f *kong.Flag) bool {
			return f.Tag.Get("secret") == secretPassword && f.Target.String() != ""
		}) {
			value = mask.Replacement
		}
	case secretURL:
		var shown []string
		for one := range strings.SplitSeq(value, ",") {
			// A part without a user may be a part of a password with a comma.
			if masked := mask.URL(one); masked != strings.TrimSpace(one) {
				one = masked
			}
			shown = append(shown, one)
		}
		value = strings.Join(shown, ",")
	}
	value = p.Secrets.Text(value)
	s.Value, s.Secret = value, value != s.Value
	return s
}

// source returns where the value of a flag comes from.
func (p Process) source(k *kong.Context, flag *kong.Flag) Source {
	for _, path := range k.Path {
		if path.Flag == flag && !path.Resolved {
			return FromFlag
		}
	}
	if name := flag.Tag.Get("var"); name != "" && p.Getenv(name) != "" {
		return FromVariable
	}
	if _, ok := p.file.of[flag]; ok {
		return FromFile
	}
	return FromDefault
}

// locate adds the place in the configuration file to an error about a value from it.
func (p Process) locate(k *kong.Context, err error) {
	var setting *SettingError
	if !errors.As(err, &setting) || setting.Flag == "" {
		return
	}
	for _, flag := range k.Flags() {
		if flag.Name == setting.Flag && p.source(k, flag) == FromFile {
			setting.File, setting.Line = p.file.name, p.file.of[flag].line
		}
	}
}

// plain returns the value of a flag for JSON: durations and types that are based on a string as a string, and nil for
// an unset pointer or list.
func plain(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return plain(v.Elem())
	case reflect.Slice:
		if v.Len() == 0 {
			return nil
		}
		list := make([]any, v.Len())
		for i := range list {
			list[i] = plain(v.Index(i))
		}
		return list
	case reflect.String:
		return v.String()
	}
	switch value := v.Interface().(type) {
	case time.Duration:
		return schema.Duration(value)
	case fmt.Stringer:
		return value.String()
	default:
		return value
	}
}
