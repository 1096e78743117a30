package connect

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"statusworker/cmd/internal/cli"
	"statusworker/cmd/internal/credential"
	"statusworker/schema"
)

// kind is one way to authenticate.
type kind struct {
	flag string
	// shown is how messages name it.
	shown string
}

// kinds returns which kinds of credentials are set.
func (f Flags) kinds() (set []kind) {
	if slices.ContainsFunc(strings.Split(f.NATSURL, ","), hasUser) {
		set = append(set, kind{"nats-url", "a user in " + f.Name("nats-url")})
	}
	for flag, value := range f.credentialFlags() {
		if value != "" {
			set = append(set, kind{flag, f.Name(flag)})
		}
	}
	return set
}

// credentialFlags iterates over the flags that each set a kind of credentials.
func (f Flags) credentialFlags() func(yield func(flag, value string) bool) {
	return func(yield func(string, string) bool) {
		for _, c := range [][2]string{
			{"nats-user", f.User}, {"nats-token", f.NATSToken}, {"nats-creds", f.Creds}, {"nats-nkey", f.NKey},
			{"nats-jwt", f.JWT},
		} {
			if !yield(c[0], c[1]) {
				return
			}
		}
	}
}

func hasUser(server string) bool {
	_, rest, found := strings.Cut(server, "://")
	if !found {
		rest = server
	}
	authority, _, _ := strings.Cut(rest, "/")
	return strings.Contains(authority, "@")
}

// checkCredentials rejects more than one kind of credentials. The client would silently use one of them: the URL's
// rather than the flag's.
func (f Flags) checkCredentials() error {
	var given []string
	for _, k := range f.kinds() {
		given = append(given, k.shown)
	}
	switch {
	case len(given) > 1:
		return cli.Usagef("%s are set: set only one of them", strings.Join(given, " and "))
	case f.User == "" && f.Password != "":
		return cli.Usagef("%s is set without %s: set both, or set only the user to a token",
			f.Name("nats-password"), f.Name("nats-user"))
	case f.JWT == "" && f.Seed != "":
		return cli.Usagef("%s is set without %s: set both, or set only --nats-nkey ($NATS_NKEY)",
			f.Name("nats-seed"), f.Name("nats-jwt"))
	}
	return nil
}

// credentials returns the options that authenticate the user. Files are read again at each attempt to connect, except
// the public key of an NKey.
func (f Flags) credentials() (options []nats.Option, err error) {
	switch {
	case f.Creds != "":
		content, err := f.read(f.Creds)
		if err == nil {
			err = credential.CheckNATS(content)
		}
		if err != nil {
			return nil, f.bad("nats-creds", f.shownLocation(f.Creds), fmt.Sprintf("a credentials file (%v)", err))
		}
		jwt := func() (string, error) {
			content, err := f.read(f.Creds)
			if err != nil {
				return "", err
			}
			return nkeys.ParseDecoratedJWT(content)
		}
		return []nats.Option{nats.UserJWT(jwt, f.sign(f.Creds))}, nil
	case f.NKey != "":
		return f.nkey()
	case f.JWT != "":
		return f.jwt()
	case f.NATSToken != "":
		return []nats.Option{nats.Token(f.NATSToken)}, nil
	case f.Password != "":
		return []nats.Option{nats.UserInfo(f.User, f.Password)}, nil
	case f.User != "":
		return []nats.Option{nats.Token(f.User)}, nil
	}
	return nil, nil
}

func (f Flags) nkey() ([]nats.Option, error) {
	public, err := func() (string, error) {
		pair, err := f.pair(f.NKey)
		if err != nil {
			return "", err
		}
		defer pair.Wipe()
		return pair.PublicKey()
	}()
	if err != nil {
		return nil, f.bad("nats-nkey", f.shownLocation(f.NKey), fmt.Sprintf("a file with an NKey seed (%v)", err))
	}
	return []nats.Option{nats.Nkey(public, f.sign(f.NKey))}, nil
}

func (f Flags) jwt() ([]nats.Option, error) {
	jwt := func() (string, error) {
		content, err := f.read(f.JWT)
		if err != nil {
			return "", err
		}
		text, err := nkeys.ParseDecoratedJWT(content)
		if text = strings.TrimSpace(text); err == nil && !isJWT(text) {
			err = errors.New("it has no JWT")
		}
		return text, err
	}
	if _, err := jwt(); err != nil {
		return nil, f.bad("nats-jwt", f.shownLocation(f.JWT), fmt.Sprintf("a file with a user's JWT (%v)", err))
	}
	sign := func([]byte) ([]byte, error) { return nil, nil } // a bearer token
	if f.Seed != "" {
		pair, err := f.pair(f.Seed)
		if err != nil {
			return nil, f.bad("nats-seed", f.shownLocation(f.Seed), fmt.Sprintf("a file with an NKey seed (%v)", err))
		}
		pair.Wipe()
		sign = f.sign(f.Seed)
	}
	return []nats.Option{nats.UserJWT(jwt, sign)}, nil
}

// pair reads the key pair at a location.
func (f Flags) pair(location string) (nkeys.KeyPair, error) {
	content, err := f.read(location)
	if err != nil {
		return nil, err
	}
	return nkeys.ParseDecoratedNKey(bytes.TrimSpace(content))
}

// sign returns the function that signs with the key pair at a location.
func (f Flags) sign(location string) nats.SignatureHandler {
	return func(nonce []byte) ([]byte, error) {
		pair, err := f.pair(location)
		if err != nil {
			return nil, err
		}
		defer pair.Wipe()
		return pair.Sign(nonce)
	}
}

// isJWT and isSeed report whether a value is a credential itself, and not the location of one.
func isJWT(value string) bool {
	return strings.HasPrefix(value, "eyJ") && strings.Count(value, ".") == 2
}

func isSeed(value string) bool {
	_, err := nkeys.FromSeed([]byte(value))
	return err == nil
}

// read returns what is at a location, in the forms of the `nats` command: a path, file:// with a path, env:// with the
// name of a variable, data: with base64, or the JWT or seed itself.
func (f Flags) read(location string) ([]byte, error) {
	scheme, rest, _ := strings.Cut(location, ":")
	switch strings.ToLower(scheme) {
	case "data":
		_, encoded, found := strings.Cut(rest, ";base64,")
		content, err := base64.StdEncoding.DecodeString(encoded)
		if !found || err != nil {
			return nil, errors.New("not data:;base64, with base64")
		}
		return content, nil
	case "env":
		name := strings.TrimPrefix(rest, "//")
		value := f.env(name)
		if value == "" {
			return nil, fmt.Errorf("the variable %s is not set", schema.Quote(name))
		}
		return []byte(value), nil
	case "op", "nsc":
		return nil, fmt.Errorf("the scheme %s is not supported: must be a path, or file, env or data", scheme)
	case "file":
		location = f.expand(strings.TrimPrefix(rest, "//"))
	}
	if isJWT(location) || isSeed(location) {
		return []byte(location), nil
	}
	return credential.ReadFile(location)
}

// shownLocation returns a location without secrets.
func (f Flags) shownLocation(location string) string {
	if len(cli.SecretsIn(location)) > 0 {
		return "(withheld)"
	}
	return schema.Quote(location)
}
