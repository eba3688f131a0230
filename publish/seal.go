package publish

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"imapsync/event"
)

// Sealed is an event as it goes over the wire. It holds on to nothing of the
// mail it was made of.
type Sealed struct {
	Key string // of the event

	msg *nats.Msg
}

// Size is the length of the JSON in bytes.
func (s *Sealed) Size() int { return len(s.msg.Data) }

// Seal writes an event's JSON; the event must not be changed any more. Whoever has
// made it in a goroutine of many seals it there, while it is at hand. Errors
// wrap ErrConfig.
func Seal(m *Mail) (*Sealed, error) {
	msg, err := message(m)
	if err != nil {
		return nil, err
	}
	return &Sealed{Key: m.Key, msg: msg}, nil
}

// message writes the event as it goes over the wire.
func message(m *Mail) (*nats.Msg, error) {
	tenant, provider := m.Payload.Tenant, m.Payload.ProviderID
	for _, part := range [...]struct{ name, token string }{{"tenant", tenant}, {"provider id", provider}, {"key", m.Key}} {
		if !event.ValidToken(part.token) {
			return nil, fmt.Errorf("%w: the %s %.128q cannot stand in a subject", event.ErrConfig, part.name, part.token)
		}
	}
	data := m.json
	m.json = nil // it may be long, and is wanted once
	if data == nil {
		var err error
		if data, err = marshal(m.Event); err != nil {
			return nil, err
		}
	}
	// The message id is the whole of what the subject says: the broker's
	// window looks at ids across all subjects, and a mail sent to two
	// mailboxes has one key and makes two events.
	subject := event.Subject(tenant, provider, m.Key)
	id := strings.TrimPrefix(subject, event.SubjectPrefix)
	values := []string{"0", event.StreamName, event.Type, id}
	header := nats.Header{
		jetstream.ExpectedLastSubjSeqHeader: values[0:1:1],
		jetstream.ExpectedStreamHeader:      values[1:2:2],
		"Imapsync-Event":                    values[2:3:3],
	}
	if !m.Lost {
		header[jetstream.MsgIDHeader] = values[3:]
	}
	return &nats.Msg{Subject: subject, Data: data, Header: header}, nil
}

// marshal returns the event's JSON. It leaves <, > and & alone: escaped for
// HTML, as is json.Marshal's way, a body would be up to six times as long.
func marshal(ev *event.Event) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(ev); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
