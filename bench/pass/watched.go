package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"imapsync/event"
)

const (
	idleName    = "raw IDLE"
	watchName   = "imapsync run --watch"
	restFor     = 20 * time.Second // in which nothing happens
	latencies   = 100              // mails
	betweenMail = 50 * time.Millisecond
)

// watched has n accounts watched by one process: what it costs while nothing
// happens, and how long mail is on its way from APPEND to the stream. Beside it
// the server alone: from APPEND until a client in IDLE hears of it.
func watched(n int) func(context.Context, *servers) ([]contender, error) {
	return func(ctx context.Context, s *servers) ([]contender, error) {
		var users []string
		var accounts []account
		for range n {
			user, err := s.user()
			if err != nil {
				return nil, err
			}
			users = append(users, user)
			accounts = append(accounts, s.account(user, "none"))
		}
		alone, err := s.user()
		if err != nil {
			return nil, err
		}
		name, _, err := s.database(ctx)
		if err != nil {
			return nil, err
		}
		if err := s.addProviders(ctx, s.postgres.DatabaseURL(name), accounts...); err != nil {
			return nil, err
		}
		return []contender{
			{name: idleName, rounds: 2, run: func(context.Context) (sample, error) { return s.rawIdle(alone) }},
			{name: watchName, product: true, rounds: 2, run: func(ctx context.Context) (sample, error) {
				return s.watch(ctx, s.postgres.DatabaseURL(name), users)
			}},
		}, nil
	}
}

// client is a bare IMAP connection, logged in.
type client struct {
	*tls.Conn
	r *bufio.Reader
}

func (s *servers) client(user string) (*client, error) {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.dovecot.CA.PEM)
	conn, err := tls.Dial("tcp", hostPort(s.dovecot.Host, s.dovecot.TLSPort), &tls.Config{RootCAs: roots})
	if err != nil {
		return nil, err
	}
	c := &client{conn, bufio.NewReader(conn)}
	return c, c.say("a LOGIN "+user+" "+password, "a OK")
}

// say sends a line and reads until one that begins with answer.
func (c *client) say(line, answer string) error {
	if _, err := c.Write([]byte(line + "\r\n")); err != nil {
		return err
	}
	return c.hear(answer)
}

func (c *client) hear(answer string) error {
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return err
		}
		if strings.HasPrefix(line, answer) || strings.HasSuffix(strings.TrimSpace(line), answer) {
			return nil
		}
		if strings.Contains(line, " BAD ") || strings.Contains(line, " NO ") {
			return errors.New(line)
		}
	}
}

// deliver appends a mail, and returns when the server had all of it to take.
func (s *servers) deliver(user, subject string) (time.Time, error) {
	c, err := s.client(user)
	if err != nil {
		return time.Time{}, err
	}
	defer c.Close()
	mail := fmt.Sprintf("From: a@example.org\r\nTo: b@example.org\r\nSubject: %s\r\nMessage-ID: <%s@example.org>\r\nDate: %s\r\n\r\nHello\r\n",
		subject, subject, time.Now().Format(time.RFC1123Z))
	if err := c.say(fmt.Sprintf("b APPEND INBOX {%d}", len(mail)), "+"); err != nil {
		return time.Time{}, err
	}
	sent := time.Now()
	return sent, c.say(mail, "b OK")
}

func (s *servers) rawIdle(user string) (sample, error) {
	c, err := s.client(user)
	if err != nil {
		return sample{}, err
	}
	defer c.Close()
	if err := errors.Join(c.say("b EXAMINE INBOX", "b OK"), c.say("c IDLE", "+")); err != nil {
		return sample{}, err
	}
	var took []time.Duration
	for i := range 20 {
		heard := make(chan error, 1)
		go func() { heard <- c.hear("EXISTS") }()
		sent, err := s.deliver(user, fmt.Sprintf("raw-%d-%d", i, time.Now().UnixNano()))
		if err != nil {
			return sample{}, err
		}
		if err := <-heard; err != nil {
			return sample{}, err
		}
		took = append(took, time.Since(sent))
		time.Sleep(rand.N(time.Second))
	}
	return ofLatencies(took), nil
}

func ofLatencies(took []time.Duration) sample {
	slices.Sort(took)
	return sample{wall: took[len(took)/2], high: took[(len(took)*99-1)/100]}
}

// watch starts the product, lets it rest, and then delivers mail.
func (s *servers) watch(ctx context.Context, url string, users []string) (_ sample, err error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.binary, "run", "--watch", "--log-level", "debug", "--log-format", "json")
	cmd.Env = append(os.Environ(), "DATABASE_URL="+url, "NATS_URL="+s.nats.URL(), "IMAPSYNC_SECRET_KEY_FILE="+s.keyFile)
	log, err := cmd.StderrPipe()
	if err != nil {
		return sample{}, err
	}
	if err := cmd.Start(); err != nil {
		return sample{}, err
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		err = errors.Join(err, cmd.Wait())
	}()
	var idling atomic.Int64
	all := make(chan struct{})
	go func() {
		for lines := bufio.NewScanner(log); lines.Scan(); {
			if strings.Contains(lines.Text(), `"idle_start"`) && idling.Add(1) == int64(len(users)) {
				close(all)
			}
		}
	}()
	select {
	case <-all:
	case <-ctx.Done():
		return sample{}, fmt.Errorf("%d of %d accounts are idle after three minutes", idling.Load(), len(users))
	}
	before, err := cpuTime(cmd.Process.Pid)
	if err != nil {
		return sample{}, err
	}
	time.Sleep(restFor)
	after, err := cpuTime(cmd.Process.Pid)
	if err != nil {
		return sample{}, err
	}
	got, err := s.latency(ctx, users)
	got.cpu, got.rss = after-before, peakNow(cmd.Process.Pid)
	return got, err
}

// latency delivers mail to users at random, and waits for each on the stream.
func (s *servers) latency(ctx context.Context, users []string) (sample, error) {
	nc, err := nats.Connect(s.nats.URL())
	if err != nil {
		return sample{}, err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return sample{}, err
	}
	consumer, err := js.OrderedConsumer(ctx, event.StreamName, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverNewPolicy})
	if err != nil {
		return sample{}, err
	}
	type arrival struct {
		subject string
		at      time.Time
	}
	arrived := make(chan arrival, latencies)
	consuming, err := consumer.Consume(func(m jetstream.Msg) {
		at := time.Now()
		var ev event.Event
		if json.Unmarshal(m.Data(), &ev) == nil {
			arrived <- arrival{ev.Payload.EmailData.Subject, at}
		}
	})
	if err != nil {
		return sample{}, err
	}
	defer consuming.Stop()
	sent := map[string]time.Time{}
	for i := range latencies {
		subject := fmt.Sprintf("mail-%d-%d", i, time.Now().UnixNano())
		if sent[subject], err = s.deliver(users[rand.IntN(len(users))], subject); err != nil {
			return sample{}, err
		}
		time.Sleep(betweenMail + rand.N(betweenMail))
	}
	var took []time.Duration
	for len(took) < latencies {
		select {
		case a := <-arrived:
			took = append(took, a.at.Sub(sent[a.subject]))
		case <-ctx.Done():
			return sample{}, fmt.Errorf("%d of %d mails came", len(took), latencies)
		}
	}
	return ofLatencies(took), nil
}

// cpuTime is what a process has used so far.
func cpuTime(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	var user, system int64
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if _, err := fmt.Sscan(fields[11]+" "+fields[12], &user, &system); err != nil {
		return 0, err
	}
	return time.Duration(user+system) * 10 * time.Millisecond, nil // Linux counts hundredths of a second
}
