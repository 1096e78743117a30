package harness

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const pollSubject = "interactions.poll.audio.bd5c92f3-c228-44a6-91bf-b52672569878"

// pollStream creates a stream with one pull consumer, as each lane has.
func pollStream(t *testing.T, js jetstream.JetStream) jetstream.Consumer {
	t.Helper()
	ctx := Context(t, readyWithin)
	_, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "POLLS", Subjects: []string{"interactions.>"}})
	Check(t, err)
	c, err := js.CreateConsumer(ctx, "POLLS", jetstream.ConsumerConfig{
		Durable: "poll-audio", FilterSubject: "interactions.poll.audio.*", AckPolicy: jetstream.AckExplicitPolicy,
	})
	Check(t, err)
	return c
}

// TestProxyShowsTheConversation publishes, pulls and acks through the proxy, and checks what the hooks see.
func TestProxyShowsTheConversation(t *testing.T) {
	var seen []string
	note := func(from string) func(Message) Verdict {
		return func(m Message) Verdict {
			switch {
			case m.PublishesReservation():
				seen = append(
					seen,
					fmt.Sprintf("%s reserves %s %s", from, m.Header.Get("Statusworker-Poll"), m.Payload),
				)
			case m.ReservationStored():
				seen = append(seen, fmt.Sprintf("%s stored %s", from, m.Request.Header.Get("Statusworker-Poll")))
			case m.Due():
				seen = append(seen, fmt.Sprintf("%s due %s", from, m.Payload))
			case strings.HasPrefix(m.Subject, "$JS.ACK."):
				seen = append(seen, fmt.Sprintf("%s acks %s", from, m.Payload))
			}
			return Forward
		}
	}
	p := StartProxy(t, inProcess(t), Hooks{OnClient: note("client"), OnServer: note("server")})
	nc := Connect(t, p.URL)
	if urls := nc.DiscoveredServers(); len(urls) > 0 {
		t.Errorf("the client knows the servers %v: it would bypass the proxy", urls)
	}
	js, err := jetstream.New(nc)
	Check(t, err)
	consumer := pollStream(t, js)

	ctx := Context(t, readyWithin)
	msg := nats.NewMsg("interactions.hold.audio.bd5c92f3-c228-44a6-91bf-b52672569878")
	msg.Header.Set("Statusworker-Poll", "2")
	msg.Data = []byte("held")
	_, err = js.PublishMsg(ctx, msg)
	Check(t, err)
	_, err = js.Publish(ctx, pollSubject, []byte("now"))
	Check(t, err)
	got, err := consumer.Next(jetstream.FetchMaxWait(readyWithin))
	Check(t, err)
	Check(t, got.DoubleAck(ctx))

	nc.Close()
	p.Close() // the hooks have returned
	want := []string{"client reserves 2 held", "server stored 2", "server due now", "client acks +ACK"}
	if strings.Join(seen, "; ") != strings.Join(want, "; ") {
		t.Errorf("seen %q, want %q", seen, want)
	}
}

// TestProxyCloses closes a connection at a given message. That message is not stored, nothing after it passes, and the
// client reconnects through the proxy.
func TestProxyCloses(t *testing.T) {
	url := inProcess(t)
	closed := make(chan int, 1)
	p := StartProxy(t, url, Hooks{OnClient: func(m Message) Verdict {
		if string(m.Payload) == "third" && m.Conn == 1 {
			closed <- m.Conn
			return Close
		}
		return Forward
	}})
	direct := JetStream(t, url)
	ctx := Context(t, readyWithin)
	stream, err := direct.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
	Check(t, err)

	reconnected := make(chan struct{}, 1)
	nc := Connect(
		t,
		p.URL,
		nats.ReconnectHandler(func(*nats.Conn) { reconnected <- struct{}{} }),
		nats.ReconnectBufSize(-1),
	)
	for _, data := range []string{"first", "second", "third", "fourth"} {
		Check(t, nc.Publish("s", []byte(data)))
	}
	await(ctx, t, closed, "the third message")
	await(ctx, t, reconnected, "the reconnect")
	Check(t, nc.Publish("s", []byte("fifth")))
	Check(t, nc.FlushWithContext(ctx))

	Check(t, Eventually(ctx, "three messages", func(ctx context.Context) error {
		info, err := stream.Info(ctx)
		if err == nil && info.State.LastSeq != 3 {
			err = fmt.Errorf("%d messages are stored", info.State.LastSeq)
		}
		return err
	}))
	for i, want := range []string{"first", "second", "fifth"} {
		m, err := stream.GetMsg(ctx, uint64(i+1))
		Check(t, err)
		if string(m.Data) != want {
			t.Errorf("message %d is %q, want %q", i+1, m.Data, want)
		}
	}
}

// TestProxyDrops discards one message; the connection stays open. It replaces the hooks of a running proxy.
func TestProxyDrops(t *testing.T) {
	url := inProcess(t)
	p := StartProxy(t, url, Hooks{})
	nc := Connect(t, p.URL)
	ctx := Context(t, readyWithin)
	sub, err := nc.SubscribeSync("x")
	Check(t, err)
	Check(t, nc.FlushWithContext(ctx))
	p.SetHooks(Hooks{OnServer: func(m Message) Verdict {
		if string(m.Payload) == "drop" {
			return Drop
		}
		return Forward
	}})
	for _, data := range []string{"a", "drop", "b"} {
		Check(t, nc.Publish("x", []byte(data)))
	}
	for _, want := range []string{"a", "b"} {
		m, err := sub.NextMsgWithContext(ctx)
		Check(t, err)
		if string(m.Data) != want {
			t.Errorf("got %q, want %q", m.Data, want)
		}
	}
}

// TestProxyUnderLoad sends messages of all sizes over several connections, which are closed halfway. Every acknowledged
// message is stored unchanged.
func TestProxyUnderLoad(t *testing.T) {
	url := inProcess(t)
	p := StartProxy(t, url, Hooks{
		OnClient: func(Message) Verdict { return Forward }, OnServer: func(Message) Verdict { return Forward },
	})
	direct := JetStream(t, url)
	ctx := Context(t, 30*time.Second)
	stream, err := direct.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s.*"}})
	Check(t, err)
	const clients, messages = 4, 50
	data := func(i int) []byte { return []byte(strings.Repeat(fmt.Sprint(i, "\r\n"), i*i*10)) }
	halfway := make(chan struct{}, clients)
	var acked sync.Map
	var wg sync.WaitGroup
	for c := range clients {
		js := JetStream(t, p.URL)
		wg.Go(func() {
			for i := range messages {
				if i == messages/2 {
					halfway <- struct{}{}
				}
				// Sent again until it is acknowledged, because its connection may be closed.
				err := Eventually(ctx, "an ack", func(ctx context.Context) error {
					return try(ctx, time.Second, func(ctx context.Context) error {
						ack, err := js.Publish(
							ctx,
							fmt.Sprintf("s.%d", c),
							data(i),
							jetstream.WithMsgID(fmt.Sprint(c, "/", i)),
						)
						if err == nil {
							acked.Store(ack.Sequence, i)
						}
						return err
					})
				})
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	await(ctx, t, halfway, "half of the messages")
	p.Disconnect()
	wg.Wait()
	n := 0
	acked.Range(func(seq, i any) bool {
		n++
		m, err := stream.GetMsg(ctx, seq.(uint64))
		if err != nil {
			t.Errorf("message %d was acknowledged, but is not stored: %v", seq, err)
		} else if string(m.Data) != string(data(i.(int))) {
			t.Errorf("message %d differs from what was sent", seq)
		}
		return true
	})
	if n != clients*messages {
		t.Errorf("%d messages are stored, want %d", n, clients*messages)
	}
}

// TestProxyKill kills a process at a given message, which is the purpose of the proxy.
func TestProxyKill(t *testing.T) {
	url := inProcess(t)
	victim := StartProcess(t, "victim", testBinary(t), []string{envChild + "=1"})
	killed := make(chan struct{})
	p := StartProxy(t, url, Hooks{OnServer: func(m Message) Verdict {
		if !m.Due() {
			return Forward
		}
		victim.Kill()
		close(killed)
		return Close
	}})
	consumer := pollStream(t, JetStream(t, url))
	through := Connect(t, p.URL, nats.NoReconnect())
	ctx := Context(t, readyWithin)
	inbox, err := through.SubscribeSync(nats.NewInbox())
	Check(t, err)
	Check(t, through.PublishRequest("$JS.API.CONSUMER.MSG.NEXT.POLLS.poll-audio", inbox.Subject, nil))
	_, err = JetStream(t, url).Publish(ctx, pollSubject, nil)
	Check(t, err)
	if m, err := inbox.NextMsgWithContext(ctx); !errors.Is(err, nats.ErrConnectionClosed) {
		t.Errorf("after the kill: message %v, error %v, want %v", m, err, nats.ErrConnectionClosed)
	}
	await(ctx, t, killed, "the kill")
	if code, err := victim.Wait(ctx); err != nil || code != -1 {
		t.Errorf("exit code %d (%v), want -1", code, err)
	}
	info, err := consumer.Info(ctx)
	Check(t, err)
	if info.NumAckPending != 1 {
		t.Errorf("%d messages wait for an ack, want 1", info.NumAckPending)
	}
}

// TestProxyWithoutBroker closes connections while no broker is reachable, and tries each of its addresses.
func TestProxyWithoutBroker(t *testing.T) {
	nowhere := fmt.Sprintf("nats://127.0.0.1:%d", FreePorts(t, 1)[0])
	if _, err := nats.Connect(StartProxy(t, nowhere, Hooks{}).URL); err == nil {
		t.Error("connected, but no broker listens")
	}
	nc, err := nats.Connect(StartProxy(t, nowhere+","+inProcess(t), Hooks{}).URL)
	if err != nil {
		t.Fatalf("connecting to the second address: %v", err)
	}
	nc.Close()
}

func await[T any](ctx context.Context, t *testing.T, c <-chan T, what string) T {
	t.Helper()
	var v T
	select {
	case v = <-c:
	case <-ctx.Done():
		t.Fatalf("waiting for %s: %v", what, context.Cause(ctx))
	}
	return v
}

func TestWithoutConnectURLs(t *testing.T) {
	got, err := withoutConnectURLs(
		`{"server_id":"X","connect_urls":["10.0.0.1:4222"],"ws_connect_urls":["y"],"max_payload":1048576}`,
	)
	if want := "INFO {\"max_payload\":1048576,\"server_id\":\"X\"}\r\n"; err != nil || string(got) != want {
		t.Errorf("got %q (%v), want %q", got, err, want)
	}
	if _, err := withoutConnectURLs("{"); err == nil {
		t.Error("invalid JSON is accepted")
	}
}

// TestProxyStalls stops one direction of a connection. The other direction and later connections still work, and no
// connection is closed.
func TestProxyStalls(t *testing.T) {
	for name, direction := range map[string]Direction{"to clients": ToClients, "to the broker": ToBroker} {
		t.Run(name, func(t *testing.T) {
			url := inProcess(t)
			p := StartProxy(t, url, Hooks{})
			ctx := Context(t, readyWithin)
			direct := Connect(t, url)
			stalled := Connect(t, p.URL)
			received := make(chan string, 10)
			listen := func(nc *nats.Conn, subject string) {
				_, err := nc.Subscribe(subject, func(*nats.Msg) { received <- subject })
				Check(t, err)
				Check(t, nc.FlushWithContext(ctx))
			}
			listen(direct, "from.the.client")
			listen(stalled, "from.the.broker")
			p.Stall(direction)
			Check(t, stalled.Publish("from.the.client", nil))
			Check(t, direct.Publish("from.the.broker", nil))
			passes := map[Direction]string{ToClients: "from.the.client", ToBroker: "from.the.broker"}[direction]
			if got := await(ctx, t, received, "a message"); got != passes {
				t.Errorf("%s passed", got)
			}
			later := Connect(t, p.URL)
			Check(t, later.FlushWithContext(ctx))
			if !stalled.IsConnected() || len(received) != 0 {
				t.Errorf("connected %t, %d more messages; want true, 0", stalled.IsConnected(), len(received))
			}
		})
	}
}
