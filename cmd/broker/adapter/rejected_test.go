package adapter

import (
	"errors"
	"fmt"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/schema/broker"
)

func TestRejected(t *testing.T) {
	t.Parallel()
	for code, want := range map[jetstream.ErrorCode]bool{
		10071: true,  // wrong last sequence: N
		10164: true,  // wrong last sequence, while another publish is in flight
		10060: false, // the expected stream does not match
		10070: false, // wrong last message ID
		10158: false, // a duplicate is in flight
		10077: false, // maximum messages exceeded
		0:     false,
	} {
		err := error(&jetstream.APIError{Code: 400, ErrorCode: code})
		for _, e := range []error{err, fmt.Errorf("publishing: %w", err), errors.Join(errors.New("another"), err)} {
			if got := rejected(e); got != want {
				t.Errorf("rejected(%v) = %t with error code %d, want %t", e, got, code, want)
			}
		}
	}
	for _, err := range []error{nil, errors.New("wrong last sequence: 7"), jetstream.ErrNoStreamResponse} {
		if rejected(err) {
			t.Errorf("rejected(%v) = true, want false", err)
		}
	}
}

// The descriptions that Full and MaxPerSubject compare are those of nats-server.
func TestDescriptionsAreTheServers(t *testing.T) {
	t.Parallel()
	storeFailure := func(description string) error {
		return fmt.Errorf("publishing: %w", &jetstream.APIError{
			Code:        503,
			ErrorCode:   jetstream.ErrorCode(server.JSStreamStoreFailedF),
			Description: description,
		})
	}
	for _, test := range []struct {
		err                 error
		maxPerSubject, full bool
	}{
		{err: nil},
		{err: errors.New(server.ErrMaxMsgsPerSubject.Error())},
		{err: storeFailure(server.ErrMaxMsgsPerSubject.Error()), maxPerSubject: true},
		{err: storeFailure(server.ErrMaxMsgs.Error()), full: true},
		{err: storeFailure(server.ErrMaxBytes.Error()), full: true},
	} {
		if got := MaxPerSubject(test.err); got != test.maxPerSubject {
			t.Errorf("MaxPerSubject(%v) = %t, want %t", test.err, got, test.maxPerSubject)
		}
		if got := Full(test.err); got != test.full {
			t.Errorf("Full(%v) = %t, want %t", test.err, got, test.full)
		}
	}
}

// The codes of nats-server for rejected batches have kinds: whether to read, to repeat, or to publish without a batch.
func TestKindsOfRejectedBatches(t *testing.T) {
	t.Parallel()
	for code, want := range map[server.ErrorIdentifier]error{
		server.JSAtomicPublishDisabledErr:                 broker.ErrUnsupported,
		server.JSAtomicPublishUnsupportedHeaderBatchErr:   broker.ErrUnsupported,
		server.JSAtomicPublishTooLargeBatchErrF:           broker.ErrUnsupported,
		server.JSAtomicPublishContainsDuplicateMessageErr: broker.ErrDuplicate,
		server.JSAtomicPublishIncompleteBatchErr:          broker.ErrNoAnswer,
		server.JSAtomicPublishTooManyInflight:             broker.ErrNoAnswer,
		server.JSAtomicPublishMissingSeqErr:               nil,
	} {
		e := server.ApiErrors[code]
		err := &jetstream.APIError{Code: e.Code, ErrorCode: jetstream.ErrorCode(e.ErrCode), Description: e.Description}
		if got := kind(err); !errors.Is(got, want) {
			t.Errorf("kind(%d %s) = %v, want %v", e.ErrCode, e.Description, got, want)
		}
	}
}
