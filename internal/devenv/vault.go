package devenv

import (
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Vault stands in for a HashiCorp Vault: the KV engine, version 2, read by a
// token or by logging in with a Kubernetes service account or an AppRole. Its
// answers have the shape of Vault 1.17's.
type Vault struct {
	URL       string // https
	CAFile    string
	Token     string // a token that may read
	Namespace string // when set, asked for without it there is nothing

	Role     string // Kubernetes: the role, and the service account's token
	JWT      string
	RoleID   string // AppRole
	SecretID string

	server *httptest.Server
	mu     sync.Mutex
	kv     map[string]map[string]any // mount/path → data
	tokens map[string]bool           // from logins
	logins int
	status int // answered to everything, when set
}

// TestVault starts a Vault for one test, with a certificate of its own.
func TestVault(t testing.TB) *Vault {
	t.Helper()
	ca, err := NewCA()
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Issue(Cert{})
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
	if err != nil {
		t.Fatal(err)
	}
	v := &Vault{
		Token: "hvs." + rand.Text(), Role: "imapsync", JWT: "jwt." + rand.Text(), RoleID: "role-" + rand.Text(), SecretID: "secret-id-" + rand.Text(),
		CAFile: filepath.Join(t.TempDir(), "vault-ca.pem"), kv: map[string]map[string]any{}, tokens: map[string]bool{},
	}
	if err := os.WriteFile(v.CAFile, ca.PEM, 0o600); err != nil {
		t.Fatal(err)
	}
	v.server = httptest.NewUnstartedServer(http.HandlerFunc(v.serve))
	v.server.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	v.server.StartTLS()
	v.URL = v.server.URL
	t.Cleanup(v.server.Close)
	return v
}

// Put stores data at a path as `vault kv put` takes it, its mount first.
func (v *Vault) Put(path string, data map[string]any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.kv[path] = data
}

// Answer has it answer everything with a status, until 0.
func (v *Vault) Answer(status int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.status = status
}

// Revoke ends the tokens that logins got.
func (v *Vault) Revoke() {
	v.mu.Lock()
	defer v.mu.Unlock()
	clear(v.tokens)
}

// Logins is how many there were.
func (v *Vault) Logins() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.logins
}

func (v *Vault) serve(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	defer v.mu.Unlock()
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	switch {
	case v.status != 0:
		reply(w, v.status, map[string]any{"errors": []string{"as told"}})
	case r.Header.Get("X-Vault-Namespace") != v.Namespace:
		reply(w, http.StatusNotFound, map[string]any{"errors": []string{}})
	case strings.HasPrefix(path, "auth/") && strings.HasSuffix(path, "/login"):
		v.login(w, r, strings.TrimSuffix(strings.TrimPrefix(path, "auth/"), "/login"))
	case r.Header.Get("X-Vault-Token") != v.Token && !v.tokens[r.Header.Get("X-Vault-Token")]:
		reply(w, http.StatusForbidden, map[string]any{"errors": []string{"permission denied"}})
	case path == "auth/token/lookup-self":
		reply(w, http.StatusOK, map[string]any{"data": map[string]any{"policies": []string{"default"}}})
	default:
		mount, rest, ok := strings.Cut(path, "/data/")
		data, found := v.kv[mount+"/"+rest]
		if !ok || !found {
			reply(w, http.StatusNotFound, map[string]any{"errors": []string{}})
			return
		}
		reply(w, http.StatusOK, map[string]any{"request_id": "1", "data": map[string]any{
			"data": data, "metadata": map[string]any{"version": 1, "created_time": "2026-01-02T03:04:05Z", "destroyed": false},
		}})
	}
}

func (v *Vault) login(w http.ResponseWriter, r *http.Request, method string) {
	var given map[string]string
	err := json.NewDecoder(r.Body).Decode(&given)
	good := err == nil && r.Method == http.MethodPost &&
		(method == "kubernetes" && given["role"] == v.Role && given["jwt"] == v.JWT ||
			method == "approle" && given["role_id"] == v.RoleID && given["secret_id"] == v.SecretID)
	v.logins++
	if !good {
		reply(w, http.StatusBadRequest, map[string]any{"errors": []string{"invalid role or secret ID"}})
		return
	}
	token := "hvs." + rand.Text()
	v.tokens[token] = true
	reply(w, http.StatusOK, map[string]any{"auth": map[string]any{"client_token": token, "lease_duration": 3600, "renewable": true}})
}

func reply(w http.ResponseWriter, status int, body map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a client that went away does not matter
}
