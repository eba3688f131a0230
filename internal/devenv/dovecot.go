package devenv

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// Dovecot is a private IMAP server.
type Dovecot struct {
	Host         string // an address, which the certificate names
	TLSPort      int    // TLS from the first byte (RFC 8314 implicit TLS)
	StartTLSPort int    // plaintext that offers STARTTLS
	PlainPort    int    // meant for plaintext; it offers STARTTLS too
	CA           *CA    // signed the certificate, unless DovecotCert gave another
	CAFile       string // the CA's certificate in PEM

	scratch   *scratch
	mail      account // owns the mail
	bin       string
	version   string
	separator string
	sdbox     bool
	extra     []string
	cert      *KeyPair
	oauth     *OAuth

	mechanisms []string // that take tokens
	proc       *process

	mu        sync.Mutex
	passwords map[string]string
	delivered int
}

// DovecotOption changes how a server is started.
type DovecotOption func(*Dovecot)

// DovecotConfig adds lines to dovecot.conf, after all others.
func DovecotConfig(lines string) DovecotOption {
	return func(d *Dovecot) { d.extra = append(d.extra, lines) }
}

// DovecotSeparator sets the folder separator, "/" by default.
func DovecotSeparator(sep string) DovecotOption {
	return func(d *Dovecot) { d.separator = sep }
}

// DovecotSdbox keeps mail in Dovecot's own format of one file a mail, which it
// recommends for large folders: it opens them by their index, where a Maildir's
// files or their list are read through. Deliver cannot write it; Append can.
func DovecotSdbox() DovecotOption {
	return func(d *Dovecot) { d.sdbox = true }
}

// DovecotCert has the server show another certificate, such as an expired one.
func DovecotCert(pair KeyPair) DovecotOption {
	return func(d *Dovecot) { d.cert = &pair }
}

// DovecotOAuth has the server take access tokens of an authorization server, by
// XOAUTH2 and OAUTHBEARER, or by the mechanisms named. Users are added as
// others are.
func DovecotOAuth(o *OAuth, mechanisms ...string) DovecotOption {
	return func(d *Dovecot) {
		d.oauth, d.mechanisms = o, mechanisms
		if len(mechanisms) == 0 {
			d.mechanisms = []string{"xoauth2", "oauthbearer"}
		}
	}
}

// StartDovecot starts a server without users; ctx bounds the start only.
// Logins fail within half a second, however often, and connections are not
// counted. The error is a [*MissingError] when Dovecot is not installed.
func StartDovecot(ctx context.Context, opts ...DovecotOption) (_ *Dovecot, err error) {
	defer wrap(&err, "dovecot")
	bin, err := findProgram("dovecot", "dovecot-imapd")
	if err != nil {
		return nil, err
	}
	out, err := exec.CommandContext(ctx, bin, "--version").Output()
	if err != nil {
		return nil, fmt.Errorf("%s --version: %w", bin, err)
	}
	mail, err := unprivileged("nobody", "mail", "daemon")
	if err != nil {
		return nil, err
	}
	ca, err := NewCA()
	if err != nil {
		return nil, err
	}
	dir, err := newScratch("dovecot")
	if err != nil {
		return nil, err
	}
	version, _, _ := strings.Cut(string(out), " ")
	d := &Dovecot{
		Host: loopback, CA: ca, CAFile: dir.file("ca.pem"),
		scratch: dir, mail: mail, bin: bin, version: strings.TrimSpace(version),
		separator: "/", passwords: map[string]string{},
	}
	for _, opt := range opts {
		opt(d)
	}
	if err := d.layOut(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	for range 5 {
		if err = d.choosePorts(); err != nil {
			break
		}
		if err = d.Start(ctx); err == nil {
			return d, nil
		}
		if !strings.Contains(err.Error(), "in use") {
			break
		}
	}
	return nil, errors.Join(err, d.Close())
}

// layOut makes the directories and the certificate.
func (d *Dovecot) layOut() error {
	for _, dir := range []string{"run", "state", "users"} {
		if err := os.Mkdir(d.scratch.file(dir), 0o755); err != nil { //nolint:gosec // Dovecot's own users must pass
			return err
		}
	}
	if err := errors.Join(os.Mkdir(d.scratch.file("mail"), 0o700), d.mail.own(d.scratch.file("mail"))); err != nil {
		return err
	}
	if d.cert == nil {
		pair, err := d.CA.Issue(Cert{})
		if err != nil {
			return err
		}
		d.cert = &pair
	}
	return errors.Join(
		os.WriteFile(d.CAFile, d.CA.PEM, 0o644), //nolint:gosec // a certificate is public
		os.WriteFile(d.scratch.file("cert.pem"), d.cert.CertPEM, 0o600),
		os.WriteFile(d.scratch.file("key.pem"), d.cert.KeyPEM, 0o600),
		os.WriteFile(d.scratch.file("oauth2.conf.ext"), []byte(d.oauthBackend("")), 0o600),
	)
}

// choosePorts takes three free ports and writes them into the configuration.
func (d *Dovecot) choosePorts() (err error) {
	var ports []int
	for len(ports) < 3 {
		port, err := freePort()
		if err != nil {
			return err
		}
		if !slices.Contains(ports, port) {
			ports = append(ports, port)
		}
	}
	d.TLSPort, d.StartTLSPort, d.PlainPort = ports[0], ports[1], ports[2]
	conf, err := d.config()
	if err != nil {
		return err
	}
	return os.WriteFile(d.scratch.file("dovecot.conf"), []byte(conf), 0o600)
}

// Start starts the server again, on its ports and its mail, and waits until it
// greets, within patience.
func (d *Dovecot) Start(ctx context.Context) error {
	if d.proc.running() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	self := account{uid: os.Getuid()}
	proc, err := d.scratch.spawn(self, syscall.SIGTERM, d.logFile(), d.bin, "-F", "-c", d.scratch.file("dovecot.conf"))
	if err != nil {
		return err
	}
	d.proc = proc
	return proc.awaitReady(ctx.Done(), d.logFile(), func() error { return d.greets(ctx) })
}

// greets reports whether the server answers as it does when it is up.
func (d *Dovecot) greets(ctx context.Context) error {
	for _, port := range []int{d.StartTLSPort, d.PlainPort, d.TLSPort} {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", d.address(port))
		if err != nil {
			return err
		}
		if port == d.TLSPort {
			conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // the certificate may be bad on purpose
		}
		err = errors.Join(conn.SetDeadline(time.Now().Add(5*time.Second)), greeting(conn), conn.Close())
		if err != nil {
			return fmt.Errorf("port %d: %w", port, err)
		}
	}
	return nil
}

func greeting(conn net.Conn) error {
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err == nil && !strings.HasPrefix(line, "* OK") {
		err = fmt.Errorf("greeting %q", line)
	}
	return err
}

// Stop ends the server in order; clients are told BYE.
func (d *Dovecot) Stop() error { return d.proc.stop(syscall.SIGTERM) }

// Kill ends all processes of the server by kill -9.
func (d *Dovecot) Kill() error { return d.proc.kill() }

// Close ends the server and removes all mail.
func (d *Dovecot) Close() error {
	return errors.Join(d.proc.kill(), d.scratch.close()) // in order, it takes a second
}

// Log returns the last lines of the server's log.
func (d *Dovecot) Log() string { return tail(d.logFile(), 60) }

func (d *Dovecot) logFile() string { return d.scratch.file("log") }

func (d *Dovecot) address(port int) string {
	return net.JoinHostPort(d.Host, strconv.Itoa(port))
}

// AddUser adds a user, with folders besides INBOX if named, or gives one
// another password. Dovecot looks at a file once a second, so a changed
// password holds a second later.
func (d *Dovecot) AddUser(name, password string, folders ...string) error {
	name = strings.ToLower(name) // as Dovecot does
	if name == "" || strings.ContainsAny(name, "/: \t\r\n") {
		return fmt.Errorf("dovecot: user name %q cannot be used", name)
	}
	salt := []byte(rand.Text()[:8])
	sum := sha256.Sum256(append([]byte(password), salt...))
	line := name + ":{SSHA256}" + base64.StdEncoding.EncodeToString(append(sum[:], salt...)) + "::::::\n"
	if err := os.WriteFile(d.scratch.file("users", name), []byte(line), 0o600); err != nil {
		return fmt.Errorf("dovecot: add user: %w", err)
	}
	d.mu.Lock()
	d.passwords[name] = password
	d.mu.Unlock()
	for _, folder := range folders {
		if err := d.Deliver(name, folder); err != nil {
			return err
		}
	}
	return nil
}

// Login returns a client of the user over implicit TLS, to be closed.
func (d *Dovecot) Login(user string) (*imapclient.Client, error) {
	d.mu.Lock()
	password, known := d.passwords[strings.ToLower(user)]
	d.mu.Unlock()
	if !known {
		return nil, fmt.Errorf("dovecot: no user %q was added", user)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(d.CA.PEM)
	client, err := imapclient.DialTLS(d.address(d.TLSPort), &imapclient.Options{
		TLSConfig: &tls.Config{RootCAs: roots, ServerName: d.Host, MinVersion: tls.VersionTLS12},
	})
	if err != nil {
		return nil, fmt.Errorf("dovecot: %w", err)
	}
	if err := client.Login(user, password).Wait(); err != nil {
		return nil, errors.Join(fmt.Errorf("dovecot: login of %q: %w", user, err), client.Close())
	}
	return client, nil
}

// Append adds mails to a folder as a client does, by APPEND, behind what
// Deliver put there. received is their INTERNALDATE; zero means now.
func (d *Dovecot) Append(user, folder string, received time.Time, mails ...[]byte) (err error) {
	client, err := d.Login(user)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	// Opened first, so that the server sees what was delivered.
	if _, err := client.Select(folder, &imap.SelectOptions{ReadOnly: true}).Wait(); err != nil {
		return fmt.Errorf("dovecot: folder %q: %w", folder, err)
	}
	for _, mail := range mails {
		mail = crlf(mail)
		cmd := client.Append(folder, int64(len(mail)), &imap.AppendOptions{Time: received})
		_, err := cmd.Write(mail)
		if err := errors.Join(err, cmd.Close()); err != nil {
			return fmt.Errorf("dovecot: append to %q: %w", folder, err)
		}
		if _, err := cmd.Wait(); err != nil {
			return fmt.Errorf("dovecot: append to %q: %w", folder, err)
		}
	}
	return nil
}

// crlf ends every line with CR LF.
func crlf(mail []byte) []byte {
	mail = bytes.ReplaceAll(mail, []byte("\r\n"), []byte("\n"))
	return bytes.ReplaceAll(mail, []byte("\n"), []byte("\r\n"))
}
