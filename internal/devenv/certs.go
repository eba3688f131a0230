package devenv

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"time"
)

// CA is a certificate authority made on the spot, valid for a day.
type CA struct {
	PEM  []byte // the certificate clients are to trust
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// KeyPair is a server's certificate chain and key.
type KeyPair struct {
	CertPEM []byte
	KeyPEM  []byte
}

// Cert describes a server certificate. What is zero is as a good one has it.
type Cert struct {
	Hosts     []string  // DNS names and addresses; default 127.0.0.1 and localhost
	NotBefore time.Time // default an hour ago
	NotAfter  time.Time // default in a day; in the past for an expired one
}

// NewCA makes an authority with an ECDSA P-256 key.
func NewCA() (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make CA: %w", err)
	}
	tmpl := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: "imapsync test CA " + rand.Text()[:8]},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make CA: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("make CA: %w", err)
	}
	return &CA{PEM: pemBlock("CERTIFICATE", der), cert: cert, key: key}, nil
}

// Issue makes a server certificate signed by the authority.
func (ca *CA) Issue(c Cert) (KeyPair, error) { return c.make(ca.cert, ca.key) }

// SelfSigned makes a server certificate that no authority signed.
func SelfSigned(c Cert) (KeyPair, error) { return c.make(nil, nil) }

func (c Cert) make(issuer *x509.Certificate, issuerKey *ecdsa.PrivateKey) (KeyPair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return KeyPair{}, fmt.Errorf("make certificate: %w", err)
	}
	if len(c.Hosts) == 0 {
		c.Hosts = []string{loopback, "localhost"}
	}
	if c.NotAfter.IsZero() {
		c.NotAfter = time.Now().Add(24 * time.Hour)
	}
	if c.NotBefore.IsZero() {
		c.NotBefore = time.Now().Add(-time.Hour)
		if c.NotBefore.After(c.NotAfter) {
			c.NotBefore = c.NotAfter.Add(-time.Hour)
		}
	}
	tmpl := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: c.Hosts[0]},
		NotBefore:    c.NotBefore,
		NotAfter:     c.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, host := range c.Hosts {
		if ip := net.ParseIP(host); ip != nil {
			tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
		} else {
			tmpl.DNSNames = append(tmpl.DNSNames, host)
		}
	}
	if issuer == nil {
		issuer, issuerKey = tmpl, key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, issuer, key.Public(), issuerKey)
	if err != nil {
		return KeyPair{}, fmt.Errorf("make certificate for %v: %w", c.Hosts, err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return KeyPair{}, fmt.Errorf("make certificate for %v: %w", c.Hosts, err)
	}
	return KeyPair{CertPEM: pemBlock("CERTIFICATE", der), KeyPEM: pemBlock("PRIVATE KEY", keyDER)}, nil
}

func serial() *big.Int {
	raw := make([]byte, 16)
	rand.Read(raw) // never fails
	return new(big.Int).SetBytes(raw)
}

func pemBlock(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
