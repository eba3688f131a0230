package imapsession

import (
	"crypto/tls"
	"crypto/x509"
	"sync"

	"imapsync/internal/fault"
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
	mode                 TLSMode
}

// of is the configuration for an account's server.
func (t *tlsConfigs) of(a Account) (*tls.Config, error) {
	key := tlsEndpoint{a.Host, a.TLSServerName, a.CAPEM, a.Port, a.TLS}
	t.mu.Lock()
	defer t.mu.Unlock()
	if cfg := t.known[key]; cfg != nil {
		return cfg, nil
	}
	cfg, err := tlsConfig(a)
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

func tlsConfig(a Account) (*tls.Config, error) {
	cfg := &tls.Config{ServerName: a.serverName(), MinVersion: tls.VersionTLS12}
	if a.CAPEM != "" {
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM([]byte(a.CAPEM)) {
			return nil, fault.Newf(fault.Config, "ca_file", "tls: the CA of this mailbox holds no PEM certificate")
		}
	}
	return cfg, nil
}
