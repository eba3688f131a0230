package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"imapsync/internal/devenv"
)

// startOAuth starts an authorization server: OAUTH_URL, OAUTH_CLIENT_ID, and the
// files client.secret and account.json.
func (s *script) startOAuth([]string) error {
	s.oauth = devenv.TestOAuth(s.t)
	s.Setenv("OAUTH_URL", s.oauth.URL)
	s.Setenv("OAUTH_CLIENT_ID", s.oauth.ClientID)
	work := s.Getenv("WORK")
	return errors.Join(
		os.WriteFile(filepath.Join(work, "client.secret"), []byte(s.oauth.ClientSecret+"\n"), 0o600),
		os.WriteFile(filepath.Join(work, "account.json"), s.oauth.AccountKey, 0o600))
}

// setOAuth changes the server: user=NAME, status=N, rotate=BOOL,
// lifetime=DURATION, revoke=USER.
func (s *script) setOAuth(args []string) error {
	for _, arg := range args {
		name, value, _ := strings.Cut(arg, "=")
		var err error
		s.oauth.Set(func(o *devenv.OAuthSettings) {
			switch name {
			case "user":
				o.User = value
			case "status":
				o.Status, err = strconv.Atoi(value)
			case "rotate":
				o.Rotate, err = strconv.ParseBool(value)
			case "lifetime":
				o.Lifetime, err = time.ParseDuration(value)
			case "revoke":
			default:
				err = fmt.Errorf("oauth-set: %q", arg)
			}
		})
		if err != nil {
			return err
		}
		if name == "revoke" {
			s.oauth.Revoke(value, false)
		}
	}
	return nil
}

// address is where a person is sent to.
var address = regexp.MustCompile(`http://\S+`)

// signIn runs `imapsync provider auth` and is the person and the browser: it
// opens the address that is printed, and pastes what it ends at if asked to.
func (s *script) signIn(args []string) error {
	if len(args) < 2 || args[1] != "imapsync" {
		return errors.New("usage: signs-in CODE imapsync provider auth …")
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "imapsync", args[2:]...)
	cmd.Dir = s.Getenv("WORK")
	for _, name := range []string{"PATH", "HOME", "DATABASE_URL", "NATS_URL", "IMAPSYNC_SECRET_KEY_FILE", "IMAPSYNC_LOG_LEVEL"} {
		cmd.Env = append(cmd.Env, name+"="+s.Getenv(name))
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	told, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout = &stdout
	if err := cmd.Start(); err != nil {
		return err
	}
	err = s.beTheBrowser(ctx, args, io.TeeReader(told, &stderr), stdin)
	_, readErr := io.Copy(&stderr, told)
	waitErr := cmd.Wait()
	if _, isExit := errors.AsType[*exec.ExitError](waitErr); isExit {
		waitErr = nil
	}
	_, _ = s.Stdout().Write(stdout.Bytes())
	_, _ = s.Stderr().Write(stderr.Bytes())
	if err := errors.Join(err, readErr, waitErr); err != nil {
		return fmt.Errorf("%w\n%s", err, stderr.Bytes())
	}
	if err := errors.Join(s.printsNoSecret("stdout", stdout.String()), s.printsNoSecret("stderr", stderr.String())); err != nil {
		return err
	}
	if code := cmd.ProcessState.ExitCode(); strconv.Itoa(code) != args[0] {
		return fmt.Errorf("exit code %d, want %s\n%s", code, args[0], stderr.Bytes())
	}
	return nil
}

// beTheBrowser reads what is told until there is an address, and opens it.
func (s *script) beTheBrowser(ctx context.Context, args []string, told io.Reader, stdin io.WriteCloser) error {
	var seen []byte
	one := make([]byte, 1)
	for !bytes.HasSuffix(seen, []byte("\n")) || address.Find(seen) == nil {
		n, err := told.Read(one)
		seen = append(seen, one[:n]...)
		if errors.Is(err, io.EOF) {
			return stdin.Close() // it wanted nobody, or failed before
		}
		if err != nil {
			return err
		}
	}
	if slices.Contains(args, "--device") || bytes.Contains(seen, []byte("type the code")) {
		s.oauth.TypeDeviceCodes()
		return stdin.Close()
	}
	back, err := s.oauth.SignIn(ctx, string(address.Find(seen)))
	if err != nil {
		return err
	}
	if slices.Contains(args, "--no-browser") {
		_, err := io.WriteString(stdin, back+"\n")
		return errors.Join(err, stdin.Close())
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, back, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	return errors.Join(res.Body.Close(), stdin.Close())
}

// dump looks for secrets in every row of every table.
func (s *script) dump([]string) error {
	pool, err := sql.Open("postgres", s.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	defer pool.Close()
	rows, err := pool.QueryContext(s.t.Context(), `SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'`)
	if err != nil {
		return err
	}
	defer rows.Close()
	var tables []string
	for rows.Next() {
		var table string
		if err := rows.Scan(&table); err != nil {
			return err
		}
		tables = append(tables, table)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, table := range tables {
		var text string
		err := pool.QueryRowContext(s.t.Context(), `SELECT coalesce(string_agg(t::text, chr(10)), '') FROM `+table+` t`).Scan(&text)
		if err != nil {
			return fmt.Errorf("%s: %w", table, err)
		}
		if err := s.printsNoSecret("table "+table, text); err != nil {
			return err
		}
		for _, issued := range s.oauth.Issued() {
			if strings.Contains(text, hex.EncodeToString([]byte(issued))) {
				return fmt.Errorf("the token %q is in table %s", issued, table)
			}
		}
	}
	return nil
}
