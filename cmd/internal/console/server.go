package console

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/netutil"
)

// The limits for clients.
const (
	maxConnections = 512
	readTimeout    = 10 * time.Second
	writeTimeout   = 60 * time.Second // of pages that are not live
	idleTimeout    = time.Minute
	maxHeader      = 32 << 10
)

// Serve serves a console on a listener until ctx ends, and closes the listener. open returns the console, and may wait
// for the broker: until it returns, every page is an error that says so.
func Serve(ctx context.Context, l net.Listener, open func(context.Context) (*Console, error)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var opened atomic.Pointer[Console]
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if c := opened.Load(); c != nil {
				c.handler.ServeHTTP(w, r)
			} else if strings.HasSuffix(r.URL.Path, "/livez") {
				answer(w, http.StatusOK, "ok")
			} else {
				answer(w, http.StatusServiceUnavailable, "waiting for NATS")
			}
		}),
		ReadHeaderTimeout: readTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := server.Serve(netutil.LimitListener(l, maxConnections)); !errors.Is(err, http.ErrServerClosed) {
			cancel(err)
		}
	}()
	c, err := open(ctx)
	if err == nil {
		opened.Store(c)
		c.Run(ctx)
	}
	last, done := context.WithTimeout(context.Background(), time.Second)
	defer done()
	if server.Shutdown(last) != nil {
		_ = server.Close() // it reports only that the listener is already closed
	}
	<-served
	if cause := context.Cause(ctx); err == nil && cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}
