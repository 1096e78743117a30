package main

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"

	"statusworker/schema"
)

const (
	vendorToken  = "00000000-5157-4a75-8000-00000000beac"
	statusPrefix = "/v1/interactions/"
	statusSuffix = "/status"

	answerBegin  = `{"identifier":"`
	answerStatus = `","status":"`
	answerEnd    = `","declared":"2022-06-17T15:36:44.823Z","uploaded":null,` +
		`"downloaded":"2022-06-17T15:37:00.140331Z","processed":null,"errorMessage":null}`
)

// changes draws one of two statuses for each answer, so that a share of the answers differs from the one before.
type changes struct {
	other atomic.Uint64 // the probability of the second status, as the bits of a float64
}

// set sets the share. An answer differs from the one before with the probability 2 p (1 - p).
func (c *changes) set(text string) error {
	share, err := strconv.ParseFloat(text, 64)
	if err != nil || share < 0 || share > 0.5 {
		return fmt.Errorf("invalid share of changes %q; allowed: 0 to 0.5", text)
	}
	c.other.Store(math.Float64bits((1 - math.Sqrt(1-2*share)) / 2))
	return nil
}

func (c *changes) status() string {
	if other := math.Float64frombits(c.other.Load()); other > 0 && rand.Float64() < other {
		return string(schema.StatusFileDownloaded)
	}
	return string(schema.StatusProcessing)
}

// startVendor starts a vendor that answers every status request at once, with processing unless statuses are to change,
// and counts these answers. While it fails, it answers 503.
func startVendor([]string) (*role, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	var polls atomic.Uint64
	var fails atomic.Bool
	var changes changes
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		identifier, ok := strings.CutPrefix(r.URL.Path, statusPrefix)
		if ok {
			identifier, ok = strings.CutSuffix(identifier, statusSuffix)
		}
		if !ok || r.Method != http.MethodGet || r.Header.Get("X-API-Token") != vendorToken {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if fails.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		polls.Add(1)
		w.Header()["Content-Type"] = []string{"application/json; charset=utf-8"}
		body := make([]byte, 0, 256)
		for _, part := range []string{answerBegin, identifier, answerStatus, changes.status(), answerEnd} {
			body = append(body, part...)
		}
		_, _ = w.Write(body) // the poller may have disconnected
	})}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	return &role{
		address: "http://" + listener.Addr().String() + "/v1",
		polls:   polls.Load,
		fail:    fails.Store,
		change:  changes.set,
		stop: func() error {
			closed := server.Close()
			if err := <-served; !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return closed
		},
	}, nil
}
