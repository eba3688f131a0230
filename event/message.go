package event

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Sealed is an event as it goes over the wire. It holds on to nothing of the
// mail it was made of.
type Sealed struct {
	Key string // of the event

	msg *nats.Msg
}

// Size is the length of the JSON in bytes.
func (s *Sealed) Size() int { return len(s.msg.Data) }

// Seal writes an event's JSON, which must not be changed any more. Whoever has
// made it in a goroutine of many seals it there, while it is at hand. Errors
// wrap ErrConfig.
func Seal(ev *Event) (*Sealed, error) {
	msg, err := message(ev)
	if err != nil {
		return nil, err
	}
	return &Sealed{Key: ev.Key, msg: msg}, nil
}

// message writes the event as it goes over the wire.
func message(ev *Event) (*nats.Msg, error) {
	tenant, provider := ev.Payload.Tenant, ev.Payload.ProviderID
	for _, part := range [...]struct{ name, token string }{{"tenant", tenant}, {"provider id", provider}, {"key", ev.Key}} {
		if !validToken(part.token) {
			return nil, fmt.Errorf("%w: the %s %.128q cannot stand in a subject", ErrConfig, part.name, part.token)
		}
	}
	data, err := marshal(ev)
	if err != nil {
		return nil, err
	}
	// The message id is the whole of what the subject says: the broker's
	// window looks at ids across all subjects, and a mail sent to two
	// mailboxes has one key and makes two events.
	subject := Subject(tenant, provider, ev.Key)
	id := strings.TrimPrefix(subject, subjectPrefix)
	values := []string{"0", StreamName, Type, id}
	header := nats.Header{
		jetstream.ExpectedLastSubjSeqHeader: values[0:1:1],
		jetstream.ExpectedStreamHeader:      values[1:2:2],
		"Imapsync-Event":                    values[2:3:3],
	}
	if !ev.Lost {
		header[jetstream.MsgIDHeader] = values[3:]
	}
	return &nats.Msg{Subject: subject, Data: data, Header: header}, nil
}

// validToken reports whether s can be one token of a subject and of headers,
// and is short enough for headerReserve.
func validToken(s string) bool {
	if s == "" || len(s) > 128 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '.' || c == '*' || c == '>' {
			return false
		}
	}
	return true
}

// marshal returns the event's JSON. It leaves <, > and & alone: escaped for
// HTML, as is json.Marshal's way, a body would be up to six times as long.
func marshal(ev *Event) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(ev); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
