package imapserver

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Test starts a server whose INBOX has mails messages, for as long as the test
// lasts.
func Test(t testing.TB, config Config, mails int) *Server {
	t.Helper()
	srv, err := Start(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	for i := range mails {
		srv.Mailbox("INBOX").Append(TestMail(i + 1))
	}
	return srv
}

// TestMail is the i-th of the mails that Test makes.
func TestMail(i int) string {
	return fmt.Sprintf("From: a%d@example.com\r\nSubject: number %d\r\nMessage-ID: <%d@example.com>\r\n\r\n%s\r\n", i, i, i, strings.Repeat("body ", 20*i))
}

// Within runs f and fails the test, with all stacks, when it does not end.
func Within(t testing.TB, d time.Duration, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(d):
		buf := make([]byte, 1<<20)
		t.Fatalf("hangs for %v\n%s", d, buf[:runtime.Stack(buf, true)])
	}
}
