package imapsession

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"imapsync/internal/devenv/imapserver"
)

// TestFailureStartTLS: nothing that happens in plaintext leads past TLS, and no
// credential is sent before it.
func TestFailureStartTLS(t *testing.T) {
	for _, q := range imapserver.Quirks() {
		if q.Security != imapserver.STARTTLS {
			continue
		}
		t.Run(fmt.Sprintf("Failure%02d_%s", q.Row, q.Name), func(t *testing.T) {
			srv := imapserver.Test(t, imapserver.Config{Security: imapserver.STARTTLS}, 0)
			srv.Play(q)
			conn, err := net.Dial("tcp", srv.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(500 * time.Millisecond))
			imapserver.Within(t, 10*time.Second, func() {
				if err := startTLS(conn); err == nil || srv.Fired() == 0 {
					t.Errorf("upgraded: %v, fired %d", err, srv.Fired())
				} else if !strings.Contains(err.Error(), "starttls") {
					t.Error("the error does not say what failed:", err)
				}
			})
			if v := srv.Violations(); v != nil {
				t.Error(v)
			}
		})
	}
}
