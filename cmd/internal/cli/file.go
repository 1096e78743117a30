package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"

	"statusworker/schema"
	"statusworker/statusclient"
)

// ConfigFlag is the flag that names a configuration file. A program has it beside its commands.
type ConfigFlag struct {
	Config string `name:"config" var:"STATUSWORKER_CONFIG" placeholder:"FILE" help:"YAML file with settings. Variables and flags take precedence."`
}

const configFlag = "config"

// maxFile is the maximum size of a configuration file in bytes.
const maxFile = 1 << 20

// FileError reports a configuration file that cannot be used.
type FileError struct {
	File string
	Line int // 0 if the error is not about a line
	// Key is the path of the key that the error is about, such as dlq.purge.timeout. It may be empty.
	Key string
	// Near is the known key that was probably meant, or "".
	Near string
	Err  error
}

func (e *FileError) Error() string {
	where := "configuration file " + schema.Quote(e.File)
	if e.Line > 0 {
		where += fmt.Sprintf(", line %d", e.Line)
	}
	if e.Key != "" {
		where += ": " + e.Key
	}
	if e.Near != "" {
		return fmt.Sprintf("%s: %v; did you mean %s?", where, e.Err, e.Near)
	}
	return fmt.Sprintf("%s: %v", where, e.Err)
}

// Unwrap returns the cause.
func (e *FileError) Unwrap() error { return e.Err }

// Causes of a [FileError].
var (
	ErrUnknownKey = errors.New("unknown key")
	ErrOfCommand  = errors.New("is a setting of single commands: it must be in the section of one")
	ErrPerCall    = errors.New("cannot be in a file: it must be a flag")
	ErrReadByAll  = errors.New("has a secret, and every user of the host may read it: remove the permission " +
		"(chmod o-r), or put the secret into a file of its own (api-token-file, nats-creds, nats-nkey)")
)

// file is the configuration file of a command. The zero value is an empty one.
type file struct {
	name   string
	loaded bool
	all    *kong.Node
	of     map[*kong.Flag]entry // the entry that applies to a flag of a command
}

// entry is a value in a configuration file.
type entry struct {
	line  int
	value any // what package kong takes: a bool, a string, or []any
}

// text returns the value as on a command line.
func (e entry) text() string {
	if list, ok := e.value.([]any); ok {
		return strings.Trim(fmt.Sprint(list...), "[]")
	}
	return fmt.Sprint(e.value)
}

// fileResolver resolves flags from the configuration file that the command line or the environment names. It loads the
// file before the first flag of a command. A command without flags, such as version, does not depend on the file.
func (g Program) fileResolver(p Process) kong.Resolver {
	f := p.file
	return kong.ResolverFunc(func(k *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		if slices.Contains(k.Model.Flags, flag) {
			return nil, nil
		}
		if !f.loaded {
			f.loaded = true
			if err := g.load(p, fileOf(k, p.Getenv), k.Model); err != nil {
				return nil, &UsageError{err}
			}
		}
		if e, ok := f.of[flag]; ok {
			return e.value, nil
		}
		return nil, nil
	})
}

// fileOf returns the name of the configuration file, or "".
func fileOf(k *kong.Context, getenv func(string) string) string {
	for _, flag := range k.Model.Flags {
		if flag.Name != configFlag {
			continue
		}
		for _, path := range k.Path {
			if path.Flag == flag {
				return fmt.Sprint(k.FlagValue(flag))
			}
		}
		return getenv(flag.Tag.Get("var"))
	}
	return ""
}

// load reads and checks a file: all of it, also what other commands than this one read.
func (g Program) load(p Process, name string, all *kong.Application) error {
	f := p.file
	f.name, f.all, f.of = name, all.Node, map[*kong.Flag]entry{}
	if name == "" {
		return nil
	}
	text, mode, err := readFile(name)
	if err != nil {
		return &FileError{File: name, Err: err}
	}
	root, err := f.parse(text)
	if err != nil || root == nil {
		return err
	}
	r := reader{file: f}
	if err := r.section(root, all.Node, nil); err != nil {
		return err
	}
	for _, v := range r.found {
		for _, flag := range v.flags {
			f.of[flag] = v.entry // sections follow what they refine
		}
	}
	g.addSecrets(p, all) // before an error shows a value
	for _, v := range r.found {
		if err := r.check(v); err != nil {
			return err
		}
	}
	if mode.Perm()&0o004 != 0 && f.hasSecret(p) {
		return &FileError{File: name, Err: ErrReadByAll}
	}
	return nil
}

func readFile(name string) (text []byte, mode fs.FileMode, err error) {
	opened, err := statusclient.OpenFile(name)
	if err != nil {
		return nil, 0, err
	}
	defer opened.Close()
	info, err := opened.Stat()
	if err != nil {
		return nil, 0, err
	}
	text, err = io.ReadAll(io.LimitReader(opened, maxFile+1))
	if len(text) > maxFile {
		err = fmt.Errorf("it has more than %d bytes", maxFile)
	}
	return text, info.Mode(), err
}

// parse returns the mapping that a file consists of, or nil if the file is empty.
func (f *file) parse(text []byte) (*yaml.Node, error) {
	var document, second yaml.Node
	from := yaml.NewDecoder(strings.NewReader(string(text)))
	switch err := from.Decode(&document); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, &FileError{File: f.name, Err: notYAML(err)}
	}
	if err := from.Decode(&second); !errors.Is(err, io.EOF) {
		if err != nil {
			return nil, &FileError{File: f.name, Err: notYAML(err)}
		}
		return nil, &FileError{File: f.name, Line: second.Line, Err: errors.New("it has a second document")}
	}
	root := document.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return nil, nil
	}
	if root.Kind != yaml.MappingNode {
		return nil, &FileError{File: f.name, Line: root.Line, Err: errors.New("must be lines of the form key: value")}
	}
	return root, nil
}

// notYAML returns an error of package yaml without its quotations from the file, which may be parts of a secret.
func notYAML(err error) error {
	what := strings.TrimPrefix(err.Error(), "yaml: ")
	if quoted := strings.IndexAny(what, "'\"`"); quoted >= 0 {
		what = "it uses an anchor, a tag or a directive that is not defined; a value that begins with *, & or ! must " +
			"be in quotation marks"
	}
	return fmt.Errorf("not valid YAML: %s", what)
}

// hasSecret reports whether the file has a secret.
func (f *file) hasSecret(p Process) bool {
	var users, passwords string
	for flag, e := range f.of {
		switch flag.Tag.Get("secret") {
		case secretToken, secretPassword:
			return true
		case secretURL:
			if len(secretsOfURLs(e.text())) > 0 {
				return true
			}
		case secretLocation:
			if len(SecretsIn(e.text())) > 0 {
				return true
			}
		case secretUser:
			users += e.text()
		}
	}
	for _, flag := range FlagsBelow(p.file.all) {
		if flag.Tag.Get("secret") == secretPassword {
			passwords += strings.Join(given(p, flag), "")
		}
	}
	return users != "" && passwords == ""
}
