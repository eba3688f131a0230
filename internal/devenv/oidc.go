package devenv

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math/big"
	"net/http"
	"time"
)

// IDSettings are what an OAuth server says in its ID tokens (OpenID Connect Core
// 1.0 section 2), beside what each has to say.
type IDSettings struct {
	Claims  map[string]any // such as email and email_verified; they replace its own
	Forged  bool           // signed with a key that is not in the server's JWKS
	Without bool           // no ID token is given
}

// discovery answers with the server's metadata (OpenID Connect Discovery 1.0).
func (o *OAuth) discovery(w http.ResponseWriter, _ *http.Request) {
	answer(w, map[string]any{
		"issuer": o.URL, "authorization_endpoint": o.URL + "/authorize", "token_endpoint": o.URL + "/token", "jwks_uri": o.URL + "/jwks",
		"response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"},
		"id_token_signing_alg_values_supported": []string{"RS256"}, "code_challenge_methods_supported": []string{"S256"},
	})
}

// jwks answers with the public key of ID tokens (RFC 7517).
func (o *OAuth) jwks(w http.ResponseWriter, _ *http.Request) {
	key, err := o.idKey()
	if err != nil {
		refuse(w, http.StatusInternalServerError, "server_error", err.Error())
		return
	}
	answer(w, map[string]any{"keys": []map[string]string{{
		"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "id-1",
		"n": base64.RawURLEncoding.EncodeToString(key.N.Bytes()),
		"e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(key.E)).Bytes()),
	}}})
}

// idToken signs who has signed in, with RS256. The caller holds mu.
func (o *OAuth) idToken(g *oauthGrant) (string, error) {
	key, err := o.idKey()
	if err != nil {
		return "", err
	}
	if o.settings.ID.Forged {
		if key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
			return "", err
		}
	}
	now := time.Now()
	claims := map[string]any{
		"iss": o.URL, "aud": o.ClientID, "sub": g.user, "nonce": g.nonce,
		"iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
	}
	maps.Copy(claims, o.settings.ID.Claims)
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	signed := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","typ":"JWT","kid":"id-1"}`)) + "." + base64.RawURLEncoding.EncodeToString(payload)
	sum := sha256.Sum256([]byte(signed))
	sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		return "", err
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(sig), nil
}
