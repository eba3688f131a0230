package main

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"imapsync/internal/devenv"
	"imapsync/secret"
)

func TestFailure08_LargeMailInBoundedMemory(t *testing.T) {
	t.Parallel()
	largeMailInBoundedMemory(t, 5)
}

// largeMailInBoundedMemory runs the real binary over mails of 25 MB each and looks at
// the most memory it ever had.
func largeMailInBoundedMemory(t *testing.T, mails int) {
	t.Helper()
	const limit = 96 << 20
	dir := t.TempDir()
	binary := filepath.Join(dir, "imapsync")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	d := devenv.TestDovecot(t)
	if err := d.AddUser("u", "geheim"); err != nil {
		t.Fatal(err)
	}
	file := largeFile(25 << 20)
	for n := range mails {
		if err := d.Deliver("u", "INBOX", largeMail(n, file)); err != nil {
			t.Fatal(err)
		}
	}
	key, err := secret.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	keyFile := filepath.Join(dir, "key")
	if err := os.WriteFile(keyFile, []byte(key.Reveal()), 0o600); err != nil {
		t.Fatal(err)
	}
	env := append(os.Environ(), "DATABASE_URL="+devenv.TestPostgres(t, migrateAll), "NATS_URL="+devenv.TestNATS(t).URL(),
		"IMAPSYNC_SECRET_KEY_FILE="+keyFile)
	run := func(stdin string, args ...string) (peak int64, output string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), binary, args...)
		var out bytes.Buffer
		cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = env, strings.NewReader(stdin), &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		watched := make(chan int64)
		go func() { watched <- peakMemory(cmd.Process.Pid) }()
		if err := cmd.Wait(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out.String())
		}
		return <-watched, out.String()
	}
	run("geheim", "provider", "add", "--name", "u", "--mailbox", "u@example.com", "--username", "u", "--host", d.Host,
		"--port", strconv.Itoa(d.TLSPort), "--ca-file", d.CAFile, "--start", "all", "--password-stdin")
	peak, out := run("", "run", "-o", "json")
	if !strings.Contains(out, fmt.Sprintf(`"published":%d`, mails)) {
		t.Errorf("not all were published:\n%s", out)
	}
	t.Logf("peak RSS %d MiB over %d mails of 25 MiB", peak>>20, mails)
	if peak == 0 || peak > limit {
		t.Errorf("peak RSS %d MiB, want at most %d", peak>>20, limit>>20)
	}
}

// peakMemory watches a process until it ends and returns the most memory it
// had, in bytes. The rusage of a child will not do: it counts what its parent
// had before the exec.
func peakMemory(pid int) int64 {
	var peak int64
	for {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		_, line, ok := strings.Cut(string(status), "VmHWM:")
		if err != nil || !ok {
			return peak // gone
		}
		var kib int64
		if _, err := fmt.Sscan(line, &kib); err == nil {
			peak = max(peak, kib<<10)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// largeFile is a file of about size bytes in base64.
func largeFile(size int) []byte {
	var b bytes.Buffer
	line := make([]byte, 57)
	for b.Len() < size {
		_, _ = rand.Read(line) // never fails
		b.WriteString(base64.StdEncoding.EncodeToString(line))
		b.WriteString("\r\n")
	}
	return b.Bytes()
}

// largeMail is a mail with a file attached that is no other mail's, for it
// begins otherwise.
func largeMail(n int, file []byte) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "From: ann@example.org\r\nTo: u@example.com\r\nSubject: large %d\r\nMessage-ID: <large-%d@example.org>\r\n"+
		"Date: Mon, 2 Mar 2026 10:00:00 +0000\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"+
		"--b\r\nContent-Type: text/plain\r\n\r\nSee the file.\r\n--b\r\nContent-Type: application/octet-stream\r\n"+
		"Content-Disposition: attachment; filename=file.bin\r\nContent-Transfer-Encoding: base64\r\n\r\n", n, n)
	fmt.Fprintf(&b, "%s\r\n", base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "file %052d", n)))
	b.Write(file)
	b.WriteString("--b--\r\n")
	return b.Bytes()
}
