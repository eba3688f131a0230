package imapsession

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
)

// maxPlainLine bounds a line of the dialogue before TLS, in bytes.
const maxPlainLine = 8 << 10

// startTLS asks for TLS on a plaintext connection (RFC 3501 section 6.2.1). It
// is done by hand so that not a byte of what came before the handshake is
// believed after it: bytes that the server, or somebody between, sent behind
// the answer are an attack and refused.
func startTLS(conn net.Conn) error {
	r := bufio.NewReaderSize(conn, maxPlainLine)
	greeting, err := plainLine(r)
	if err != nil {
		return failf("greeting", "greeting: %w", err)
	}
	switch strings.ToUpper(firstWords(greeting, 2)) {
	case "* OK":
	case "* BYE":
		return failf("bye", "greeting: server said %q", greeting)
	case "* PREAUTH":
		return failf("starttls_preauth", "starttls: the server skips the login on an unencrypted connection (PREAUTH): refused")
	default:
		if isTLSRecord(greeting) {
			return failf("starttls_tls", "starttls: the server speaks TLS from the start on this port")
		}
		return failf("greeting", "greeting: not an IMAP server: %q", greeting)
	}
	if _, err := io.WriteString(conn, "S1 STARTTLS\r\n"); err != nil {
		return failf("starttls", "starttls: %w", err)
	}
	for range 100 { // untagged lines may come before the answer
		line, err := plainLine(r)
		if err != nil {
			return failf("starttls", "starttls: %w", err)
		}
		if strings.HasPrefix(line, "* ") {
			continue
		}
		switch strings.ToUpper(firstWords(line, 2)) {
		case "S1 OK":
		case "S1 BAD":
			return failf("starttls_missing", "starttls: the server, or somebody on the way to it, does not offer it (%q)", line)
		default:
			return failf("starttls_refused", "starttls: the server refuses it (%q)", line)
		}
		if r.Buffered() > 0 {
			return failf("starttls_injected", "starttls: bytes came before the handshake: somebody may be tampering with the connection; refused")
		}
		return nil
	}
	return failf("starttls", "starttls: no answer in 100 lines")
}

// isTLSRecord reports whether bytes begin a record of TLS (RFC 8446 section
// 5.1): an alert, most likely, about a client that waits for a greeting.
func isTLSRecord(s string) bool {
	return len(s) >= 2 && (s[0] == 0x15 || s[0] == 0x16) && s[1] == 3
}

func plainLine(r *bufio.Reader) (string, error) {
	line, err := r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return "", fmt.Errorf("a line of more than %d bytes", maxPlainLine)
	}
	if err != nil && !isTLSRecord(string(line)) {
		return "", err
	}
	return strings.TrimRight(string(line), "\r\n"), nil
}

func firstWords(line string, n int) string {
	words := strings.Fields(line)
	return strings.Join(words[:min(n, len(words))], " ")
}
