package imapwire

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"imapsync/internal/devenv/imapserver"
)

// turn separates what a fuzzed server says before and after a command.
const turn = 0x1e

// FuzzWire lets a server say anything, in turn with the client's commands:
// go-imap behind the wire does not panic, does not hang (in false time, so that
// every deadline passes at once), and does not take memory without bound.
func FuzzWire(f *testing.F) {
	greet := "* OK [CAPABILITY IMAP4rev1 IDLE] hi\r\n\x1eT1 OK [CAPABILITY IMAP4rev1 IDLE]\r\n\x1e* LIST () \"/\" INBOX\r\nT2 OK\r\n\x1e"
	examine := "* STATUS INBOX (UIDNEXT 9)\r\nT3 OK\r\n\x1e* 3 EXISTS\r\n* OK [UIDVALIDITY 1]\r\nT4 OK\r\n\x1e"
	fetch := "* SEARCH 7 9\r\nT5 OK\r\n\x1e* 1 FETCH (UID 7 RFC822.SIZE 5)\r\nT6 OK\r\n\x1e"
	f.Add([]byte(greet + examine + fetch + "* 1 FETCH (UID 7 BODY[] {5}\r\nhello)\r\nT7 OK\r\n\x1e+ idling\r\n\x1eT8 OK\r\n\x1e* BYE\r\nT9 OK\r\n"))
	f.Add([]byte(greet + examine + "* SEARCH 0 4294967295 4294967296 1:5\r\nT5 OK\r\n"))
	f.Add([]byte(greet + examine + fetch + "* 1 FETCH (BODY[] {5}\r\nhello UID 7 FLAGS (a])) \r\n+\r\n\r\n* X {3}\r\n)\r\nT7 NO [ERROR=\"]\" x\r\n"))
	f.Add([]byte("* PREAUTH {5}\r\n* BYE [\r\n"))
	f.Add([]byte(greet + "* STATUS {7}\r\nINBOX (x (UIDNEXT 9)\r\n* ID (a NIL)\r\n* LIST (\\x {1}\r\n \"\" (\r\n"))
	quirks := imapserver.Quirks()
	transcripts := make([][]byte, len(quirks))
	var wg sync.WaitGroup
	for i, q := range quirks {
		wg.Go(func() { transcripts[i] = quirkTranscript(q) })
	}
	wg.Wait()
	for _, transcript := range transcripts {
		if transcript != nil {
			f.Add(transcript)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 64<<10 {
			return
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		synctest.Test(t, func(t *testing.T) { fuzzConversation(t, data) })
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > 64<<20 {
			t.Errorf("%d MB allocated over %d bytes", got>>20, len(data))
		}
	})
}

func fuzzConversation(t *testing.T, data []byte) {
	here, there := net.Pipe()
	commands := make(chan struct{}, 100)
	go func() {
		r := bufio.NewReader(there)
		for {
			if _, err := r.ReadString('\n'); err != nil {
				return
			}
			select {
			case commands <- struct{}{}:
			default:
			}
		}
	}()
	go func() {
		defer there.Close()
		for part := range bytes.SplitSeq(data, []byte{turn}) {
			if _, err := there.Write(part); err != nil {
				return
			}
			select {
			case <-commands:
			case <-time.After(time.Second):
			}
		}
	}()
	w := New(here, Limits{LiteralSize: 32 << 10, Line: 32 << 10, SearchNums: 10_000})
	client := imapclient.New(w, nil)
	c := &conversation{wire: w, sizes: map[imap.UID]int64{}, bodies: map[imap.UID]string{}}
	err := c.run(client, &imapserver.Server{Config: imapserver.Config{Username: "u", Password: "p"}})
	w.Close()
	there.Close()
	if closeErr := client.Close(); closeErr != nil && bytes.Contains([]byte(closeErr.Error()), []byte("panic")) {
		t.Fatalf("%v, %v", err, closeErr)
	}
	time.Sleep(time.Hour) // timers of the client's own run out
}

// quirkTranscript is what the scripted server says in a quirk, as a seed; nil
// when it is long or takes time.
func quirkTranscript(q imapserver.Quirk) []byte {
	if q.Security != imapserver.TLS || q.Stage == imapserver.Handshake {
		return nil
	}
	srv, err := imapserver.Start(imapserver.Config{Security: imapserver.Plain, Caps: "IDLE"}) // no ID: the tags below count on it
	if err != nil {
		return nil
	}
	defer srv.Close()
	srv.Mailbox("INBOX").Append(imapserver.TestMail(1))
	srv.Mailbox("INBOX").Append(imapserver.TestMail(2))
	srv.Play(q)
	conn, err := net.Dial("tcp", srv.Addr())
	if err != nil {
		return nil
	}
	defer conn.Close()
	var heard []byte
	hear := func() {
		buf := make([]byte, 32<<10)
		for len(heard) < 60<<10 {
			conn.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
			n, err := conn.Read(buf)
			heard = append(heard, buf[:n]...)
			if err != nil {
				return
			}
		}
	}
	for _, line := range []string{
		"", "T1 LOGIN user \"correct horse \\\"battery\\\" staple\"", "T2 LIST \"\" *", "T3 STATUS INBOX (UIDNEXT)", "T4 EXAMINE INBOX",
		"T5 UID SEARCH UID 1:4294967295", "T6 UID FETCH 1:2 (UID RFC822.SIZE INTERNALDATE)", "T7 UID FETCH 1:2 (UID BODY.PEEK[])",
		"T8 IDLE", "DONE", "T9 NOOP", "T10 LOGOUT",
	} {
		if line != "" {
			heard = append(heard, turn)
			if _, err := io.WriteString(conn, line+"\r\n"); err != nil {
				break
			}
		}
		hear()
	}
	if len(heard) >= 60<<10 {
		return nil
	}
	return heard
}
