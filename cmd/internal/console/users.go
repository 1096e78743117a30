package console

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"golang.org/x/crypto/bcrypt"

	"statusworker/schema"
)

// Users identifies the user of a request.
type Users interface {
	// Of returns the name of the user, or why there is none.
	Of(r *http.Request) (string, error)
	// Demand answers a request without a user.
	Demand(w http.ResponseWriter)
}

// FromHeader returns the users that a proxy in front of the console has authenticated, by the header in which it puts
// their name. Only the proxy may reach the console: every other client can set the header too.
func FromHeader(name string) Users { return header(name) }

type header string

func (h header) Of(r *http.Request) (string, error) {
	values := r.Header.Values(string(h))
	if len(values) != 1 || strings.TrimSpace(values[0]) == "" {
		return "", fmt.Errorf("the header %s has %d values: must be one name", string(h), len(values))
	}
	return schema.Printable(values[0]), nil
}

func (h header) Demand(w http.ResponseWriter) {
	answer(w, http.StatusForbidden, "the proxy has set no user in the header "+string(h))
}

// Passwords are users with passwords, for basic authentication.
type Passwords struct {
	hashes map[string][]byte
	// absent is compared with the password of an unknown user, so that the answer takes as long as for a known one.
	absent []byte
	// checking limits how many passwords are checked at a time: each takes some 50 ms of CPU.
	checking chan struct{}

	// accepted has for each user the keyed hash of credentials that were correct: a page makes several requests.
	key      []byte
	mu       sync.Mutex
	accepted map[string][sha256.Size]byte
}

const (
	// maxPasswords is the maximum number of lines in a file of passwords.
	maxPasswords = 1000
	// maxCost is the maximum cost of a hash: a check takes about a second. Each higher cost doubles that.
	maxCost = 14
)

// ReadPasswords reads lines of the form `name:hash`, with hashes of bcrypt, as `htpasswd -B` writes them. Empty lines
// and lines that begin with # are skipped.
func ReadPasswords(text string) (*Passwords, error) {
	p := &Passwords{
		hashes: map[string][]byte{}, checking: make(chan struct{}, 2), key: make([]byte, sha256.Size),
		accepted: map[string][sha256.Size]byte{},
	}
	_, _ = rand.Read(p.key) // never fails
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, hash, _ := strings.Cut(line, ":")
		cost, err := bcrypt.Cost([]byte(hash))
		if name == "" || err != nil {
			return nil, fmt.Errorf("line %d is not name:hash with a hash of bcrypt, as `htpasswd -B` writes it", i+1)
		}
		if cost > maxCost {
			return nil, fmt.Errorf("line %d has a hash of cost %d: must be at most %d (`htpasswd -B -C %d`)", i+1, cost,
				maxCost, maxCost)
		}
		if p.hashes[name] != nil {
			return nil, fmt.Errorf("line %d has the user %s again", i+1, schema.Quote(name))
		}
		p.hashes[name], p.absent = []byte(hash), []byte(hash)
	}
	if len(p.hashes) == 0 || len(p.hashes) > maxPasswords {
		return nil, fmt.Errorf("it has %d users: must be 1 to %d", len(p.hashes), maxPasswords)
	}
	return p, nil
}

// Of implements [Users].
func (p *Passwords) Of(r *http.Request) (string, error) {
	name, password, ok := r.BasicAuth()
	if !ok {
		return "", errors.New("no user and password")
	}
	mac := hmac.New(sha256.New, p.key)
	fmt.Fprintf(mac, "%d:%s:%s", len(name), name, password)
	var sum [sha256.Size]byte
	mac.Sum(sum[:0])
	p.mu.Lock()
	known := p.accepted[name]
	p.mu.Unlock()
	if hmac.Equal(known[:], sum[:]) {
		return name, nil
	}
	select {
	case p.checking <- struct{}{}:
		defer func() { <-p.checking }()
	case <-r.Context().Done():
		return "", r.Context().Err()
	}
	hash, exists := p.hashes[name]
	if !exists {
		hash = p.absent
	}
	if bcrypt.CompareHashAndPassword(hash, []byte(password)) != nil || !exists {
		return "", fmt.Errorf("wrong password, or no such user: %s", schema.Quote(name))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.accepted[name] = sum
	return name, nil
}

// Demand implements [Users].
func (p *Passwords) Demand(w http.ResponseWriter) {
	w.Header().Set("WWW-Authenticate", `Basic realm="statusworker", charset="UTF-8"`)
	answer(w, http.StatusUnauthorized, "user and password required")
}
