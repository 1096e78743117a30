package simulator

import (
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"statusworker/schema"
)

// DefaultToken is the token that a simulator accepts if [Config.Token] is empty. No other system accepts it.
const DefaultToken = "00000000-5157-4a75-8000-000000000000"

// Config is the configuration of a simulator. With the zero value it knows no interaction.
type Config struct {
	// Addr is the address to listen on; empty means a free port of 127.0.0.1.
	Addr string
	// Listener, if set, is served instead of Addr. The simulator closes it.
	Listener net.Listener
	// Token is the accepted X-API-Token; empty means [DefaultToken].
	Token string
	// Speed divides every duration of a [Script]; 0 means 1, real time.
	Speed float64
	// Default returns the script of an identifier that was not declared. The script begins with the first poll. Default
	// is called with a lock held, and must not call the simulator. If it is nil, such an identifier is unknown: 404.
	Default func(identifier string) Script
	// CountOnly disables the log of polls, but not counts and gaps.
	CountOnly bool
	// Seed selects the requests of a [Fault] with a Share.
	Seed uint64
	// TLS serves https, with the certificate of [Simulator.CertificatePEM].
	TLS bool
	// Hosts are additional host names of the certificate. CertificateFolder stores it for the next start; if it is
	// empty, each start creates a new certificate.
	Hosts             []string
	CertificateFolder string
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Simulator is a running vendor. It is safe for concurrent use.
type Simulator struct {
	cfg         Config
	url         string
	certificate []byte
	server      *http.Server
	closing     chan struct{}
	closed      sync.Once
	served      chan error

	mu           sync.Mutex
	token        string
	interactions map[string]*interaction
	seen         map[string]*traffic
	faults       []Fault
	onPoll       func(Poll)
	log          []Poll
	counts       Counts
	least        gap
	changed      chan struct{} // closed at the next poll; nil if no goroutine waits
}

// Start starts a simulator. It serves until [Simulator.Close].
func Start(cfg Config) (*Simulator, error) {
	if cfg.Addr == "" {
		cfg.Addr = "127.0.0.1:0"
	}
	if cfg.Token == "" {
		cfg.Token = DefaultToken
	}
	if cfg.Speed == 0 {
		cfg.Speed = 1
	}
	if cfg.Speed < 0 {
		return nil, fmt.Errorf("starting the simulator: Speed is %g; must be more than 0", cfg.Speed)
	}
	ownClock := cfg.Now == nil
	if ownClock {
		cfg.Now = time.Now
	}
	s := &Simulator{
		cfg: cfg, token: cfg.Token, closing: make(chan struct{}), served: make(chan error, 1),
		interactions: map[string]*interaction{}, seen: map[string]*traffic{},
		counts: Counts{Codes: map[int]int{}, Faults: map[string]int{}},
	}
	listener := cfg.Listener
	if listener == nil {
		var err error
		if listener, err = net.Listen("tcp", cfg.Addr); err != nil {
			return nil, fmt.Errorf("starting the simulator: %w", err)
		}
	}
	s.url = "http://" + listener.Addr().String() + "/v1"
	s.server = &http.Server{Handler: s.handler(), ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
	if ownClock {
		listener, s.server.ConnContext = withArrivals(listener), withConn
	}
	if cfg.TLS {
		certificate, err := selfSigned(cfg.Hosts)
		if cfg.CertificateFolder != "" {
			certificate, err = kept(cfg.CertificateFolder, cfg.Hosts)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("starting the simulator: %w", err), listener.Close())
		}
		s.certificate = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]})
		s.url = "https" + strings.TrimPrefix(s.url, "http")
		settings := &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
		listener = tls.NewListener(listener, settings)
	}
	go func() { s.served <- s.server.Serve(listener) }()
	return s, nil
}

// URL returns the base URL. It ends in /v1.
func (s *Simulator) URL() string { return s.url }

// CertificatePEM returns the certificate to trust if the simulator serves https, and otherwise nil. It is for
// 127.0.0.1, ::1, localhost and [Config.Hosts].
func (s *Simulator) CertificatePEM() []byte { return s.certificate }

// Close closes the listener and all connections, and ends hanging requests. It does not wait for running hooks of
// [Simulator.OnPoll].
func (s *Simulator) Close() {
	s.closed.Do(func() {
		close(s.closing)
		_ = s.server.Close() // its only error is of a listener that is already closed
		<-s.served           //nolint:errcheck // always ErrServerClosed
	})
}

// SetToken sets the accepted token.
func (s *Simulator) SetToken(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.token = token
}

// SetFaults replaces the faults of all requests, which precede those of scripts. Without arguments it removes them. If
// several faults match a request, the first applies.
func (s *Simulator) SetFaults(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = faults
}

// Declare declares an interaction, or declares it again. Its script begins now.
func (s *Simulator) Declare(identifier string, script Script) {
	identifier = strings.ToLower(identifier)
	now := s.cfg.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.interactions[identifier] = &interaction{script: script, declared: now, began: now, audio: true, ai: true}
}

// Forget deletes an interaction at the vendor. Its log and counts remain.
func (s *Simulator) Forget(identifier string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.interactions, strings.ToLower(identifier))
}

// ReachedAt returns when an interaction reaches the final status of its script, in the past or future. It reports
// false if the interaction is unknown, waits for its upload, or has no final status.
func (s *Simulator) ReachedAt(identifier string) (at time.Time, status schema.Status, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.interactions[strings.ToLower(identifier)]
	if i == nil || i.awaitsUpload {
		return time.Time{}, "", false
	}
	for _, step := range i.script.Steps {
		if step.Status.Final() {
			return i.reached(step, s.cfg.Speed), step.Status, true
		}
	}
	return time.Time{}, "", false
}
