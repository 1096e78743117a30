package statusclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"statusworker/schema"
)

const (
	tokenMaxAge     = 30 * time.Second // a look at the token file that is older is repeated
	tokenWatchEvery = 10 * time.Second // between two looks of WatchToken
	maxTokenBytes   = 4 << 10
	leastMaskLength = 4 // a shorter token is found in any text
)

// headerToken carries the token, in the vendor's spelling. It is written to the wire as it stands here.
const headerToken = "X-API-Token"

// credential is a token with the headers of a request that carries it. Nothing writes to it: requests share it.
type credential struct {
	token  string
	header http.Header
}

// look is what came of reading the token file.
type look struct {
	at  time.Time
	err error
}

// tokens holds the token in use, and reads it again from its file, where there is one.
type tokens struct {
	file      string
	userAgent string
	now       func() time.Time
	onToken   func(string)

	mu     sync.Mutex // held while the file is read
	inUse  atomic.Pointer[credential]
	looked atomic.Pointer[look]
	// suspect was refused by the vendor: while it is in use, the file is read before every request.
	suspect atomic.Pointer[credential]
}

func newTokens(cfg Config) (*tokens, error) {
	t := &tokens{file: cfg.TokenFile, userAgent: cfg.UserAgent, now: cfg.Now, onToken: cfg.OnToken}
	if t.file == "" {
		token, err := checkToken(cfg.Token)
		if err != nil {
			value := withheld
			if cfg.Token == "" {
				value = ""
			}
			return nil, &ConfigError{
				Field: "Token",
				Value: value,
				Want:  "a token, or TokenFile with the name of its file",
				Err:   err,
			}
		}
		t.use(token)
		return t, nil
	}
	token, err := readToken(t.file)
	if err != nil {
		return nil, &ConfigError{Field: "TokenFile", Value: t.file, Want: "a file that holds the token", Err: err}
	}
	t.use(token)
	t.looked.Store(&look{at: t.now()})
	return t, nil
}

func (t *tokens) use(token string) {
	if t.onToken != nil {
		t.onToken(token)
	}
	t.inUse.Store(&credential{token: token, header: http.Header{
		headerToken:       {token},
		"Accept":          {"application/json"},
		"Accept-Encoding": {"gzip"},
		"User-Agent":      {t.userAgent},
	}})
}

// current gives the credential to use now. It reads the file first where the last look is too old or the vendor refused
// what it had; of several callers one does so.
func (t *tokens) current() *credential {
	if t.file != "" && t.doubtful() && t.mu.TryLock() {
		if t.doubtful() {
			t.read()
		}
		t.mu.Unlock()
	}
	return t.inUse.Load()
}

func (t *tokens) doubtful() bool {
	return t.age() > tokenMaxAge || t.suspect.Load() == t.inUse.Load()
}

// refused tells that the vendor refused used, in a request that was begun at that time. It reads the file again, unless
// that was done since, and says what there is to say about the file, in words that follow a semicolon; or nothing.
func (t *tokens) refused(used *credential, begun time.Time) string {
	if t.file == "" {
		return ""
	}
	t.suspect.Store(used)
	t.mu.Lock()
	if t.inUse.Load().token == used.token && !t.looked.Load().at.After(begun) {
		t.read()
	}
	t.mu.Unlock()
	if err := t.looked.Load().err; err != nil {
		return fmt.Sprintf("; the old token is kept, because the token file is no use: %v", err)
	}
	if t.inUse.Load().token != used.token {
		return "; the token file has another token by now"
	}
	return "; the token file has the same token still"
}

// WatchToken looks at the token file every 10 s until ctx ends, also when nobody polls, and calls changed each time
// that another token is in use than at its last look. Without a token file it returns at once.
func (c *Client) WatchToken(ctx context.Context, changed func()) {
	t := c.tokens
	if t.file == "" {
		return
	}
	ticker := time.NewTicker(tokenWatchEvery)
	defer ticker.Stop()
	for known := t.inUse.Load(); ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		t.mu.Lock()
		t.read()
		t.mu.Unlock()
		if now := t.inUse.Load(); now != known {
			known = now
			changed()
		}
	}
}

func (t *tokens) age() time.Duration { return t.now().Sub(t.looked.Load().at) }

func (t *tokens) read() {
	token, err := readToken(t.file)
	if err == nil && token != t.inUse.Load().token {
		t.use(token)
	}
	t.looked.Store(&look{at: t.now(), err: err})
}

func readToken(name string) (string, error) {
	f, err := OpenFile(name)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // read only
	b, err := io.ReadAll(io.LimitReader(f, maxTokenBytes+1))
	if err != nil {
		return "", err
	}
	return checkToken(string(b))
}

// checkToken gives the token without the white space around it. The error does not show it.
func checkToken(s string) (string, error) {
	token := strings.TrimSpace(s)
	switch {
	case token == "":
		return "", errors.New("it is empty")
	case len(token) > 1 && token[0] == token[len(token)-1] && (token[0] == '"' || token[0] == '\''):
		return "", errors.New("it has quotation marks around it: remove them")
	case len(token) > maxTokenBytes:
		return "", fmt.Errorf("it is longer than %d bytes", maxTokenBytes)
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", errors.New("it has a space, a control character or a character beyond ASCII in it")
	}
	return token, nil
}

// mask overwrites the token in b, in any case of letters, and tells whether it was there.
func mask(b []byte, token string) bool {
	found := false
	if len(token) < leastMaskLength {
		return false
	}
	for i := 0; i+len(token) <= len(b); {
		if !foldedPrefix(b[i:], token) {
			i++
			continue
		}
		for end := i + len(token); i < end; i++ {
			b[i] = '*'
		}
		found = true
	}
	return found
}

// maskEnd overwrites the beginning of a token with which b breaks off.
func maskEnd(b []byte, token string) {
	for n := min(len(token), len(b)); n >= leastMaskLength; n-- {
		if end := b[len(b)-n:]; foldedPrefix(end, token[:n]) {
			mask(end, token[:n])
			return
		}
	}
}

// masked is s without the token, also as it stands in quotes.
func (c *credential) masked(s string) string {
	b := []byte(s)
	quoted := strconv.Quote(c.token)
	plain, inQuotes := mask(b, c.token), mask(b, quoted[1:len(quoted)-1])
	if plain || inQuotes {
		return string(b)
	}
	return s
}

// quote is [schema.Quote] of what the vendor sent, without the token. That has to go first: of a token that is cut, the
// beginning would be left.
func (c *credential) quote(s string) string {
	b := []byte(s)
	mask(b, c.token)
	maskEnd(b, c.token)
	return schema.Quote(string(b))
}

// maskAll overwrites the token in JSON, also where characters of it are written as \u0041 or \/.
func maskAll(b []byte, token string) {
	mask(b, token)
	if bytes.IndexByte(b, '\\') < 0 {
		return
	}
	plain, from := make([]byte, 0, len(b)), make([]int, 0, len(b)+1) // from is where each byte of plain begins in b
	for i := 0; i < len(b); i++ {
		from = append(from, i)
		if b[i] == '\\' && i+1 < len(b) {
			i++
			if b[i] == 'u' && i+4 < len(b) {
				if code, err := strconv.ParseUint(string(b[i+1:i+5]), 16, 16); err == nil && code < utf8.RuneSelf {
					plain = append(plain, byte(code))
					i += 4
					continue
				}
			}
		}
		plain = append(plain, b[i])
	}
	from = append(from, len(b))
	if len(token) < leastMaskLength {
		return
	}
	for i := 0; i+len(token) <= len(plain); i++ {
		if foldedPrefix(plain[i:], token) {
			for at := from[i]; at < from[i+len(token)]; at++ {
				b[at] = '*'
			}
		}
	}
}

func foldedPrefix(b []byte, token string) bool {
	for i := range len(token) {
		if lower(b[i]) != lower(token[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
