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

// DefaultToken is the token that a simulator accepts where [Config.Token] is empty. It opens nothing anywhere else.
const DefaultToken = "00000000-5157-4a75-8000-000000000000"

// Config says how the simulated vendor behaves. The zero value is a vendor that knows no interaction.
type Config struct {
	// Addr is where to listen; empty means a free port of 127.0.0.1.
	Addr string
	// Listener, if set, is served instead of Addr. The simulator closes it.
	Listener net.Listener
	// Token is the accepted X-API-Token; empty means [DefaultToken].
	Token string
	// Speed divides every duration of a [Script]; zero means 1, real time.
	Speed float64
	// Default gives the script of an identifier that was never declared; its time begins with its first poll. It is
	// called with a lock held: it must not call the simulator. Nil means that such an identifier is unknown: 404.
	Default func(identifier string) Script
	// CountOnly keeps no log of polls. Counters and least gaps are kept all the same.
	CountOnly bool
	// Seed decides which requests a [Fault] with a Share meets.
	Seed uint64
	// TLS serves https, with the certificate of [Simulator.CertificatePEM].
	TLS bool
	// Hosts are names beside localhost that the certificate is for. CertificateFolder keeps it over restarts; empty
	// means that each start makes another.
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
	changed      chan struct{} // closed at the next poll; nil while nobody waits
}

// Start listens and serves until [Simulator.Close].
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
		return nil, fmt.Errorf("starting the simulator: Speed is %g: want more than 0", cfg.Speed)
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
		listener = tls.NewListener(
			listener,
			&tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12},
		)
	}
	go func() { s.served <- s.server.Serve(listener) }()
	return s, nil
}

// URL is the base URL. It ends in /v1.
func (s *Simulator) URL() string { return s.url }

// CertificatePEM is the certificate to trust where the simulator serves https, for 127.0.0.1, ::1 and localhost. It is
// nil otherwise.
func (s *Simulator) CertificatePEM() []byte { return s.certificate }

// Close stops listening, breaks every connection, and lets hanging requests go. It does not wait for a hook of
// [Simulator.OnPoll] that still runs.
func (s *Simulator) Close() {
	s.closed.Do(func() {
		close(s.closing)
		_ = s.server.Close() // what it says is that a listener was closed already
		<-s.served
	})
}

// SetToken makes token the one that is accepted from now on.
func (s *Simulator) SetToken(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.token = token
}

// SetFaults makes faults meet every request of every kind, before the faults of scripts, until they are replaced.
// Without arguments it clears them. Of several faults that meet a request, the first counts.
func (s *Simulator) SetFaults(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = faults
}

// Declare makes an interaction known, or begins its life again. Its script's time begins now.
func (s *Simulator) Declare(identifier string, script Script) {
	identifier = strings.ToLower(identifier)
	now := s.cfg.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.interactions[identifier] = &interaction{script: script, declared: now, began: now, audio: true, ai: true}
}

// Forget makes an interaction unknown, as its deletion at the vendor does. What was logged and counted stays.
func (s *Simulator) Forget(identifier string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.interactions, strings.ToLower(identifier))
}

// ReachedAt tells when an interaction reaches the terminal status of its script, be it past or future. It is false
// where the interaction is unknown, waits for its upload, or never ends.
func (s *Simulator) ReachedAt(identifier string) (at time.Time, status schema.Status, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.interactions[strings.ToLower(identifier)]
	if i == nil || i.awaitsUpload {
		return time.Time{}, "", false
	}
	for _, step := range i.script.Steps {
		if step.Status.Terminal() {
			return i.reached(step, s.cfg.Speed), step.Status, true
		}
	}
	return time.Time{}, "", false
}
