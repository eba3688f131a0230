package mailroom

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"imapsync/event"
)

// Desk tests a ticket desk, of whatever language. argv starts it; to it come
// --dir, --durable and --once.
func Desk(t *testing.T, argv ...string) {
	room := Open(t)
	dir := t.TempDir()
	work := func(want ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), argv[0], append(argv[1:], "--dir", dir, "--durable", "desk-test", "--once")...) //nolint:gosec // the program that is tested
		cmd.Env = append(os.Environ(), "NATS_URL="+room.URL)
		var out, problems bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &problems
		if err := cmd.Run(); err != nil {
			t.Fatalf("%v\n%s%s", err, out.String(), problems.String())
		}
		if problems.Len() > 0 {
			t.Errorf("it complains: %s", problems.String())
		}
		if diff := cmp.Diff(strings.Join(want, "\n"), strings.TrimSpace(out.String())); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	journal := filepath.Join(dir, "tickets.jsonl")
	read := func() string {
		t.Helper()
		data, err := os.ReadFile(journal)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}

	room.Post("lamp-1", "order-1", "lamp-3")
	events := room.Post("lamp-2")
	work(
		"#1 opened by anna@berg.example: Lamp flickers since Monday",
		"#2 opened by wim@deboer.example: Re: Signed order 4711",
		"#1 answered by jonas@berg.example: AW: Lamp flickers since Monday [files: 1]",
		"#1 answered by anna@berg.example: Re: [Ticket] Lamp flickers since Monday",
	)
	if !strings.Contains(read(), `"text":"Yes, with another bulb it flickers just the same."`) {
		t.Errorf("the answer is not without its quote: %s", read())
	}
	kept, err := os.ReadFile(filepath.Join(dir, "files", lampsSHA256))
	if sum := sha256.Sum256(kept); err != nil || hex.EncodeToString(sum[:]) != lampsSHA256 {
		t.Errorf("the attachment: %v, %q", err, kept)
	}

	// The bounce of an answer, whose Message-ID no mail of ours has, belongs
	// to the ticket by what it refers to; an absence is only told of.
	room.Post("lamp-bounce", "out-of-office")
	before := read()
	work(
		"#1 answered by MAILER-DAEMON@mx.harbour.example: Undelivered Mail Returned to Sender (bounce) [files: 2]",
		"#3 opened by petra@novak.example: Automatic reply: Your order 10-2240 has been shipped (automatic)",
	)

	// A crash between the journal and the acknowledgement, in the worst of
	// ways: the line is cut short, and the broker gives everything again.
	whole := read()
	if err := os.WriteFile(journal, []byte(whole[:len(whole)-3]), 0o600); err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(room.Conn)
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteConsumer(t.Context(), event.StreamName, "desk-test"); err != nil {
		t.Fatal(err)
	}
	work("#3 opened by petra@novak.example: Automatic reply: Your order 10-2240 has been shipped (automatic)")
	if read() != whole {
		t.Errorf("the journal was\n%s\nand is\n%s", whole, read())
	}
	if !strings.HasPrefix(whole, before) || strings.Count(whole, events[0].ID) != 1 {
		t.Errorf("the journal:\n%s", whole)
	}
}

// lampsSHA256 is that of lamps.csv in lamp-3.
const lampsSHA256 = "6f2dbd4b837a7351a57f1093f48593dcc71e4d085fc71670c50b6852b4cfec72"
