package adapter_test

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/adapter"
)

// retryable are the errors of the client after which the same request may succeed later. All others are final.
var retryable = []string{
	"jetstream.ErrAsyncPublishTimeout", "jetstream.ErrConsumerLeadershipChanged", "jetstream.ErrJetStreamNotEnabled",
	"jetstream.ErrJetStreamNotEnabledForAccount", "jetstream.ErrNoHeartbeat", "jetstream.ErrNoStreamResponse",
	"jetstream.ErrServerShutdown", "jetstream.ErrTooManyStalledMsgs", "nats.ErrConnectionReconnecting",
	"nats.ErrDisconnected", "nats.ErrNoResponders", "nats.ErrReconnectBufExceeded", "nats.ErrStaleConnection",
	"nats.ErrTimeout",
}

// retryableCodes are the error codes of the broker after which the same request may succeed later.
var retryableCodes = []jetstream.ErrorCode{
	10004, 10005, 10008, 10010, 10023, 10035, 10036, 10039, 10063, 10075, 10076, 10077, 10163,
}

func TestRetryableByErrorOfTheClient(t *testing.T) {
	t.Parallel()
	for pkg, all := range map[string]map[string]error{"nats": ofNATS, "jetstream": ofJetStream} {
		file := map[string]string{"nats": "nats.go", "jetstream": "jetstream/errors.go"}[pkg]
		if have, want := slices.Sorted(maps.Keys(all)), declaredErrors(t, file); !slices.Equal(have, want) {
			t.Errorf("errors of %s in the table: %v, want those that its source declares: %v", pkg, have, want)
		}
		for name, err := range all {
			want := slices.Contains(retryable, pkg+"."+name)
			for _, e := range []error{err, fmt.Errorf("reading: %w", err), errors.Join(errors.New("another"), err)} {
				if got := adapter.Retryable(e); got != want {
					t.Errorf("Retryable(%s.%s) = %t", pkg, name, got)
				}
			}
		}
	}
}

func TestRetryableByCodeOfTheBroker(t *testing.T) {
	t.Parallel()
	for _, e := range server.ApiErrors {
		api := jetstream.APIError{Code: e.Code, ErrorCode: jetstream.ErrorCode(e.ErrCode), Description: e.Description}
		err := fmt.Errorf("reading: %w", &api)
		want := slices.Contains(retryableCodes, jetstream.ErrorCode(e.ErrCode))
		if got := adapter.Retryable(err); got != want {
			t.Errorf("Retryable(%d %d %s) = %t", e.Code, e.ErrCode, e.Description, got)
		}
	}
}

func TestRetryableOtherwise(t *testing.T) {
	t.Parallel()
	lost := &net.OpError{Op: "write", Net: "tcp", Err: os.NewSyscallError("write", errors.New("broken pipe"))}
	for err, want := range map[error]bool{
		nil: false, context.DeadlineExceeded: true, context.Canceled: false, errors.New("another"): false, lost: true,
	} {
		if got := adapter.Retryable(err); got != want {
			t.Errorf("Retryable(%v) = %t", err, got)
		}
	}
}

// declaredErrors returns the names of the errors that a file of nats.go declares.
func declaredErrors(t *testing.T, file string) (names []string) {
	t.Helper()
	folder, err := exec.Command("go", "list", "-f", "{{.Dir}}", "github.com/nats-io/nats.go").Output()
	if err != nil {
		t.Skipf("the source of nats.go is not available: %v", err)
	}
	parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(strings.TrimSpace(string(folder)), file), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if ok && strings.HasPrefix(spec.Names[0].Name, "Err") && len(spec.Values) == 1 {
			names = append(names, spec.Names[0].Name)
		}
		return true
	})
	slices.Sort(names)
	return slices.Compact(names)
}

// ofNATS are the errors of the core client, ofJetStream those of its JetStream.
var ofNATS = map[string]error{
	"ErrConnectionClosed":              nats.ErrConnectionClosed,
	"ErrConnectionDraining":            nats.ErrConnectionDraining,
	"ErrDrainTimeout":                  nats.ErrDrainTimeout,
	"ErrConnectionReconnecting":        nats.ErrConnectionReconnecting,
	"ErrSecureConnRequired":            nats.ErrSecureConnRequired,
	"ErrSecureConnWanted":              nats.ErrSecureConnWanted,
	"ErrBadSubscription":               nats.ErrBadSubscription,
	"ErrTypeSubscription":              nats.ErrTypeSubscription,
	"ErrBadSubject":                    nats.ErrBadSubject,
	"ErrBadQueueName":                  nats.ErrBadQueueName,
	"ErrSlowConsumer":                  nats.ErrSlowConsumer,
	"ErrTimeout":                       nats.ErrTimeout,
	"ErrBadTimeout":                    nats.ErrBadTimeout,
	"ErrAuthorization":                 nats.ErrAuthorization,
	"ErrAuthExpired":                   nats.ErrAuthExpired,
	"ErrAuthRevoked":                   nats.ErrAuthRevoked,
	"ErrPermissionViolation":           nats.ErrPermissionViolation,
	"ErrAccountAuthExpired":            nats.ErrAccountAuthExpired,
	"ErrNoServers":                     nats.ErrNoServers,
	"ErrJsonParse":                     nats.ErrJsonParse,
	"ErrChanArg":                       nats.ErrChanArg,
	"ErrMaxPayload":                    nats.ErrMaxPayload,
	"ErrMaxMessages":                   nats.ErrMaxMessages,
	"ErrSyncSubRequired":               nats.ErrSyncSubRequired,
	"ErrMultipleTLSConfigs":            nats.ErrMultipleTLSConfigs,
	"ErrClientCertOrRootCAsRequired":   nats.ErrClientCertOrRootCAsRequired,
	"ErrNoInfoReceived":                nats.ErrNoInfoReceived,
	"ErrReconnectBufExceeded":          nats.ErrReconnectBufExceeded,
	"ErrInvalidConnection":             nats.ErrInvalidConnection,
	"ErrInvalidMsg":                    nats.ErrInvalidMsg,
	"ErrInvalidArg":                    nats.ErrInvalidArg,
	"ErrInvalidContext":                nats.ErrInvalidContext,
	"ErrNoDeadlineContext":             nats.ErrNoDeadlineContext,
	"ErrNoEchoNotSupported":            nats.ErrNoEchoNotSupported,
	"ErrClientIDNotSupported":          nats.ErrClientIDNotSupported,
	"ErrUserButNoSigCB":                nats.ErrUserButNoSigCB,
	"ErrNkeyButNoSigCB":                nats.ErrNkeyButNoSigCB,
	"ErrNoUserCB":                      nats.ErrNoUserCB,
	"ErrNkeyAndUser":                   nats.ErrNkeyAndUser,
	"ErrNkeysNotSupported":             nats.ErrNkeysNotSupported,
	"ErrStaleConnection":               nats.ErrStaleConnection,
	"ErrTokenAlreadySet":               nats.ErrTokenAlreadySet,
	"ErrUserInfoAlreadySet":            nats.ErrUserInfoAlreadySet,
	"ErrMsgNotBound":                   nats.ErrMsgNotBound,
	"ErrMsgNoReply":                    nats.ErrMsgNoReply,
	"ErrClientIPNotSupported":          nats.ErrClientIPNotSupported,
	"ErrDisconnected":                  nats.ErrDisconnected,
	"ErrHeadersNotSupported":           nats.ErrHeadersNotSupported,
	"ErrBadHeaderMsg":                  nats.ErrBadHeaderMsg,
	"ErrNoResponders":                  nats.ErrNoResponders,
	"ErrMaxConnectionsExceeded":        nats.ErrMaxConnectionsExceeded,
	"ErrMaxAccountConnectionsExceeded": nats.ErrMaxAccountConnectionsExceeded,
	"ErrConnectionNotTLS":              nats.ErrConnectionNotTLS,
	"ErrTLS":                           nats.ErrTLS,
	"ErrMaxSubscriptionsExceeded":      nats.ErrMaxSubscriptionsExceeded,
	"ErrWebSocketHeadersAlreadySet":    nats.ErrWebSocketHeadersAlreadySet,
	"ErrServerNotInPool":               nats.ErrServerNotInPool,
	"ErrMixingWebsocketSchemes":        nats.ErrMixingWebsocketSchemes,
}

var ofJetStream = map[string]error{
	"ErrJetStreamNotEnabled":                            jetstream.ErrJetStreamNotEnabled,
	"ErrJetStreamNotEnabledForAccount":                  jetstream.ErrJetStreamNotEnabledForAccount,
	"ErrStreamMessageExceedsMaximum":                    jetstream.ErrStreamMessageExceedsMaximum,
	"ErrStreamNotFound":                                 jetstream.ErrStreamNotFound,
	"ErrStreamNameAlreadyInUse":                         jetstream.ErrStreamNameAlreadyInUse,
	"ErrStreamSubjectTransformNotSupported":             jetstream.ErrStreamSubjectTransformNotSupported,
	"ErrStreamSourceSubjectTransformNotSupported":       jetstream.ErrStreamSourceSubjectTransformNotSupported,
	"ErrStreamSourceNotSupported":                       jetstream.ErrStreamSourceNotSupported,
	"ErrStreamSourceMultipleFilterSubjectsNotSupported": jetstream.ErrStreamSourceMultipleFilterSubjectsNotSupported,
	"ErrConsumerNotFound":                               jetstream.ErrConsumerNotFound,
	"ErrConsumerCreationResponseEmpty":                  jetstream.ErrConsumerCreationResponseEmpty,
	"ErrInvalidJetStreamResponse":                       jetstream.ErrInvalidJetStreamResponse,
	"ErrConsumerExists":                                 jetstream.ErrConsumerExists,
	"ErrConsumerDoesNotExist":                           jetstream.ErrConsumerDoesNotExist,
	"ErrConsumerResetResponseEmpty":                     jetstream.ErrConsumerResetResponseEmpty,
	"ErrConsumerInvalidReset":                           jetstream.ErrConsumerInvalidReset,
	"ErrMsgNotFound":                                    jetstream.ErrMsgNotFound,
	"ErrBadRequest":                                     jetstream.ErrBadRequest,
	"ErrConsumerCreate":                                 jetstream.ErrConsumerCreate,
	"ErrMaximumConsumersLimit":                          jetstream.ErrMaximumConsumersLimit,
	"ErrDuplicateFilterSubjects":                        jetstream.ErrDuplicateFilterSubjects,
	"ErrOverlappingFilterSubjects":                      jetstream.ErrOverlappingFilterSubjects,
	"ErrEmptyFilter":                                    jetstream.ErrEmptyFilter,
	"ErrScheduleTargetInvalid":                          jetstream.ErrScheduleTargetInvalid,
	"ErrSchedulePatternInvalid":                         jetstream.ErrSchedulePatternInvalid,
	"ErrMessageSchedulesDisabled":                       jetstream.ErrMessageSchedulesDisabled,
	"ErrScheduleSourceInvalid":                          jetstream.ErrScheduleSourceInvalid,
	"ErrScheduleTTLInvalid":                             jetstream.ErrScheduleTTLInvalid,
	"ErrScheduleRollupInvalid":                          jetstream.ErrScheduleRollupInvalid,
	"ErrMirrorWithMsgSchedules":                         jetstream.ErrMirrorWithMsgSchedules,
	"ErrSourceWithMsgSchedules":                         jetstream.ErrSourceWithMsgSchedules,
	"ErrConsumerMultipleFilterSubjectsNotSupported":     jetstream.ErrConsumerMultipleFilterSubjectsNotSupported,
	"ErrConsumerNameAlreadyInUse":                       jetstream.ErrConsumerNameAlreadyInUse,
	"ErrNotPullConsumer":                                jetstream.ErrNotPullConsumer,
	"ErrNotPushConsumer":                                jetstream.ErrNotPushConsumer,
	"ErrConsumerAlreadyConsuming":                       jetstream.ErrConsumerAlreadyConsuming,
	"ErrInvalidJSAck":                                   jetstream.ErrInvalidJSAck,
	"ErrStreamNameRequired":                             jetstream.ErrStreamNameRequired,
	"ErrMsgAlreadyAckd":                                 jetstream.ErrMsgAlreadyAckd,
	"ErrNoStreamResponse":                               jetstream.ErrNoStreamResponse,
	"ErrNotJSMessage":                                   jetstream.ErrNotJSMessage,
	"ErrInvalidStreamName":                              jetstream.ErrInvalidStreamName,
	"ErrInvalidSubject":                                 jetstream.ErrInvalidSubject,
	"ErrInvalidConsumerName":                            jetstream.ErrInvalidConsumerName,
	"ErrNoMessages":                                     jetstream.ErrNoMessages,
	"ErrPinIDMismatch":                                  jetstream.ErrPinIDMismatch,
	"ErrMaxBytesExceeded":                               jetstream.ErrMaxBytesExceeded,
	"ErrBatchCompleted":                                 jetstream.ErrBatchCompleted,
	"ErrConsumerDeleted":                                jetstream.ErrConsumerDeleted,
	"ErrConsumerLeadershipChanged":                      jetstream.ErrConsumerLeadershipChanged,
	"ErrHandlerRequired":                                jetstream.ErrHandlerRequired,
	"ErrEndOfData":                                      jetstream.ErrEndOfData,
	"ErrNoHeartbeat":                                    jetstream.ErrNoHeartbeat,
	"ErrConsumerHasActiveSubscription":                  jetstream.ErrConsumerHasActiveSubscription,
	"ErrMsgNotBound":                                    jetstream.ErrMsgNotBound,
	"ErrMsgNoReply":                                     jetstream.ErrMsgNoReply,
	"ErrMsgDeleteUnsuccessful":                          jetstream.ErrMsgDeleteUnsuccessful,
	"ErrAsyncPublishReplySubjectSet":                    jetstream.ErrAsyncPublishReplySubjectSet,
	"ErrTooManyStalledMsgs":                             jetstream.ErrTooManyStalledMsgs,
	"ErrInvalidOption":                                  jetstream.ErrInvalidOption,
	"ErrMsgIteratorClosed":                              jetstream.ErrMsgIteratorClosed,
	"ErrConnectionClosed":                               jetstream.ErrConnectionClosed,
	"ErrServerShutdown":                                 jetstream.ErrServerShutdown,
	"ErrOrderedConsumerReset":                           jetstream.ErrOrderedConsumerReset,
	"ErrOrderConsumerUsedAsFetch":                       jetstream.ErrOrderConsumerUsedAsFetch,
	"ErrOrderConsumerUsedAsConsume":                     jetstream.ErrOrderConsumerUsedAsConsume,
	"ErrOrderedConsumerConcurrentRequests":              jetstream.ErrOrderedConsumerConcurrentRequests,
	"ErrOrderedConsumerNotCreated":                      jetstream.ErrOrderedConsumerNotCreated,
	"ErrJetStreamPublisherClosed":                       jetstream.ErrJetStreamPublisherClosed,
	"ErrAsyncPublishTimeout":                            jetstream.ErrAsyncPublishTimeout,
	"ErrKeyExists":                                      jetstream.ErrKeyExists,
	"ErrKeyRevisionMismatch":                            jetstream.ErrKeyRevisionMismatch,
	"ErrKeyValueConfigRequired":                         jetstream.ErrKeyValueConfigRequired,
	"ErrInvalidBucketName":                              jetstream.ErrInvalidBucketName,
	"ErrInvalidKey":                                     jetstream.ErrInvalidKey,
	"ErrBucketExists":                                   jetstream.ErrBucketExists,
	"ErrBucketNotFound":                                 jetstream.ErrBucketNotFound,
	"ErrBadBucket":                                      jetstream.ErrBadBucket,
	"ErrKeyNotFound":                                    jetstream.ErrKeyNotFound,
	"ErrKeyDeleted":                                     jetstream.ErrKeyDeleted,
	"ErrHistoryTooLarge":                                jetstream.ErrHistoryTooLarge,
	"ErrNoKeysFound":                                    jetstream.ErrNoKeysFound,
	"ErrTTLOnDeleteNotSupported":                        jetstream.ErrTTLOnDeleteNotSupported,
	"ErrLimitMarkerTTLNotSupported":                     jetstream.ErrLimitMarkerTTLNotSupported,
	"ErrObjectConfigRequired":                           jetstream.ErrObjectConfigRequired,
	"ErrBadObjectMeta":                                  jetstream.ErrBadObjectMeta,
	"ErrObjectNotFound":                                 jetstream.ErrObjectNotFound,
	"ErrInvalidStoreName":                               jetstream.ErrInvalidStoreName,
	"ErrDigestMismatch":                                 jetstream.ErrDigestMismatch,
	"ErrInvalidDigestFormat":                            jetstream.ErrInvalidDigestFormat,
	"ErrNoObjectsFound":                                 jetstream.ErrNoObjectsFound,
	"ErrObjectAlreadyExists":                            jetstream.ErrObjectAlreadyExists,
	"ErrNameRequired":                                   jetstream.ErrNameRequired,
	"ErrLinkNotAllowed":                                 jetstream.ErrLinkNotAllowed,
	"ErrObjectRequired":                                 jetstream.ErrObjectRequired,
	"ErrNoLinkToDeleted":                                jetstream.ErrNoLinkToDeleted,
	"ErrNoLinkToLink":                                   jetstream.ErrNoLinkToLink,
	"ErrCantGetBucket":                                  jetstream.ErrCantGetBucket,
	"ErrBucketRequired":                                 jetstream.ErrBucketRequired,
	"ErrBucketMalformed":                                jetstream.ErrBucketMalformed,
	"ErrUpdateMetaDeleted":                              jetstream.ErrUpdateMetaDeleted,
}
