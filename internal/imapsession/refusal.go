package imapsession

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode"

	"github.com/emersion/go-imap/v2"

	"imapsync/internal/fault"
	"imapsync/internal/imapwire"
)

// Servers refuse in words of their own. What a refusal means is decided by its response
// code where that says what it is about, else by its words, and by whole words only:
// GNU imap4d's "LOGIN User name or passwd rejected" has "in use" in it.

// responses are the codes of the response codes that decide (RFC 5530, RFC 3501 section
// 7.1, and some that servers made up or took from POP3), whatever command they answer.
var responses = map[string]string{
	"UNAVAILABLE": "unavailable", "SYS/TEMP": "unavailable",
	"SERVERBUG": "serverbug", "CORRUPTION": "serverbug",
	"LIMIT": "limit", "LOGIN-DELAY": "limit",
	"INUSE": "inuse", "IN-USE": "inuse",
	"THROTTLED": "throttled", "OVERQUOTA": "overquota", "CONTACTADMIN": "contactadmin",
	"AUTHENTICATIONFAILED": "authenticationfailed", "AUTH": "authenticationfailed",
	"AUTHORIZATIONFAILED": "authorizationfailed", "EXPIRED": "expired",
	"NONEXISTENT": "folder_missing", "TRYCREATE": "folder_missing",
	"NOPERM": "no_permission",
}

// wording gives the words of a refusal their code.
type wording struct {
	code string
	text *regexp.Regexp // of what plainWords makes of a text
}

func phraseSet(code string, phrases ...string) wording {
	return wording{code, regexp.MustCompile(" (?:" + strings.Join(phrases, "|") + ") ")}
}

// ownFault is how servers say that they are at fault or ask for patience: no refusal in
// such words is about a mailbox, whatever command it answers.
var ownFault = []wording{patience, outOfReach, broken, machinery}

var (
	patience = phraseSet("throttled",
		"throttl(?:ed|ing)", "too (?:many|much|often|fast)", "later", "temporar(?:y|ily)", "rate (?:limit(?:s|ed|ing)?|exceeded)",
		"limit (?:exceeded|reached|hit)", "(?:frequency|connection) limit(?:ed)?", "exceeded", "over ?quota", "bandwidth", "back ?off", "slow down",
		"busy", "in use", "max(?:imum)? (?:number of )?connections", "simultaneous", "concurrent", "already logged in", "authenticated but not connected",
		"locked by (?:(?:an?|another|other|the) )?(?:pop3?|imap4?|server|session|process|client|connection)",
		"(?:few|[0-9]+) (?:seconds|minutes|hours)",
		"vorübergehend", "später", "temporairement", "plus tard", "temporalmente", "más tarde", "temporaneamente", "più tardi")
	outOfReach = phraseSet("unavailable",
		"(?:un|not )available", "(?:un|not )reachable", "maintenance", "migrating", "migration", "being (?:migrated|moved|upgraded|updated|restored)",
		"overload(?:ed)?", "(?:heavy|high) load", "load (?:is )?too high", "capacity",
		"(?:is|going|shutting|shut|server|service|system) down", "starting up", "not ready", "offline", "out of service")
	broken = phraseSet("serverbug",
		"processing (?:failed|failure|error)",
		"(?:server|system|service|internal|database|back ?end|generic|technical|fatal|unexpected|i o|io|disk) (?:error|failure|fault|problem)s?",
		"exception", "out of memory", "no space", "disk (?:is )?full", "no such file", "read only file ?system", "corrupt(?:ed|ion)?", "clock skew",
		"(?:cannot|can t|could not|couldn t|unable to|failed to) (?:connect|contact|reach|open|load|lock|read|write|create|stat|verify|validate|check|process|look ?up)",
		"connect(?:ion)?(?: [^ ]+){0,6} (?:refused|failed|error|lost|reset|closed|broken)", "time ?out", "timed out", "look ?up (?:failed|failure|error)", "not running", "crashed",
		"not respond(?:ing)?", "no response")
	// machinery is what a server is made of. Where it is named, it broke down.
	machinery = phraseSet("serverbug", "internal", "intern(?:e[rs]?|[oa])", "back ?ends?", "database", "ldap", "sql", "mysql",
		"auth(?:entication)? (?:server|service|daemon|process|system|backend)", "authdaemon", "saslauthd", "proxy", "upstream")
)

// eitherWay may be for a person to mend, or for time: an account locked for a while, or
// for trying a password that is wrong, and one that went to another server.
var eitherWay = phraseSet("login_unclear",
	"temporar(?:y|ily) (?:locked|suspended|disabled|blocked|deactivated)",
	"(?:user|account|mailbox)(?: (?:has|have|is|was|been))* (?:migrated|moved)",
)

// wantsTLS asks for a connection that is encrypted.
var wantsTLS = phraseSet("privacy_required",
	"(?:plain|clear) ?text(?: [^ ]+){0,3} (?:disallowed|disabled|refused|not (?:allowed|permitted|supported|accepted))",
	"(?:issue|use|do|need|needs|require|requires)(?: [^ ]+){0,2} starttls", "starttls (?:is )?required",
	"encrypt(?:ion|ed)(?: [^ ]+){0,2} required", "only (?:available|allowed|permitted)(?: [^ ]+){0,3} (?:ssl|tls|encrypted|layer)",
	"(?:ssl|tls)(?: [^ ]+){0,2} required",
)

const (
	whoSigns    = "(?:(?:user|login|account|mailbox) ?(?:name|id)|e ?mail(?: address)?|user|pass ?word|passwd|passphrase|credentials?|token)"
	wrongBefore = "(?:invalid|incorrect|wrong|bad|unknown|unrecogni[sz]ed|expired|no such)"
	wrongBehind = "(?:not valid|invalid|incorrect|wrong|rejected|not accepted|not recogni[sz]ed|not found|unknown|expired|mismatch|does not exist|doesn t exist|(?:do|does|did) not match)"
)

// wrongCredentials says outright that a name or a password is wrong, or an account not
// one for IMAP. It counts before ownFault: QQ lists all causes there are, from the
// password to a busy system.
var wrongCredentials = phraseSet("login_refused",
	wrongBefore+" (?:log ?[io]n|"+whoSigns+")",
	whoSigns+"(?: (?:or|and|and or) "+whoSigns+")?(?: (?:is|are|was|were|has|have|been))* "+wrongBehind,
	"pass ?word error", "web log ?in required", "web browser", "not available (?:for|to|in|on|with) (?:your|this) (?:account|user|plan|subscription|domain)",
)

// aboutLogin speaks of who logs in and how: what no waiting mends. It counts behind
// ownFault, where "authentication" may be the name of what broke down.
var aboutLogin = phraseSet("login_refused",
	"pass ?words?", "passwd", "passphrase", "credentials?", "user ?names?", "auth(?:ori[sz]ation)? code",
	"(?:log ?[io]n|sign ?in|auth(?:enticate|entication|ori[sz]ation)?)(?: (?:is|was|has|been|attempt))* "+
		"(?:fail|failed|failure|incorrect|invalid|denied|rejected|refused|error|unsuccessful|required|disabled|blocked|not (?:permitted|allowed))",
	"(?:un|not )authori[sz]ed", "unsafe log ?in", "web log ?in",
	"(?:user|account|mailbox|imap|imap4|pop3|access|service|protocol|client|application)(?: [^ ]+){0,3} "+
		"(?:disabled|suspended|blocked|deactivated|inactive|terminated|closed|abnormal|expired|frozen|(?:not|un) ?(?:enabled|active|activated|allowed|permitted|open|licensed))",
	"(?:user|account|access)(?: [^ ]+){0,3} locked", "not enabled", "enable imap", "(?:2|two) (?:factor|step)", "multi ?factor", "2fa", "mfa",
)

// forPerson are the words that make an ALERT, which says nothing by itself, one about
// the login.
var forPerson = phraseSet("login_refused",
	"log ?[io]n", "sign ?in", "account", "user", "access", "authenticat(?:e|ed|ion)", "imap", "browser", "blocked", "security", "verify", "verification")

// plainWords is a text as wording compares it: its words in lower case between single
// blanks, without addresses and links, and without the name of who logs in, which is
// no word of the server's.
func plainWords(text, username string) string {
	name, _, _ := strings.Cut(strings.ToLower(username), "@")
	var b strings.Builder
	b.WriteByte(' ')
	for field := range strings.FieldsSeq(strings.ToLower(text)) {
		if strings.Contains(field, "://") || strings.Contains(field, "@") || name != "" && strings.Trim(field, `"'<>().,:;`) == name {
			continue
		}
		for word := range strings.FieldsFuncSeq(field, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
			b.WriteString(word)
			b.WriteByte(' ')
		}
	}
	return b.String()
}

// about is the code of a NO, BAD or BYE outside of a login.
func about(typ, response, text string) string {
	if code := responses[strings.ToUpper(response)]; code != "" {
		return code
	}
	if code := saysOwnFault(plainWords(text, "")); code != "" {
		return code
	}
	if typ == "BYE" {
		return "bye"
	}
	return "refused"
}

// saysOwnFault is the code of words in which a server calls itself at fault.
func saysOwnFault(words string) string {
	for _, w := range ownFault {
		if w.text.MatchString(words) {
			return w.code
		}
	}
	return ""
}

func aboutError(e *imap.Error) string { return about(string(e.Type), string(e.Code), e.Text) }

// aboutRefusal is the code of a NO, BAD or BYE that answers a login. Only what certainly
// speaks of who logs in counts towards pausing the provider; what says nothing either
// way may be a password that is wrong, or a server that is ill.
func aboutRefusal(typ, response, text, username string) string {
	response, words := strings.ToUpper(response), plainWords(text, username)
	no := typ == "NO"
	outright := no && wrongCredentials.text.MatchString(words)
	speaks := outright || no && aboutLogin.text.MatchString(words)
	switch code := responses[response]; {
	case response == "PRIVACYREQUIRED", code == "" && typ != "BYE" && wantsTLS.text.MatchString(words):
		return "privacy_required"
	case code == "no_permission":
		return "authorizationfailed"
	case code == "contactadmin" && speaks:
		return "login_refused"
	case code == "" && outright:
		return unlessBroken(words)
	case code != "" && code != "folder_missing":
		return code
	}
	alert := (response == "ALERT" || response == "WEBALERT") && forPerson.text.MatchString(words)
	switch code := saysOwnFault(words); {
	case no && eitherWay.text.MatchString(words):
		return "login_unclear"
	case code != "":
		return code
	case speaks || no && alert:
		return "login_refused"
	case typ == "BYE" && !alert && !wrongCredentials.text.MatchString(words):
		return "bye"
	}
	return "login_unclear"
}

// unlessBroken is the code of words that call the credentials wrong. What else they say
// of a server that broke down makes that doubtful: "unknown user: LDAP timeout".
func unlessBroken(words string) string {
	words = wrongCredentials.text.ReplaceAllString(words, "  ")
	if outOfReach.text.MatchString(words) || broken.text.MatchString(words) {
		return "login_unclear"
	}
	return "login_refused"
}

// loginError classes the refusal of a login.
func loginError(err error, last imapwire.Status, username string) error {
	e, ok := errors.AsType[*imap.Error](err)
	switch {
	case ok && last.Command == "": // the wire was not asked
		last = imapwire.Status{Type: string(e.Type), Code: string(e.Code), Text: e.Text}
	case !ok && last.Type != "BYE":
		return fmt.Errorf("login: %w", err)
	}
	verb := "login refused: %s"
	if !ok {
		verb = "login: server said %s"
	}
	return failf(aboutRefusal(last.Type, last.Code, last.Text, username), verb, last)
}

// tokenError classes the refusal of a token. The server explains itself in a challenge
// before it refuses: then it is about the token, unless the end of the exchange, or the
// status in the challenge, speaks of something else.
func tokenError(err error, challenge, excerpt string) error {
	if challenge == "" {
		return err
	}
	class, code := Classify(err)
	switch code {
	case "login_refused", "login_unclear", "refused", "connection":
		class, code = fault.Auth, "token_refused"
		if serverStatus.MatchString(challenge) {
			class, code = fault.Transient, "unavailable"
		}
	}
	return fault.Newf(class, code, "%w (the server says of the token: %s)", err, excerpt)
}

// serverStatus is the status of a fault of the server's in a challenge, as Google gives
// it (RFC 7628 section 3.2.2 has words there).
var serverStatus = regexp.MustCompile(`"status"\s*:\s*"?(5\d\d|429|temporarily_unavailable|server_error)"?`)
