package sync

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	gosync "sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"imapsync/db"
	"imapsync/internal/devenv/imapserver"
	"imapsync/internal/fault"
)

var updateQuirks = flag.Bool("update-quirks", false, "write docs/quirks.md anew")

const quirksFile = "../docs/quirks.md"

// neverInAPass lists quirks that answer what a pass does not ask.
var neverInAPass = map[string]bool{
	"id-required": true, "list-return-rejected": true, "list-noselect": true,
	"search-return-rejected": true, "search-charset-rejected": true, "uids-near-2-32": true,
	"idle-refused": true, "idle-dies": true, "idle-hang": true, "idle-cut": true, "noop-hang": true,
}

// verdict is what a pass makes of a quirk.
type verdict struct {
	quirk       imapserver.Quirk
	pass        string // all served, some folders, none
	read        string // of the mail in INBOX, while it lasts
	code        string // class and code of the error
	quarantined []string
	errText     string
}

// quirkWorkers is how many quirks play at a time: most of them are silence.
const quirkWorkers = 8

// TestFailureQuirks plays every quirk of the scripted server to whole passes on
// a real database and a real broker. The pass ends within its deadlines; other
// folders and the neighbour are served; no secret shows; and once the server
// behaves, all of its mail is on the stream by itself, once each, that
// which came in the hours that it lasted too, and nothing is in quarantine unless the
// fault was one message's. What a pass makes of each quirk stands in docs/quirks.md.
func TestFailureQuirks(t *testing.T) {
	l := newSharedServers(t)
	var (
		wg       gosync.WaitGroup
		mu       gosync.Mutex
		verdicts []verdict
		slots    = make(chan struct{}, quirkWorkers)
	)
	quirks := imapserver.Quirks()
	for _, q := range quirks {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			t.Run(fmt.Sprintf("Failure%02d_%s", q.Row, q.Name), func(t *testing.T) {
				v := l.play(t, q)
				mu.Lock()
				defer mu.Unlock()
				verdicts = append(verdicts, v)
			})
		})
	}
	wg.Wait()
	if len(verdicts) < len(quirks) {
		return // only some were asked for, or one has failed
	}
	slices.SortFunc(verdicts, func(a, b verdict) int {
		return position(quirks, a.quirk.Name) - position(quirks, b.quirk.Name)
	})
	table := quirkTable(verdicts)
	t.Log("\n" + table)
	if *updateQuirks {
		must(t, os.MkdirAll("../docs", 0o755))
		must(t, os.WriteFile(quirksFile, []byte(table), 0o644))
		return
	}
	written, err := os.ReadFile(quirksFile)
	must(t, err)
	if diff := gocmp.Diff(strings.Split(string(written), "\n"), strings.Split(table, "\n")); diff != "" {
		t.Errorf("%s says otherwise (go test ./sync -run FailureQuirks -update-quirks writes it anew):\n%s", quirksFile, diff)
	}
}

func position(quirks []imapserver.Quirk, name string) int {
	return slices.IndexFunc(quirks, func(q imapserver.Quirk) bool { return q.Name == name })
}

// folderStages are those at which a quirk may concern one folder alone.
var folderStages = []imapserver.Stage{imapserver.Status, imapserver.Select, imapserver.Search, imapserver.Fetch, imapserver.Body}

// inInbox confines a quirk to INBOX where that is possible.
func inInbox(q imapserver.Quirk) imapserver.Quirk {
	if !slices.Contains(folderStages, q.Stage) {
		return q
	}
	when := q.When
	q.When = func(x *imapserver.Exchange) bool {
		return x.Mailbox != nil && x.Mailbox.Name == "INBOX" && (when == nil || when(x))
	}
	return q
}

func (l *sharedServers) play(t *testing.T, q imapserver.Quirk) verdict {
	env := l.start(t, q.Security, func(p *db.Provider) {
		if !q.Silent() {
			deadlines(p, patient)
		}
	})
	env.srv.Play(inInbox(q))
	res := env.pass()
	// The answer to LOGOUT is not waited for, so it may come to nobody.
	if env.srv.Fired() == 0 && !neverInAPass[q.Name] && q.Stage != imapserver.Logout {
		t.Error("the quirk did not fire")
	}
	if n := len(env.onStream(env.neighbour)); n != neighbourMails {
		t.Errorf("the neighbour has %d events, want %d", n, neighbourMails)
	}
	if slices.Contains(folderStages, q.Stage) {
		if left := env.missing("Other", "Sub/One"); len(left) > 0 {
			t.Errorf("the other folders were not served: %q", left)
		}
	}
	v := env.verdict(q, res)
	if (q.Stage == imapserver.Idle || q.Stage == imapserver.Noop) && env.srv.Fired() == 0 {
		v.pass += ", never asked"
	}
	if v.errText != "" {
		if bad := regexp.MustCompile(`use of closed|EOF|127\.0\.|reset by peer`).FindString(v.errText); bad != "" {
			t.Errorf("the error does not say what happened: %s", v.errText)
		}
	}
	if errors.Is(res.Err, errLockLost) {
		t.Error(res.Err)
	}
	env.wellMannered(res)
	if q.Row == 1 { // the fault is one message's
		env.atFault = "INBOX 2"
	}
	if class, _ := Classify(res.Err); (class == fault.Auth) != q.Person {
		t.Errorf("class %s: a person is to mend it: %v", class, q.Person)
	}
	if !q.Once && !q.Silent() && !q.Person && q.Do != nil && q.Name != "search-200000" { // which costs minutes
		for _, wait := range lasts() {
			env.later(wait)
			env.append("INBOX", 1)
			env.append("Other", 1)
			env.pass()
		}
	}
	if left := env.missing("INBOX"); q.Row == 1 && len(slices.DeleteFunc(left, func(subject string) bool { return subject == env.atFault })) > 0 {
		t.Errorf("missing on the stream: %q, want the message at fault alone", left)
	}

	inbox := len(env.srv.Mailbox("INBOX").Messages())
	v.read = fmt.Sprintf("%d of %d", inbox-len(env.missing("INBOX")), inbox)

	env.srv.Behave()
	env.append("INBOX", 1)
	env.append("Other", 1)
	env.settle()
	env.wellMannered()
	return v
}

// lasts are the times from one pass to the next while a quirk lasts: hours in all, and
// every message that failed is tried five times.
func lasts() []time.Duration {
	return []time.Duration{2 * time.Minute, 5 * time.Minute, 17 * time.Minute, 65 * time.Minute, 4 * time.Hour}
}

var (
	ownID    = regexp.MustCompile(`^provider \S+ \([0-9a-f-]{36}\): `)
	lineSize = regexp.MustCompile(`a line of \d+ bytes, over`)
	// socket is what the system says of a connection, as it comes that day.
	socket = regexp.MustCompile(`(: (read|write) tcp 127\.0\.[0-9.:>-]+)?: ((read|write): )?(connection reset by peer|broken pipe|i/o timeout|unexpected EOF|EOF)`)
)

// plain leaves out of an error what is another each time.
func plain(text string) string {
	return lineSize.ReplaceAllString(socket.ReplaceAllString(text, ""), "a line over")
}

func (env *scriptedEnv) verdict(q imapserver.Quirk, res Result) verdict {
	v := verdict{quirk: q, pass: "all folders"}
	if res.Err != nil {
		class, code := Classify(res.Err)
		v.code = fmt.Sprintf("%s `%s`", class, code)
		v.errText = plain(ownID.ReplaceAllString(res.Err.Error(), ""))
		v.pass = "nothing"
		if res.Partial {
			v.pass = "other folders"
		}
	}
	byCode := map[string]int{}
	waiting := env.quarantine()
	slices.SortFunc(waiting, func(a, b db.Quarantine) int { return cmp.Compare(a.UID, b.UID) })
	for _, m := range waiting {
		byCode[m.ErrorCode]++
		if v.errText == "" {
			v.errText = plain(m.Error)
		}
	}
	for code, n := range byCode {
		v.quarantined = append(v.quarantined, fmt.Sprintf("%d `%s`", n, code))
	}
	slices.Sort(v.quarantined)
	return v
}

func quirkTable(verdicts []verdict) string {
	var b strings.Builder
	b.WriteString(`# What servers do wrong, and what a pass makes of it

Every line is played by a scripted server to a whole pass with a real database and
a real broker; a quirk of one folder is played in INBOX, beside two others.
"Served" is what the pass reads all the same; "quarantined" is how many of the four
messages in INBOX wait for another attempt after the first pass; then the class and
code of the error (in ` + "`imapsync status`" + `, metrics and log) and its text. What lasts is
played for five hours and a half, in six passes, while mail goes on to come: "read" is
how many of the messages in INBOX were on the stream by the end of it.

Whatever it is: the pass ends within its deadlines, other providers go on, and once the
server behaves all its mail is on the stream by itself, once each, and nothing is in
quarantine unless the fault was one message's. What only a person can mend, a refusal
of the credentials, pauses the provider at the third. "Row" is the kind of failure, as
in the names of the tests. Written by ` + "`go test ./sync -run FailureQuirks -update-quirks`" + `.

| row | quirk | the server | served | read | quarantined | error | text |
|---|---|---|---|---|---|---|---|
`)
	for _, v := range verdicts {
		fmt.Fprintf(&b, "| %d | %s | %s | %s | %s | %s | %s | %s |\n", v.quirk.Row, v.quirk.Name, cell(v.quirk.Describe), v.pass, v.read,
			strings.Join(v.quarantined, ", "), v.code, cell(v.errText))
	}
	lieTable(&b)
	return b.String()
}

// lieTable is the part about histories.
func lieTable(b *strings.Builder) {
	var span time.Duration
	for _, wait := range afterTheLies() {
		span += wait
	}
	fmt.Fprintf(b, `
## Histories

`+"`make histories`"+` plays mailboxes on a server that behaves, then lies for up to six hours in
one or more of these ways, at each command or at some, about all folders or one, and
then behaves, once or twice over. Meanwhile mail comes (copies, second deliveries, the
headers of another mail, no Message-ID, no Date), is moved and expunged, passes are
killed, settings change, and the mailbox moves to another server. Once the server
behaves, all mail that is on it is on the stream, once and whole, within %d passes
spread over %.0f hours, nothing is in quarantine unless the fault was one message's, and no
mailbox is paused. `+"`make test`"+` plays 200 of them, `+"`make soak`"+` 2,000. A history is its seed:
one that fails prints it, with all that was said.

No lie forges what nobody could see through: the date of a mail together with when it
was received, or the size of a message together with its body.

| lie | the server |
|---|---|
`, len(afterTheLies()), span.Hours())
	for _, lie := range imapserver.Lies() {
		fmt.Fprintf(b, "| %s | %s |\n", lie.Name, cell(lie.Describe))
	}
}

func cell(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "*", `\*`).Replace(s)
}
