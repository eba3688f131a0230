package event

import (
	"context"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// StoredKeys returns the keys of all events of a provider that the stream
// keeps. It costs the broker a listing of subjects, not of events. Errors wrap
// ErrStream, ErrUnreachable or ctx's.
func (p *Publisher) StoredKeys(ctx context.Context, tenant, provider string) (map[string]bool, error) {
	js, err := jetstream.New(p.nc)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStream, err)
	}
	stream, err := js.Stream(ctx, StreamName)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStream, err)
	}
	filter := Subject(tenant, provider, "*")
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(filter))
	if err != nil {
		return nil, fmt.Errorf("%w: list subjects: %w", ErrStream, err)
	}
	prefix := strings.TrimSuffix(filter, "*")
	keys := make(map[string]bool, len(info.State.Subjects))
	for subject := range info.State.Subjects {
		keys[strings.TrimPrefix(subject, prefix)] = true
	}
	return keys, nil
}
