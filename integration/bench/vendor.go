package main

import (
	"errors"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
)

const (
	vendorToken  = "00000000-5157-4a75-8000-00000000beac"
	statusPrefix = "/v1/interactions/"
	statusSuffix = "/status"

	answerBegin = `{"identifier":"`
	answerEnd   = `","status":"processing","declared":"2022-06-17T15:36:44.823Z","uploaded":null,` +
		`"downloaded":"2022-06-17T15:37:00.140331Z","processed":null,"errorMessage":null}`
)

// startVendor starts a vendor that answers every status request with processing at once, and counts these answers.
// While it fails, it answers 503.
func startVendor([]string) (*role, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	var polls atomic.Uint64
	var fails atomic.Bool
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
		body := make([]byte, 0, len(answerBegin)+len(identifier)+len(answerEnd))
		// The poller may have disconnected.
		_, _ = w.Write(append(append(append(body, answerBegin...), identifier...), answerEnd...))
	})}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	return &role{
		address: "http://" + listener.Addr().String() + "/v1", polls: polls.Load, fail: fails.Store,
		stop: func() error {
			closed := server.Close()
			if err := <-served; !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return closed
		},
	}, nil
}
