package main

import (
	"github.com/spf13/pflag"

	"imapsync/provider"
	mailsync "imapsync/sync"
)

// timeoutFlags are those of every command that reads mail: how long a server
// may take, whatever the mailbox says.
type timeoutFlags struct{ mailsync.Timeouts }

func (t *timeoutFlags) add(fs *pflag.FlagSet) {
	fs.DurationVar(&t.Connect, "connect-timeout", 0, "TCP and TLS handshake (0: the provider's, else 10s)")
	fs.DurationVar(&t.Command, "command-timeout", 0, "silence of a server while it works (0: the provider's, else 30s)")
	fs.DurationVar(&t.Literal, "literal-timeout", 0, "silence within a message body (0: the provider's, else 1m)")
}

// check is what is wrong with the flags.
func (t *timeoutFlags) check() []error {
	return []error{
		zeroOr("connect-timeout", t.Connect, provider.MinTimeout),
		zeroOr("command-timeout", t.Command, provider.MinTimeout),
		zeroOr("literal-timeout", t.Literal, provider.MinTimeout),
	}
}
