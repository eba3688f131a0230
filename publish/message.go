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

// Compact is for a mail that waits to be published. It lets go of the event,
// whose JSON is all that is wanted of it; or of the JSON, when that has more than
// most bytes: then Publish writes it.
func (m *Mail) Compact(most int) {
	if m.json == nil || len(m.json) > most {
		m.json = nil
	} else {
		m.Event = nil
	}
}

// message is the event as it goes over the wire. Errors wrap ErrConfig.
func (m *Mail) message() (*nats.Msg, error) {
	for _, part := range [...]struct{ name, token string }{{"tenant", m.tenant}, {"provider id", m.provider}, {"key", m.key}} {
		if !event.ValidToken(part.token) {
			return nil, fmt.Errorf("%w: the %s %.128q cannot stand in a subject", event.ErrConfig, part.name, part.token)
		}
	}
	data := m.json
	if data == nil {
		var err error
		if data, err = marshal(m.Event); err != nil {
			return nil, err
		}
	}
	// The message id is the whole of what the subject says: the broker's
	// window looks at ids across all subjects, and a mail sent to two
	// mailboxes has one key and makes two events.
	subject := event.Subject(m.tenant, m.provider, m.key)
	header := nats.Header{
		jetstream.ExpectedLastSubjSeqHeader: {"0"},
		jetstream.ExpectedStreamHeader:      {event.StreamName},
		"Imapsync-Event":                    {event.Type},
	}
	if !m.Lost {
		header[jetstream.MsgIDHeader] = []string{strings.TrimPrefix(subject, event.SubjectPrefix)}
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
