package imapserver

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Quirk is one way in which a server misbehaves at one stage.
type Quirk struct {
	Name     string
	Stage    Stage
	Row      int    // row of the table of failures in the field that it plays
	Describe string // what the server does, in a few words
	Once     bool   // it passes: a second attempt meets an honest server
	Person   bool   // only a person can mend it: a refusal of the credentials
	Security Security
	Setup    func(s *Server)         // prepares mailboxes; may be nil
	When     func(x *Exchange) bool  // nil: whenever the stage comes
	Do       func(x *Exchange) error // nil: Setup was all
}

// Silent reports whether a deadline ends the quirk, and nothing else does.
func (q Quirk) Silent() bool { return q.Row == 4 || q.Stage == Idle || q.Stage == Noop }

// Pause is the time between two bytes of a dripping server.
const Pause = 20 * time.Millisecond

// Quirks is the table of everything the server can do wrong.
func Quirks() []Quirk {
	return []Quirk{
		// Connection and greeting
		{Name: "tls-hang", Stage: Handshake, Row: 4, Describe: "accepts TCP and never answers the TLS handshake", Do: (*Exchange).Hang},
		{Name: "tls-cut", Stage: Handshake, Row: 4, Once: true, Describe: "closes during the TLS handshake", Do: (*Exchange).Close},
		{Name: "tls-plaintext", Stage: Handshake, Row: 15, Describe: "answers the TLS handshake in plaintext", Do: func(x *Exchange) error {
			x.Write("* OK plaintext on the TLS port\r\n")
			return x.Close()
		}},
		{Name: "tls-old", Stage: Handshake, Row: 15, Describe: "speaks TLS 1.0 only", Do: func(x *Exchange) error {
			x.TLS = x.Server.tls.Clone()
			x.TLS.MinVersion, x.TLS.MaxVersion = tls.VersionTLS10, tls.VersionTLS10
			return nil
		}},
		{Name: "greeting-hang", Stage: Greeting, Row: 4, Describe: "never greets", Do: (*Exchange).Hang},
		{Name: "greeting-drip", Stage: Greeting, Row: 4, Describe: "greets a byte at a time", Do: func(x *Exchange) error { return x.Drip(Pause) }},
		{Name: "greeting-cut", Stage: Greeting, Row: 4, Once: true, Describe: "closes before it greets", Do: (*Exchange).Close},
		{Name: "greeting-reset", Stage: Greeting, Row: 4, Once: true, Describe: "resets before it greets", Do: (*Exchange).Reset},
		{Name: "greeting-bye", Stage: Greeting, Row: 22, Once: true, Describe: "greets with BYE [UNAVAILABLE] Too many connections", Do: func(x *Exchange) error { return x.Bye("[UNAVAILABLE] Too many connections from your address") }},
		{Name: "greeting-preauth", Stage: Greeting, Row: 15, Describe: "greets with PREAUTH", Do: func(x *Exchange) error { return x.Replace("* OK", "* PREAUTH") }},
		{Name: "greeting-pop3", Stage: Greeting, Row: 15, Describe: "is a POP3 server", Do: greets("+OK POP3 ready")},
		{Name: "greeting-smtp", Stage: Greeting, Row: 15, Describe: "is an SMTP server", Do: greets("220 mx.example.com ESMTP Postfix")},
		{Name: "greeting-ssh", Stage: Greeting, Row: 15, Describe: "is an SSH server", Do: greets("SSH-2.0-OpenSSH_9.2p1 Debian-2")},
		{Name: "greeting-http", Stage: Greeting, Row: 15, Describe: "is a web server", Do: greets("HTTP/1.1 400 Bad Request")},
		{Name: "greeting-no-caps", Stage: Greeting, Row: 14, Describe: "greets without capabilities and without text", Do: func(x *Exchange) error {
			x.Responses = lines("* OK")
			return nil
		}},
		{Name: "greeting-empty-lines", Stage: Greeting, Row: 15, Describe: "sends empty lines before the greeting", Do: func(x *Exchange) error { return x.Write("\r\n\r\n") }},
		{Name: "greeting-endless-line", Stage: Greeting, Row: 8, Describe: "greets with a line without end", Do: func(x *Exchange) error {
			x.Write("* OK ")
			return x.Endless("welcome ", 1<<40)
		}},
		{Name: "starttls-refused", Stage: StartTLS, Row: 15, Security: STARTTLS, Describe: "answers NO to STARTTLS", Do: func(x *Exchange) error { return x.Tagged("NO not now") }},
		{Name: "starttls-stripped", Stage: StartTLS, Row: 15, Security: STARTTLS, Describe: "does not know STARTTLS", Do: func(x *Exchange) error { return x.Tagged("BAD unknown command") }},
		{Name: "starttls-injected", Stage: StartTLS, Row: 15, Security: STARTTLS, Describe: "has plaintext injected behind the OK of STARTTLS", Do: func(x *Exchange) error {
			x.Responses[0].Head += "* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\nT2 OK injected\r\n"
			return nil
		}},
		{Name: "starttls-hang", Stage: StartTLS, Row: 4, Security: STARTTLS, Describe: "never answers STARTTLS", Do: (*Exchange).Hang},
		{Name: "starttls-preauth", Stage: Greeting, Row: 15, Security: STARTTLS, Describe: "greets with PREAUTH so that STARTTLS is not possible", When: func(x *Exchange) bool { return !x.c.secure }, Do: func(x *Exchange) error { return x.Replace("* OK", "* PREAUTH") }},

		// Login
		{Name: "capability-after-login", Stage: Greeting, Row: 14, Describe: "says its capabilities only after login", Do: func(x *Exchange) error {
			x.Responses = lines("* OK [CAPABILITY IMAP4rev1] ready")
			return nil
		}},
		{Name: "capability-bad", Stage: Capability, Row: 14, Describe: "greets without capabilities and answers BAD to CAPABILITY", Setup: func(s *Server) { s.Play(Named("greeting-no-caps")) }, Do: func(x *Exchange) error { return x.Tagged("BAD no such thing") }},
		{Name: "capability-odd", Stage: Login, Row: 15, Describe: "lists capabilities with double blanks and odd characters", Do: func(x *Exchange) error {
			return x.Replace("IMAP4rev1 ", `IMAP4rev1  X-(ODD) "X" IMAP4rev2  `)
		}},
		{Name: "login-hang", Stage: Login, Row: 4, Describe: "never answers the login", Do: (*Exchange).Hang},
		{Name: "login-cut", Stage: Login, Row: 4, Once: true, Describe: "closes during the login", Do: (*Exchange).Close},
		{Name: "login-bye", Stage: Login, Row: 21, Once: true, Describe: "BYE [UNAVAILABLE] instead of an answer to the login", Do: func(x *Exchange) error { return x.Bye("[UNAVAILABLE] Temporary authentication failure") }},
		{Name: "login-refused", Stage: Login, Row: 10, Person: true, Describe: "NO [AUTHENTICATIONFAILED]", Do: func(x *Exchange) error { return x.Tagged("NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)") }},
		{Name: "login-throttled", Stage: Login, Row: 21, Once: true, Describe: "bare NO with a throttle word", Do: func(x *Exchange) error { return x.Tagged("NO Too many simultaneous connections, try again later") }},
		{Name: "login-inuse", Stage: Login, Row: 21, Once: true, Describe: "NO [INUSE] in lower case", Do: func(x *Exchange) error { return x.Tagged("no [inuse] mailbox in use") }},
		{Name: "login-not-connected", Stage: Login, Row: 21, Once: true, Describe: "O365: User is authenticated but not connected", Do: func(x *Exchange) error { return x.Tagged("BAD User is authenticated but not connected.") }},
		{Name: "login-failed-inside", Stage: Login, Row: 35, Describe: "NO LOGIN processing failed", Do: func(x *Exchange) error { return x.Tagged("NO LOGIN processing failed.") }},
		{Name: "login-internal", Stage: Login, Row: 35, Describe: "NO Internal server error", Do: func(x *Exchange) error { return x.Tagged("NO Internal server error") }},
		{Name: "login-ldap", Stage: Login, Row: 35, Describe: "NO LDAP server unreachable", Do: func(x *Exchange) error { return x.Tagged("NO LDAP server unreachable") }},
		{Name: "login-migrating", Stage: Login, Row: 35, Describe: "NO Mailbox is being migrated", Do: func(x *Exchange) error { return x.Tagged("NO Mailbox is being migrated") }},
		{Name: "login-says-nothing", Stage: Login, Row: 35, Describe: "NO, and no word why", Do: func(x *Exchange) error { return x.Tagged("NO Sorry") }},
		{Name: "login-alert", Stage: Login, Row: 35, Person: true, Describe: "NO [ALERT] Application-specific password required (Gmail)", Do: func(x *Exchange) error {
			return x.Tagged("NO [ALERT] Application-specific password required: https://support.google.com/accounts/answer/185833 (Failure)")
		}},
		{Name: "login-webalert", Stage: Login, Row: 35, Person: true, Describe: "NO [WEBALERT …] Web login required (Gmail)", Do: func(x *Exchange) error {
			return x.Tagged("NO [WEBALERT https://accounts.google.com/signin/continue] Web login required.")
		}},
		{Name: "login-busy-or-wrong", Stage: Login, Row: 35, Person: true, Describe: "a wrong password, a limit or a busy system, all in one text (QQ)", Do: func(x *Exchange) error {
			return x.Tagged("NO Login fail. Account is abnormal, service is not open, password is incorrect, login frequency limited, or system is busy.")
		}},
		{Name: "login-rejected", Stage: Login, Row: 35, Person: true, Describe: "NO LOGIN User name or passwd rejected (GNU Mailutils)", Do: func(x *Exchange) error { return x.Tagged("NO LOGIN User name or passwd rejected") }},
		{Name: "login-echo", Stage: Login, Row: 10, Person: true, Describe: "repeats the command with the password in its error text", Do: func(x *Exchange) error {
			return x.Tagged("NO [AUTHENTICATIONFAILED] refused: " + x.Name + " " + strings.ReplaceAll(x.Args, "\n", " "))
		}},
		{Name: "login-odd-code", Stage: Login, Row: 15, Describe: `OK [Error="…]…" x=y]`, Do: func(x *Exchange) error {
			return x.Ends(`OK [Error="AuthFailed:LogonDenied] User: x" Proxy=a.b.c:1993] done`)
		}},
		{Name: "login-no-text", Stage: Login, Row: 15, Describe: "OK without text", Do: func(x *Exchange) error { return x.Ends("OK") }},
		{Name: "login-open-code", Stage: Login, Row: 15, Describe: "a code that never closes", Do: func(x *Exchange) error { return x.Ends("OK [CAPABILITY IMAP4rev1 logged in") }},
		{Name: "login-untagged-noise", Stage: Login, Row: 15, Describe: "unknown responses, stray + and empty lines before the OK", Do: func(x *Exchange) error {
			return x.Before("* XWELCOME (a {b) ]", "", "+ nobody asked", "* NAMESPACE ((\"\" \"/\")) NIL NIL", "* 99999999999 EXISTS", "*", "* ")
		}},
		{Name: "id-nil", Stage: ID, Row: 15, Describe: "answers ID with NIL values", Do: func(x *Exchange) error { return x.Untagged(`* ID ("name" NIL "version" NIL)`) }},
		{Name: "id-required", Stage: Select, Row: 14, Describe: "refuses EXAMINE before ID (163.com)", When: func(x *Exchange) bool { return !x.sentBefore("ID") }, Do: func(x *Exchange) error {
			x.c.box = nil
			return x.Tagged("NO EXAMINE Unsafe Login. Please contact kefu@188.com for help")
		}},
		{Name: "id-refused", Stage: ID, Row: 14, Describe: "answers BAD to ID although it is offered", Do: func(x *Exchange) error { return x.Tagged("BAD what?") }},

		// LIST and STATUS
		{Name: "list-hang", Stage: List, Row: 4, Describe: "never answers LIST", Do: (*Exchange).Hang},
		{Name: "list-refused", Stage: List, Row: 14, Describe: "answers NO to LIST", Do: func(x *Exchange) error { return x.Tagged("NO not allowed") }},
		{Name: "list-empty", Stage: List, Row: 25, Describe: "LIST finds no folder at all", Do: func(x *Exchange) error { return x.Untagged() }},
		{Name: "list-return-rejected", Stage: List, Row: 14, Describe: "answers BAD to LIST … RETURN", When: func(x *Exchange) bool { return strings.Contains(x.Args, "RETURN") }, Do: func(x *Exchange) error { return x.Tagged("BAD parse error") }},
		{Name: "list-names", Stage: List, Row: 25, Describe: "folders in modified UTF-7, raw UTF-8, Latin-1, with bare & and without quotes", Do: func(x *Exchange) error {
			return x.Before(`* LIST () "/" "Entw&APw-rfe"`, "* LIST () \"/\" \"Gel\u00f6scht\"", "* LIST () \"/\" \"Entw\xfcrfe\"", `* LIST () "/" R&D`, `* LIST () "/" Sent Items`, `* LIST () "/" "never closed`, `* LIST () "/" "a \"quoted\" \\ name"`)
		}},
		{Name: "list-literal-name", Stage: List, Row: 25, Describe: "a folder name as a literal", Do: func(x *Exchange) error { return x.Before("* LIST () \"/\" {9}\r\nlit \"eral") }},
		{Name: "list-delimiters", Stage: List, Row: 25, Describe: "NIL, empty and unquoted delimiters", Do: func(x *Exchange) error {
			return x.Before("* LIST () NIL nodelim", `* LIST () nil lower`, `* LIST () "" empty`, `* LIST () / bare`, `* LIST () "//" two`)
		}},
		{Name: "list-attributes", Stage: List, Row: 25, Describe: "odd attributes: trailing blank, ], missing backslash", Do: func(x *Exchange) error {
			return x.Before(`* LIST (\HasNoChildren ) "/" trailing`, `* LIST (\Has] Noselect) "/" bracket`, `* LIST (\NoSelect \NonExistent) "/" gone`, `* LIST "/" noattributes`)
		}},
		{Name: "list-noselect", Stage: List, Row: 25, Describe: `a \Noselect folder that cannot be opened`, Setup: func(s *Server) { s.Mailbox("[Gmail]").Attrs = []string{`\Noselect`, `\HasChildren`} }},
		{Name: "list-inbox-case", Stage: List, Row: 25, Describe: "INBOX spelled Inbox", Do: func(x *Exchange) error { return x.Replace(`"INBOX"`, `"Inbox"`) }},
		{Name: "list-no-inbox", Stage: List, Row: 25, Describe: "no INBOX in LIST", Do: func(x *Exchange) error { return x.Without(`"INBOX"`) }},
		{Name: "list-5000", Stage: List, Row: 25, Describe: "5,000 folders", Do: func(x *Exchange) error {
			l := make([]string, 5000)
			for i := range l {
				l[i] = fmt.Sprintf(`* LIST (\HasNoChildren) "/" "Projects/%d"`, i)
			}
			return x.Before(l...)
		}},
		{Name: "status-hang", Stage: Status, Row: 4, Describe: "never answers STATUS", Do: (*Exchange).Hang},
		{Name: "status-refused", Stage: Status, Row: 25, Describe: "NO [NONEXISTENT] to STATUS", Do: func(x *Exchange) error { return x.Tagged("NO [NONEXISTENT] Unknown Mailbox") }},
		{Name: "status-other-spelling", Stage: Status, Row: 15, Describe: "answers STATUS for a differently spelt name", Do: func(x *Exchange) error { return x.Replace(`STATUS "INBOX"`, `STATUS "Inbox"`) }},
		{Name: "status-without-data", Stage: Status, Row: 2, Describe: "OK to STATUS without data", Do: func(x *Exchange) error { return x.Untagged() }},
		{Name: "status-serverbug", Stage: Status, Row: 28, Describe: "NO [SERVERBUG] to STATUS", Do: func(x *Exchange) error { return x.Tagged("NO [SERVERBUG] oops") }},
		{Name: "status-uidnext-still", Stage: Status, Row: 28, Describe: "UIDNEXT stands still while MESSAGES grows", Do: statusWith("UIDNEXT", "5")},
		{Name: "status-messages-wrong", Stage: Status, Row: 28, Describe: "MESSAGES is another number each time", Do: func(x *Exchange) error {
			return statusWith("MESSAGES", strconv.Itoa(len(x.Server.Commands())))(x)
		}},
		{Name: "status-trailing-blank", Stage: Status, Row: 15, Describe: "a blank before the closing parenthesis (iCloud)", Do: func(x *Exchange) error { return x.Replace(")\r\n", " ) \r\n") }},
		{Name: "status-odd-items", Stage: Status, Row: 15, Describe: "unknown items, negative and huge numbers", Do: func(x *Exchange) error {
			return x.Replace("(MESSAGES", `(X-GUID "a b" RECENT -1 UNSEEN 99999999999 MESSAGES`)
		}},
		{Name: "status-uidnext-missing", Stage: Status, Row: 18, Describe: "no UIDNEXT in STATUS", Do: statusWithout("UIDNEXT")},
		{Name: "status-uidnext-huge", Stage: Status, Row: 18, Describe: "UIDNEXT above 32 bits", Do: statusWith("UIDNEXT", "4294967297")},
		{Name: "status-uidnext-ahead", Stage: Status, Row: 18, Describe: "UIDNEXT far ahead", Do: statusWith("UIDNEXT", "5000")},
		{Name: "status-uidnext-low", Stage: Status, Row: 18, Once: true, Describe: "UIDNEXT goes back", Do: statusWith("UIDNEXT", "1")},
		{Name: "status-uidvalidity-missing", Stage: Status, Row: 7, Describe: "no UIDVALIDITY in STATUS", Do: statusWithout("UIDVALIDITY")},
		{Name: "status-uidvalidity-zero", Stage: Status, Row: 7, Describe: "UIDVALIDITY 0 in STATUS", Do: statusWith("UIDVALIDITY", "0")},

		// EXAMINE
		{Name: "select-hang", Stage: Select, Row: 4, Describe: "never answers EXAMINE", Do: (*Exchange).Hang},
		{Name: "select-refused", Stage: Select, Row: 25, Describe: "NO to EXAMINE", Do: func(x *Exchange) error { x.c.box = nil; return x.Tagged("NO [SERVERBUG] internal error") }},
		{Name: "select-flags-bracket", Stage: Select, Row: 15, Describe: "a keyword with ] in FLAGS and PERMANENTFLAGS", Do: func(x *Exchange) error {
			return x.Before(`* FLAGS (\Seen [Gmail]/x $a] )`, `* OK [PERMANENTFLAGS (\Seen $a] \*)] limited`)
		}},
		{Name: "select-exists-zero", Stage: Select, Row: 28, Describe: "EXISTS 0 though there are messages", Do: selectExists(0)},
		{Name: "select-exists-more", Stage: Select, Row: 28, Describe: "EXISTS is one more than there are", Do: func(x *Exchange) error {
			return selectExists(len(x.Mailbox.Messages()) + 1)(x)
		}},
		{Name: "folder-empty", Stage: Select, Row: 28, Describe: "STATUS, EXAMINE, SEARCH and FETCH agree that a folder is empty", Setup: func(s *Server) {
			s.Play(Quirk{Stage: Status, When: inInbox, Do: statusWith("MESSAGES", "0")})
			s.Play(Quirk{Stage: Search, When: inInbox, Do: func(x *Exchange) error { return x.Untagged("* SEARCH") }})
			s.Play(Quirk{Stage: Fetch, When: inInbox, Do: func(x *Exchange) error { return x.Untagged() }})
			s.Play(Quirk{Stage: Body, When: inInbox, Do: func(x *Exchange) error { return x.Untagged() }})
		}, Do: selectExists(0)},
		{Name: "select-uidnext-missing", Stage: Select, Row: 18, Describe: "no UIDNEXT in EXAMINE", Do: func(x *Exchange) error { return x.Without("UIDNEXT") }},
		{Name: "select-uidnext-huge", Stage: Select, Row: 15, Describe: "UIDNEXT above 32 bits in EXAMINE", Do: func(x *Exchange) error { return x.Replace("[UIDNEXT ", "[UIDNEXT 99999") }},
		{Name: "select-uidvalidity-missing", Stage: Select, Row: 7, Describe: "no UIDVALIDITY in EXAMINE", Do: func(x *Exchange) error { return x.Without("UIDVALIDITY") }},
		{Name: "select-uidvalidity-zero", Stage: Select, Row: 7, Describe: "UIDVALIDITY 0 in EXAMINE", Do: func(x *Exchange) error { return x.Replace("[UIDVALIDITY 1", "[UIDVALIDITY 0] was [X 1") }},
		{Name: "select-lower-case", Stage: Select, Row: 15, Describe: "codes in lower case", Do: func(x *Exchange) error {
			for i := range x.Responses {
				x.Responses[i].Head = strings.NewReplacer("UIDVALIDITY", "uidvalidity", "UIDNEXT", "uidnext", "EXISTS", "exists", "OK [", "ok [").Replace(x.Responses[i].Head)
			}
			return nil
		}},
		{Name: "select-bye", Stage: Select, Row: 22, Once: true, Describe: "BYE instead of an answer to EXAMINE", Do: func(x *Exchange) error { return x.Bye("[LIMIT] Session expired, please login again") }},
		{Name: "uidvalidity-changes", Stage: Select, Row: 7, Once: true, Describe: "the folder is renumbered between STATUS and EXAMINE", Do: func(x *Exchange) error {
			old := x.Mailbox.UIDValidity()
			x.Mailbox.Renumber()
			return x.Replace(fmt.Sprint(old), fmt.Sprint(x.Mailbox.UIDValidity()))
		}},
		{Name: "uidvalidity-64", Stage: Select, Row: 31, Describe: "UIDVALIDITY in milliseconds", Setup: func(s *Server) {
			s.Play(Quirk{Stage: Status, When: inInbox, Do: statusWith("UIDVALIDITY", "1713632002544")})
		}, Do: func(x *Exchange) error {
			x.setNumber("UIDVALIDITY", "1713632002544")
			return nil
		}},
		{Name: "uidvalidity-never-holds", Stage: Status, Row: 31, Describe: "each STATUS and EXAMINE numbers the folder anew (GNU Mailutils)", Setup: func(s *Server) {
			s.Play(Quirk{Stage: Select, When: inInbox, Do: renumbers})
		}, Do: renumbers},

		// SEARCH
		{Name: "search-hang", Stage: Search, Row: 4, Describe: "never answers SEARCH", Do: (*Exchange).Hang},
		{Name: "search-refused", Stage: Search, Row: 14, Describe: "NO to SEARCH", Do: func(x *Exchange) error { return x.Tagged("NO SEARCH not available") }},
		{Name: "search-bad", Stage: Search, Row: 14, Describe: "BAD to SEARCH", Do: func(x *Exchange) error { return x.Tagged("BAD Could not parse command") }},
		{Name: "search-return-rejected", Stage: Search, Row: 14, Describe: "BAD to SEARCH RETURN", When: func(x *Exchange) bool { return strings.HasPrefix(strings.ToUpper(x.Args), "RETURN") }, Do: func(x *Exchange) error { return x.Tagged("BAD RETURN unknown") }},
		{Name: "search-charset-rejected", Stage: Search, Row: 14, Describe: "NO [BADCHARSET] to SEARCH CHARSET", When: func(x *Exchange) bool { return strings.Contains(strings.ToUpper(x.Args), "CHARSET") }, Do: func(x *Exchange) error { return x.Tagged("NO [BADCHARSET (US-ASCII)] charset not supported") }},
		{Name: "search-silent-ok", Stage: Search, Row: 2, Once: true, Describe: "OK to SEARCH without a SEARCH line", Do: func(x *Exchange) error { return x.Untagged() }},
		{Name: "search-empty", Stage: Search, Row: 28, Describe: "SEARCH finds nothing though EXISTS says 4", Do: func(x *Exchange) error { return x.Untagged("* SEARCH") }},
		{Name: "search-leaves-out", Stage: Search, Row: 28, Describe: "SEARCH leaves every third UID out", Do: func(x *Exchange) error {
			some := slices.DeleteFunc(slices.Clone(x.Numbers), func(uid uint32) bool { return uid%3 == 0 })
			return x.Untagged(strings.TrimRight(searchLine(some), "\r\n"))
		}},
		{Name: "search-esearch-alone", Stage: Search, Row: 28, Describe: "ESEARCH in place of SEARCH (RFC 9051)", Do: func(x *Exchange) error {
			return x.Untagged(`* ESEARCH (TAG "` + x.Tag + `") UID` + ranges(x.Numbers))
		}},
		{Name: "search-zero", Stage: Search, Row: 15, Describe: "* SEARCH 0 among the UIDs", Do: func(x *Exchange) error { return x.Before("* SEARCH 0") }},
		{Name: "search-blanks", Stage: Search, Row: 15, Describe: "double and trailing blanks", Do: func(x *Exchange) error { return x.Replace(" ", "  ") }},
		{Name: "search-several-lines", Stage: Search, Row: 2, Describe: "one SEARCH line a UID", Do: func(x *Exchange) error {
			var l []string
			for _, n := range x.Numbers {
				l = append(l, fmt.Sprintf("* SEARCH %d", n))
			}
			return x.Untagged(l...)
		}},
		{Name: "search-unsorted", Stage: Search, Row: 2, Describe: "UIDs in descending order, each twice", Do: func(x *Exchange) error {
			var b strings.Builder
			b.WriteString("* SEARCH")
			for _, n := range slices.Backward(x.Numbers) {
				fmt.Fprintf(&b, " %d %d", n, n)
			}
			return x.Untagged(b.String())
		}},
		{Name: "search-foreign", Stage: Search, Row: 17, Describe: "UIDs that do not exist or were not asked for", Do: func(x *Exchange) error { return x.Replace("* SEARCH", "* SEARCH 1 2 3 900 901 4294967295") }},
		{Name: "search-over-32-bits", Stage: Search, Row: 15, Describe: "a number above 32 bits", Do: func(x *Exchange) error { return x.Replace("* SEARCH", "* SEARCH 4294967296 99999999999") }},
		{Name: "search-modseq", Stage: Search, Row: 15, Describe: "(MODSEQ n) behind the UIDs", Do: func(x *Exchange) error { return x.Replace("\r\n", " (MODSEQ 917162500)\r\n") }},
		{Name: "search-not-numbers", Stage: Search, Row: 15, Describe: "a range in the SEARCH line", Do: func(x *Exchange) error { return x.Replace("* SEARCH", "* SEARCH 1:5") }},
		{Name: "search-esearch", Stage: Search, Row: 15, Describe: "ESEARCH with a range of four thousand million beside SEARCH", Do: func(x *Exchange) error {
			return x.Before(`* ESEARCH (TAG "` + x.Tag + `") UID ALL 1:4294967295`)
		}},
		{Name: "search-200000", Stage: Search, Row: 11, Describe: "200,000 UIDs", Do: func(x *Exchange) error {
			var b strings.Builder
			for n := range 200_000 {
				b.WriteByte(' ')
				b.WriteString(strconv.Itoa(1_000_000 + 2*n))
			}
			return x.Before("* SEARCH" + b.String())
		}},
		{Name: "search-endless", Stage: Search, Row: 8, Describe: "a SEARCH line without end", Do: func(x *Exchange) error {
			x.Write("* SEARCH")
			return x.Endless(" 4294967295", 1<<40)
		}},
		{Name: "search-late", Stage: Search, Row: 2, Once: true, Describe: "does not show the first UID yet", Do: func(x *Exchange) error {
			if len(x.Numbers) > 0 {
				return x.Untagged(strings.TrimRight(searchLine(x.Numbers[1:]), "\r\n"))
			}
			return nil
		}},
		{Name: "search-bye", Stage: Search, Row: 21, Once: true, Describe: "BYE [OVERQUOTA] during SEARCH", Do: func(x *Exchange) error { return x.Bye("[OVERQUOTA] Account exceeded bandwidth limits") }},

		// FETCH of sizes
		{Name: "fetch-hang", Stage: Fetch, Row: 4, Describe: "never answers FETCH", Do: (*Exchange).Hang},
		{Name: "fetch-refused", Stage: Fetch, Row: 14, Once: true, Describe: "NO to FETCH", Do: func(x *Exchange) error { return x.Tagged("NO [UNAVAILABLE] backend down") }},
		{Name: "fetch-throttled", Stage: Fetch, Row: 21, Once: true, Describe: "BAD with a suggested back-off", Do: func(x *Exchange) error {
			return x.Tagged("BAD Request is throttled. Suggested Backoff Time: 1500 milliseconds")
		}},
		{Name: "fetch-size-off", Stage: Fetch, Row: 16, Describe: "RFC822.SIZE off by some bytes", Do: func(x *Exchange) error { return x.Replace("RFC822.SIZE ", "RFC822.SIZE 1") }},
		{Name: "fetch-size-missing", Stage: Fetch, Row: 16, Describe: "no RFC822.SIZE", Do: func(x *Exchange) error { return x.Replace("RFC822.SIZE", "X-SIZE") }},
		{Name: "fetch-size-zero", Stage: Fetch, Row: 29, Describe: "RFC822.SIZE 0", Do: func(x *Exchange) error { return x.Replace("RFC822.SIZE ", "RFC822.SIZE 0 X-SIZE ") }},
		{Name: "fetch-size-unreadable", Stage: Fetch, Row: 29, Describe: "RFC822.SIZE 1.38e+02", Do: func(x *Exchange) error { return x.Replace("RFC822.SIZE ", "RFC822.SIZE 1.38e+02 X-SIZE ") }},
		{Name: "fetch-size-negative", Stage: Fetch, Row: 15, Describe: "RFC822.SIZE -1", Do: func(x *Exchange) error { return x.Replace("RFC822.SIZE ", "RFC822.SIZE -") }},
		{Name: "fetch-date-odd", Stage: Fetch, Row: 15, Describe: "INTERNALDATE that is none", Do: func(x *Exchange) error { return x.Replace(`INTERNALDATE "`, `INTERNALDATE "never `) }},
		{Name: "fetch-date-nil", Stage: Fetch, Row: 15, Describe: "INTERNALDATE NIL", Do: func(x *Exchange) error { return x.Replace(`INTERNALDATE`, `INTERNALDATE NIL X-DATE`) }},
		{Name: "fetch-attributes", Stage: Fetch, Row: 15, Describe: "unknown attributes with values of every syntax", Do: func(x *Exchange) error {
			return x.Each(func(r *Response) {
				r.Head = strings.Replace(r.Head, "(UID", "(X-GM-MSGID 1278455344230334865 X-GM-LABELS (\"\\\\Inbox\" \"a ) b\" (x (y))) X-NIL NIL X-LIT {5}\r\na)b(c X-STR \"a \\\" ) b\" FLAGS (\\Seen $x]) MODSEQ (12) ENVELOPE (NIL {3}\r\n\"(\" NIL) UID", 1)
			})
		}},
		{Name: "fetch-omits", Stage: Fetch, Row: 2, Once: true, Describe: "omits the first UID, and says OK", Do: func(x *Exchange) error { return x.omitFirst() }},
		{Name: "fetch-silent-ok", Stage: Fetch, Row: 2, Once: true, Describe: "OK without data", Do: func(x *Exchange) error { return x.Untagged() }},
		{Name: "expunge-before-fetch", Stage: Search, Row: 2, Once: true, Describe: "a mail is expunged between SEARCH and FETCH", Do: func(x *Exchange) error {
			if len(x.Numbers) > 0 {
				x.Mailbox.Expunge(x.Numbers[0])
			}
			return nil
		}},

		// FETCH of bodies
		{Name: "body-hang", Stage: Body, Row: 4, Describe: "never answers the FETCH of a body", Do: (*Exchange).Hang},
		{Name: "body-hang-in-literal", Stage: Body, Row: 4, Describe: "stops in the middle of a body", Do: func(x *Exchange) error { return x.InBody(x.Hang) }},
		{Name: "body-drip", Stage: Body, Row: 4, Describe: "sends a body byte by byte", Do: func(x *Exchange) error { return x.Drip(Pause) }},
		{Name: "body-cut", Stage: Body, Row: 15, Once: true, Describe: "closes in the middle of a body", Do: func(x *Exchange) error { return x.InBody(x.Close) }},
		{Name: "body-cut-500", Stage: Body, Row: 15, Once: true, Describe: "announces 500 bytes, sends 10 and closes", Do: func(x *Exchange) error {
			x.Write("* 1 FETCH (UID 1 BODY[] {500}\r\n0123456789")
			return x.Close()
		}},
		{Name: "body-cut-last", Stage: Body, Row: 15, Once: true, Describe: "closes right behind the last byte of a body", Do: func(x *Exchange) error {
			return x.After(len(x.Responses[0].Head)+len(x.Responses[0].Body), x.Close)
		}},
		{Name: "body-reset", Stage: Body, Row: 4, Once: true, Describe: "resets in the middle of a body", Do: func(x *Exchange) error { return x.InBody(x.Reset) }},
		{Name: "body-flags-first", Stage: Body, Row: 15, Describe: "unsolicited FETCH (FLAGS … UID n) while UID n is fetched", Do: func(x *Exchange) error {
			var l []string
			x.Each(func(r *Response) {
				l = append(l, fmt.Sprintf(`* %d FETCH (FLAGS (\Seen) UID %d)`, r.Seq, r.UID), fmt.Sprintf(`* %d FETCH (UID %d FLAGS (\Seen))`, r.Seq, r.UID))
			})
			return x.Before(l...)
		}},
		{Name: "body-uid-last", Stage: Body, Row: 15, Describe: "the UID behind BODY[]", Do: func(x *Exchange) error {
			return x.Each(func(r *Response) {
				r.Head = strings.Replace(r.Head, fmt.Sprintf("(UID %d ", r.UID), "(", 1)
				r.Tail = fmt.Sprintf(" UID %d)\r\n", r.UID)
			})
		}},
		{Name: "body-uid-missing", Stage: Body, Row: 15, Describe: "no UID in the response to UID FETCH", Do: func(x *Exchange) error {
			return x.Each(func(r *Response) { r.Head = strings.Replace(r.Head, fmt.Sprintf("(UID %d ", r.UID), "(", 1) })
		}},
		{Name: "body-uid-wrong", Stage: Body, Row: 15, Once: true, Describe: "the UIDs of two bodies swapped, behind BODY[]", Do: func(x *Exchange) error {
			return x.Each(func(r *Response) {
				r.Head = strings.Replace(r.Head, fmt.Sprintf("(UID %d ", r.UID), "(", 1)
				r.Tail = fmt.Sprintf(" UID %d)\r\n", r.UID+1)
			})
		}},
		{Name: "body-rfc822", Stage: Body, Row: 15, Describe: "RFC822 {n} for BODY[]", Do: func(x *Exchange) error { return x.Replace("BODY[] {", "RFC822 {") }},
		{Name: "body-lower-case", Stage: Body, Row: 15, Describe: "fetch and body[] in lower case", Do: func(x *Exchange) error {
			return x.Each(func(r *Response) {
				r.Head = strings.NewReplacer("FETCH", "fetch", "BODY[", "body[", "UID", "uid").Replace(r.Head)
			})
		}},
		{Name: "body-blank", Stage: Body, Row: 15, Describe: "blanks before ) and at the end", Do: func(x *Exchange) error {
			return x.Each(func(r *Response) { r.Tail = "  ) \r\n" })
		}},
		{Name: "body-attributes", Stage: Body, Row: 15, Describe: "X-GM-MSGID before and FLAGS (a]) behind a body", Do: func(x *Exchange) error {
			return x.Each(func(r *Response) {
				r.Head = strings.Replace(r.Head, "(UID", "(X-GM-MSGID 1278455344230334865 UID", 1)
				r.Tail = " FLAGS (\\Seen a]) X-GM-LABELS (\"\\\\Inbox\"))\r\n"
			})
		}},
		{Name: "body-literal-short", Stage: Body, Row: 15, Once: true, Describe: "announces more bytes than it sends", Do: func(x *Exchange) error {
			return x.Each(func(r *Response) { r.Body = r.Body[:len(r.Body)-10] })
		}},
		{Name: "body-literal-long", Stage: Body, Row: 15, Once: true, Describe: "sends more bytes than it announced", Do: func(x *Exchange) error {
			return x.Each(func(r *Response) { r.Body = append(append([]byte(nil), r.Body...), "0123456789"...) })
		}},
		{Name: "body-nil", Stage: Body, Row: 2, Once: true, Describe: "BODY[] NIL", Do: bodyAs("NIL")},
		{Name: "body-empty", Stage: Body, Row: 16, Once: true, Describe: "an empty literal", Do: bodyAs("{0}\r\n")},
		{Name: "body-empty-string", Stage: Body, Row: 16, Once: true, Describe: `BODY[] ""`, Do: bodyAs(`""`)},
		{Name: "body-quoted", Stage: Body, Row: 15, Once: true, Describe: "BODY[] as a quoted string", Do: bodyAs(`"Subject: \"quoted\""`)},
		{Name: "body-literal8", Stage: Body, Row: 15, Describe: "a literal8, non-synchronising: ~{n+}", Do: func(x *Exchange) error {
			return x.Each(func(r *Response) { r.Head = strings.NewReplacer("{", "~{", "}", "+}").Replace(r.Head) })
		}},
		{Name: "body-stub", Stage: Body, Row: 16, Once: true, Describe: "O365: Retrieval using the IMAP4 protocol failed", Do: func(x *Exchange) error {
			return x.Each(func(r *Response) {
				stub := "Subject: Retrieval using the IMAP4 protocol failed for the following message: 17\r\n\r\nThe server couldn't retrieve the following message.\r\n"
				r.Head = r.Head[:strings.LastIndex(r.Head, "{")] + fmt.Sprintf("{%d}\r\n", len(stub))
				r.Body = []byte(stub)
			})
		}},
		{Name: "body-odd-ok", Stage: Body, Row: 15, Describe: `OK [Error="…"] behind the bodies (O365)`, Do: func(x *Exchange) error { return x.Ends(`OK [Error="ErrorItemNotFound" x="]"] FETCH completed`) }},
		{Name: "body-omits", Stage: Body, Row: 2, Once: true, Describe: "omits a body, and says OK [MESSAGELIMIT 1000 7]", Do: func(x *Exchange) error {
			x.omitFirst()
			return x.Ends("OK [MESSAGELIMIT 1000 7] FETCH done in part")
		}},
		{Name: "body-silent-ok", Stage: Body, Row: 2, Once: true, Describe: "OK without a body", Do: func(x *Exchange) error { return x.Untagged() }},
		{Name: "body-no", Stage: Body, Row: 2, Once: true, Describe: "NO behind the first body", Do: func(x *Exchange) error {
			x.Responses = x.Responses[:1]
			x.Responses = append(x.Responses, lines(x.Tag+" NO some messages could not be FETCHed")...)
			return nil
		}},
		{Name: "bodies-nil", Stage: Body, Row: 29, Describe: "BODY[] NIL for all, headers come", Do: wholeBodies(bodyAs("NIL"))},
		{Name: "bodies-empty", Stage: Body, Row: 29, Describe: "BODY[] empty for all, headers come", Do: wholeBodies(bodyAs("{0}\r\n"))},
		{Name: "bodies-short", Stage: Body, Row: 29, Describe: "BODY[] is a third of what RFC822.SIZE says, for all", Do: wholeBodies(func(x *Exchange) error {
			return x.putBodies(func(b []byte) []byte { return b[:len(b)/3] })
		})},
		{Name: "bodies-refused", Stage: Body, Row: 30, Describe: "NO [SERVERBUG] to every body, headers come", Do: wholeBodies(func(x *Exchange) error { return x.Tagged("NO [SERVERBUG] oops") })},
		{Name: "bodies-silent", Stage: Body, Row: 30, Describe: "OK without data to every body, headers come", Do: wholeBodies(func(x *Exchange) error { return x.Untagged() })},
		{Name: "bodies-close", Stage: Body, Row: 30, Describe: "closes over every body, headers come", Do: wholeBodies((*Exchange).Close)},
		{Name: "fetches-refused", Stage: Fetch, Row: 30, Describe: "NO [SERVERBUG] to every FETCH", Setup: func(s *Server) {
			s.Play(Quirk{Stage: Body, When: inInbox, Do: func(x *Exchange) error { return x.Tagged("NO [SERVERBUG] oops") }})
		}, Do: func(x *Exchange) error { return x.Tagged("NO [SERVERBUG] oops") }},
		{Name: "body-closed-twice", Stage: Body, Row: 15, Describe: "the parenthesis closes behind the literal, the other items follow bare (Xeams)", Do: func(x *Exchange) error {
			return x.Each(func(r *Response) { r.Tail = fmt.Sprintf(")\r\n FLAGS (\\Seen) RFC822.SIZE %d)\r\n", len(r.Body)) })
		}},
		{Name: "body-refused-one", Stage: Body, Row: 1, Describe: "NO [SERVERBUG] whenever the body of UID 2 is asked for", When: asksUID2, Do: func(x *Exchange) error {
			return x.Tagged("NO [SERVERBUG] message cannot be converted")
		}},
		{Name: "body-cut-one", Stage: Body, Row: 1, Describe: "closes whenever the body of UID 2 is asked for", When: asksUID2, Do: (*Exchange).Close},
		{Name: "body-omits-one", Stage: Body, Row: 1, Describe: "never gives the body of UID 2, and says OK", When: asksUID2, Do: func(x *Exchange) error {
			x.Responses = slices.DeleteFunc(x.Responses, func(r Response) bool { return r.UID == 2 })
			return nil
		}},
		{Name: "body-nil-size-zero", Stage: Body, Row: 2, Describe: "RFC822.SIZE 0, and OK without a body", Setup: func(s *Server) {
			s.Play(Quirk{Stage: Fetch, Do: func(x *Exchange) error { return x.Replace("RFC822.SIZE ", "RFC822.SIZE 0 X-SIZE ") }})
		}, Do: func(x *Exchange) error { return x.Untagged() }},
		{Name: "body-twice", Stage: Body, Row: 2, Describe: "every body twice", Do: func(x *Exchange) error {
			last := len(x.Responses) - 1
			twice := append([]Response(nil), x.Responses[:last]...)
			x.Responses = append(twice, x.Responses...)
			return nil
		}},
		{Name: "body-foreign", Stage: Body, Row: 2, Describe: "a body of a UID that nobody asked for", Do: func(x *Exchange) error {
			return x.Before("* 77 FETCH (UID 7777 BODY[] {9}\r\nnot yours)")
		}},
		{Name: "body-reversed", Stage: Body, Row: 2, Describe: "bodies in descending order", Do: func(x *Exchange) error {
			for i, j := 0, len(x.Responses)-2; i < j; i, j = i+1, j-1 {
				x.Responses[i], x.Responses[j] = x.Responses[j], x.Responses[i]
			}
			return nil
		}},
		{Name: "body-noise", Stage: Body, Row: 15, Describe: "VANISHED, EXISTS, RECENT, unknown lines, empty lines and + between bodies", Do: func(x *Exchange) error {
			return x.Before("* VANISHED (EARLIER) 41,43:116", "* 4 EXISTS", "* 1 RECENT", "", "+", "* XFOO bar {3}\r\n* ) baz", "* OK Still here", `* FLAGS (\Seen a])`, "* METADATA \"\" (/shared/x {2}\r\n)\r)", "* 3 XYZ")
		}},
		{Name: "body-size-as-2gb", Stage: Body, Row: 8, Describe: "announces a body of 2 GB and drips it", Do: func(x *Exchange) error {
			x.Write(fmt.Sprintf("* 1 FETCH (UID %d BODY[] {2147483648}\r\n", x.Responses[0].UID))
			for range 1 << 31 {
				if err := x.Write("x"); err != nil {
					return err
				}
				if err := x.Delay(Pause); err != nil {
					return err
				}
			}
			return x.Close()
		}},
		{Name: "body-2gb-in-noise", Stage: Body, Row: 8, Describe: "an unknown response with a literal of 2 GB, at full speed", Do: func(x *Exchange) error {
			x.Write("* XFOO {2147483648}\r\n")
			return x.Endless("x", 1<<31)
		}},
		{Name: "body-huge-number", Stage: Body, Row: 8, Describe: "announces 99999999999999999999 bytes", Do: func(x *Exchange) error {
			return x.Each(func(r *Response) { r.Head = r.Head[:strings.LastIndex(r.Head, "{")] + "{99999999999999999999}\r\n" })
		}},
		{Name: "body-endless-line", Stage: Body, Row: 8, Describe: "a line without end instead of a FETCH response", Do: func(x *Exchange) error {
			x.Write("* 1 FETCH (UID 1 X-JUNK ")
			return x.Endless("abcdefgh", 1<<40)
		}},
		{Name: "body-deep-list", Stage: Body, Row: 8, Describe: "an attribute nested 100,000 deep", Do: func(x *Exchange) error {
			return x.Replace("(UID", "(X-DEEP "+strings.Repeat("(", 100_000)+strings.Repeat(")", 100_000)+" UID")
		}},
		{Name: "body-bye", Stage: Body, Row: 21, Once: true, Describe: "BYE [UNAVAILABLE] instead of bodies", Do: func(x *Exchange) error { return x.Bye("[UNAVAILABLE] Too many connections") }},
		{Name: "body-bye-between", Stage: Body, Row: 21, Once: true, Describe: "BYE [OVERQUOTA] behind the first body", Do: func(x *Exchange) error {
			x.Responses = append(x.Responses[:1], lines("* BYE [OVERQUOTA] Account exceeded command or bandwidth limits. (Failure)")...)
			x.after = x.Close
			return nil
		}},
		{Name: "body-garbage", Stage: Body, Row: 15, Once: true, Describe: "bytes that are no IMAP", Do: func(x *Exchange) error { return x.Write("\x00\xff\xfe garbage (\r\n") }},
		{Name: "body-wrong-tag", Stage: Body, Row: 15, Once: true, Describe: "completes a command that nobody sent", Do: func(x *Exchange) error { return x.Write("X99 OK FETCH done\r\n") }},
		{Name: "body-expunge", Stage: Body, Row: 2, Once: true, Describe: "a mail is expunged while it is fetched", Do: func(x *Exchange) error {
			if len(x.Responses) > 1 {
				x.Mailbox.Expunge(x.Responses[0].UID)
				x.omitFirst()
				x.Responses = append(lines("* 1 EXPUNGE"), x.Responses...)
			}
			return nil
		}},
		{Name: "body-other-section", Stage: Body, Row: 16, Once: true, Describe: "BODY[TEXT] for BODY[]", Do: func(x *Exchange) error { return x.Replace("BODY[]", "BODY[TEXT]") }},

		// UIDs
		{Name: "uids-near-2-32", Row: 2, Stage: Search, Describe: "UIDs near 2^32", Setup: func(s *Server) {
			m := s.Mailbox("INBOX")
			m.SetUIDNext(1<<32 - 3)
			m.Append("From: a@example.com\r\nSubject: last but one\r\nMessage-ID: <x1@example.com>\r\n\r\none\r\n")
		}},

		// The rest of a session
		{Name: "idle-refused", Stage: Idle, Row: 5, Describe: "BAD to IDLE", Do: func(x *Exchange) error { return x.Tagged("BAD no IDLE") }},
		{Name: "idle-dies", Stage: Idle, Row: 5, Describe: "acknowledges IDLE and never says anything again", Do: func(x *Exchange) error {
			x.Write("+ idling\r\n")
			return x.Hang()
		}},
		{Name: "idle-hang", Stage: Idle, Row: 5, Describe: "never acknowledges IDLE", Do: (*Exchange).Hang},
		{Name: "idle-cut", Stage: Idle, Row: 5, Describe: "closes as soon as IDLE begins", Do: (*Exchange).Close},
		{Name: "logout-hang", Stage: Logout, Row: 4, Describe: "never answers LOGOUT", Do: (*Exchange).Hang},
		{Name: "logout-cut", Stage: Logout, Row: 22, Describe: "closes instead of answering LOGOUT", Do: (*Exchange).Close},
		{Name: "logout-reset", Stage: Logout, Row: 22, Describe: "resets instead of answering LOGOUT", Do: (*Exchange).Reset},
		{Name: "noop-hang", Stage: Noop, Row: 4, Describe: "never answers NOOP", Do: (*Exchange).Hang},
	}
}

// Named is the quirk of that name; it panics when there is none.
func Named(name string) Quirk {
	for _, q := range Quirks() {
		if q.Name == name {
			return q
		}
	}
	panic("imapserver: no quirk named " + name)
}

// asksUID2 reports whether a FETCH asks for UID 2.
func asksUID2(x *Exchange) bool {
	return slices.ContainsFunc(x.Responses, func(r Response) bool { return r.UID == 2 })
}

// inInbox reports whether an exchange is about INBOX.
func inInbox(x *Exchange) bool { return x.Mailbox != nil && x.Mailbox.Name == "INBOX" }

// greets replaces the greeting.
func greets(line string) func(x *Exchange) error {
	return func(x *Exchange) error {
		x.Responses = lines(line)
		return nil
	}
}

// selectExists says another number of messages in answer to EXAMINE.
func selectExists(n int) func(x *Exchange) error {
	return func(x *Exchange) error {
		for i := range x.Responses {
			if strings.HasSuffix(x.Responses[i].Head, " EXISTS\r\n") {
				x.Responses[i].Head = fmt.Sprintf("* %d EXISTS\r\n", n)
			}
		}
		return nil
	}
}

// renumbers numbers a folder anew before it answers STATUS or EXAMINE.
func renumbers(x *Exchange) error {
	x.Mailbox.Renumber()
	x.c.update()
	next, validity := x.Mailbox.numbers()
	x.setNumber("UIDNEXT", fmt.Sprint(next))
	x.setNumber("UIDVALIDITY", fmt.Sprint(validity))
	return nil
}

// statusWith sets an item of STATUS responses.
func statusWith(item, value string) func(x *Exchange) error {
	return func(x *Exchange) error {
		for i := range x.Responses {
			f := strings.Fields(x.Responses[i].Head)
			for j := range f {
				if strings.TrimLeft(f[j], "(") == item && j+1 < len(f) {
					f[j+1] = value + strings.Repeat(")", strings.Count(f[j+1], ")"))
				}
			}
			x.Responses[i].Head = strings.Join(f, " ") + "\r\n"
		}
		return nil
	}
}

// statusWithout gives an item of STATUS responses a name that nobody knows.
func statusWithout(item string) func(x *Exchange) error {
	return func(x *Exchange) error { return x.Replace(item, "X-"+item) }
}

// bodyAs puts something else where a body's literal was.
func bodyAs(value string) func(x *Exchange) error {
	return func(x *Exchange) error {
		return x.Each(func(r *Response) {
			r.Head = r.Head[:strings.LastIndex(r.Head, "{")] + value
			r.Body = nil
		})
	}
}

// omitFirst drops the first FETCH response.
func (x *Exchange) omitFirst() error {
	for i := range x.Responses {
		if x.Responses[i].UID != 0 {
			x.Responses = append(x.Responses[:i], x.Responses[i+1:]...)
			break
		}
	}
	return nil
}

// sentBefore reports whether the client has sent a command on this connection.
func (x *Exchange) sentBefore(name string) bool {
	for _, c := range x.Server.Commands() {
		f := strings.Fields(c.Line)
		if c.Conn == x.c.num && len(f) > 1 && strings.EqualFold(f[1], name) {
			return true
		}
	}
	return false
}
