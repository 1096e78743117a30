package connect

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"statusworker/cmd/internal/cli"
	"statusworker/cmd/internal/mask"
	"statusworker/schema"
	"statusworker/statusclient"
)

// natsContext is a file of `nats context`. The library of the `nats` command, github.com/nats-io/jsm.go/natscontext,
// links the NATS server into the program.
type natsContext struct {
	URL         string `json:"url"`
	SOCKSProxy  string `json:"socks_proxy"`
	Token       string `json:"token"`
	User        string `json:"user"`
	Password    string `json:"password"`
	Creds       string `json:"creds"`
	NKey        string `json:"nkey"`
	JWT         string `json:"user_jwt"`
	Seed        string `json:"user_seed"`
	Cert        string `json:"cert"`
	Key         string `json:"key"`
	CA          string `json:"ca"`
	TLSFirst    bool   `json:"tls_first"`
	JSDomain    string `json:"jetstream_domain"`
	JSAPIPrefix string `json:"jetstream_api_prefix"`
	InboxPrefix string `json:"inbox_prefix"`
	// The following are not supported.
	NSC         string `json:"nsc"`
	WinCertType string `json:"windows_cert_store"`

	path string
	// used has the members that set a flag, by the flag's name.
	used map[string]string
}

// ContextError reports a member of a context with a bad value, and what is allowed.
type ContextError struct {
	File, Member string
	// Value is safe to show: quoted, and without secrets.
	Value string
	// Allowed completes the sentence "must be ...".
	Allowed string
}

func (e *ContextError) Error() string {
	return fmt.Sprintf("the member %s of the NATS context %s is %s: must be %s", e.Member, e.File, e.Value, e.Allowed)
}

// maxContext is the maximum size of a context's file in bytes.
const maxContext = 1 << 20

// load reads the file of the context.
func (f Flags) load() (*natsContext, error) {
	path, folder := f.Context, ""
	if !filepath.IsAbs(path) {
		folder = f.contexts()
		if path == "." || path == ".." || strings.ContainsAny(path, `/\`) {
			return nil, cli.BadFlag(f, "nats-context", schema.Quote(path), "the name of a context, or an absolute path")
		}
		path = filepath.Join(folder, path+".json")
	}
	file, err := statusclient.OpenFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && folder != "":
		return nil, cli.BadFlag(f, "nats-context", schema.Quote(f.Context), known(folder))
	case err != nil:
		return nil, cli.BadFlag(f, "nats-context", schema.Quote(f.Context),
			fmt.Sprintf("a file that can be read (%v)", err))
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxContext))
	if err != nil {
		return nil, cli.BadFlag(f, "nats-context", schema.Quote(f.Context),
			fmt.Sprintf("a file that can be read (%v)", err))
	}
	c := &natsContext{path: path, used: map[string]string{}}
	err = json.Unmarshal(text, c)
	if !bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
		err = errNoObject // also null, which sets nothing
	}
	if err != nil {
		return nil, cli.BadFlag(f, "nats-context", schema.Quote(f.Context),
			fmt.Sprintf("a context; its file %s is not one: %s", path, unreadable(err)))
	}
	for member, value := range map[string]string{"nsc": c.NSC, "windows_cert_store": c.WinCertType} {
		if value != "" {
			return nil, &cli.UsageError{Err: &ContextError{
				File: path, Member: member, Value: schema.Quote(value),
				Allowed: "empty: it is not supported; set creds",
			}}
		}
	}
	return c, nil
}

var errNoObject = errors.New("it has no JSON object")

// unreadable returns why JSON cannot be read, without its values, which may be secrets.
func unreadable(err error) string {
	if bad := (*json.UnmarshalTypeError)(nil); errors.As(err, &bad) {
		return fmt.Sprintf("the member %s has the type %s", bad.Field, bad.Value)
	}
	if bad := (*json.SyntaxError)(nil); errors.As(err, &bad) {
		return fmt.Sprintf("invalid JSON at byte %d", bad.Offset)
	}
	if errors.Is(err, errNoObject) {
		return err.Error()
	}
	return "invalid JSON"
}

// contexts returns the folder with the contexts of the `nats` command.
func (f Flags) contexts() string {
	config := f.env("XDG_CONFIG_HOME")
	if config == "" {
		config = filepath.Join(f.env("HOME"), ".config")
	}
	return filepath.Join(config, "nats", "context")
}

// known describes which contexts a folder has.
func known(folder string) string {
	files, err := os.ReadDir(folder)
	var names []string
	for _, file := range files {
		if name, ok := strings.CutSuffix(file.Name(), ".json"); ok && !file.IsDir() {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	switch {
	case err != nil:
		return fmt.Sprintf("a context in the folder %s, which cannot be read (%v), or the absolute path of a "+
			"context's file", folder, err)
	case len(names) == 0:
		return fmt.Sprintf("a context in the folder %s, which has none, or the absolute path of a context's file",
			folder)
	}
	return fmt.Sprintf("one of %s (files in %s), or the absolute path of a context's file",
		strings.Join(names, ", "), folder)
}

// secrets returns the secrets in the context.
func (c *natsContext) secrets() []string {
	all := []string{c.Password, c.Token}
	if c.Password == "" {
		all = append(all, c.User)
	}
	for _, location := range []string{c.Creds, c.NKey, c.JWT, c.Seed, c.Cert, c.Key, c.CA} {
		all = append(all, cli.SecretsIn(location)...)
	}
	for one := range strings.SplitSeq(c.URL+","+c.SOCKSProxy, ",") {
		all = append(all, mask.UserInfo(one)...)
	}
	return all
}

// merge takes the values of the context for what no flag sets. Settings that replace each other are taken together, or
// not at all: credentials, the client certificate, and domain or API prefix.
func (f *Flags) merge(c *natsContext) {
	f.loaded = c
	credentials := len(f.kinds()) == 0 && f.Password == "" && f.Seed == ""
	certificate := f.Cert == "" && f.Key == ""
	api := f.JSDomain == "" && f.JSAPIPrefix == ""
	for _, m := range []struct {
		flag, member string
		value        *string
		of           string
		take         bool
	}{
		{"nats-url", "url", &f.NATSURL, withoutUser(c.URL, credentials), true},
		{"nats-creds", "creds", &f.Creds, f.expand(c.Creds), credentials},
		{"nats-nkey", "nkey", &f.NKey, f.expand(c.NKey), credentials},
		{"nats-jwt", "user_jwt", &f.JWT, c.JWT, credentials},
		{"nats-seed", "user_seed", &f.Seed, c.Seed, credentials},
		{"nats-user", "user", &f.User, c.User, credentials},
		{"nats-password", "password", &f.Password, c.Password, credentials},
		{"nats-token", "token", &f.NATSToken, c.Token, credentials},
		{"nats-cert", "cert", &f.Cert, f.expand(c.Cert), certificate},
		{"nats-key", "key", &f.Key, f.expand(c.Key), certificate},
		{"nats-ca", "ca", &f.CA, f.expand(c.CA), true},
		{"socks-proxy", "socks_proxy", &f.SOCKSProxy, c.SOCKSProxy, true},
		{"js-domain", "jetstream_domain", &f.JSDomain, c.JSDomain, api},
		{"js-api-prefix", "jetstream_api_prefix", &f.JSAPIPrefix, c.JSAPIPrefix, api},
		{"nats-inbox-prefix", "inbox_prefix", &f.InboxPrefix, c.InboxPrefix, true},
	} {
		if m.take && *m.value == "" && m.of != "" {
			*m.value = m.of
			c.used[m.flag] = m.member
		}
	}
	if f.TLSFirst == nil && c.TLSFirst {
		f.TLSFirst = &c.TLSFirst
		c.used["nats-tlsfirst"] = "tls_first"
	}
}

// withoutUser returns server URLs without their users, unless they are wanted.
func withoutUser(servers string, wanted bool) string {
	if wanted {
		return servers
	}
	all := strings.Split(servers, ",")
	for i, server := range all {
		if hasUser(server) {
			all[i] = mask.URL(server)
		}
	}
	return strings.Join(all, ",")
}

// expand replaces variables, and a tilde at the beginning of a path, as the `nats` command does.
func (f Flags) expand(path string) string {
	path = os.Expand(path, f.env)
	if path == "~" || strings.HasPrefix(path, "~/") {
		return f.env("HOME") + path[1:]
	}
	return path
}
