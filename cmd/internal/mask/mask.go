// Package mask removes secrets from the output of a process.
//
// A [Set] holds the known secrets. A [Writer] replaces them in the text that is written to it, in any spelling that
// quoting and encoding produce: upper and lower case, backslashes before a character (repeated, as in a quotation
// within JSON), \u0041, \x41, and percent-encoding.
package mask

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"
)

// Replacement replaces a secret.
const Replacement = "***"

// MinLength is the minimum length of a secret in bytes. Shorter ones occur by chance in ordinary text.
const MinLength = 4

// Set is a set of secrets. Secrets are never removed: a rotated token is still a secret. The zero value is empty. A Set
// is safe for concurrent use.
type Set struct {
	mu    sync.Mutex
	known atomic.Pointer[known]
}

// known is an immutable snapshot of a Set.
type known struct {
	secrets []string  // longest first
	begins  [256]bool // bytes with which a spelling of a secret can begin
}

// Add adds secrets. It trims white space, and ignores secrets shorter than [MinLength].
func (s *Set) Add(secrets ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := &known{begins: [256]bool{'\\': true, '%': true}}
	if before := s.known.Load(); before != nil {
		next.secrets = slices.Clone(before.secrets)
	}
	for _, secret := range secrets {
		if secret = strings.TrimSpace(secret); len(secret) >= MinLength && !slices.Contains(next.secrets, secret) {
			next.secrets = append(next.secrets, secret)
		}
	}
	if len(next.secrets) == 0 {
		return
	}
	slices.SortFunc(next.secrets, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	for _, secret := range next.secrets {
		next.begins[lower(secret[0])] = true
		next.begins[upper(secret[0])] = true
	}
	s.known.Store(next)
}

// Text returns text with the secrets replaced.
func (s *Set) Text(text string) string {
	k := s.known.Load()
	if k == nil {
		return text
	}
	masked, _ := k.mask([]byte(text), true)
	return string(masked)
}

// mask returns b with the secrets replaced, and how much of b it has processed. If b is not complete, it stops before
// what may be the beginning of a secret.
func (k *known) mask(b []byte, complete bool) (masked []byte, done int) {
	masked = make([]byte, 0, len(b))
	for i := 0; i < len(b); {
		begin := i
		for i < len(b) && !k.begins[b[i]] {
			i++
		}
		if masked = append(masked, b[begin:i]...); i == len(b) {
			break
		}
		n := 0
		for _, secret := range k.secrets {
			length, partial := match(b[i:], secret)
			if partial && !complete {
				return masked, i
			}
			if length > n && !bareValue(b, i, length) {
				n = length
			}
		}
		if n > 0 {
			masked = append(masked, Replacement...)
			i += n
			continue
		}
		length := 1
		if len(b) >= i+6 && b[i] == '\\' && b[i+1] == 'u' && allHex(b[i+2:i+6]) {
			length = 6 // no secret begins within an escape
		}
		masked = append(masked, b[i:i+length]...)
		i += length
	}
	return masked, len(b)
}

// match returns how many bytes at the beginning of b spell the secret. If partial is true, b ends within a spelling of
// it.
func match(b []byte, secret string) (n int, partial bool) {
	for j := 0; j < len(secret); {
		at := n
		for at < len(b) && b[at] == '\\' {
			at++
		}
		slashes := at - n
		if secret[j] == '\\' {
			want := 1
			for j+want < len(secret) && secret[j+want] == '\\' {
				want++
			}
			if slashes >= want {
				n, j = at, j+want
				continue
			}
			if at < len(b) && b[at] != '%' {
				return 0, false
			}
		}
		if at == len(b) {
			return 0, true
		}
		length, size, short := spelled(b[at:], secret[j:], slashes > 0)
		if short {
			return 0, true
		}
		if length == 0 {
			return 0, false
		}
		n, j = at+length, j+size
	}
	return n, false
}

// spelled returns the number of bytes at the beginning of b that spell the first character of secret (length), and the
// size of that character in secret. If short is true, b ends within an escape that may spell it.
func spelled(b []byte, secret string, escaped bool) (length, size int, short bool) {
	if !escaped && b[0] != '%' {
		if lower(b[0]) == lower(secret[0]) || b[0] == '+' && secret[0] == ' ' {
			return 1, 1, false
		}
		return 0, 0, false
	}
	digits := 0
	switch {
	case b[0] == '%', escaped && b[0] == 'x':
		digits = 2
	case escaped && b[0] == 'u':
		digits = 4
	}
	if digits > 0 {
		if length, size, short = decoded(b, secret, digits); length > 0 {
			return length, size, false
		}
	}
	if lower(b[0]) == lower(secret[0]) {
		return 1, 1, false
	}
	return 0, 0, short
}

// decoded is spelled for a mark and hexadecimal digits: a byte if there are two digits, otherwise a code point.
func decoded(b []byte, secret string, digits int) (length, size int, short bool) {
	if len(b) <= digits {
		return 0, 0, allHex(b[1:])
	}
	code, err := strconv.ParseUint(string(b[1:1+digits]), 16, 16)
	if err != nil {
		return 0, 0, false
	}
	r, size := rune(secret[0]), 1
	if digits > 2 {
		r, size = utf8.DecodeRuneInString(secret)
	}
	if rune(code) == r || r < utf8.RuneSelf && code < utf8.RuneSelf && lower(byte(code)) == lower(byte(r)) {
		return 1 + digits, size, false
	}
	return 0, 0, false
}

func allHex(b []byte) bool {
	return len(bytes.Trim(b, "0123456789abcdefABCDEF")) == 0
}

// bareValue reports whether b[i:i+n] is within an unquoted JSON value, such as a number or true. A secret in JSON is
// quoted, and replacing an unquoted value would make the line invalid.
func bareValue(b []byte, i, n int) bool {
	begin, end := i, i+n
	for begin > 0 && bareByte(b[begin-1]) {
		begin--
	}
	for end < len(b) && bareByte(b[end]) {
		end++
	}
	if value := b[begin:end]; value[0] == '"' || !json.Valid(value) {
		return false
	}
	before := bytes.TrimRight(b[:begin], " ")
	return bytes.HasSuffix(before, []byte(`":`)) && !bytes.HasSuffix(before, []byte(`\":`))
}

func bareByte(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '-' || c == '+' || c == '.'
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

func upper(c byte) byte {
	if 'a' <= c && c <= 'z' {
		return c - 'a' + 'A'
	}
	return c
}
