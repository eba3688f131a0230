package main

import (
	"context"
	"fmt"
	"time"

	"imapsync/internal/devenv"
)

const (
	floorName = "raw FETCH"
	ourName   = "imapsync"
	blobName  = "imapsync with blobs"
	eagerName = "imapsync, --eager-login"
)

// cases are all there are, in the order of the table.
func cases(o options) []benchCase {
	const delayed = 50 * time.Millisecond
	return []benchCase{
		{
			name: "small", title: fmt.Sprintf("%d mails of 5 KB", o.small), setup: wholeMailbox(o.small, sizeOf(5<<10), false),
			bars: []bar{
				{what: "wall ÷ mbsync's", value: wallOf(ourName, mbsyncName), most: 0.8},
				{what: "wall ÷ raw FETCH", value: wallOf(ourName, floorName), most: 2.5},
				{what: "Node's wall ÷ ours", value: wallOf(nodeName, ourName), least: 10},
				{what: "RSS, MB", value: rssOf(ourName), most: 128},
			},
		},
		{
			name: "mixed", title: fmt.Sprintf("%d mails, %d MB", o.mixed, o.mixed/4), setup: wholeMailbox(o.mixed, mixedSizes(277_000), true),
			bars: []bar{
				{what: "wall ÷ raw FETCH, no blobs", value: wallOf(ourName, floorName), most: 1.15},
				{what: "wall ÷ raw FETCH, blobs", value: wallOf(blobName, floorName), most: 1.6},
				{what: "RSS, MB, no blobs", value: rssOf(ourName), most: 128},
				{what: "RSS, MB, blobs", value: rssOf(blobName), most: 128},
			},
		},
		{
			name: "big", title: fmt.Sprintf("%d mails of 25 MB", o.big), setup: wholeMailbox(o.big, sizeOf(25<<20), true),
			bars: []bar{
				{what: "wall ÷ raw FETCH, no blobs", value: wallOf(ourName, floorName), most: 1.15},
				{what: "wall ÷ raw FETCH, blobs", value: wallOf(blobName, floorName), most: 1.6},
				{what: "RSS, MB, no blobs", value: rssOf(ourName), most: 96},
				{what: "RSS, MB, blobs", value: rssOf(blobName), most: 96},
			},
		},
		{
			name: "nonews", title: "no news in 10 folders, round trip 100 ms", setup: noNews(10, delayed),
			bars: []bar{
				{what: "wall ÷ mbsync's", value: wallOf(ourName, mbsyncName), most: 0.27},
				{what: "wall ÷ mbsync's, --eager-login", value: wallOf(eagerName, mbsyncName), most: 0.22},
				{what: "round trips", value: func(m medians) (float64, bool) { s, ok := m[ourName]; return float64(s.trips), ok }, most: 5},
			},
		},
		{
			name: "new500", title: "500 new mails of 5 KB, round trip 100 ms", setup: newMail(500, delayed),
			bars: []bar{{what: "wall ÷ mbsync's", value: wallOf(ourName, mbsyncName), most: 0.7}},
		},
		{
			name: "providers", title: "no news of 200 providers, one process", setup: manyProviders(200),
			bars: []bar{
				{what: "CPU ms a provider", value: cpuOf(ourName, 200), most: 2.5},
				{what: "RSS, MB", value: rssOf(ourName), most: 40},
			},
		},
		{
			name: "inflight", title: "no news of 1,000 providers, 200 at a time, 25 ms each way, simulated server", setup: inFlight(1000, 200, 25*time.Millisecond),
			bars: []bar{{what: "providers a second", value: func(m medians) (float64, bool) {
				s, ok := m[ourName]
				return 1000 / s.wall.Seconds(), ok
			}, least: 400}},
		},
		{
			name: "watch", title: fmt.Sprintf("200 watched accounts, CPU in %s of rest; one mail from APPEND to the event", restFor), setup: watched(200),
			bars: []bar{
				{what: "median s", value: func(m medians) (float64, bool) { s, ok := m[watchName]; return s.wall.Seconds(), ok }, most: 0.1},
				{what: "median s, besides what the server takes to tell", value: besidesOf(watchName, idleName), most: 0.1},
				{what: "p99 s", value: highOf(watchName), most: 1},
				{what: "idle CPU, %", value: cpuOf(watchName, int(restFor/time.Second)*10), most: 2},
				{what: "RSS, MB", value: rssOf(watchName), most: 150},
			},
		},
		{
			name: "start", title: "from exec to the first byte on the wire", setup: coldStart,
			bars: []bar{{what: "ms", value: func(m medians) (float64, bool) { s, ok := m[ourName]; return s.wall.Seconds() * 1000, ok }, most: 50}},
		},
		{
			// A Maildir is scanned when it is opened, and the list of its UIDs read: raw
			// FETCH grows with it as we do. What is asked here is what our pass costs.
			// (Of 100,000 mails Dovecot still reads the index: STATUS and EXAMINE take it
			// 2 ms each, where 1,000 take 0.3.)
			name: "folder", title: "10 new mails in a folder that the server opens by its index (sdbox)",
			setup: folderSizes(1_000, 10_000, 100_000), dovecot: []devenv.DovecotOption{devenv.DovecotSdbox()}, times: 5,
			bars: []bar{
				{what: "wall, 10,000 ÷ 1,000", value: wallOf(folderName(10_000), folderName(1_000)), most: 1.2},
				{what: "wall, 100,000 ÷ 1,000", value: wallOf(folderName(100_000), folderName(1_000)), most: 1.2},
				{what: "CPU, 100,000 ÷ 1,000", value: ratioOf(cpuOf(folderName(100_000), 1), cpuOf(folderName(1_000), 1)), most: 1.2},
				{what: "RSS, 100,000 ÷ 1,000", value: ratioOf(rssOf(folderName(100_000)), rssOf(folderName(1_000))), most: 1.2},
			},
		},
		{
			name: "ledger", title: "10 new mails over a ledger", setup: ledgerSizes(0, o.ledger),
			bars: []bar{{what: "wall, large ÷ empty", value: wallOf(ledgerName(o.ledger), ledgerName(0)), most: 1.2}},
		},
	}
}

func ratioOf(a, b func(medians) (float64, bool)) func(medians) (float64, bool) {
	return func(m medians) (float64, bool) {
		x, okX := a(m)
		y, okY := b(m)
		return x / y, okX && okY
	}
}

// wholeMailbox reads a mailbox of n mails from the first to the last.
func wholeMailbox(n int, size func(int) int, blobs bool) func(context.Context, *servers) ([]contender, error) {
	return func(_ context.Context, s *servers) ([]contender, error) {
		user, err := s.user()
		if err != nil {
			return nil, err
		}
		if err := s.fill(user, n, size); err != nil {
			return nil, err
		}
		address := hostPort(s.dovecot.Host, s.dovecot.TLSPort)
		raw := func(context.Context) (sample, error) { return floor(address, user, s.dovecot.CA.PEM, 1, n) }
		if _, err := raw(nil); err != nil { // the server makes its index
			return nil, err
		}
		contenders := []contender{{name: floorName, run: raw}}
		m, err := s.newMbsync(user, s.dovecot.TLSPort, "INBOX")
		if err != nil {
			return nil, err
		}
		if m != nil {
			contenders = append(contenders, m.whole(n))
		}
		account := s.account(user, "all")
		contenders = append(contenders, s.least(leastName, user, n, false))
		if !blobs {
			contenders = append(contenders, s.whole(ourName, account, n).and(leastName))
		} else {
			contenders = append(contenders,
				s.whole(ourName, account, n, "--max-attachment-bytes", "1", "--max-raw-mime-bytes", "1").and(leastName),
				s.least(leastBlobName, user, n, true),
				s.whole(blobName, account, n, "--max-attachment-bytes", "50000000", "--max-attachments-total-bytes", "50000000").and(leastBlobName))
		}
		if !s.options.peers {
			return contenders, nil
		}
		return append(contenders, s.peers(user, n)...), nil
	}
}

// fill delivers generated mail to an INBOX.
func (s *servers) fill(user string, n int, size func(int) int) error {
	s.made++
	return newMailbox(byte(s.made)).many(n, size, func(mail []byte) error { return s.dovecot.Deliver(user, "INBOX", mail) })
}

// noNews looks at folders in which nothing happened, down a long line.
func noNews(folders int, delay time.Duration) func(context.Context, *servers) ([]contender, error) {
	return func(ctx context.Context, s *servers) ([]contender, error) {
		names := []string{"INBOX"}
		for i := 1; i < folders; i++ {
			names = append(names, fmt.Sprintf("Folder%d", i))
		}
		user, err := s.user(names[1:]...)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if err := s.dovecot.Deliver(user, name, newMailbox(1).mail(5<<10)); err != nil {
				return nil, err
			}
		}
		line, err := startDelay(hostPort(s.dovecot.Host, s.dovecot.TLSPort), delay)
		if err != nil {
			return nil, err
		}
		counted := func(run func(context.Context) (sample, error)) func(context.Context) (sample, error) {
			return func(ctx context.Context) (sample, error) {
				line.trips()
				got, err := run(ctx)
				got.trips = line.trips()
				return got, err
			}
		}
		var contenders []contender
		m, err := s.newMbsync(user, line.port(), "*")
		if err != nil {
			return nil, err
		}
		if m != nil {
			if _, err := m.sync(ctx); err != nil {
				return nil, err
			}
			contenders = append(contenders, contender{name: mbsyncName, run: counted(m.sync)})
		}
		for _, way := range []struct {
			name   string
			filter []string
			eager  bool
		}{{ourName, names, false}, {eagerName, names, true}, {ourName + ", folders by *", []string{"*"}, false}} {
			_, url, err := s.database(ctx)
			if err != nil {
				return nil, err
			}
			account := s.account(user, "none", way.filter...)
			account.port, account.eager = line.port(), way.eager
			if err := s.addProviders(ctx, url, account); err != nil {
				return nil, err
			}
			if _, err := s.run(ctx, url, 0); err != nil {
				return nil, err
			}
			contenders = append(contenders, contender{name: way.name, product: true, run: counted(func(ctx context.Context) (sample, error) {
				return s.run(ctx, url, 0)
			})})
		}
		return contenders, nil
	}
}

// newMail reads n new mails in a folder that is known, down a long line.
func newMail(n int, delay time.Duration) func(context.Context, *servers) ([]contender, error) {
	return func(ctx context.Context, s *servers) ([]contender, error) {
		user, err := s.user()
		if err != nil {
			return nil, err
		}
		if err := s.fill(user, 1, sizeOf(5<<10)); err != nil {
			return nil, err
		}
		line, err := startDelay(hostPort(s.dovecot.Host, s.dovecot.TLSPort), delay)
		if err != nil {
			return nil, err
		}
		account := s.account(user, "none")
		account.port = line.port()
		known, err := s.known(ctx, account)
		if err != nil {
			return nil, err
		}
		if err := s.fill(user, n, sizeOf(5<<10)); err != nil {
			return nil, err
		}
		if _, err := floor(hostPort(s.dovecot.Host, s.dovecot.TLSPort), user, s.dovecot.CA.PEM, 1, n+1); err != nil {
			return nil, err
		}
		var contenders []contender
		m, err := s.newMbsync(user, line.port(), "INBOX")
		if err != nil {
			return nil, err
		}
		if m != nil {
			contenders = append(contenders, m.whole(n+1))
		}
		contenders = append(contenders, s.again(ourName, known, n))
		for i, c := range contenders {
			contenders[i].run = func(ctx context.Context) (sample, error) {
				line.trips()
				got, err := c.run(ctx)
				got.trips = line.trips()
				return got, err
			}
		}
		return contenders, nil
	}
}

// known makes a database in which an account has its cursor behind all that is
// there now, to be copied.
func (s *servers) known(ctx context.Context, accounts ...account) (name string, err error) {
	name, url, err := s.database(ctx)
	if err != nil {
		return "", err
	}
	if err := s.addProviders(ctx, url, accounts...); err != nil {
		return "", err
	}
	_, err = s.run(ctx, url, 0)
	return name, err
}

// again is a contender that reads want new mails each time, on a copy of a
// database.
func (s *servers) again(name, template string, want int) contender {
	return contender{name: name, product: true, run: func(ctx context.Context) (sample, error) {
		if err := s.emptyBroker(ctx); err != nil {
			return sample{}, err
		}
		s.made++
		database := fmt.Sprintf("pass%d", s.made)
		url, err := s.postgres.CreateDatabase(ctx, database, template)
		if err != nil {
			return sample{}, err
		}
		got, err := s.run(ctx, url, want)
		if err != nil {
			return got, err
		}
		return got, s.postgres.DropDatabase(ctx, database)
	}}
}

// manyProviders looks at n mailboxes in which nothing happened.
func manyProviders(n int) func(context.Context, *servers) ([]contender, error) {
	return func(ctx context.Context, s *servers) ([]contender, error) {
		var accounts []account
		for range n {
			user, err := s.user()
			if err != nil {
				return nil, err
			}
			if err := s.fill(user, 1, sizeOf(5<<10)); err != nil {
				return nil, err
			}
			accounts = append(accounts, s.account(user, "none"))
		}
		_, url, err := s.database(ctx)
		if err != nil {
			return nil, err
		}
		if err := s.addProviders(ctx, url, accounts...); err != nil {
			return nil, err
		}
		if _, err := s.run(ctx, url, 0); err != nil {
			return nil, err
		}
		at := func(name string, args ...string) contender {
			return contender{name: name, product: true, run: func(ctx context.Context) (sample, error) { return s.run(ctx, url, 0, args...) }}
		}
		return []contender{at(ourName), at(ourName+" --workers 32", "--workers", "32")}, nil
	}
}

func folderName(n int) string { return fmt.Sprintf("folder of %d", n) }

func rawFolderName(n int) string { return fmt.Sprintf("%s, folder of %d", floorName, n) }

// folderSizes reads 10 new mails in folders of several sizes.
func folderSizes(sizes ...int) func(context.Context, *servers) ([]contender, error) {
	return func(ctx context.Context, s *servers) ([]contender, error) {
		var contenders []contender
		for _, n := range sizes {
			user, err := s.user()
			if err != nil {
				return nil, err
			}
			if err := s.appendMail(user, n, sizeOf(1<<10)); err != nil {
				return nil, err
			}
			known, err := s.known(ctx, s.account(user, "none"))
			if err != nil {
				return nil, err
			}
			if err := s.appendMail(user, 10, sizeOf(5<<10)); err != nil {
				return nil, err
			}
			contenders = append(contenders, s.again(folderName(n), known, 10), contender{name: rawFolderName(n), run: func(context.Context) (sample, error) {
				return floor(hostPort(s.dovecot.Host, s.dovecot.TLSPort), user, s.dovecot.CA.PEM, n+1, 10)
			}})
		}
		return contenders, nil
	}
}

func ledgerName(rows int) string { return fmt.Sprintf("ledger of %d", rows) }

// ledgerSizes reads 10 new mails where the ledger has that many rows already.
func ledgerSizes(sizes ...int) func(context.Context, *servers) ([]contender, error) {
	return func(ctx context.Context, s *servers) ([]contender, error) {
		var contenders []contender
		for _, rows := range sizes {
			user, err := s.user()
			if err != nil {
				return nil, err
			}
			if err := s.fill(user, 1, sizeOf(5<<10)); err != nil {
				return nil, err
			}
			_, url, err := s.database(ctx)
			if err != nil {
				return nil, err
			}
			if err := s.addProviders(ctx, url, s.account(user, "none")); err != nil {
				return nil, err
			}
			if _, err := s.run(ctx, url, 0); err != nil {
				return nil, err
			}
			if err := fillLedger(ctx, url, rows); err != nil {
				return nil, err
			}
			contenders = append(contenders, contender{name: ledgerName(rows), product: true, run: func(ctx context.Context) (sample, error) {
				if err := s.fill(user, 10, sizeOf(5<<10)); err != nil {
					return sample{}, err
				}
				return s.run(ctx, url, 10)
			}})
		}
		return contenders, nil
	}
}
