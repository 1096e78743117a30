package connect

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/sirupsen/logrus"

	"statusworker/cmd/broker/api"
)

// closing is a connection that tells a test when it is closed. open ignores that.
type closing chan struct{}

func (c closing) Close() { close(c) }

type open struct{}

func (open) Close() {}

// Errors of a connection that is being lost are not logged as refusals: the loss itself is logged elsewhere.
func TestWatcherHears(t *testing.T) {
	broken := func(op string, err error) error {
		return fmt.Errorf("nats: %w", &net.OpError{Op: op, Net: "tcp", Err: err})
	}
	for name, tt := range map[string]struct {
		err       error
		connected bool
		want      string // empty if nothing is logged above debug
		repeated  bool
	}{
		"a write into a lost connection": {broken("write", os.NewSyscallError("write", syscall.ECONNRESET)), true, "",
			false},
		"a write timeout": {broken("write", os.ErrDeadlineExceeded), true, msgWriteHangs, true},
		"an answer while it connects": {broken("read", os.NewSyscallError("read", syscall.ECONNRESET)), false, "",
			false},
		"an expired certificate": {broken("remote error", errors.New("tls: expired certificate")), false,
			msgRejected, false},
		"a missing permission":   {nats.ErrPermissionViolation, true, msgDenied, false},
		"one while disconnected": {nats.ErrPermissionViolation, false, msgDenied, false},
	} {
		t.Run(name, func(t *testing.T) {
			log, logged := newLog()
			w := newWatcher(log, Flags{}.Hint, api.Default)
			w.heard(open{}, tt.connected, tt.err)
			w.heard(open{}, tt.connected, tt.err)
			want := []string{tt.want, tt.want}
			switch {
			case tt.want == "":
				want = nil
			case !tt.repeated:
				want = want[:1]
			}
			if got := logged.messages(); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("messages %q, want %q", got, want)
			}
		})
	}
}

// The advice on a rejected certificate differs from that on rejected credentials.
func TestWatcherNamesTheFlagsToCheck(t *testing.T) {
	for flag, err := range map[string]error{
		"--nats-cert ($NATS_CERT)":   &net.OpError{Op: "remote error", Err: errors.New("tls: bad certificate")},
		"--nats-creds ($NATS_CREDS)": nats.ErrAuthorization,
	} {
		log, logged := newLog()
		newWatcher(log, Flags{}.Hint, api.Default).heard(open{}, false, err)
		if advice := fmt.Sprint(logged.all()[0].Data["advice"]); !strings.Contains(advice, flag) {
			t.Errorf("advice %q on %v, want %s in it", advice, err, flag)
		}
	}
}

// The connection is closed if NATS rejects the credentials for a while, but not after single rejections far apart.
func TestWatcherCountsRejectionsInARow(t *testing.T) {
	const within = 100 * time.Millisecond
	for name, tt := range map[string]struct {
		every time.Duration
		ends  bool
	}{
		"one after the other": {within / 10, true},
		"now and then":        {within, false},
	} {
		t.Run(name, func(t *testing.T) {
			log, logged := newLog()
			w := newWatcher(log, Flags{}.Hint, api.Default)
			now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
			w.within, w.now = within, func() time.Time { return now }
			for range 20 {
				w.heard(open{}, false, nats.ErrAuthorization)
				w.heard(open{}, false, errors.New("connection refused"))
				now = now.Add(tt.every)
			}
			if ends := logged.count(msgGivenUp) > 0; ends != tt.ends {
				t.Errorf("closed: %v, want %v: %q", ends, tt.ends, logged.messages())
			}
		})
	}
}

// A missing permission affects many subjects, and is logged once.
func TestWatcherLogsAPermissionOnce(t *testing.T) {
	log, logged := newLog()
	w := newWatcher(log, Flags{}.Hint, api.Default)
	for _, subject := range []string{
		"interactions.processed.cxai.%d", "interactions.hold.chat.%d",
		"$JS.ACK.INTERACTIONS_POLLS.poll-chat.1.%d.7.1.0",
		"$JS.API.CONSUMER.MSG.NEXT.INTERACTIONS_POLLS.poll-%d",
	} {
		for i := range 3 {
			w.heard(open{}, true, fmt.Errorf("%w for Publish to %q", nats.ErrPermissionViolation,
				fmt.Sprintf(subject, i)))
		}
	}
	if n := logged.count(msgDenied); n != 6 { // pulls of each lane are logged separately
		t.Errorf("%d lines, want 6", n)
	}
}

// While a connection is lost, its last error is logged repeatedly.
func TestLostConnectionIsLoggedRepeatedly(t *testing.T) {
	t.Parallel()
	log, logged := newLog()
	s := newServer(t, server.Options{})
	flags := Flags{NATSURL: s.ClientURL(), InboxPrefix: "_INBOX"}
	w := newWatcher(log, flags.Hint, api.Default)
	options, err := flags.options("test", log, w)
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(flags.NATSURL, options...)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.remind(nc, flags.ShownURL(), 20*time.Millisecond)
	}()
	s.Shutdown()
	logged.until(t, func(all []*logrus.Entry) bool {
		n := 0
		for _, e := range all {
			err, _ := e.Data[logrus.ErrorKey].(error)
			if e.Message == msgStillNone && e.Data["servers"] == flags.NATSURL && errors.Is(err, syscall.ECONNREFUSED) {
				n++
			}
		}
		return n > 1
	})
	nc.Close()
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		t.Error("the watcher of a closed connection does not end")
	}
}

// Persistent rejections are logged once, and close the connection: only a new process can have new credentials.
func TestRejectedCredentialsCloseTheConnection(t *testing.T) {
	log, logged := newLog()
	w := newWatcher(log, Flags{}.Hint, api.Default)
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	w.within, w.now = time.Hour, func() time.Time { return now }
	closed := make(closing)
	for range 3 {
		w.rejected(closed, nats.ErrAuthorization)
	}
	w.reconnected()
	w.rejected(closed, nats.ErrAuthExpired)
	select {
	case <-closed:
		t.Fatal("the connection is closed at once")
	default:
	}
	if n := logged.count(msgRejected); n != 2 {
		t.Errorf("%d lines, want one for each loss: %q", n, logged.messages())
	}
	for range 2 {
		now = now.Add(w.within / 2)
		w.rejected(closed, nats.ErrAuthExpired)
	}
	<-closed
	if n := logged.count(msgGivenUp); n != 1 {
		t.Errorf("%d lines report the end, want 1", n)
	}
}
