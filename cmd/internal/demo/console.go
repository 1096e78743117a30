package demo

import (
	"context"
	"fmt"
	"net"

	"statusworker/cmd/broker/permission"
	"statusworker/cmd/internal/connect"
	"statusworker/cmd/internal/console"
	"statusworker/cmd/internal/doctor"
	"statusworker/cmd/internal/patience"
)

// consoleAddress is where the console listens, unless another program does.
const consoleAddress = "127.0.0.1:8090"

// serveConsole serves a console, with actions, until ctx ends. It returns the address, and a function that waits for
// the end.
func (s *stage) serveConsole(ctx context.Context, version string) (address string, wait func() error, err error) {
	target, err := doctor.At(s.connection(), "statusworker dev", s.cfg)
	if err != nil {
		return "", nil, err
	}
	l, err := net.Listen("tcp", consoleAddress)
	if err != nil {
		l, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if err != nil {
		return "", nil, fmt.Errorf("starting the console: %w", err)
	}
	c := console.New(console.Config{
		Namespace: s.cfg.Namespace, JS: permission.Wrap(s.js, patience.Guarded(s.nc)), Server: s.broker.URL(),
		Version: version, AllowWrites: true,
		Doctor: func(ctx context.Context) []doctor.Finding { return doctor.ExamineAsOperator(ctx, target) }, Log: s.log,
	})
	ended := make(chan error, 1)
	go func() {
		ended <- console.Serve(ctx, l, func(context.Context) (*console.Console, error) { return c, nil })
	}()
	return "http://" + l.Addr().String() + "/", func() error { return <-ended }, nil
}

// connection returns the flags of commands that use the stage's broker.
func (s *stage) connection() connect.Flags {
	return connect.Flags{NATSURL: s.broker.URL(), InboxPrefix: inboxPrefix}
}
