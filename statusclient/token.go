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
	tokenMaxAge     = 30 * time.Second // the token file is read again after this time
	tokenWatchEvery = 10 * time.Second // the interval of WatchToken
	maxTokenBytes   = 4 << 10
	minMaskLength   = 4 // a shorter token is part of many texts
)

// headerToken is the header of the token, in the vendor's case.
const headerToken = "X-API-Token"

// credential is a token and the headers of a request with it. Requests share it: it must not be changed.
type credential struct {
	token  string
	header http.Header
}

// fileRead is the result of a read of the token file.
type fileRead struct {
	at  time.Time
	err error
}

// tokens has the current token, and reads it again from its file, if there is one.
type tokens struct {
	file      string
	userAgent string
	now       func() time.Time
	onToken   func(string)

	mu       sync.Mutex // locked while the file is read
	inUse    atomic.Pointer[credential]
	lastRead atomic.Pointer[fileRead]
	// suspect is a token that the vendor rejected. While it is in use, the file is read before every request.
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
			return nil, &ConfigError{Field: "Token", Value: value,
				Want: "a token; or set TokenFile to the name of a file that has the token", Err: err}
		}
		t.use(token)
		return t, nil
	}
	token, err := readToken(t.file)
	if err != nil {
		return nil, &ConfigError{Field: "TokenFile", Value: t.file, Want: "a file that has the token", Err: err}
	}
	t.use(token)
	t.lastRead.Store(&fileRead{at: t.now()})
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

// current returns the credential to use now. It first reads the file if the last read is too old or the vendor rejected
// the current token. Only one of several concurrent callers reads the file.
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

// rejected records that the vendor rejected a credential, in a request that began at a time. It reads the file, unless
// the file was read since then. It returns the state of the file for the detail of an error.
func (t *tokens) rejected(used *credential, begun time.Time) string {
	if t.file == "" {
		return ""
	}
	t.suspect.Store(used)
	t.mu.Lock()
	if t.inUse.Load().token == used.token && !t.lastRead.Load().at.After(begun) {
		t.read()
	}
	t.mu.Unlock()
	if err := t.lastRead.Load().err; err != nil {
		return fmt.Sprintf("; the old token stays in use, because the token file cannot be used: %v", err)
	}
	if t.inUse.Load().token != used.token {
		return "; the token file now has another token"
	}
	return "; the token file still has the same token"
}

// WatchToken reads the token file every 10 s until ctx ends, even without requests. It calls changed after each change
// of the token in use. Without a token file it returns immediately.
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

func (t *tokens) age() time.Duration { return t.now().Sub(t.lastRead.Load().at) }

func (t *tokens) read() {
	token, err := readToken(t.file)
	if err == nil && token != t.inUse.Load().token {
		t.use(token)
	}
	t.lastRead.Store(&fileRead{at: t.now(), err: err})
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

// checkToken returns the token without surrounding white space. The error does not contain the token.
func checkToken(s string) (string, error) {
	token := strings.TrimSpace(s)
	switch {
	case token == "":
		return "", errors.New("it is empty")
	case len(token) > 1 && token[0] == token[len(token)-1] && (token[0] == '"' || token[0] == '\''):
		return "", errors.New("it is in quotation marks: remove them")
	case len(token) > maxTokenBytes:
		return "", fmt.Errorf("it is longer than %d bytes", maxTokenBytes)
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", errors.New("it contains a space, a control character or a character that is not ASCII")
	}
	return token, nil
}

// mask overwrites the token in b, in any case of letters. It reports whether it found the token.
func mask(b []byte, token string) bool {
	found := false
	if len(token) < minMaskLength {
		return false
	}
	first := lower(token[0])
	for i := 0; i+len(token) <= len(b); {
		if lower(b[i]) != first || !foldedPrefix(b[i:], token) {
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

// maskEnd overwrites the first part of the token if b ends with it, because it was cut off there.
func maskEnd(b []byte, token string) {
	for n := min(len(token), len(b)); n >= minMaskLength; n-- {
		if end := b[len(b)-n:]; foldedPrefix(end, token[:n]) {
			mask(end, token[:n])
			return
		}
	}
}

// masked returns s without the token, plain or quoted.
func (c *credential) masked(s string) string {
	b := []byte(s)
	quoted := strconv.Quote(c.token)
	plain, inQuotes := mask(b, c.token), mask(b, quoted[1:len(quoted)-1])
	if plain || inQuotes {
		return string(b)
	}
	return s
}

// quote returns [schema.Quote] of a text from the vendor without the token. It masks first, because [schema.Quote] may
// cut a token.
func (c *credential) quote(s string) string {
	b := []byte(s)
	mask(b, c.token)
	maskEnd(b, c.token)
	return schema.Quote(string(b))
}

// maskAll overwrites the token in JSON, even if its characters are escaped as \u0041 or \/.
func maskAll(b []byte, token string) {
	mask(b, token)
	if bytes.IndexByte(b, '\\') < 0 {
		return
	}
	plain, from := make([]byte, 0, len(b)), make([]int, 0, len(b)+1) // from is the index in b of each byte of plain
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
	if len(token) < minMaskLength {
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
