package sync

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
		return transient("greeting", fmt.Errorf("greeting: %w", err))
	}
	switch strings.ToUpper(firstWords(greeting, 2)) {
	case "* OK":
	case "* BYE":
		return transient("bye", fmt.Errorf("greeting: server said %q", greeting))
	case "* PREAUTH":
		return config("starttls_preauth", errors.New("starttls: the server skips the login on an unencrypted connection (PREAUTH): refused"))
	default:
		return transient("greeting", fmt.Errorf("greeting: not an IMAP server: %q", greeting))
	}
	if _, err := io.WriteString(conn, "S1 STARTTLS\r\n"); err != nil {
		return transient("starttls", fmt.Errorf("starttls: %w", err))
	}
	for range 100 { // untagged lines may come before the answer
		line, err := plainLine(r)
		if err != nil {
			return transient("starttls", fmt.Errorf("starttls: %w", err))
		}
		if strings.HasPrefix(line, "* ") {
			continue
		}
		if strings.ToUpper(firstWords(line, 2)) != "S1 OK" {
			return config("starttls_refused", fmt.Errorf("starttls: the server refuses it (%q): use --tls implicit; plaintext is never a fallback", line))
		}
		if r.Buffered() > 0 {
			return config("starttls_injected", errors.New("starttls: bytes came before the handshake: somebody may be tampering with the connection; refused"))
		}
		return nil
	}
	return transient("starttls", errors.New("starttls: no answer in 100 lines"))
}

func plainLine(r *bufio.Reader) (string, error) {
	line, err := r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return "", fmt.Errorf("a line of more than %d bytes", maxPlainLine)
	}
	if err != nil {
		return "", err
	}
	return strings.TrimRight(string(line), "\r\n"), nil
}

func firstWords(line string, n int) string {
	words := strings.Fields(line)
	return strings.Join(words[:min(n, len(words))], " ")
}
