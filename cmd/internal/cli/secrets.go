package cli

import (
	"regexp"
	"slices"
	"strings"

	"statusworker/cmd/internal/mask"

	"github.com/alecthomas/kong"
)

// Values of the tag `secret`: the part of a flag's value that is secret.
const (
	secretToken    = "token"
	secretPassword = "password"
	secretUser     = "user" // a token, if there is no password
	secretURL      = "url"  // the user information before the host
	// secretLocation is a file's path, or instead the contents.
	secretLocation = "location"
)

// addSecrets registers the secrets in the flags and variables of all commands. It runs before they are parsed, because
// a parse error can quote them, and again when the configuration file is loaded. The token of a token file is
// registered when the file is read.
func (g Program) addSecrets(p Process, all *kong.Application) {
	of := map[string][]string{} // kinds
	for _, flag := range FlagsBelow(all.Node) {
		kind := flag.Tag.Get("secret")
		if kind == "" {
			continue
		}
		of[kind] = append(of[kind], given(p, flag)...)
	}
	values := slices.Concat(of[secretToken], of[secretPassword])
	if strings.Join(of[secretPassword], "") == "" {
		values = append(values, of[secretUser]...)
	}
	for _, value := range values {
		p.Secrets.Add(value, strings.Trim(value, " \t\r\n\"'`"))
	}
	for _, urls := range of[secretURL] {
		p.Secrets.Add(secretsOfURLs(urls)...)
	}
	for _, location := range of[secretLocation] {
		p.Secrets.Add(SecretsIn(location)...)
	}
	if g.Secrets != nil {
		p.Secrets.Add(g.Secrets(p.Getenv)...)
	}
}

// contents matches what no path has: a JWT, an NKey seed, inline data, or PEM and what follows.
var contents = regexp.MustCompile(`eyJ[\w-]*\.[\w-]+\.[\w-]*|\bS[A-Z][A-Z2-7]{56}\b|(?is)^\s*data:.*|(?s)-----BEGIN .*`)

// SecretsIn returns the secrets in a value that is a path, or instead the contents of a file. Each line is one: a
// message may show them in one line.
func SecretsIn(location string) []string {
	found := contents.FindAllString(location, -1)
	if found == nil {
		return nil
	}
	all := append([]string{location}, found...)
	for line := range strings.Lines(location) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "-----") {
			all = append(all, line)
		}
	}
	if _, encoded, found := strings.Cut(location, ";base64,"); found {
		all = append(all, encoded)
	}
	return all
}

// secretsOfURLs returns the secrets in URLs that are separated by commas.
func secretsOfURLs(urls string) (secrets []string) {
	for one := range strings.SplitSeq(urls, ",") {
		secrets = append(secrets, mask.UserInfo(one)...)
	}
	return secrets
}

// given returns the values of a flag in the configuration file, the environment and on the command line. The last one
// takes effect.
func given(p Process, flag *kong.Flag) (values []string) {
	if p.file != nil {
		if e, ok := p.file.of[flag]; ok {
			values = append(values, e.text())
		}
	}
	values = append(values, p.Getenv(flag.Tag.Get("var")))
	for i, arg := range p.Args {
		name, value, joined := strings.Cut(arg, "=")
		if !joined && i+1 < len(p.Args) {
			value = p.Args[i+1]
		}
		if name == "--"+flag.Name {
			values = append(values, value)
		}
	}
	return values
}

// hasSecrets reports whether a command has a flag that can hold a secret.
func hasSecrets(flags []*kong.Flag) bool {
	return slices.ContainsFunc(flags, func(f *kong.Flag) bool { return f.Tag.Get("secret") != "" })
}
