package oauth

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"strings"
	"time"

	"imapsync/secret"
)

// account is a service account's key.
type account struct {
	email    string
	keyID    string
	tokenURI string
	key      *rsa.PrivateKey
}

// parseAccount reads the JSON key that Google's console hands out.
func parseAccount(key secret.Value) (*account, error) {
	if key.IsZero() {
		return nil, errors.New("service account: the key is missing")
	}
	var f struct {
		Type         string `json:"type"`
		ClientEmail  string `json:"client_email"`
		PrivateKeyID string `json:"private_key_id"`
		PrivateKey   string `json:"private_key"`
		TokenURI     string `json:"token_uri"`
	}
	if json.Unmarshal([]byte(key.Reveal()), &f) != nil {
		return nil, errors.New("service account: not the JSON key of a service account")
	}
	if f.Type != "service_account" || f.ClientEmail == "" {
		return nil, errors.New(`service account: the key must be JSON with "type": "service_account" and a "client_email"`)
	}
	block, _ := pem.Decode([]byte(f.PrivateKey))
	if block == nil {
		return nil, errors.New(`service account: "private_key" is not in PEM form`)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		parsed, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	}
	rsaKey, ok := parsed.(*rsa.PrivateKey)
	if err != nil || !ok {
		return nil, errors.New(`service account: "private_key" is not an RSA key`)
	}
	return &account{email: f.ClientEmail, keyID: f.PrivateKeyID, tokenURI: f.TokenURI, key: rsaKey}, nil
}

// CheckServiceAccount reports what is wrong with a service account's key.
func CheckServiceAccount(key secret.Value) error {
	_, err := parseAccount(key)
	return err
}

// assertionLife is as long as Google lets an assertion live; assertionSlack is
// how far a clock may be ahead of the server's.
const (
	assertionLife  = time.Hour
	assertionSlack = 30 * time.Second
)

// assertion is a JWT (RFC 7523 section 3), signed by RS256, by which the
// account acts for subject.
func (a *account) assertion(subject, audience string, scopes []string, now time.Time) (secret.Value, error) {
	issued := now.Add(-assertionSlack)
	header, err := json.Marshal(struct {
		Algorithm string `json:"alg"`
		Type      string `json:"typ"`
		KeyID     string `json:"kid,omitempty"`
	}{"RS256", "JWT", a.keyID})
	if err != nil {
		return secret.Value{}, err
	}
	claims, err := json.Marshal(struct {
		Issuer   string `json:"iss"`
		Subject  string `json:"sub,omitempty"`
		Scope    string `json:"scope,omitempty"`
		Audience string `json:"aud"`
		Issued   int64  `json:"iat"`
		Expires  int64  `json:"exp"`
	}{a.email, subject, strings.Join(scopes, " "), audience, issued.Unix(), issued.Add(assertionLife).Unix()})
	if err != nil {
		return secret.Value{}, err
	}
	enc := base64.RawURLEncoding
	text := enc.EncodeToString(header) + "." + enc.EncodeToString(claims)
	sum := sha256.Sum256([]byte(text))
	sig, err := rsa.SignPKCS1v15(rand.Reader, a.key, crypto.SHA256, sum[:])
	if err != nil {
		return secret.Value{}, errors.New("service account: the key cannot sign")
	}
	return secret.New(text + "." + enc.EncodeToString(sig)), nil
}
