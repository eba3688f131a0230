package sync

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"sync"

	"imapsync/db"
)

// maxTLSConfigs bounds what is remembered of servers.
const maxTLSConfigs = 10_000

// tlsConfigs remembers, for as long as the process lives, how each server is
// trusted and the last session ticket it gave (RFC 8446 section 2.2): the next
// connection to it, whoever's mailbox it is for, needs no certificate. A server
// that is trusted otherwise now is another one here.
type tlsConfigs struct {
	mu    sync.Mutex
	known map[tlsEndpoint]*tls.Config
}

type tlsEndpoint struct {
	host, serverName, ca string
	port                 int
	mode                 db.TLSMode
}

// of is the configuration for a provider's server. It may be called on nil,
// which remembers nothing.
func (t *tlsConfigs) of(p *db.Provider) (*tls.Config, error) {
	if t == nil {
		return tlsConfig(p)
	}
	key := tlsEndpoint{p.Host, p.TLSServerName, p.CAPEM, p.Port, p.TLS}
	t.mu.Lock()
	defer t.mu.Unlock()
	if cfg := t.known[key]; cfg != nil {
		return cfg, nil
	}
	cfg, err := tlsConfig(p)
	if err != nil {
		return nil, err
	}
	cfg.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	if t.known == nil || len(t.known) >= maxTLSConfigs {
		t.known = map[tlsEndpoint]*tls.Config{}
	}
	t.known[key] = cfg
	return cfg, nil
}

func tlsConfig(p *db.Provider) (*tls.Config, error) {
	cfg := &tls.Config{ServerName: p.TLSServerName, MinVersion: tls.VersionTLS12}
	if cfg.ServerName == "" {
		cfg.ServerName = p.Host
	}
	if p.CAPEM != "" {
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM([]byte(p.CAPEM)) {
			return nil, config("ca_file", errors.New("tls: the CA given with --ca-file holds no PEM certificate"))
		}
	}
	return cfg, nil
}
