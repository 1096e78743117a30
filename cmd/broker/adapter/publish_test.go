package adapter

import (
	"errors"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/embedded"
	"statusworker/schema/broker"
)

// The broker's answer to a publish is read without reflection: otherwise every poll would cost more.
func TestServerAnswersPlainly(t *testing.T) {
	t.Parallel()
	s, err := embedded.Start(t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	nc, err := nats.Connect(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s.*"}}); err != nil {
		t.Fatal(err)
	}
	for want := uint64(1); want <= 12; want++ {
		answer, err := nc.RequestWithContext(t.Context(), "s.1", nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := plainAck(answer.Data); !ok || got != want {
			t.Errorf("plainAck(%s) = %d, %v, want %d", answer.Data, got, ok, want)
		}
	}
}

func TestDecodeAck(t *testing.T) {
	t.Parallel()
	refused := &jetstream.APIError{Code: 400, ErrorCode: 10071, Description: "wrong last sequence: 7"}
	for answer, want := range map[string]struct {
		ack broker.Ack
		err error
	}{
		`{"stream":"S","seq":7}`:                               {ack: broker.Ack{Sequence: 7}},
		`{"stream":"S","seq":18446744073709551615}`:            {ack: broker.Ack{Sequence: 1<<64 - 1}},
		`{"stream":"S", "seq": 7}`:                             {ack: broker.Ack{Sequence: 7}},
		`{"stream":"S","seq":7,"duplicate": true}`:             {ack: broker.Ack{Sequence: 7, Duplicate: true}},
		`{"stream":"S","domain":"d","seq":7}`:                  {ack: broker.Ack{Sequence: 7}},
		`{"error":{"code":400,"err_code":10071},"stream":"S"}`: {err: refused},
		`{"stream":"S","seq":7,"error":{"err_code":10071}}`:    {err: refused},
		`{"stream":"S","seq":18446744073709551616}`:            {err: jetstream.ErrInvalidJSAck},
		`{"stream":"S","seq":}`:                                {err: jetstream.ErrInvalidJSAck},
		`{"stream":"S","seq":7`:                                {err: jetstream.ErrInvalidJSAck},
		`{"stream":"S","seq":7}}`:                              {err: jetstream.ErrInvalidJSAck},
		`{"stream":"","seq":7}`:                                {err: jetstream.ErrInvalidJSAck},
		`{"seq":7}`:                                            {err: jetstream.ErrInvalidJSAck},
		`{"stream":"S","seq":-7}`:                              {err: jetstream.ErrInvalidJSAck},
		`{"stream":"S\x00","seq":7}`:                           {err: jetstream.ErrInvalidJSAck},
		`{}`:                                                   {err: jetstream.ErrInvalidJSAck},
		``:                                                     {err: jetstream.ErrInvalidJSAck},
	} {
		if got, err := decodeAck([]byte(answer)); got != want.ack || !errors.Is(err, want.err) {
			t.Errorf("decodeAck(%s) = %+v, %v, want %+v, %v", answer, got, err, want.ack, want.err)
		}
	}
}
