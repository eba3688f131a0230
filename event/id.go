package event

import "github.com/google/uuid"

const (
	// Type is the eventType of every event, and its Imapsync-Event header.
	Type = "INBOUND_EMAIL_RECEIVED"
	// StreamName is the stream of the events.
	StreamName = "INBOUND_EMAIL"
	// Subjects is what the stream listens on.
	Subjects = SubjectPrefix + ">"
	// SubjectPrefix is what the subject of every event begins with.
	SubjectPrefix = "mail.inbound.v1."
	// DefaultBucket is the object store of the blobs.
	DefaultBucket = "imap-mail"
)

// Subject returns the subject of one event.
func Subject(tenant, provider, key string) string {
	return SubjectPrefix + tenant + "." + provider + "." + key
}

// ValidToken reports whether s can be one token of a subject and of headers,
// and is no longer than 128 bytes.
func ValidToken(s string) bool {
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

// namespace of event ids: UUID v5 of "imapsync/inbound-email" in the URL
// namespace of RFC 9562.
var namespace = uuid.MustParse("892cbd65-8c7c-57c1-8d1b-10af62eb637f") //nolint:gochecknoglobals // a constant in all but syntax

// ID returns the id of an event: the UUID v5 (RFC 9562 section 5.5) of
// "<tenant>.<provider>.<key>". Tenant and provider are part of it since the
// same mail in two mailboxes has one key and makes two events.
func ID(tenant, provider, key string) string {
	return uuid.NewSHA1(namespace, []byte(tenant+"."+provider+"."+key)).String()
}
