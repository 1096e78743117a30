package statusclient_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"

	"statusworker/statusclient"
)

// A request without an answer resets its connection, so that the kernel does not deliver it later. Other connections
// are closed normally.
func TestStatusResetsUnansweredRequests(t *testing.T) {
	for name, answers := range map[string]bool{"answered": true, "unanswered": false} {
		t.Run(name, func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			ended := make(chan error, 1)
			go func() { ended <- serveOnce(listener, answers) }()
			c := newClient(t, "http://"+listener.Addr().String(), statusclient.Config{Timeout: time.Second})
			_, err = c.Status(t.Context(), identifier, time.Time{})
			if answers != (err == nil) {
				t.Errorf("error %v, answered %t", err, answers)
			}
			c.Close()
			if err := <-ended; errors.Is(err, syscall.ECONNRESET) == answers || answers && !errors.Is(err, io.EOF) {
				t.Errorf("the server's connection ended with %v", err)
			}
		})
	}
}

// serveOnce reads one request from a new connection, and may answer it. It returns how the connection ended.
func serveOnce(listener net.Listener, answers bool) error {
	c, err := listener.Accept()
	if err != nil {
		return err
	}
	defer c.Close()
	r := bufio.NewReader(c)
	if _, err := http.ReadRequest(r); err != nil {
		return err
	}
	if answers {
		_, err := fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
			len(pending), pending)
		if err != nil {
			return err
		}
	}
	_, err = r.ReadByte()
	return err
}
