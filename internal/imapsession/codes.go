package imapsession

import (
	"maps"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"imapsync/internal/fault"
)

// responses has the code for each response code of a NO, BAD or BYE that says
// what it is about: those of RFC 5530, RFC 3501 section 7.1, and some that
// servers made up.
var responses = map[string]string{
	"UNAVAILABLE":          "unavailable",
	"LIMIT":                "limit",
	"INUSE":                "inuse",
	"THROTTLED":            "throttled",
	"OVERQUOTA":            "overquota",
	"SERVERBUG":            "serverbug",
	"CONTACTADMIN":         "contactadmin",
	"NONEXISTENT":          "folder_missing",
	"TRYCREATE":            "folder_missing",
	"NOPERM":               "no_permission",
	"AUTHENTICATIONFAILED": "authenticationfailed",
	"AUTHORIZATIONFAILED":  "authorizationfailed",
	"EXPIRED":              "expired",
}

// classes has the class of each code that an error of a session may have.
var classes = func() map[string]fault.Class {
	classes := map[string]fault.Class{}
	for class, codes := range map[fault.Class]string{
		fault.Auth: "authenticationfailed authorizationfailed expired login_refused token_refused",
		fault.Config: `host_not_found preauth login_disabled no_oauth privacy_required folder_missing no_permission
			ca_file tls_host tls_not_yet_valid tls_expired tls_self_signed tls_unknown_ca tls_certificate
			tls_not_spoken tls_version tls_handshake
			starttls_tls starttls_missing starttls_refused starttls_injected starttls_preauth`,
		fault.Transient: `dns connect tls tls_timeout starttls starttls_timeout greeting bye capability
			unavailable limit inuse throttled overquota serverbug contactadmin
			refused connection over_limit protocol timeout cancelled`,
	} {
		for code := range strings.FieldsSeq(codes) {
			classes[code] = class
		}
	}
	return classes
}()

// Codes are the codes that an error of a session may have, by their class.
func Codes() map[string]fault.Class { return maps.Clone(classes) }

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

// about is the code of a NO, BAD or BYE outside of login.
func about(typ, response, text string) string {
	if code, ok := responses[strings.ToUpper(response)]; ok {
		return code
	}
	code := "refused"
	switch {
	case throttled(text):
		code = "throttled" // in words, without a response code
	case typ == "BYE":
		code = "bye"
	}
	return code
}

func aboutError(e *imap.Error) string { return about(string(e.Type), string(e.Code), e.Text) }
