package imapsession

import (
	"maps"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"imapsync/internal/fault"
)

// cause is what an error is about.
type cause struct {
	class fault.Class
	code  string
}

// responses says what the response codes of a NO, BAD or BYE are about: those of
// RFC 5530, RFC 3501 section 7.1, and some that servers made up.
var responses = map[string]cause{
	"UNAVAILABLE":          {fault.Transient, "unavailable"},
	"LIMIT":                {fault.Transient, "limit"},
	"INUSE":                {fault.Transient, "inuse"},
	"THROTTLED":            {fault.Transient, "throttled"},
	"OVERQUOTA":            {fault.Transient, "overquota"},
	"SERVERBUG":            {fault.Transient, "serverbug"},
	"CONTACTADMIN":         {fault.Transient, "contactadmin"},
	"NONEXISTENT":          {fault.Config, "folder_missing"},
	"TRYCREATE":            {fault.Config, "folder_missing"},
	"NOPERM":               {fault.Config, "no_permission"},
	"AUTHENTICATIONFAILED": {fault.Auth, "authenticationfailed"},
	"AUTHORIZATIONFAILED":  {fault.Auth, "authorizationfailed"},
	"EXPIRED":              {fault.Auth, "expired"},
}

// classes has the codes of everything else that goes wrong between dialling and
// the end of a session.
var classes = map[string]fault.Class{
	// Reaching the server.
	"host_not_found": fault.Config,
	"dns":            fault.Transient,
	"connect":        fault.Transient,

	// Securing the connection.
	"ca_file":           fault.Config,
	"tls":               fault.Transient,
	"tls_timeout":       fault.Transient,
	"tls_host":          fault.Config,
	"tls_not_yet_valid": fault.Config,
	"tls_expired":       fault.Config,
	"tls_self_signed":   fault.Config,
	"tls_unknown_ca":    fault.Config,
	"tls_certificate":   fault.Config,
	"tls_not_spoken":    fault.Config,
	"tls_version":       fault.Config,
	"tls_handshake":     fault.Config,
	"starttls":          fault.Transient,
	"starttls_timeout":  fault.Transient,
	"starttls_tls":      fault.Config,
	"starttls_missing":  fault.Config,
	"starttls_refused":  fault.Config,
	"starttls_injected": fault.Config,
	"starttls_preauth":  fault.Config,

	// Greeting and login.
	"greeting":         fault.Transient,
	"bye":              fault.Transient,
	"preauth":          fault.Config,
	"capability":       fault.Transient,
	"login_disabled":   fault.Config,
	"login_refused":    fault.Auth,
	"no_oauth":         fault.Config,
	"token_refused":    fault.Auth,
	"privacy_required": fault.Config,

	// After it.
	"throttled":      fault.Transient, // in words, without a response code
	"refused":        fault.Transient,
	"folder_missing": fault.Config,
	"connection":     fault.Transient,
	"over_limit":     fault.Transient,
	"protocol":       fault.Transient,
	"timeout":        fault.Transient,
	"cancelled":      fault.Transient,
}

// Codes are the codes that an error of a session may have, by their class.
func Codes() map[string]fault.Class {
	codes := maps.Clone(classes)
	for _, c := range responses {
		codes[c.code] = c.class
	}
	return codes
}

// failf is an error with one of the codes of classes.
func failf(code, format string, args ...any) *fault.Error {
	return fault.Newf(classes[code], code, format, args...)
}

// throttleWords are how servers say "later" in words, in lower case.
var throttleWords = [...]string{
	"throttl", "too many", "try again", "temporar", "overquota", "rate limit", "rate-limit", "bandwidth", "unavailable",
	"in use", "backoff", "busy", "maximum number of connections", "connected", "simultaneous", "later",
}

func throttled(text string) bool {
	text = strings.ToLower(text)
	return slices.ContainsFunc(throttleWords[:], func(word string) bool { return strings.Contains(text, word) })
}

// about says what a NO, BAD or BYE outside of login is about.
func about(typ, response, text string) cause {
	if c, ok := responses[strings.ToUpper(response)]; ok {
		return c
	}
	code := "refused"
	switch {
	case throttled(text):
		code = "throttled"
	case typ == "BYE":
		code = "bye"
	}
	return cause{classes[code], code}
}

func aboutError(e *imap.Error) cause { return about(string(e.Type), string(e.Code), e.Text) }
