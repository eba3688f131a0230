package imapwire

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"imapsync/internal/devenv/imapserver"
)

// patient is a deadline for quirks that end by themselves.
const patient = 15 * time.Second

// incomplete is the outcome of a quirk that costs data but breaks nothing: the
// server did not send it, and nothing else was taken for it.
const incomplete = "incomplete"

// wireOutcomes says what a client sees of a quirk through the wire: nothing at
// all (""), less than there is (incomplete), or an error that contains the text.
var wireOutcomes = map[string]string{
	"tls-hang":                   "tls: ",
	"tls-cut":                    "tls: ", // EOF, or a reset when bytes of ours were left unread
	"tls-plaintext":              "first record does not look like a TLS handshake",
	"tls-old":                    "protocol version not supported",
	"greeting-hang":              "greeting: server too slow",
	"greeting-drip":              "greeting: server too slow",
	"greeting-cut":               "greeting: unexpected EOF",
	"greeting-reset":             "connection reset by peer",
	"greeting-bye":               "BYE [UNAVAILABLE] Too many connections",
	"greeting-preauth":           "preauth",
	"greeting-pop3":              `not an IMAP greeting: "+OK POP3 ready"`,
	"greeting-no-caps":           "",
	"greeting-empty-lines":       "",
	"greeting-endless-line":      "greeting: server sent a line of",
	"capability-after-login":     "",
	"capability-bad":             "",
	"capability-odd":             "",
	"login-hang":                 "login: server too slow",
	"login-cut":                  "login: unexpected EOF",
	"login-bye":                  "login: unexpected EOF",
	"login-refused":              "NO [AUTHENTICATIONFAILED] Invalid credentials",
	"login-throttled":            "NO Too many simultaneous connections",
	"login-inuse":                "NO [INUSE]",
	"login-not-connected":        "BAD User is authenticated but not connected",
	"login-echo":                 `LOGIN "user" "[redacted]"`,
	"login-odd-code":             "",
	"login-no-text":              "",
	"login-open-code":            "",
	"login-untagged-noise":       "",
	"id-nil":                     "",
	"id-required":                "",
	"id-refused":                 "",
	"list-hang":                  "list: server too slow",
	"list-refused":               "NO not allowed",
	"list-return-rejected":       "",
	"list-names":                 "",
	"list-literal-name":          "",
	"list-delimiters":            "",
	"list-attributes":            "",
	"list-noselect":              "",
	"list-inbox-case":            "",
	"list-no-inbox":              incomplete,
	"list-5000":                  "",
	"status-hang":                "status: server too slow",
	"status-refused":             "NO [NONEXISTENT]",
	"status-other-spelling":      "",
	"status-without-data":        "",
	"status-trailing-blank":      "",
	"status-odd-items":           "",
	"status-uidnext-missing":     "",
	"status-uidnext-huge":        "",
	"status-uidnext-ahead":       "",
	"status-uidnext-low":         "",
	"status-uidvalidity-missing": "",
	"status-uidvalidity-zero":    "",
	"select-hang":                "select: server too slow",
	"select-refused":             "NO [SERVERBUG]",
	"select-flags-bracket":       "",
	"select-uidnext-missing":     "",
	"select-uidnext-huge":        "",
	"select-uidvalidity-missing": "",
	"select-uidvalidity-zero":    "",
	"select-lower-case":          "",
	"select-bye":                 "select: unexpected EOF",
	"uidvalidity-changes":        "",
	"search-hang":                "search: server too slow",
	"search-refused":             "NO SEARCH not available",
	"search-bad":                 "BAD Could not parse command",
	"search-return-rejected":     "",
	"search-charset-rejected":    "",
	"search-silent-ok":           "search: imap: NO the server says OK and does not list what it found",
	"search-zero":                "",
	"search-blanks":              "",
	"search-several-lines":       "",
	"search-unsorted":            "",
	"search-foreign":             "",
	"search-over-32-bits":        "",
	"search-modseq":              "",
	"search-not-numbers":         "search: protocol: not a number in search response",
	"search-esearch":             "",
	"search-200000":              "",
	"search-endless":             "search response of more than 250000 numbers",
	"search-late":                incomplete,
	"search-bye":                 "search: unexpected EOF",
	"fetch-hang":                 "fetch: server too slow",
	"fetch-refused":              "NO [UNAVAILABLE]",
	"fetch-throttled":            "BAD Request is throttled. Suggested Backoff Time: 1500",
	"fetch-size-off":             incomplete,
	"fetch-size-missing":         incomplete,
	"fetch-size-negative":        incomplete,
	"fetch-date-odd":             "",
	"fetch-date-nil":             "",
	"fetch-attributes":           "",
	"fetch-omits":                incomplete,
	"fetch-silent-ok":            incomplete,
	"expunge-before-fetch":       "",
	"body-hang":                  "body: server too slow",
	"body-hang-in-literal":       "body: server too slow",
	"body-drip":                  "body: server too slow",
	"body-cut":                   "body: unexpected EOF",
	"body-cut-500":               "body: unexpected EOF",
	"body-cut-last":              "body: unexpected EOF",
	"body-reset":                 "body: read tcp",
	"body-flags-first":           "",
	"body-uid-last":              "",
	"body-uid-missing":           "",
	"body-uid-wrong":             "protocol: body taken for UID 1 belongs to UID 2",
	"body-rfc822":                "",
	"body-lower-case":            "",
	"body-blank":                 "",
	"body-attributes":            "",
	"body-literal-short":         "body: protocol: FETCH response without an end",
	"body-literal-long":          "body: protocol: no attribute name in a FETCH response",
	"body-nil":                   incomplete,
	"body-empty":                 incomplete,
	"body-empty-string":          incomplete,
	"body-quoted":                incomplete,
	"body-literal8":              "",
	"body-stub":                  incomplete,
	"body-odd-ok":                "",
	"body-omits":                 incomplete,
	"body-silent-ok":             incomplete,
	"body-no":                    "NO some messages could not be FETCHed",
	"body-refused-one":           "NO [SERVERBUG]",
	"body-cut-one":               "body: unexpected EOF",
	"body-omits-one":             incomplete,
	"body-nil-size-zero":         incomplete,
	"body-twice":                 "",
	"body-foreign":               "",
	"body-reversed":              "",
	"body-noise":                 "",
	"body-size-as-2gb":           "body: server sent a literal of 2147483648 bytes",
	"body-2gb-in-noise":          "body: server sent a literal of 2147483648 bytes",
	"body-huge-number":           "body: server sent a literal of",
	"body-endless-line":          "body: server sent a line of",
	"body-deep-list":             "body: server sent a line of",
	"body-bye":                   "body: unexpected EOF",
	"body-bye-between":           "body: unexpected EOF",
	"body-garbage":               "body: protocol: unexpected line of",
	"body-wrong-tag":             "body: protocol: unexpected line of",
	"body-expunge":               "",
	"body-other-section":         incomplete,
	"uids-near-2-32":             "",
	"idle-refused":               "",
	"idle-dies":                  "idle: server too slow",
	"idle-hang":                  "idle: server too slow",
	"logout-hang":                "logout: server too slow",
	"logout-cut":                 "logout: unexpected EOF",
	"logout-reset":               "logout: read tcp",
	"noop-hang":                  "noop: server too slow",
	"greeting-smtp":              "greeting: protocol: not an IMAP greeting: \"220 ",
	"greeting-ssh":               "greeting: protocol: not an IMAP greeting: \"SSH-2.0",
	"greeting-http":              "greeting: protocol: not an IMAP greeting: \"HTTP/1.1",
	"login-failed-inside":        "login: imap: NO LOGIN processing failed.",
	"login-internal":             "login: imap: NO Internal server error",
	"login-ldap":                 "login: imap: NO LDAP server",
	"login-migrating":            "login: imap: NO Mailbox is being migrated",
	"login-says-nothing":         "login: imap: NO Sorry",
	"login-alert":                "login: imap: NO [ALERT] Application-specific",
	"login-webalert":             "login: imap: NO [WEBALERT] Web login",
	"login-busy-or-wrong":        "login: imap: NO Login fail.",
	"login-rejected":             "login: imap: NO LOGIN User name",
	"list-empty":                 incomplete,
	"status-serverbug":           "status: imap: NO [SERVERBUG]",
	"status-uidnext-still":       "",
	"status-messages-wrong":      "",
	"select-exists-zero":         "",
	"select-exists-more":         "",
	"folder-empty":               incomplete,
	"uidvalidity-64":             "",
	"uidvalidity-never-holds":    "",
	"search-empty":               incomplete,
	"search-leaves-out":          incomplete,
	"search-esearch-alone":       "",
	"fetch-size-zero":            incomplete,
	"fetch-size-unreadable":      incomplete,
	"bodies-nil":                 incomplete,
	"bodies-empty":               incomplete,
	"bodies-short":               incomplete,
	"bodies-refused":             "body: imap: NO [SERVERBUG]",
	"bodies-silent":              incomplete,
	"bodies-close":               "body: unexpected EOF",
	"fetches-refused":            "fetch: imap: NO [SERVERBUG]",
	"body-closed-twice":          "",
	"idle-cut":                   "idle: unexpected EOF",
}

// neverFires lists quirks that answer what this client does not ask.
var neverFires = map[string]bool{
	"id-required": true, "list-return-rejected": true, "list-noselect": true,
	"search-return-rejected": true, "search-charset-rejected": true, "uids-near-2-32": true,
}

// notTheMail lists quirks whose server sends something else as the body in a way
// that no client can tell at this level: the size gives it away.
var notTheMail = map[string]bool{
	"body-nil": true, "body-empty": true, "body-empty-string": true, "body-quoted": true, "body-stub": true,
	"bodies-short": true, "bodies-nil": true, "bodies-empty": true,
}

// TestFailureWireQuirks plays every quirk of the scripted server to go-imap's
// client behind the wire: it ends within the deadlines, no body is taken for
// another, no secret shows, the error says what happened, and when the server
// behaves again all is as it is.
func TestFailureWireQuirks(t *testing.T) {
	seen := map[string]bool{}
	for _, q := range imapserver.Quirks() {
		want, ok := wireOutcomes[q.Name]
		seen[q.Name] = true
		if q.Security == imapserver.STARTTLS {
			continue // comes before the wire, see TestFailureStartTLS
		}
		if !ok {
			t.Errorf("quirk %s: no outcome is known", q.Name)
			continue
		}
		t.Run(fmt.Sprintf("Failure%02d_%s", q.Row, q.Name), func(t *testing.T) {
			t.Parallel()
			srv := imapserver.Test(t, imapserver.Config{}, 3)
			before := map[imap.UID]string{}
			for _, m := range srv.Mailbox("INBOX").Messages() {
				before[imap.UID(m.UID)] = string(m.Raw)
			}
			srv.Play(q)
			for _, m := range srv.Mailbox("INBOX").Messages() {
				before[imap.UID(m.UID)] = string(m.Raw)
			}
			imapserver.Within(t, time.Minute, func() { playQuirk(t, srv, q, want, before) })
		})
	}
	for name := range wireOutcomes {
		if !seen[name] {
			t.Errorf("no quirk named %s", name)
		}
	}
}

func playQuirk(t *testing.T, srv *imapserver.Server, q imapserver.Quirk, want string, before map[imap.UID]string) {
	limits := testLimits
	if !q.Silent() {
		limits.Command, limits.Literal, limits.Idle = patient, patient, patient
	}
	c := converse(srv, limits)
	how := checkHonest(c, srv)
	if srv.Fired() == 0 && !neverFires[q.Name] {
		t.Error("the quirk did not fire")
	}
	got := fmt.Sprintf("%s: %v", c.stage, c.err)
	if c.wire != nil { // where the client says only that the connection is gone
		got += " (" + c.wire.LastStatus().String() + ")"
	}
	switch want {
	case "":
		if how != nil {
			t.Error("not as an honest server:", how)
		}
	case incomplete:
		if c.err != nil || how == nil {
			t.Errorf("want less than there is and no error, got %v, %v", c.err, how)
		}
	default:
		if c.err == nil || !strings.Contains(got, want) {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if !notTheMail[q.Name] {
		for uid, body := range c.bodies {
			if body != before[uid] {
				t.Errorf("uid %d: wrong body %.80q", uid, body)
			}
		}
	}
	if c.wire != nil {
		if err := c.wire.Err(); err != nil {
			got += err.Error()
		}
	}
	if strings.Contains(got, "horse") {
		t.Error("a secret shows:", got)
	}

	srv.Behave()
	limits.Command, limits.Literal, limits.Idle = patient, patient, patient
	again := converse(srv, limits)
	if err := checkHonest(again, srv); err != nil {
		t.Error("once the server behaves:", err)
	}
}
