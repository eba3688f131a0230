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
	// ErrGone: the stream or the bucket was there, and is gone with what it held.
	ErrGone = fmt.Errorf("%w: it was there and is gone", event.ErrStream)
)

// verdict is what an answer to a publish means.
type verdict int

const (
	failed    verdict = iota // final: the error says why
	duplicate                // the stream has it already
	again                    // not stored, or unknown: publish again
)

// JetStream's error codes that nats.go has no name for (server/errors.json).
const (
	codeSubjectOverlap     jetstream.ErrorCode = 10065
	codeWrongLastSequence  jetstream.ErrorCode = 10071
	codeStoreFailed        jetstream.ErrorCode = 10077
	codeNoReplicas         jetstream.ErrorCode = 10074
	codeDuplicateInProcess jetstream.ErrorCode = 10158
	codeSequenceInProcess  jetstream.ErrorCode = 10164
)

// answers are what JetStream's error codes mean to a publish. What is not among
// them is a stream that cannot be used.
var answers = map[jetstream.ErrorCode]struct {
	verdict verdict
	err     error
}{
	codeWrongLastSequence:  {duplicate, nil},
	codeDuplicateInProcess: {again, event.ErrTimeout},
	codeSequenceInProcess:  {again, event.ErrTimeout},
	10008:                  {again, event.ErrTimeout}, // not available
	10009:                  {again, event.ErrTimeout}, // not the leader
	10063:                  {again, event.ErrTimeout}, // last sequence by subject does not match
	10118:                  {again, event.ErrTimeout}, // all servers that have the stream are away
	10167:                  {again, event.ErrTimeout}, // too many requests
	codeStoreFailed:        {failed, ErrStreamFull},
	10002:                  {failed, ErrStreamFull}, // limits of the account
	10023:                  {failed, ErrStreamFull}, // insufficient resources
	10028:                  {failed, ErrStreamFull}, // memory
	10047:                  {failed, ErrStreamFull}, // storage
	10054:                  {failed, ErrTooLarge},   // the message
	10097:                  {failed, ErrTooLarge},   // its headers

	jetstream.JSErrCodeJetStreamNotEnabled:           {failed, event.ErrNoJetStream},
	jetstream.JSErrCodeJetStreamNotEnabledForAccount: {failed, event.ErrNoJetStream},
}

// messageTooLarge is what the file store answers with codeStoreFailed.
const messageTooLarge = "message too large"

// verdictOf decides what an error to a publish means, and names it.
func verdictOf(err error) (verdict, error) {
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		answer, ok := answers[api.ErrorCode]
		switch {
		case !ok:
			answer.err = event.ErrStream
		case answer.err == nil:
			return answer.verdict, nil
		case api.ErrorCode == codeStoreFailed && api.Description == messageTooLarge:
			answer.err = ErrTooLarge
		}
		return answer.verdict, fmt.Errorf("%w: %w", answer.err, err)
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
	if errors.Is(err, ErrGone) {
		return err
	}
	if api, ok := errors.AsType[*jetstream.APIError](err); ok && api.ErrorCode == codeSubjectOverlap {
		return fmt.Errorf("%w: another stream listens on %s: take it off that stream: %w", event.ErrStream, event.Subjects, err)
	}
	switch {
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return fmt.Errorf("%w: %w", event.ErrNoJetStream, err)
	case errors.Is(err, nats.ErrNoResponders): // of one stream: its servers are electing a leader
		return fmt.Errorf("%w: %w", event.ErrTimeout, err)
	case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrTimeout), errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, nats.ErrDisconnected), errors.Is(err, nats.ErrConnectionReconnecting), errors.Is(err, nats.ErrReconnectBufExceeded):
		return fmt.Errorf("%w: %w", event.ErrUnreachable, err)
	case errors.Is(err, jetstream.ErrConsumerDeleted), errors.Is(err, jetstream.ErrConsumerNotFound), errors.Is(err, jetstream.ErrStreamNotFound):
		return fmt.Errorf("%w: %w", event.ErrStream, err)
	case errors.Is(err, context.Canceled):
		return err
	}
	_, named := verdictOf(err)
	return named
}
