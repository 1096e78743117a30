package main

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"statusworker/cmd/internal/connect"
)

// store returns server options with JetStream.
func store(t *testing.T) server.Options {
	t.Helper()
	return server.Options{ServerName: "n1", JetStream: true, StoreDir: t.TempDir()}
}

// written writes a file, and returns its path.
func written(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// Every command works through a WebSocket proxy that serves NATS under a path.
func TestWebSocketWithAPath(t *testing.T) {
	t.Parallel()
	o := store(t)
	o.Websocket = server.WebsocketOpts{Host: "127.0.0.1", Port: freePort(t), NoTLS: true}
	bareServer(t, o)
	var requests atomic.Int64
	upstream := &url.URL{Scheme: "http", Host: net.JoinHostPort(o.Websocket.Host, strconv.Itoa(o.Websocket.Port))}
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(upstream)
		r.Out.URL.Path = "/"
	}}
	proxy := httptest.NewServer(http.StripPrefix("/of/nats", http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			requests.Add(1)
			forward.ServeHTTP(w, r)
		})))
	t.Cleanup(proxy.Close)
	works(t, map[string]string{"NATS_URL": strings.Replace(proxy.URL, "http://", "ws://", 1) + "/of/nats"})
	if requests.Load() == 0 {
		t.Error("no connection through the proxy")
	}
}

// Every command works with a server that expects the TLS handshake before its greeting. Without the flag, none does.
func TestTLSFirst(t *testing.T) {
	t.Parallel()
	certificate, ca := certificateFor(t, time.Hour)
	o := store(t)
	o.TLS, o.TLSHandshakeFirst, o.TLSTimeout = true, true, 5
	o.TLSConfig = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	at := strings.Replace(bare(t, o), "nats://", "tls://", 1)
	env := map[string]string{"NATS_URL": at, "NATS_CA": ca, "NATS_TLSFIRST": "true"}
	works(t, env)
	c := by(t, env)("status", "--no-nats-tlsfirst", "--timeout", "1s")
	c.exits(exitFault)
}

// operator starts a server in operator mode with one account in its memory resolver. It returns the key of the account.
func operator(t *testing.T) (url string, account nkeys.KeyPair) {
	t.Helper()
	pair := func(create func() (nkeys.KeyPair, error)) (nkeys.KeyPair, string) {
		kp, err := create()
		if err != nil {
			t.Fatal(err)
		}
		public, err := kp.PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		return kp, public
	}
	op, opPublic := pair(nkeys.CreateOperator)
	account, public := pair(nkeys.CreateAccount)
	_, system := pair(nkeys.CreateAccount)
	claims := jwt.NewOperatorClaims(opPublic)
	claims.SystemAccount = system
	o := store(t)
	o.TrustedOperators = []*jwt.OperatorClaims{claims}
	o.SystemAccount = system
	resolver := &server.MemAccResolver{}
	for _, key := range []string{public, system} {
		of := jwt.NewAccountClaims(key)
		if key == public {
			of.Limits.JetStreamLimits = jwt.JetStreamLimits{
				MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1,
			}
		}
		text, err := of.Encode(op)
		if err != nil {
			t.Fatal(err)
		}
		if err := resolver.Store(key, text); err != nil {
			t.Fatal(err)
		}
	}
	o.AccountResolver = resolver
	return bare(t, o), account
}

// user returns the JWT and the seed of a user.
func user(t *testing.T, account nkeys.KeyPair, bearer bool) (token, seed string) {
	t.Helper()
	kp, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, err := kp.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	claims := jwt.NewUserClaims(public)
	claims.BearerToken = bearer
	if token, err = claims.Encode(account); err != nil {
		t.Fatal(err)
	}
	text, err := kp.Seed()
	if err != nil {
		t.Fatal(err)
	}
	return token, string(text)
}

// Every command works with a user's JWT and seed, wherever they are.
func TestJWTAndSeed(t *testing.T) {
	t.Parallel()
	at, account := operator(t)
	token, seed := user(t, account, false)
	bearer, _ := user(t, account, true)
	files := map[string]string{
		"NATS_URL": at, "NATS_JWT": written(t, "user.jwt", token+"\n"), "NATS_SEED": written(t, "user.nk", seed+"\n"),
	}
	works(t, files)
	creds, err := jwt.FormatUserConfig(token, []byte(seed))
	if err != nil {
		t.Fatal(err)
	}
	for name, env := range map[string]map[string]string{
		"values":      {"NATS_JWT": token, "NATS_SEED": seed},
		"bearer":      {"NATS_JWT": bearer},
		"file URLs":   {"NATS_JWT": "file://" + files["NATS_JWT"], "NATS_SEED": "file://" + files["NATS_SEED"]},
		"variables":   {"NATS_JWT": "env://A", "NATS_SEED": "env://B", "A": token, "B": seed},
		"credentials": {"NATS_CREDS": "data:;base64," + base64.StdEncoding.EncodeToString(creds)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env["NATS_URL"] = at
			c := by(t, env)("status").exits(exitOK)
			for _, secret := range []string{seed, token, bearer} {
				if strings.Contains(c.stdout.String()+c.stderr.String(), secret) {
					t.Error("a secret is printed")
				}
			}
		})
	}
	for name, env := range map[string]map[string]string{
		"seed without JWT": {"NATS_SEED": seed},
		"no JWT":           {"NATS_JWT": written(t, "empty.jwt", ""), "NATS_SEED": seed},
		"no seed":          {"NATS_JWT": token, "NATS_SEED": written(t, "empty.nk", "SUABC")},
		"unknown scheme":   {"NATS_JWT": "op://vault/jwt", "NATS_SEED": seed},
		"unset variable":   {"NATS_JWT": token, "NATS_SEED": "env://NONE"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env["NATS_URL"] = at
			c := by(t, env)("status").exits(exitUsage)
			says(t, "standard error", &c.stderr, "--nats-")
			if text := c.stderr.String(); strings.Contains(text, seed) || strings.Contains(text, token) {
				t.Errorf("a secret is printed: %s", text)
			}
		})
	}
}

// Every command works through a SOCKS proxy, which resolves the name of the server.
func TestSOCKSProxy(t *testing.T) {
	t.Parallel()
	at, err := url.Parse(bare(t, store(t)))
	if err != nil {
		t.Fatal(err)
	}
	p := startSOCKS(t, "me", "pr0xy-s3cret", map[string]string{"nats.internal.example": at.Hostname()})
	env := map[string]string{
		"NATS_URL":         "nats://nats.internal.example:" + at.Port(),
		"NATS_SOCKS_PROXY": "socks5://me:pr0xy-s3cret@" + p.address,
	}
	works(t, env)
	if p.connections.Load() == 0 {
		t.Error("no connection through the proxy")
	}
	env["NATS_SOCKS_PROXY"] = "socks5://me:wrong-s3cret@" + p.address
	c := by(t, env)("status", "--timeout", "1s").exits(exitFault)
	if strings.Contains(c.stderr.String(), "s3cret") {
		t.Errorf("a password is printed: %s", &c.stderr)
	}
	for _, bad := range []string{"http://127.0.0.1:1", "socks5://", "socks5://h:1/path", "socks5://me:s3cret@h:port"} {
		env["NATS_SOCKS_PROXY"] = bad
		by(t, env)("status").rejects("--socks-proxy ($NATS_SOCKS_PROXY)")
	}
}

// contexts writes contexts of the `nats` command, and returns the folder for $XDG_CONFIG_HOME.
func contexts(t *testing.T, all map[string]any) string {
	t.Helper()
	root := t.TempDir()
	folder := filepath.Join(root, "nats", "context")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, c := range all {
		text, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, name+".json"), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// settings are the members of a context.
type settings = map[string]any

// Every command works with a context. Flags and variables override what the context sets.
func TestContext(t *testing.T) {
	t.Parallel()
	o := store(t)
	o.JetStreamDomain = "hub"
	o.Users = []*server.User{
		{Username: "me", Password: "c0ntext-s3cret"}, {Username: "other", Password: "0ther-s3cret"},
	}
	at := bare(t, o)
	right := settings{"description": "x", "url": at, "user": "me", "password": "c0ntext-s3cret",
		"jetstream_domain": "hub", "inbox_prefix": "_INBOX_me"}
	with := func(member string, value any) settings {
		c := settings{}
		for k, v := range right {
			c[k] = v
		}
		c[member] = value
		return c
	}
	home := contexts(t, map[string]any{
		"right": right, "password": with("password", "wr0ng-s3cret"), "url": with("url", nobody(t)),
		"domain": with("jetstream_domain", "none"), "creds": with("creds", "/none.creds"),
		"socks": with("socks_proxy", "x"), "nsc": with("nsc", "nsc://o/a/u"), "number": with("user", 7),
		"api":    with("jetstream_api_prefix", "a.b"),
		"inURL":  settings{"url": strings.Replace(at, "://", "://me:c0ntext-s3cret@", 1), "jetstream_domain": "hub"},
		"nkey":   settings{"url": at, "nkey": "$KEYS/none.nk"},
		"nobody": settings{"jetstream_domain": "a b"},
		"null":   nil, "list": []string{"x"},
	})
	file := filepath.Join(home, "nats", "context", "right.json")
	works(t, map[string]string{"XDG_CONFIG_HOME": home, "NATS_CONTEXT": "right"})
	status := func(name string, args ...string) *call {
		c := command(t, append([]string{"status", "--nats-context", name, "--timeout", "2s"}, args...)...)
		c.env["XDG_CONFIG_HOME"], c.env["KEYS"] = home, "/keys"
		return c
	}
	for name, c := range map[string]*call{
		"path":             status(file),
		"user in the URL":  status("inURL"),
		"other URL":        status("url", "--nats-url", at),
		"other user":       status("password", "--nats-user", "other", "--nats-password", "0ther-s3cret"),
		"not that of URL":  status("inURL", "--nats-user", "other", "--nats-password", "0ther-s3cret"),
		"other domain":     status("domain", "--js-domain", "hub"),
		"prefix, for both": status("domain", "--js-api-prefix", "$JS.hub.API"),
	} {
		t.Run(name, func(t *testing.T) {
			c.t = t
			c.exits(exitOK)
		})
	}
	for name, member := range map[string]string{
		"domain": "", "socks": "socks_proxy", "nsc": "nsc", "nkey": "nkey", "nobody": "jetstream_domain",
	} {
		t.Run(name, func(t *testing.T) {
			c := status(name)
			if c.t = t; member == "" {
				c.exits(exitFault) // there is no such JetStream
				return
			}
			c.exits(exitUsage)
			var bad *connect.ContextError
			if !errors.As(c.err, &bad) || bad.Member != member || filepath.Base(bad.File) != name+".json" {
				t.Errorf("%v, want an error about %s", c.err, member)
			}
		})
	}
	for name, want := range map[string][]string{
		"creds":  {"the member user of the NATS context", "the member creds of the NATS context"},
		"api":    {"the member jetstream_domain of", "the member jetstream_api_prefix of"},
		"number": {"--nats-context ($NATS_CONTEXT)", "number.json", "user"},
		"nonsense": {"--nats-context ($NATS_CONTEXT)", "right", "password", "url",
			filepath.Join(home, "nats", "context")},
		"null":               {"--nats-context ($NATS_CONTEXT)", "null.json"},
		"list":               {"--nats-context ($NATS_CONTEXT)", "list.json", "JSON object"},
		"../context/right":   {"--nats-context ($NATS_CONTEXT)"},
		"/none/nowhere.json": {"--nats-context ($NATS_CONTEXT)", "/none/nowhere.json"},
	} {
		t.Run(name, func(t *testing.T) {
			c := status(name)
			c.t = t
			says(t, "standard error", &c.exits(exitUsage).stderr, want...)
		})
	}
	c := status("password").exits(exitFault)
	if says(t, "standard error", &c.stderr, "the member user of the NATS context"); strings.Contains(
		c.stderr.String(), "s3cret") {
		t.Errorf("a password is printed: %s", &c.stderr)
	}
}

// Options that contradict each other are rejected before a connection is made, by every command that connects.
func TestContradictingConnections(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ args, want []string }{
		"domain and prefix": {[]string{"--js-domain", "hub", "--js-api-prefix", "x.API"},
			[]string{"--js-domain ($NATS_JS_DOMAIN)", "--js-api-prefix ($NATS_JS_API_PREFIX)"}},
		"TLS first and WebSocket": {[]string{"--nats-tlsfirst", "--nats-url", "wss://127.0.0.1:1"},
			[]string{"--nats-tlsfirst ($NATS_TLSFIRST)", "--nats-url ($NATS_URL)"}},
		"JWT and credentials": {[]string{"--nats-jwt", "/x.jwt", "--nats-creds", "/x.creds"},
			[]string{"--nats-jwt ($NATS_JWT)", "--nats-creds ($NATS_CREDS)"}},
		"token and user": {[]string{"--nats-token", "s3cret", "--nats-user", "me"},
			[]string{"--nats-token ($NATS_TOKEN)", "--nats-user ($NATS_USER)"}},
		"domain with a dot": {[]string{"--js-domain", "a.b"}, []string{"--js-domain ($NATS_JS_DOMAIN)"}},
		"wildcard prefix":   {[]string{"--js-api-prefix", "a.>"}, []string{"--js-api-prefix ($NATS_JS_API_PREFIX)"}},
	} {
		for _, of := range [][]string{
			{"run"}, {"provision"}, {"status"}, {"show", someID}, {"doctor"}, {"dlq", "ls"},
			{"declare", "--type", "audio", someID}, {"console"},
		} {
			t.Run(name+", "+of[0], func(t *testing.T) {
				t.Parallel()
				c := by(t, nil)(slices.Concat(of, tt.args)...)
				says(t, "standard error", &c.exits(exitUsage).stderr, tt.want...)
			})
		}
	}
}

// socksProxy is a SOCKS 5 proxy with user and password (RFC 1928 and 1929) that resolves names from a table.
type socksProxy struct {
	address     string
	user        string
	password    string
	hosts       map[string]string
	connections atomic.Int64
}

func startSOCKS(t *testing.T, user, password string, hosts map[string]string) *socksProxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	p := &socksProxy{address: l.Addr().String(), user: user, password: password, hosts: hosts}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_ = p.serve(c)
			}()
		}
	}()
	return p
}

var errSOCKS = errors.New("rejected")

func (p *socksProxy) serve(c net.Conn) error {
	take := func(n byte) string {
		b := make([]byte, n)
		_, _ = io.ReadFull(c, b)
		return string(b)
	}
	field := func() string { return take(take(1)[0]) }
	take(1) // version
	field() // methods
	if _, err := c.Write([]byte{5, 2}); err != nil {
		return err
	}
	take(1)
	user, password := field(), field()
	if user != p.user || password != p.password {
		_, err := c.Write([]byte{1, 1})
		return errors.Join(errSOCKS, err)
	}
	if _, err := c.Write([]byte{1, 0}); err != nil {
		return err
	}
	take(3) // version, command, reserved
	var host string
	switch kind := take(1)[0]; kind {
	case 1:
		host = net.IP(take(4)).String()
	case 3:
		host = p.hosts[field()]
	}
	port := take(2)
	to, err := net.Dial("tcp", net.JoinHostPort(host, strconv.Itoa(int(port[0])<<8|int(port[1]))))
	if err != nil {
		_, _ = c.Write([]byte{5, 4, 0, 1, 0, 0, 0, 0, 0, 0})
		return err
	}
	defer to.Close()
	if _, err := c.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0}); err != nil {
		return err
	}
	p.connections.Add(1)
	go func() {
		defer c.Close()
		_, _ = io.Copy(to, c)
	}()
	_, err = io.Copy(c, to)
	return err
}
