package imapwire

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"imapsync/internal/devenv/imapserver"
)

// BenchmarkWire fetches one 25 MB body, with and without the wire in between,
// over TLS, over TCP, and from memory (where the wire is all the cost there is).
func BenchmarkWire(b *testing.B) {
	const size = 25 << 20
	body := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	srv := imapserver.Test(b, imapserver.Config{}, 0) // for its certificate
	tlsClient := &tls.Config{RootCAs: srv.CAs(), ServerName: "localhost"}

	transports := map[string]func() net.Conn{
		"tls": func() net.Conn { return tls.Client(serveBody(b, body, srv.TLSConfig()), tlsClient) },
		"tcp": func() net.Conn { return serveBody(b, body, nil) },
		"memory": func() net.Conn {
			here, there := net.Pipe()
			there.Close()
			return &bodyInMemory{Conn: here, body: body, ask: make(chan string, 1)}
		},
	}
	for _, transport := range []string{"tls", "tcp", "memory"} {
		for _, through := range []string{"direct", "wire"} {
			b.Run(transport+"/"+through, func(b *testing.B) {
				conn := transports[transport]()
				if through == "wire" {
					conn = New(conn, Limits{})
				}
				client := imapclient.New(conn, nil)
				defer conn.Close()
				if err := client.WaitGreeting(); err != nil {
					b.Fatal(err)
				}
				buf := make([]byte, size)
				b.SetBytes(size)
				b.ReportAllocs()
				for b.Loop() {
					cmd := client.Fetch(imap.UIDSetNum(1), &imap.FetchOptions{UID: true, BodySection: []*imap.FetchItemBodySection{{Peek: true}}})
					got := 0
					for msg := cmd.Next(); msg != nil; msg = cmd.Next() {
						for item := msg.Next(); item != nil; item = msg.Next() {
							if item, ok := item.(imapclient.FetchItemDataBodySection); ok {
								n, err := io.ReadFull(item.Literal, buf)
								if err != nil {
									b.Fatal(err)
								}
								got += n
							}
						}
					}
					if err := cmd.Close(); err != nil || got != size {
						b.Fatal(got, err)
					}
				}
			})
		}
	}
}

// BenchmarkWireLines reads 10,000 FETCH responses with sizes, as a first sync does.
func BenchmarkWireLines(b *testing.B) {
	var lines strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&lines, "* %d FETCH (UID %d RFC822.SIZE 12345 INTERNALDATE \" 1-Jan-2024 00:00:00 +0000\")\r\n", i+1, i+1)
	}
	b.SetBytes(int64(lines.Len()))
	b.ReportAllocs()
	for b.Loop() {
		w := New(&scripted{Reader: strings.NewReader("* OK hi\r\n" + lines.String())}, Limits{})
		w.Write([]byte(askSizes))
		if n, err := io.Copy(io.Discard, w); err != nil || n < int64(lines.Len()) {
			b.Fatal(n, err)
		}
	}
}

const bodyHead = "* 1 FETCH (UID 1 BODY[] {%d}\r\n"

// serveBody answers every FETCH with body.
func serveBody(b *testing.B, body []byte, config *tls.Config) net.Conn {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { ln.Close() })
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		if config != nil {
			conn = tls.Server(conn, config)
		}
		fmt.Fprintf(conn, "* OK [CAPABILITY IMAP4rev1] hi\r\n")
		for r := bufio.NewReader(conn); ; {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			tag, _, _ := strings.Cut(line, " ")
			fmt.Fprintf(conn, bodyHead, len(body))
			conn.Write(body)
			fmt.Fprintf(conn, ")\r\n%s OK done\r\n", tag)
		}
	}()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	return conn
}

// bodyInMemory answers every FETCH with body, at the speed of a copy.
type bodyInMemory struct {
	net.Conn
	body    []byte
	ask     chan string
	r       io.Reader
	greeted bool
	closed  sync.Once
}

func (c *bodyInMemory) Write(p []byte) (int, error) {
	tag, _, _ := strings.Cut(string(p), " ")
	c.ask <- tag
	return len(p), nil
}

func (c *bodyInMemory) Read(p []byte) (int, error) {
	for {
		if !c.greeted {
			c.greeted = true
			return copy(p, "* OK [CAPABILITY IMAP4rev1] hi\r\n"), nil
		}
		if c.r != nil {
			if n, _ := c.r.Read(p); n > 0 {
				return n, nil
			}
		}
		tag, ok := <-c.ask
		if !ok {
			return 0, io.EOF
		}
		c.r = io.MultiReader(strings.NewReader(fmt.Sprintf(bodyHead, len(c.body))), bytes.NewReader(c.body), strings.NewReader(")\r\n"+tag+" OK done\r\n"))
	}
}

func (c *bodyInMemory) Close() error {
	c.closed.Do(func() { close(c.ask) })
	return nil
}
