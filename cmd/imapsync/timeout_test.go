package main

import (
	"net"
	"slices"
	"strings"
	"testing"

	"imapsync/internal/devenv"
)

// Commands that read a mailbox by the way take the time-outs that runs take, from
// a flag or from the environment.
func TestTimeoutsOfOtherCommands(t *testing.T) {
	t.Parallel()
	g := newGround(t, devenv.TestPostgres(t, migrateAll), devenv.TestNATSServer(t).URL())
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	g.must(err)
	t.Cleanup(func() { silent.Close() })
	host, port, _ := net.SplitHostPort(silent.Addr().String())
	g.mailbox("support", nil, "--host", host, "--port", port, "--tls", "none")
	for _, command := range [][]string{{"reconcile", "support"}, {"backfill", "support", "--since", "3d"}} {
		for given, env := range map[string][]string{"--command-timeout=210ms": nil, "": {"IMAPSYNC_COMMAND_TIMEOUT=210ms"}} {
			args := append(slices.Clip(command), strings.Fields(given)...)
			code, output := g.startWith(env, args...).wait()
			if code != exitTempfail || !strings.Contains(output, "no progress for 210ms") {
				t.Errorf("%q %q: exit %d, want %d after 210 ms:\n%s", args, env, code, exitTempfail, output)
			}
		}
	}
}
