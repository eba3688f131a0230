package imapserver

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
)

// Liar has a server lie: at each command it may tell one of the lies that have
// begun and not ended. What it tells comes from a seed, the number of the
// connection and that of the command on it, so that a seed tells the same story
// again.
type Liar struct {
	// Told, if any, hears of every answer before it is sent; lie is empty for
	// one that is true.
	Told func(x *Exchange, lie string)

	seed    uint64
	mu      sync.Mutex
	telling []telling
	said    map[int]int // answers by connection
}

// telling is a lie that has begun.
type telling struct {
	lie    Lie
	folder string // "" for all of them
	mail   string // a text in the one message that it is about; "" for all
	chance float64
}

// NewLiar makes a server a liar that knows no lie yet.
func NewLiar(s *Server, seed uint64) *Liar {
	l := &Liar{seed: seed, said: map[int]int{}}
	for _, stage := range everyCommand() {
		s.Play(Quirk{Name: "liar", Stage: stage, Do: l.answer})
	}
	return l
}

// Begin has the server tell a lie, at each command that it is about with a chance
// from 0 to 1: about one folder, or all when it is empty, and about the one message
// with a text in it, or all when that is empty.
func (l *Liar) Begin(lie Lie, folder, mail string, chance float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.telling = append(l.telling, telling{lie, folder, mail, chance})
}

// End ends the lie of that name.
func (l *Liar) End(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.telling = slices.DeleteFunc(l.telling, func(t telling) bool { return t.lie.Name == name })
}

// answer lets the lies have their way with an exchange: the first that is about it
// and whose chance comes.
func (l *Liar) answer(x *Exchange) error {
	l.mu.Lock()
	l.said[x.c.num]++
	r := rand.New(rand.NewPCG(l.seed, uint64(x.c.num)<<32|uint64(l.said[x.c.num])))
	lies := slices.Clone(l.telling)
	l.mu.Unlock()
	for _, i := range r.Perm(len(lies)) {
		t := lies[i]
		if t.lie.Tell == nil || !slices.Contains(t.lie.Stages, x.Stage) || r.Float64() >= t.chance ||
			t.folder != "" && x.Mailbox != nil && x.Mailbox.Name != t.folder || t.mail != "" && !x.gives(t.mail) {
			continue
		}
		l.tell(x, t.lie.Name)
		return t.lie.Tell(x, r)
	}
	l.tell(x, "")
	return nil
}

func (l *Liar) tell(x *Exchange, lie string) {
	if l.Told != nil {
		l.Told(x, lie)
	}
}

// gives reports whether the answer has the body of the message with a text in it.
func (x *Exchange) gives(text string) bool {
	return slices.ContainsFunc(x.Responses, func(r Response) bool { return strings.Contains(string(r.Body), text) })
}

// Lie is an untruth that a server tells for a while.
type Lie struct {
	Name     string
	Describe string
	Stages   []Stage
	Forges   string // the evidence it forges: two lies of one kind at a time nobody could see through
	One      bool   // it is about one message
	Slow     bool   // each time costs the client a time-out
	Tell     func(x *Exchange, r *rand.Rand) error
	// Begin and End change what a folder shows; either may be nil.
	Begin, End func(m *Mailbox, r *rand.Rand)
}

func everyCommand() []Stage {
	return []Stage{Greeting, Capability, Login, ID, List, Status, Select, Search, Fetch, Body, Noop, Logout}
}

// Lies are all that a server may tell, made afresh: some remember what they said.
func Lies() []Lie {
	return slices.Concat(liesAboutTheServer(), liesAboutFolders(), liesAboutNumbers(), liesAboutMessages())
}

func liesAboutTheServer() []Lie {
	return []Lie{
		{Name: "closes", Describe: "the connection is closed, at any byte of an answer", Stages: everyCommand(), Tell: func(x *Exchange, r *rand.Rand) error {
			return x.After(r.IntN(x.size()+1), x.Close)
		}},
		{Name: "resets", Describe: "the connection is reset, at any byte of an answer", Stages: everyCommand(), Tell: func(x *Exchange, r *rand.Rand) error {
			return x.After(r.IntN(x.size()+1), x.Reset)
		}},
		{Name: "hangs", Describe: "a command is never answered", Stages: everyCommand(), Slow: true, Tell: func(x *Exchange, _ *rand.Rand) error { return x.Hang() }},
		{Name: "bye", Describe: "BYE instead of an answer", Stages: everyCommand(), Tell: func(x *Exchange, r *rand.Rand) error {
			return x.Bye(oneOf(r, "[UNAVAILABLE] going down", "Session terminated", "[LIMIT] Session expired, please login again", "JavaMail server error"))
		}},
		{Name: "login-fault", Describe: "a login is refused by a fault of the server", Stages: []Stage{Login}, Tell: func(x *Exchange, r *rand.Rand) error {
			return x.Tagged("NO " + oneOf(r, "Internal server error", "LOGIN processing failed.", "LDAP server unreachable", "LOGIN backend error",
				"Mailbox is being migrated", "[UNAVAILABLE] try later", "[SERVERBUG] oops", "[INUSE] in use", "Sorry"))
		}},
		{Name: "refuses", Describe: "NO [SERVERBUG] to any command on folders", Stages: []Stage{List, Status, Select, Search, Fetch, Body}, Tell: func(x *Exchange, _ *rand.Rand) error {
			return x.refuse("NO [SERVERBUG] internal error")
		}},
		{Name: "silent-ok", Describe: "OK without data to any command on folders", Stages: []Stage{List, Status, Search, Fetch, Body}, Tell: func(x *Exchange, _ *rand.Rand) error { return x.Untagged() }},
	}
}

func liesAboutFolders() []Lie {
	return []Lie{
		{Name: "list-empty", Describe: "LIST finds no folder", Stages: []Stage{List}, Tell: func(x *Exchange, _ *rand.Rand) error { return x.Untagged() }},
		{Name: "list-cut", Describe: "LIST finds the first folder alone", Stages: []Stage{List}, Tell: func(x *Exchange, _ *rand.Rand) error {
			x.Responses = slices.Delete(x.Responses, min(1, len(x.Responses)-1), len(x.Responses)-1)
			return nil
		}},
		{Name: "status-refused", Describe: "NO to STATUS", Stages: []Stage{Status}, Tell: func(x *Exchange, r *rand.Rand) error {
			return x.Tagged(oneOf(r, "NO [SERVERBUG] oops", "NO [NONEXISTENT] no such folder", "NO STATUS failed", "BAD what?"))
		}},
		{Name: "status-silent", Describe: "OK to STATUS without data", Stages: []Stage{Status}, Tell: func(x *Exchange, _ *rand.Rand) error { return x.Untagged() }},
		{Name: "examine-refused", Describe: "NO to EXAMINE", Stages: []Stage{Select}, Tell: func(x *Exchange, r *rand.Rand) error {
			return x.refuse(oneOf(r, "NO [SERVERBUG] oops", "NO Mailbox is locked", "NO [NONEXISTENT] Unknown Mailbox"))
		}},
		{Name: "store-empty", Describe: "a folder shows no message at all", Begin: func(m *Mailbox, r *rand.Rand) { m.SetEmpty(true, r.IntN(2) == 0) }, End: func(m *Mailbox, _ *rand.Rand) { m.SetEmpty(false, false) }},
		{Name: "shown-late", Describe: "new messages have UIDs and are not shown yet", Begin: func(m *Mailbox, _ *rand.Rand) { m.SetLate(true) }, End: func(m *Mailbox, _ *rand.Rand) {
			m.SetLate(false)
			m.Show()
		}},
		{Name: "uidvalidity-changes", Describe: "the folder is numbered anew", Begin: func(m *Mailbox, _ *rand.Rand) { m.Renumber() }},
		{Name: "uidvalidity-64", Describe: "UIDVALIDITY of more than 32 bits", Begin: func(m *Mailbox, r *rand.Rand) {
			m.SetUIDValidity(oneOf(r, m.UIDValidity()+1<<32, 1_713_632_002_544+m.UIDValidity(), 1<<63+m.UIDValidity()))
		}},
		{Name: "uidvalidity-never-holds", Describe: "each STATUS and EXAMINE numbers the folder anew", Begin: func(m *Mailbox, _ *rand.Rand) { m.SetRestless(true) }, End: func(m *Mailbox, _ *rand.Rand) { m.SetRestless(false) }},
		{Name: "uidvalidity-absent", Describe: "no UIDVALIDITY, or 0", Stages: []Stage{Status, Select}, Tell: func(x *Exchange, r *rand.Rand) error {
			return x.Replace("UIDVALIDITY ", oneOf(r, "UIDVALIDITY 0 X-WAS ", "X-UIDVALIDITY "))
		}},
	}
}

func liesAboutNumbers() []Lie {
	still := map[*Mailbox]uint32{}
	var mu sync.Mutex
	number := func(x *Exchange, item string, n uint32) error {
		x.setNumber(item, fmt.Sprint(n))
		return nil
	}
	where := []Stage{Status, Select}
	return []Lie{
		{Name: "uidnext-still", Describe: "UIDNEXT stands still", Stages: where, Tell: func(x *Exchange, _ *rand.Rand) error {
			if x.Mailbox == nil {
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			if next, _ := x.Mailbox.numbers(); still[x.Mailbox] == 0 {
				still[x.Mailbox] = next
			}
			return number(x, "UIDNEXT", still[x.Mailbox])
		}},
		{Name: "uidnext-missing", Describe: "no UIDNEXT", Stages: where, Tell: func(x *Exchange, _ *rand.Rand) error { return x.Replace("UIDNEXT", "X-NEXT") }},
		{Name: "uidnext-ahead", Describe: "UIDNEXT far ahead", Stages: where, Tell: func(x *Exchange, r *rand.Rand) error { return number(x, "UIDNEXT", 1000+r.Uint32N(9000)) }},
		{Name: "uidnext-back", Describe: "UIDNEXT goes back", Stages: where, Tell: func(x *Exchange, r *rand.Rand) error { return number(x, "UIDNEXT", 1+r.Uint32N(3)) }},
		{Name: "messages-wrong", Describe: "STATUS says another number of messages than EXAMINE", Stages: []Stage{Status}, Tell: func(x *Exchange, r *rand.Rand) error { return number(x, "MESSAGES", r.Uint32N(30)) }},
		{Name: "exists-wrong", Describe: "EXAMINE says another number of messages than there are", Stages: []Stage{Select}, Tell: func(x *Exchange, r *rand.Rand) error {
			return selectExists(r.IntN(30))(x)
		}},
		{Name: "esearch", Describe: "SEARCH is answered by ESEARCH alone", Stages: []Stage{Search}, Tell: func(x *Exchange, _ *rand.Rand) error {
			return x.Untagged(`* ESEARCH (TAG "` + x.Tag + `") UID` + ranges(x.Numbers))
		}},
		{Name: "search-empty", Describe: "SEARCH finds nothing", Stages: []Stage{Search}, Tell: func(x *Exchange, r *rand.Rand) error {
			return x.Untagged(oneOf(r, "* SEARCH", "* OK nothing found"))
		}},
		{Name: "search-leaves-out", Describe: "SEARCH leaves some out", Stages: []Stage{Search}, Tell: func(x *Exchange, r *rand.Rand) error {
			some := slices.DeleteFunc(slices.Clone(x.Numbers), func(uint32) bool { return r.IntN(2) == 0 })
			return x.Untagged(strings.TrimRight(searchLine(some), "\r\n"))
		}},
		{Name: "search-leaves-out-one", Describe: "SEARCH leaves out every third UID, always", Stages: []Stage{Search}, Tell: func(x *Exchange, _ *rand.Rand) error {
			some := slices.DeleteFunc(slices.Clone(x.Numbers), func(uid uint32) bool { return uid%3 == 0 })
			return x.Untagged(strings.TrimRight(searchLine(some), "\r\n"))
		}},
	}
}

func liesAboutMessages() []Lie {
	size := func(by string) func(x *Exchange, r *rand.Rand) error {
		return func(x *Exchange, _ *rand.Rand) error { return x.Replace("RFC822.SIZE ", by) }
	}
	fetches := []Stage{Fetch, Body}
	always := func(do func(x *Exchange) error) func(x *Exchange, r *rand.Rand) error {
		return func(x *Exchange, _ *rand.Rand) error { return do(x) }
	}
	return []Lie{
		{Name: "fetch-leaves-out", Describe: "FETCH says OK and leaves messages out", Stages: fetches, Tell: func(x *Exchange, r *rand.Rand) error {
			x.Responses = slices.DeleteFunc(x.Responses, func(one Response) bool { return one.UID != 0 && r.IntN(2) == 0 })
			return nil
		}},
		{Name: "size-zero", Describe: "RFC822.SIZE 0", Forges: "size", Stages: []Stage{Fetch}, Tell: size("RFC822.SIZE 0 X-SIZE ")},
		{Name: "size-absent", Describe: "no RFC822.SIZE", Forges: "size", Stages: []Stage{Fetch}, Tell: size("X-SIZE ")},
		{Name: "size-unreadable", Describe: "RFC822.SIZE 1.38e+02", Forges: "size", Stages: []Stage{Fetch}, Tell: size("RFC822.SIZE 1.38e+02 X-SIZE ")},
		{Name: "body-empty", Describe: "BODY[] is empty", Stages: []Stage{Body}, Tell: always(Named("bodies-empty").Do)},
		{Name: "body-nil", Describe: "BODY[] NIL", Stages: []Stage{Body}, Tell: always(Named("bodies-nil").Do)},
		{Name: "body-short", Describe: "BODY[] is a third of the message", Forges: "size", Stages: []Stage{Body}, Tell: always(Named("bodies-short").Do)},
		{Name: "body-stub", Describe: "an error text in place of a message (Exchange)", Stages: []Stage{Body}, Tell: always(wholeBodies(Named("body-stub").Do))},
		{Name: "body-refused", Describe: "NO [SERVERBUG] to bodies, headers come", Stages: []Stage{Body}, Tell: always(Named("bodies-refused").Do)},
		{Name: "body-silent", Describe: "OK without a body, headers come", Stages: []Stage{Body}, Tell: always(Named("bodies-silent").Do)},
		{Name: "body-closes", Describe: "the connection is closed over bodies, headers come", Stages: []Stage{Body}, Tell: func(x *Exchange, r *rand.Rand) error {
			return wholeBodies(func(x *Exchange) error { return x.After(r.IntN(x.size()), x.Close) })(x)
		}},
		{Name: "odd-bytes", Describe: "odd bytes behind a literal", Stages: []Stage{Body}, Tell: func(x *Exchange, r *rand.Rand) error {
			tail := oneOf(r, ")\r\n FLAGS (\\Seen) RFC822.SIZE 138)\r\n", "\r\n)\r\n", "  ) \r\n", ")\r\n\x00\x00\r\n", ")\r\n)\r\n", ") x\r\n")
			return x.Each(func(one *Response) { one.Tail = tail })
		}},
		{Name: "poison-closes", Describe: "the connection is closed over one message", Stages: []Stage{Body}, One: true, Tell: func(x *Exchange, _ *rand.Rand) error { return x.Close() }},
		{Name: "poison-refused", Describe: "NO to one message", Stages: []Stage{Body}, One: true, Tell: func(x *Exchange, _ *rand.Rand) error {
			return x.Tagged("NO [SERVERBUG] message cannot be converted")
		}},
	}
}

func oneOf[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// size is how many bytes the answer has.
func (x *Exchange) size() int {
	n := 0
	for _, r := range x.Responses {
		n += len(r.Head) + len(r.Body) + len(r.Tail)
	}
	return n
}

// refuse answers NO; a folder that was to be opened is not.
func (x *Exchange) refuse(s string) error {
	if x.Stage == Select {
		x.c.box = nil
	}
	return x.Tagged(s)
}

// setNumber puts another number behind an item of STATUS or a code of EXAMINE.
func (x *Exchange) setNumber(item, n string) {
	for i := range x.Responses {
		head := &x.Responses[i].Head
		if before, after, ok := strings.Cut(*head, item+" "); ok {
			*head = before + item + " " + n + strings.TrimLeft(after, "0123456789")
		}
	}
}

// wholeBodies changes answers that give messages, and leaves those that give headers
// alone.
func wholeBodies(change func(x *Exchange) error) func(x *Exchange) error {
	return func(x *Exchange) error {
		if strings.Contains(strings.ToUpper(x.Args), "BODY.PEEK[]") {
			return change(x)
		}
		return nil
	}
}

// putBodies puts other bytes in place of bodies, with their length.
func (x *Exchange) putBodies(change func(body []byte) []byte) error {
	return x.Each(func(r *Response) {
		r.Body = change(r.Body)
		r.Head = r.Head[:strings.LastIndex(r.Head, "{")] + fmt.Sprintf("{%d}\r\n", len(r.Body))
	})
}

// ranges writes UIDs as ESEARCH does; nothing for none.
func ranges(uids []uint32) string {
	var parts []string
	for i := 0; i < len(uids); {
		j := i
		for j+1 < len(uids) && uids[j+1] == uids[j]+1 {
			j++
		}
		if part := fmt.Sprint(uids[i]); i == j {
			parts = append(parts, part)
		} else {
			parts = append(parts, fmt.Sprintf("%s:%d", part, uids[j]))
		}
		i = j + 1
	}
	if parts == nil {
		return ""
	}
	return " ALL " + strings.Join(parts, ",")
}
