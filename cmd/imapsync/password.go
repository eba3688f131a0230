package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"imapsync/provider"
	"imapsync/secret"
)

// passwordFlags say where a password comes from. It is never in an argument,
// which every user of the machine can see.
type passwordFlags struct {
	file   string
	stdin  bool
	prompt bool
}

func (f *passwordFlags) add(fs *pflag.FlagSet) {
	fs.StringVar(&f.file, "password-file", "", "read the password from this file, which others must not be able to read")
	fs.BoolVar(&f.stdin, "password-stdin", false, "read the password from standard input")
	fs.BoolVar(&f.prompt, "password-prompt", false, "ask for the password on the terminal")
}

// only forgets what did not come from the command line.
func (f *passwordFlags) only(given func(flag string) bool) {
	if !given("password-file") {
		f.file = ""
	}
	f.stdin = f.stdin && given("password-stdin")
	f.prompt = f.prompt && given("password-prompt")
}

func (f *passwordFlags) any() bool { return f.file != "" || f.stdin || f.prompt }

// check finds what is wrong with the flags, before anything is read.
func (f *passwordFlags) check(stdin any) []provider.Problem {
	n := 0
	for _, set := range []bool{f.file != "", f.stdin, f.prompt} {
		if set {
			n++
		}
	}
	switch {
	case n > 1:
		return []provider.Problem{provider.Wrong(provider.Password, "give one of --password-file, --password-stdin and --password-prompt")}
	case f.prompt && !isTerminal(stdin):
		return []provider.Problem{provider.Wrong("password-prompt", "standard input is not a terminal: use --password-file or --password-stdin")}
	}
	return nil
}

// read gets the password. prompt is what a person is asked.
func (f *passwordFlags) read(ctx context.Context, a *app, prompt string) (secret.Value, error) {
	var v secret.Value
	var err error
	flag := "--password-file"
	switch {
	case f.file != "":
		v, err = secret.ReadFile(f.file)
	case f.stdin:
		flag = "--password-stdin"
		v, err = secret.Read(a.stdin, "standard input")
	default:
		flag = "password"
		v, err = a.askPassword(ctx, prompt)
	}
	if ctx.Err() != nil {
		return secret.Value{}, ctx.Err()
	}
	if err != nil {
		return secret.Value{}, configError("%s: %w", flag, err)
	}
	if strings.ContainsAny(v.Reveal(), "\r\n\x00") {
		return secret.Value{}, configError("%s: more than one line, or a NUL: a password is one line", flag)
	}
	return v, nil
}

// askPassword asks on the terminal, without echo. An interrupt gives the
// terminal its echo back.
func (a *app) askPassword(ctx context.Context, prompt string) (secret.Value, error) {
	f, ok := a.stdin.(*os.File)
	if !ok {
		return secret.Value{}, errors.New("standard input is not a terminal")
	}
	fd := int(f.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return secret.Value{}, err
	}
	fmt.Fprint(a.stderr, prompt)
	defer fmt.Fprintln(a.stderr)
	type answer struct {
		text []byte
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		text, err := term.ReadPassword(fd)
		answers <- answer{text, err}
	}()
	select {
	case <-ctx.Done():
		return secret.Value{}, errors.Join(ctx.Err(), term.Restore(fd, before))
	case ans := <-answers:
		if ans.err != nil {
			return secret.Value{}, ans.err
		}
		if len(ans.text) == 0 {
			return secret.Value{}, secret.ErrEmpty
		}
		return secret.New(string(ans.text)), nil
	}
}
