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

	gocmp "github.com/google/go-cmp/cmp"

	"imapsync/db"
	"imapsync/internal/devenv/imapserver"
)

var updateQuirks = flag.Bool("update-quirks", false, "write docs/quirks.md anew")

const quirksFile = "../docs/quirks.md"

// neverInAPass lists quirks that answer what a pass does not ask.
var neverInAPass = map[string]bool{
	"id-required": true, "list-return-rejected": true, "list-noselect": true,
	"search-return-rejected": true, "search-charset-rejected": true, "uids-near-2-32": true,
	"idle-refused": true, "idle-dies": true, "idle-hang": true, "noop-hang": true,
}

// verdict is what a pass makes of a quirk.
type verdict struct {
	quirk       imapserver.Quirk
	pass        string // all served, some folders, none
	code        string // class and code of the error
	quarantined []string
	errText     string
}

// quirkWorkers is how many quirks play at a time: most of them are silence.
const quirkWorkers = 8

// TestFailureQuirks plays every quirk of the scripted server to whole passes on
// a real database and a real broker. The pass ends within its deadlines; other
// folders and the neighbour are served; no secret shows; and once the server
// behaves, all of its mail is on the stream, once each, that which came
// meanwhile too. What a pass makes of each quirk stands in docs/quirks.md.
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
	if q.Row == 1 { // one message is at fault
		for range 2 {
			env.append("INBOX", 2)
			env.pass()
		}
		if left := env.missing("INBOX"); len(left) != 1 {
			t.Errorf("missing on the stream: %q, want the message at fault alone", left)
		}
	}

	env.srv.Behave()
	env.append("INBOX", 1)
	env.append("Other", 1)
	env.settle()
	env.wellMannered()
	return v
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
messages in INBOX wait for another attempt; then the class and code of the error
(in ` + "`imapsync status`" + `, metrics and log) and its text. Whatever it is: the pass ends
within its deadlines, other providers go on, and once the server behaves all its
mail is on the stream, once each. "Row" is the kind of failure, as in the names of
the tests. Written by ` + "`go test ./sync -run FailureQuirks -update-quirks`" + `.

| row | quirk | the server | served | quarantined | error | text |
|---|---|---|---|---|---|---|
`)
	for _, v := range verdicts {
		fmt.Fprintf(&b, "| %d | %s | %s | %s | %s | %s | %s |\n", v.quirk.Row, v.quirk.Name, cell(v.quirk.Describe), v.pass,
			strings.Join(v.quarantined, ", "), v.code, cell(v.errText))
	}
	return b.String()
}

func cell(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "*", `\*`).Replace(s)
}
