package connect

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/sirupsen/logrus"

	"statusworker/integration/harness"
)

// A stalled link blocks writes, and with them the pings. The connection is reopened all the same.
func TestStalledLinkBlocksWrites(t *testing.T) {
	t.Parallel()
	at := newServer(t, server.Options{}).ClientURL()
	proxy := harness.StartProxy(t, at, harness.Hooks{})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	log, logged := newLog()
	nc, err := Flags{NATSURL: proxy.URL, InboxPrefix: "_INBOX"}.Connect(ctx, "test", log, Watchful()...)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	proxy.Stall(harness.ToBroker)
	data := make([]byte, 64<<10)
	for nc.Publish("s", data) == nil { // until the connection is closed
		if ctx.Err() != nil {
			t.Fatal("no publish fails")
		}
	}
	logged.until(t, func([]*logrus.Entry) bool { return logged.count("reconnected to NATS") > 0 })
}
