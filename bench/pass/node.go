package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

const nodeName = "Node: imapflow, mailparser, JetStream"

// nodePipeline is what people build in Node, from bench/node. It is nil when
// there is no Node, or npm cannot fetch what it needs.
func (s *servers) nodePipeline(user string, want int) (*contender, error) {
	dir, err := filepath.Abs("node")
	if err != nil {
		return nil, err
	}
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			fmt.Fprintln(os.Stderr, program+" is not installed (apt-get install nodejs npm): Node is left out")
			return nil, nil //nolint:nilnil,nilerr // no program, no error
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "imapflow")); errors.Is(err, os.ErrNotExist) {
		cmd := exec.Command("npm", "ci", "--no-audit", "--no-fund", "--silent")
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "npm ci: %v: %s: Node is left out\n", err, out)
			return nil, nil //nolint:nilnil // as above
		}
	}
	env := []string{
		"NATS_URL=" + s.nats.URL(), "IMAP_PORT=" + strconv.Itoa(s.dovecot.TLSPort), "IMAP_CA=" + s.dovecot.CAFile,
		"IMAP_USER=" + user, "IMAP_PASSWORD=" + password,
	}
	return &contender{name: nodeName, rounds: 2, optional: true, run: func(ctx context.Context) (sample, error) {
		ctx, cancel := context.WithTimeout(ctx, peerPatience)
		defer cancel()
		got, out, err := process(ctx, env, nil, "node", filepath.Join(dir, "pipeline.js"))
		if err == nil && !strings.Contains(out, fmt.Sprintf("published %d\n", want)) {
			err = fmt.Errorf("not %d mails: %s", want, out)
		}
		return got, err
	}}, nil
}
