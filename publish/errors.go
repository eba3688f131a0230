package publish

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"imapsync/event"
)

// What can go wrong beside what package event names, for the caller to tell
// apart with errors.Is.
var (
	// ErrStreamFull: the stream, or the account's storage, is full. Nothing is
	// stored until there is room.
	ErrStreamFull = errors.New("the stream is full")
	// ErrTooLarge: an event is larger than the broker takes. New never makes
	// one that is.
	ErrTooLarge = errors.New("the event is larger than the broker takes")
)

// JetStream's error codes that nats.go has no name for (server/errors.json).
const (
	codeAccountResources   jetstream.ErrorCode = 10002
	codeNotAvailable       jetstream.ErrorCode = 10008
	codeNotLeader          jetstream.ErrorCode = 10009
	codeInsufficient       jetstream.ErrorCode = 10023
	codeMemoryResources    jetstream.ErrorCode = 10028
	codeStorageResources   jetstream.ErrorCode = 10047
	codeExceedsMaximum     jetstream.ErrorCode = 10054
	codeNoStream           jetstream.ErrorCode = 10059
	codeOtherStream        jetstream.ErrorCode = 10060
	codeSequenceNotMatch   jetstream.ErrorCode = 10063
	codeSubjectOverlap     jetstream.ErrorCode = 10065
	codeWrongLastSequence  jetstream.ErrorCode = 10071
	codeStoreFailed        jetstream.ErrorCode = 10077
	codeHeaderExceeds      jetstream.ErrorCode = 10097
	codeSealed             jetstream.ErrorCode = 10109
	codeOffline            jetstream.ErrorCode = 10118
	codeDuplicateInProcess jetstream.ErrorCode = 10158
	codeSequenceInProcess  jetstream.ErrorCode = 10164
	codeTooManyRequests    jetstream.ErrorCode = 10167
	codeOfflineReason      jetstream.ErrorCode = 10194
)

// messageTooLarge is what the file store answers with codeStoreFailed.
const messageTooLarge = "message too large"

// verdict is what an answer to a publish means.
type verdict int

const (
	failed    verdict = iota // final: the error says why
	duplicate                // the stream has it already
	again                    // not stored, or unknown: publish again
)

// judge decides what an error to a publish means, and names it.
func judge(err error) (verdict, error) {
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		switch api.ErrorCode {
		case codeWrongLastSequence:
			return duplicate, nil
		case codeDuplicateInProcess, codeSequenceInProcess, codeNotAvailable, codeNotLeader, codeSequenceNotMatch, codeTooManyRequests:
			return again, fmt.Errorf("%w: %w", event.ErrTimeout, err)
		case codeStoreFailed:
			if api.Description == messageTooLarge {
				return failed, fmt.Errorf("%w: %w", ErrTooLarge, err)
			}
			return failed, fmt.Errorf("%w: %w", ErrStreamFull, err)
		case codeAccountResources, codeInsufficient, codeMemoryResources, codeStorageResources:
			return failed, fmt.Errorf("%w: %w", ErrStreamFull, err)
		case codeExceedsMaximum, codeHeaderExceeds:
			return failed, fmt.Errorf("%w: %w", ErrTooLarge, err)
		case jetstream.JSErrCodeJetStreamNotEnabled, jetstream.JSErrCodeJetStreamNotEnabledForAccount:
			return failed, fmt.Errorf("%w: %w", event.ErrNoJetStream, err)
		case codeNoStream, codeOtherStream, codeSealed, codeOffline, codeOfflineReason:
			return failed, fmt.Errorf("%w: %w", event.ErrStream, err)
		}
		return failed, fmt.Errorf("%w: %w", event.ErrStream, err)
	}
	switch {
	case errors.Is(err, nats.ErrMaxPayload):
		return failed, fmt.Errorf("%w: %w", ErrTooLarge, err)
	case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, jetstream.ErrConnectionClosed), errors.Is(err, nats.ErrConnectionDraining):
		return failed, fmt.Errorf("%w: %w", event.ErrUnreachable, err)
	case errors.Is(err, jetstream.ErrNoStreamResponse), errors.Is(err, nats.ErrNoResponders):
		return again, fmt.Errorf("%w: nothing listens on its subjects: %w", event.ErrStream, err)
	case errors.Is(err, nats.ErrDisconnected), errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrConnectionReconnecting):
		return again, fmt.Errorf("%w: %w", event.ErrUnreachable, err)
	}
	return again, fmt.Errorf("%w: %w", event.ErrTimeout, err)
}

// streamError names what the broker answered to a request about a stream.
func streamError(err error) error {
	if api, ok := errors.AsType[*jetstream.APIError](err); ok && api.ErrorCode == codeSubjectOverlap {
		return fmt.Errorf("%w: another stream listens on %s: take it off that stream: %w", event.ErrStream, event.Subjects, err)
	}
	switch {
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return fmt.Errorf("%w: start nats-server with -js, or enable it for the account: %w", event.ErrNoJetStream, err)
	case errors.Is(err, nats.ErrNoResponders):
		return fmt.Errorf("%w: start nats-server with -js: %w", event.ErrNoJetStream, err)
	case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrTimeout), errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, nats.ErrDisconnected), errors.Is(err, nats.ErrConnectionReconnecting), errors.Is(err, nats.ErrReconnectBufExceeded):
		return fmt.Errorf("%w: %w", event.ErrUnreachable, err)
	case errors.Is(err, jetstream.ErrConsumerDeleted), errors.Is(err, jetstream.ErrConsumerNotFound), errors.Is(err, jetstream.ErrStreamNotFound):
		return fmt.Errorf("%w: %w", event.ErrStream, err)
	case errors.Is(err, context.Canceled):
		return err
	}
	_, named := judge(err)
	return named
}
