package imapserver

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"time"
)

// Stage is a step of the conversation.
type Stage string

// The stages. Fetch is a UID FETCH without a body, Body one with.
const (
	Handshake  Stage = "tls"
	StartTLS   Stage = "starttls"
	Greeting   Stage = "greeting"
	Capability Stage = "capability"
	Login      Stage = "login"
	ID         Stage = "id"
	List       Stage = "list"
	Status     Stage = "status"
	Select     Stage = "select"
	Search     Stage = "search"
	Fetch      Stage = "fetch"
	Body       Stage = "body"
	Idle       Stage = "idle"
	Noop       Stage = "noop"
	Logout     Stage = "logout"
)

// Response is one response: text, or text around a literal.
type Response struct {
	Head string // up to the literal, line ending included
	Body []byte // the literal's bytes, not to be modified
	Tail string // what follows it
	Seq  uint32 // of a FETCH
	UID  uint32 // of a FETCH
}

// Exchange is a command, or a greeting or handshake, with the answer that an
// honest server gives. A quirk changes the answer, or writes something else.
type Exchange struct {
	Server    *Server
	Stage     Stage
	Tag       string
	Name      string // "UID FETCH"
	Args      string
	Mailbox   *Mailbox   // selected or asked about
	Numbers   []uint32   // of a SEARCH
	Responses []Response // the tagged one last
	TLS       *tls.Config

	c       *session
	refused bool
	pace    time.Duration // between single bytes
	limit   int           // bytes after which to do cut; 0 is none
	cut     func() error
	written int
	after   func() error
}

func lines(l ...string) []Response {
	var out []Response
	for _, s := range l {
		out = append(out, Response{Head: s + "\r\n"})
	}
	return out
}

// write sends bytes at the pace and up to the limit that a quirk has set.
func (x *Exchange) write(b []byte) error {
	if x.cut != nil {
		if room := x.limit - x.written; len(b) >= room {
			if _, err := x.c.conn.Write(b[:max(room, 0)]); err != nil {
				return err
			}
			return x.cut()
		}
	}
	x.written += len(b)
	if x.pace == 0 {
		_, err := x.c.conn.Write(b)
		return err
	}
	for i := range b {
		if _, err := x.c.conn.Write(b[i : i+1]); err != nil {
			return err
		}
		if err := x.c.sleep(x.pace); err != nil {
			return err
		}
	}
	return nil
}

// Replace replaces text in all responses, bodies aside.
func (x *Exchange) Replace(old, by string) error {
	for i := range x.Responses {
		r := &x.Responses[i]
		r.Head, r.Tail = strings.ReplaceAll(r.Head, old, by), strings.ReplaceAll(r.Tail, old, by)
	}
	return nil
}

// Before puts lines in front of the answer.
func (x *Exchange) Before(l ...string) error {
	x.Responses = append(lines(l...), x.Responses...)
	return nil
}

// Untagged replaces all but the tagged response.
func (x *Exchange) Untagged(l ...string) error {
	x.Responses = append(lines(l...), x.Responses[len(x.Responses)-1])
	return nil
}

// Without drops the responses that contain text.
func (x *Exchange) Without(text string) error {
	var kept []Response
	for _, r := range x.Responses {
		if !strings.Contains(r.Head, text) {
			kept = append(kept, r)
		}
	}
	x.Responses = kept
	return nil
}

// Tagged replaces the whole answer by a tagged one: "NO [INUSE] later".
func (x *Exchange) Tagged(s string) error {
	x.Responses = lines(x.Tag + " " + s)
	return nil
}

// Ends replaces the tagged response, and leaves the others.
func (x *Exchange) Ends(s string) error {
	x.Responses = append(x.Responses[:len(x.Responses)-1], lines(x.Tag+" "+s)...)
	return nil
}

// Each changes the responses with a body, or all FETCH responses when there is none.
func (x *Exchange) Each(change func(r *Response)) error {
	for i := range x.Responses {
		if x.Responses[i].UID != 0 {
			change(&x.Responses[i])
		}
	}
	return nil
}

// Bye says good-bye and closes.
func (x *Exchange) Bye(text string) error {
	x.Responses = lines("* BYE " + text)
	x.after = x.Close
	return nil
}

// Close closes the connection in an orderly way.
func (x *Exchange) Close() error {
	x.c.conn.Close()
	return errEnd
}

// Reset closes it with a TCP reset.
func (x *Exchange) Reset() error {
	if tcp, ok := x.c.raw.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	x.c.raw.Close()
	return errEnd
}

// Hang stays silent until the client gives up.
func (x *Exchange) Hang() error {
	io.Copy(io.Discard, x.c.conn)
	return errEnd
}

// Delay waits before the answer.
func (x *Exchange) Delay(d time.Duration) error { return x.c.sleep(d) }

// Drip sends the answer byte by byte.
func (x *Exchange) Drip(pause time.Duration) error {
	x.pace = pause
	return nil
}

// After does something once n bytes of the answer are out.
func (x *Exchange) After(n int, do func() error) error {
	x.limit, x.cut = n, do
	return nil
}

// InBody does something in the middle of the first body.
func (x *Exchange) InBody(do func() error) error {
	n := 0
	for _, r := range x.Responses {
		if len(r.Body) > 0 {
			return x.After(n+len(r.Head)+len(r.Body)/2, do)
		}
		n += len(r.Head) + len(r.Body) + len(r.Tail)
	}
	return x.After(n/2, do)
}

// Write sends bytes at once, before the answer.
func (x *Exchange) Write(s string) error {
	_, err := io.WriteString(x.c.conn, s)
	return err
}

// Endless sends text again and again until the client gives up, or n bytes went out.
func (x *Exchange) Endless(text string, n int64) error {
	block := bytes.Repeat([]byte(text), max(1, (16<<10)/len(text)))
	for ; n > 0; n -= int64(len(block)) {
		if _, err := x.c.conn.Write(block); err != nil {
			return err
		}
	}
	return nil
}
