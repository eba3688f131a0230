package imapserver

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// session is one connection.
type session struct {
	srv    *Server
	num    int
	raw    net.Conn // the TCP connection
	conn   net.Conn // raw, or TLS over it
	secure bool
	br     *bufio.Reader

	authenticated bool
	box           *Mailbox
	view          []uint32 // UIDs by sequence number, as the client knows them
}

// errEnd ends a session quietly.
var errEnd = errors.New("end of session")

// maxLiteral bounds a literal that a client may send.
const maxLiteral = 1 << 20

func (c *session) serve() {
	if c.srv.Security == TLS {
		if c.handshake() != nil {
			return
		}
	}
	c.br = bufio.NewReader(c.conn)
	if c.reply(&Exchange{Stage: Greeting, Responses: lines("* OK [CAPABILITY " + c.caps() + "] ready")}) != nil {
		return
	}
	for {
		line, err := c.readCommand()
		if err != nil {
			return
		}
		c.record(line)
		if err := c.handle(line); err != nil {
			return
		}
	}
}

func (c *session) handshake() error {
	x := &Exchange{Stage: Handshake}
	if err := c.play(x); err != nil {
		return err
	}
	config := c.srv.tls
	if x.TLS != nil {
		config = x.TLS
	}
	conn := tls.Server(c.raw, config)
	if err := conn.Handshake(); err != nil {
		return err
	}
	c.conn, c.secure = conn, true
	c.br = bufio.NewReader(conn)
	return nil
}

func (c *session) caps() string {
	caps := "IMAP4rev1 " + c.srv.Caps
	if c.srv.Security == STARTTLS && !c.secure {
		return "IMAP4rev1 STARTTLS LOGINDISABLED"
	}
	return caps
}

func (c *session) record(line string) {
	c.srv.mu.Lock()
	defer c.srv.mu.Unlock()
	c.srv.commands = append(c.srv.commands, Command{Conn: c.num, TLS: c.secure, Line: line})
}

// readCommand reads a line, asking for the literals in it.
func (c *session) readCommand() (string, error) {
	var b strings.Builder
	for {
		line, err := c.br.ReadString('\n')
		if err != nil {
			return "", err
		}
		line = strings.TrimRight(line, "\r\n")
		b.WriteString(line)
		open := strings.LastIndexByte(line, '{')
		if open < 0 || !strings.HasSuffix(line, "}") {
			return b.String(), nil
		}
		size, nonSync := strings.CutSuffix(line[open+1:len(line)-1], "+")
		n, ok := literalSize(size)
		if !ok {
			return b.String(), nil
		}
		if !nonSync {
			if _, err := io.WriteString(c.conn, "+ go on\r\n"); err != nil {
				return "", err
			}
		}
		lit := make([]byte, n)
		if _, err := io.ReadFull(c.br, lit); err != nil {
			return "", err
		}
		b.WriteString("\n")
		b.Write(lit)
	}
}

// literalSize reads the size of a literal; false when it is none, or too large.
func literalSize(s string) (int, bool) {
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= 0 && n <= maxLiteral
}

// handle answers one command.
func (c *session) handle(line string) error {
	tag, rest, _ := strings.Cut(line, " ")
	name, args, _ := strings.Cut(rest, " ")
	name = strings.ToUpper(name)
	if name == "UID" {
		sub, a, _ := strings.Cut(args, " ")
		name, args = "UID "+strings.ToUpper(sub), a
	}
	x := &Exchange{Tag: tag, Name: name, Args: args}
	switch name {
	case "STARTTLS":
		return c.startTLS(x)
	case "AUTHENTICATE":
		return c.authenticate(x)
	case "IDLE":
		return c.idle(x)
	}
	tagged := "OK done"
	switch name {
	case "CAPABILITY":
		x.Stage = Capability
		x.Responses = lines("* CAPABILITY " + c.caps())
	case "LOGIN":
		x.Stage = Login
		user, after, _ := cutString(args)
		pass, _, _ := cutString(after)
		tagged = c.check(user == c.srv.Username && pass == c.srv.Password && (c.secure || c.srv.Security == Plain))
	case "ID":
		x.Stage = ID
		x.Responses = lines(`* ID ("name" "imapserver" "version" "1")`)
	case "NOOP":
		x.Stage = Noop
	case "LOGOUT":
		x.Stage = Logout
		x.Responses = lines("* BYE see you")
	case "LIST", "STATUS", "SELECT", "EXAMINE":
		if !c.authenticated {
			tagged = "BAD log in first"
			break
		}
		switch name {
		case "LIST":
			tagged = c.list(x)
		case "STATUS":
			tagged = c.status(x)
		default:
			tagged = c.examine(x)
		}
	case "UID SEARCH", "UID FETCH":
		if c.box == nil {
			tagged = "BAD no mailbox selected"
			break
		}
		if name == "UID SEARCH" {
			tagged = c.search(x)
		} else {
			tagged = c.fetch(x)
		}
	case "UNSELECT", "CLOSE":
		c.box, c.view = nil, nil
	default:
		tagged = "BAD unknown command"
	}
	if c.box != nil && x.Stage != Select && name != "LOGOUT" {
		x.Responses = append(x.Responses, c.update()...)
	}
	x.Responses = append(x.Responses, Response{Head: tag + " " + tagged + "\r\n"})
	if err := c.reply(x); err != nil {
		return err
	}
	if name == "LOGOUT" {
		return errEnd
	}
	return nil
}

// check notes a login and words its outcome.
func (c *session) check(ok bool) string {
	if !ok {
		return "NO [AUTHENTICATIONFAILED] invalid credentials"
	}
	c.authenticated = true
	return "OK [CAPABILITY " + c.caps() + "] logged in"
}

func (c *session) startTLS(x *Exchange) error {
	x.Stage = StartTLS
	x.Responses = lines(x.Tag + " OK begin TLS")
	if c.secure || c.srv.Security != STARTTLS {
		x.Responses = lines(x.Tag + " BAD not here")
		return c.reply(x)
	}
	if err := c.reply(x); err != nil {
		return err
	}
	if x.refused {
		return nil
	}
	conn := tls.Server(c.raw, c.srv.tls)
	if err := conn.Handshake(); err != nil {
		return err
	}
	c.conn, c.secure = conn, true
	c.br = bufio.NewReader(conn)
	return nil
}

func (c *session) authenticate(x *Exchange) error {
	x.Stage = Login
	mech, initial, given := strings.Cut(x.Args, " ")
	if !given {
		if _, err := io.WriteString(c.conn, "+ \r\n"); err != nil {
			return err
		}
		line, err := c.br.ReadString('\n')
		if err != nil {
			return err
		}
		initial = strings.TrimRight(line, "\r\n")
		c.record(initial)
	}
	resp, err := base64.StdEncoding.DecodeString(initial)
	ok := false
	switch parts := strings.Split(string(resp), "\x00"); {
	case err != nil:
	case strings.EqualFold(mech, "PLAIN"):
		ok = len(parts) == 3 && parts[1] == c.srv.Username && parts[2] == c.srv.Password
	case c.srv.Token == "":
	case strings.EqualFold(mech, "XOAUTH2"):
		ok = string(resp) == "user="+c.srv.Username+"\x01auth=Bearer "+c.srv.Token+"\x01\x01"
	case strings.EqualFold(mech, "OAUTHBEARER"):
		ok = strings.Contains(string(resp), "\x01auth=Bearer "+c.srv.Token+"\x01")
	}
	ok = ok && (c.secure || c.srv.Security == Plain)
	if !ok && !strings.EqualFold(mech, "PLAIN") {
		challenge := base64.StdEncoding.EncodeToString([]byte(`{"status":"400","schemes":"Bearer","scope":"https://mail.google.com/"}`))
		if _, err := io.WriteString(c.conn, "+ "+challenge+"\r\n"); err != nil {
			return err
		}
		if _, err := c.br.ReadString('\n'); err != nil {
			return err
		}
	}
	x.Responses = lines(x.Tag + " " + c.check(ok))
	return c.reply(x)
}

func (c *session) idle(x *Exchange) error {
	x.Stage = Idle
	x.Responses = lines("+ idling")
	if err := c.reply(x); err != nil || x.refused {
		return err
	}
	done := make(chan error, 1)
	go func() {
		_, err := c.br.ReadString('\n')
		done <- err
	}()
	for {
		c.srv.mu.Lock()
		changed := c.srv.changed
		c.srv.mu.Unlock()
		for _, r := range c.update() {
			if _, err := io.WriteString(c.conn, r.Head); err != nil {
				return err
			}
		}
		select {
		case err := <-done:
			if err != nil {
				return err
			}
			_, err = io.WriteString(c.conn, x.Tag+" OK idle ended\r\n")
			return err
		case <-changed:
		case <-c.srv.stop:
			return errEnd
		}
	}
}

// update brings the client's view of the mailbox up to date.
func (c *session) update() []Response {
	if c.box == nil {
		return nil
	}
	var out []Response
	now := c.box.Messages()
	there := make(map[uint32]bool, len(now))
	for _, m := range now {
		there[m.UID] = true
	}
	for i, uid := range slices.Backward(c.view) {
		if !there[uid] {
			out = append(out, lines(fmt.Sprintf("* %d EXPUNGE", i+1))...)
			c.view = slices.Delete(c.view, i, i+1)
		}
	}
	if len(now) != len(c.view) {
		out = append(out, lines(fmt.Sprintf("* %d EXISTS", len(now)))...)
	}
	c.view = c.view[:0]
	for _, m := range now {
		c.view = append(c.view, m.UID)
	}
	return out
}

func (c *session) list(x *Exchange) string {
	x.Stage = List
	_, rest, ok := cutString(x.Args)
	if !ok {
		return "BAD reference expected"
	}
	_, rest, ok = cutString(strings.TrimLeft(rest, " "))
	if !ok {
		return "BAD pattern expected"
	}
	withStatus := strings.Contains(strings.ToUpper(rest), "STATUS")
	c.srv.mu.Lock()
	boxes := slices.Clone(c.srv.mailboxes)
	c.srv.mu.Unlock()
	for _, m := range boxes {
		x.Responses = append(x.Responses, lines(fmt.Sprintf(`* LIST (%s) "/" %s`, strings.Join(m.Attrs, " "), quote(m.Name)))...)
		if withStatus && !m.noselect() {
			x.Responses = append(x.Responses, lines("* "+m.statusLine())...)
		}
	}
	return "OK listed"
}

func (m *Mailbox) statusLine() string {
	next, validity := m.numbers()
	return fmt.Sprintf("STATUS %s (MESSAGES %d UIDNEXT %d UIDVALIDITY %d)", quote(m.Name), len(m.Messages()), next, validity)
}

func (c *session) status(x *Exchange) string {
	x.Stage = Status
	name, _, _ := cutString(x.Args)
	c.srv.mu.Lock()
	m := c.srv.find(name)
	c.srv.mu.Unlock()
	if m == nil || m.noselect() {
		return "NO [NONEXISTENT] no such mailbox"
	}
	m.lookedAt()
	x.Mailbox = m
	x.Responses = lines("* " + m.statusLine())
	return "OK status"
}

func (c *session) examine(x *Exchange) string {
	x.Stage = Select
	c.box, c.view = nil, nil
	name, _, _ := cutString(x.Args)
	c.srv.mu.Lock()
	m := c.srv.find(name)
	c.srv.mu.Unlock()
	if m == nil || m.noselect() {
		return "NO [NONEXISTENT] no such mailbox"
	}
	m.lookedAt()
	c.box, x.Mailbox = m, m
	c.update()
	next, validity := m.numbers()
	x.Responses = lines(
		`* FLAGS (\Answered \Flagged \Deleted \Seen \Draft)`,
		`* OK [PERMANENTFLAGS ()] no flags`,
		fmt.Sprintf("* %d EXISTS", len(c.view)),
		"* 0 RECENT",
		fmt.Sprintf("* OK [UIDVALIDITY %d] valid", validity),
		fmt.Sprintf("* OK [UIDNEXT %d] next", next),
	)
	if x.Name == "EXAMINE" {
		return "OK [READ-ONLY] examined"
	}
	return "OK [READ-WRITE] selected"
}

func (c *session) search(x *Exchange) string {
	x.Stage = Search
	x.Mailbox = c.box
	args := x.Args
	if strings.HasPrefix(strings.ToUpper(args), "CHARSET ") {
		f := strings.SplitN(args, " ", 3)
		args = f[len(f)-1]
	}
	key, err := parseSearch(args)
	if err != nil {
		return "BAD " + err.Error()
	}
	msgs := c.box.Messages()
	x.Numbers = nil
	for _, m := range msgs {
		if key(m, msgs[len(msgs)-1].UID) {
			x.Numbers = append(x.Numbers, m.UID)
		}
	}
	x.Responses = []Response{{Head: searchLine(x.Numbers)}}
	return "OK searched"
}

func searchLine(uids []uint32) string {
	var b strings.Builder
	b.WriteString("* SEARCH")
	for _, u := range uids {
		b.WriteByte(' ')
		b.WriteString(strconv.FormatUint(uint64(u), 10))
	}
	b.WriteString("\r\n")
	return b.String()
}

func (c *session) fetch(x *Exchange) string {
	x.Stage = Fetch
	x.Mailbox = c.box
	set, items, _ := strings.Cut(x.Args, " ")
	items = strings.ToUpper(items)
	section, offset, count, body := parseSection(items)
	if body {
		x.Stage = Body
	}
	msgs := c.box.Messages()
	if len(msgs) == 0 {
		return "OK nothing"
	}
	wanted, err := parseSet(set)
	if err != nil {
		return "BAD " + err.Error()
	}
	for i, m := range msgs {
		if !wanted(m.UID, msgs[len(msgs)-1].UID) {
			continue
		}
		var head strings.Builder
		fmt.Fprintf(&head, "* %d FETCH (UID %d", i+1, m.UID)
		if strings.Contains(items, "RFC822.SIZE") {
			fmt.Fprintf(&head, " RFC822.SIZE %d", len(m.Raw))
		}
		if strings.Contains(items, "INTERNALDATE") {
			fmt.Fprintf(&head, " INTERNALDATE %q", m.Date.Format("_2-Jan-2006 15:04:05 -0700"))
		}
		if strings.Contains(items, "FLAGS") {
			flags := ""
			if m.Seen {
				flags = `\Seen`
			}
			fmt.Fprintf(&head, " FLAGS (%s)", flags)
		}
		r := Response{Seq: uint32(i + 1), UID: m.UID, Tail: ")\r\n"}
		if body {
			label, data := cutSection(m.Raw, section, offset, count)
			fmt.Fprintf(&head, " %s {%d}\r\n", label, len(data))
			r.Body = data
		}
		r.Head = head.String()
		x.Responses = append(x.Responses, r)
	}
	return "OK fetched"
}

// reply lets quirks have their way with an exchange, then sends it.
func (c *session) reply(x *Exchange) error {
	if err := c.play(x); err != nil {
		return err
	}
	for _, r := range x.Responses {
		if strings.Contains(strings.ToUpper(r.Head), x.Tag+" NO") || strings.Contains(strings.ToUpper(r.Head), x.Tag+" BAD") {
			x.refused = true
		}
		for _, part := range [...][]byte{[]byte(r.Head), r.Body, []byte(r.Tail)} {
			if err := x.write(part); err != nil {
				return err
			}
		}
	}
	if x.after != nil {
		return x.after()
	}
	return nil
}

// play applies the quirks of the moment.
func (c *session) play(x *Exchange) error {
	x.Server, x.c = c.srv, c
	for _, q := range c.srv.quirks(x) {
		if err := q.Do(x); err != nil {
			return err
		}
	}
	return nil
}

// sleep waits, unless the server is closed meanwhile.
func (c *session) sleep(d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-c.srv.stop:
		return errEnd
	}
}

// cutString reads an atom, a quoted string or a literal ({n}, newline, bytes).
func cutString(s string) (value, rest string, ok bool) {
	s = strings.TrimLeft(s, " ")
	if s == "" {
		return "", "", false
	}
	switch s[0] {
	case '"':
		var b strings.Builder
		for i := 1; i < len(s); i++ {
			switch s[i] {
			case '\\':
				if i++; i < len(s) {
					b.WriteByte(s[i])
				}
			case '"':
				return b.String(), s[i+1:], true
			default:
				b.WriteByte(s[i])
			}
		}
		return "", "", false
	case '{':
		mark, after, _ := strings.Cut(s, "\n")
		n, err := strconv.Atoi(strings.Trim(mark, "{+}"))
		if err != nil || n > len(after) {
			return "", "", false
		}
		return after[:n], after[n:], true
	}
	value, rest, _ = strings.Cut(s, " ")
	return value, rest, true
}

func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
