package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/embedded"
)

// broker starts a server with JetStream, and connects to it.
func broker(t *testing.T) (*embedded.Server, jetstream.JetStream) {
	t.Helper()
	s, err := embedded.Start(t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s, connectTo(t, s.URL())
}

func connectTo(t *testing.T, url string) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// provisioned starts a broker with streams and consumers.
func provisioned(t *testing.T, flags ...string) (string, jetstream.JetStream) {
	t.Helper()
	s, js := broker(t)
	command(t, append([]string{"provision", "--nats-url", s.URL()}, flags...)...).exits(0)
	return s.URL(), js
}

// bare starts a server with these options.
func bare(t *testing.T, options server.Options) string {
	t.Helper()
	return bareServer(t, options).ClientURL()
}

func bareServer(t *testing.T, options server.Options) *server.Server {
	t.Helper()
	options.Host, options.Port, options.NoSigs, options.NoLog = "127.0.0.1", freePort(t), true, true
	s, err := server.NewServer(&options)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server is not ready")
	}
	return s
}

// nobody returns the URL of a port on which no server listens.
func nobody(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("nats://127.0.0.1:%d", freePort(t))
}

func freePort(t *testing.T) int {
	t.Helper()
	ports, err := embedded.FreePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	return ports[0]
}

// oldServer returns the URL of a broker that reports a version.
func oldServer(t *testing.T, version string) string {
	t.Helper()
	s, _ := broker(t)
	return ofVersion(t, s.URL(), version)
}

// ofVersion returns the URL of a proxy to a broker. It changes the reported version.
func ofVersion(t *testing.T, at, version string) string {
	t.Helper()
	behind, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	own := regexp.MustCompile(`"version":"[^"]*"`)
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer client.Close()
				server, err := net.Dial("tcp", behind.Host)
				if err != nil {
					return
				}
				defer server.Close()
				go func() {
					io.Copy(server, client)
					server.Close()
				}()
				for from := bufio.NewReader(server); ; {
					line, err := from.ReadString('\n')
					if strings.HasPrefix(line, "INFO {") {
						line = own.ReplaceAllString(line, `"version":"`+version+`"`)
					}
					io.WriteString(client, line)
					if err != nil {
						return
					}
				}
			}()
		}
	}()
	return "nats://" + l.Addr().String()
}
