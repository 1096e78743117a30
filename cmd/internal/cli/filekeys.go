package cli

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"

	"statusworker/schema"
)

// reader collects the values of a configuration file. Keys are names of flags. At the top are the flags with a
// variable, which mean the same to every command. The name of a command is the key of a section, with any flag of the
// command and of the commands below it.
type reader struct {
	file  *file
	found []located
}

// located is a value in a file, and the flags that it is for.
type located struct {
	entry
	key   string
	flags []*kong.Flag
}

// section collects the values of a mapping: first those beside its sections.
func (r *reader) section(node *yaml.Node, at *kong.Node, path []string) error {
	var sections []func() error
	seen := map[string]int{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], pointedTo(node.Content[i+1])
		name := key.Value
		full := strings.Join(append(slices.Clone(path), name), ".")
		bad := func(err error) error {
			return &FileError{File: r.file.name, Line: key.Line, Key: schema.Printable(full), Err: err}
		}
		if key.Kind != yaml.ScalarNode || name == "" {
			return bad(errors.New("a key must be the name of a flag or of a command"))
		}
		if line, twice := seen[name]; twice {
			return bad(fmt.Errorf("the key is also in line %d", line))
		}
		seen[name] = key.Line
		if child := commandBelow(at, name); child != nil {
			if value.Kind == yaml.MappingNode {
				sections = append(sections, func() error { return r.section(value, child, append(path, name)) })
			} else if value.Tag != "!!null" {
				return bad(fmt.Errorf("must be a section: flags of the command %s, indented", name))
			}
			continue
		}
		flags, err := flagsFor(at, name)
		if err != nil {
			unusable := bad(err).(*FileError) //nolint:errorlint // bad returns no other type
			if errors.Is(err, ErrUnknownKey) {
				unusable.Near = nearestKey(name, at)
			}
			return unusable
		}
		if err := r.add(value, full, key.Line, flags); err != nil {
			return err
		}
	}
	for _, section := range sections {
		if err := section(); err != nil {
			return err
		}
	}
	return nil
}

// pointedTo returns the node that an alias stands for.
func pointedTo(node *yaml.Node) *yaml.Node {
	if node.Kind == yaml.AliasNode {
		return node.Alias
	}
	return node
}

func commandBelow(at *kong.Node, name string) *kong.Node {
	i := slices.IndexFunc(at.Children, func(n *kong.Node) bool {
		return n.Type == kong.CommandNode && n.Name == name && !n.Hidden
	})
	if i < 0 {
		return nil
	}
	return at.Children[i]
}

// flagsFor returns the flags that a key in the section of a command sets.
func flagsFor(at *kong.Node, name string) (flags []*kong.Flag, err error) {
	err = ErrUnknownKey
	for _, flag := range settings(at) {
		if flag.Name != name {
			continue
		}
		switch {
		case flag.Tag.Get(configFlag) == "-":
			err = ErrPerCall
		case at.Type == kong.ApplicationNode && flag.Tag.Get("var") == "":
			err = ErrOfCommand
		default:
			flags = append(flags, flag)
		}
	}
	if len(flags) > 0 {
		return flags, nil
	}
	return nil, err
}

// settings returns the flags below a command that set something.
func settings(at *kong.Node) []*kong.Flag {
	return slices.DeleteFunc(FlagsBelow(at), func(f *kong.Flag) bool {
		return f.Hidden || f.Name == "help" || f.Name == configFlag
	})
}

// nearestKey returns the key that was probably meant, or "".
func nearestKey(name string, at *kong.Node) string {
	var known []string
	of := map[string]string{}
	for _, flag := range settings(at) {
		if _, err := flagsFor(at, flag.Name); err == nil {
			upper := strings.ToUpper(strings.ReplaceAll(flag.Name, "-", "_"))
			known, of[upper] = append(known, upper), flag.Name
			if variable := flag.Tag.Get("var"); variable != "" {
				known, of[variable] = append(known, variable), flag.Name
			}
		}
	}
	for _, child := range at.Children {
		if !child.Hidden {
			upper := strings.ToUpper(child.Name)
			known, of[upper] = append(known, upper), child.Name
		}
	}
	return of[nearest(strings.ReplaceAll(name, "-", "_"), known)]
}

// add adds a value. An empty one counts as unset, as an empty variable does.
func (r *reader) add(node *yaml.Node, key string, line int, flags []*kong.Flag) error {
	flag := flags[0]
	if i := slices.IndexFunc(flags, func(f *kong.Flag) bool { return !f.IsSlice() }); i >= 0 {
		flag = flags[i] // a list does not fit it
	}
	e := entry{line: line}
	shape, allowed := shapeOf(node), "one value"
	switch {
	case shape == "nothing":
		return nil
	case flag.IsBool():
		allowed = "true or false"
		if node.Tag == "!!bool" {
			e.value = strings.EqualFold(node.Value, "true")
		}
	case shape == "text":
		e.value = node.Value
	case flag.IsSlice():
		allowed = "a list of values, or values separated by commas"
		e.value = listOf(node, flag.Tag.Sep)
	}
	if e.value == nil {
		if shape == "text" {
			shape = schema.Quote(node.Value)
		}
		return &UsageError{&SettingError{Flag: flag.Name, Variable: flag.Tag.Get("var"), File: r.file.name, Line: line,
			Value: shape, Allowed: allowed}}
	}
	r.found = append(r.found, located{entry: e, key: key, flags: flags})
	return nil
}

// shapeOf returns what a value is.
func shapeOf(node *yaml.Node) string {
	switch {
	case node.Kind == yaml.SequenceNode && len(node.Content) == 0, node.Tag == "!!null":
		return "nothing"
	case node.Kind == yaml.SequenceNode:
		return "a list"
	case node.Kind == yaml.MappingNode:
		return "a section"
	case node.Style&yaml.TaggedStyle != 0:
		return "a value with a tag"
	case Trimmed(node.Value) == "":
		return "nothing"
	}
	return "text"
}

// listOf returns the elements of a list as on a command line; nil if it has others than single values.
func listOf(node *yaml.Node, separator rune) any {
	if node.Kind != yaml.SequenceNode {
		return nil
	}
	var elements []string
	for _, one := range node.Content {
		if one = pointedTo(one); shapeOf(one) != "text" {
			return nil
		}
		elements = append(elements, one.Value)
	}
	if separator >= 0 {
		return kong.JoinEscaped(elements, separator)
	}
	var list []any
	for _, one := range elements {
		list = append(list, one)
	}
	return list
}

// check parses a value as each of its flags does.
func (r *reader) check(v located) error {
	for _, flag := range v.flags {
		scratch := reflect.New(flag.Target.Type()).Elem()
		if scratch.Kind() == reflect.Pointer {
			scratch.Set(reflect.New(scratch.Type().Elem()))
		}
		scan := kong.Scan().PushTyped(v.value, kong.FlagValueToken)
		err := flag.Mapper.Decode(&kong.DecodeContext{Value: flag.Value, Scan: scan}, scratch)
		if err == nil {
			continue
		}
		var setting *SettingError
		if errors.As(err, &setting) {
			setting.File, setting.Line = r.file.name, v.line
			return err
		}
		return &FileError{File: r.file.name, Line: v.line, Key: v.key, Err: err}
	}
	return nil
}
