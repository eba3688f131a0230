package secret

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	vaultTimeout  = 10 * time.Second
	maxVaultBytes = 1 << 20
)

// Vault reads credentials from a HashiCorp Vault, or what speaks like one: the
// KV secrets engine, version 2. It is safe for concurrent use.
type Vault struct {
	base      *url.URL
	namespace string
	mount     string // of the KV engine
	path      string // {tenant} and {name} in it
	field     string
	auth      string // token, kubernetes, approle
	authMount string
	role      string
	roleID    string
	get       func(string) string
	client    *http.Client

	mu      sync.Mutex // one login at a time
	token   Value
	renewAt time.Time // zero: never
}

// newVault makes a Vault by its settings, which lookup finds as os.LookupEnv
// does. Vault's own: VAULT_ADDR, VAULT_NAMESPACE, VAULT_CACERT, VAULT_TOKEN.
// Ours: IMAPSYNC_VAULT_MOUNT (default "secret"), IMAPSYNC_VAULT_PATH (default
// "imapsync/tenants/{tenant}/{name}"), IMAPSYNC_VAULT_FIELD ("value") and
// IMAPSYNC_VAULT_AUTH, one of
//
//	token       VAULT_TOKEN, or the file IMAPSYNC_VAULT_TOKEN_FILE
//	kubernetes  IMAPSYNC_VAULT_ROLE, IMAPSYNC_VAULT_JWT_FILE (the pod's own)
//	approle     IMAPSYNC_VAULT_ROLE_ID, the file IMAPSYNC_VAULT_SECRET_ID_FILE
//
// with IMAPSYNC_VAULT_AUTH_MOUNT where that method is not mounted under its own
// name. The error is ErrSettings.
func newVault(lookup func(string) (string, bool)) (*Vault, error) {
	get := func(name string) string { v, _ := lookup(name); return strings.TrimSpace(v) }
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("%w: "+format, append([]any{ErrSettings}, args...)...)
	}
	v := &Vault{
		namespace: get("VAULT_NAMESPACE"), mount: strings.Trim(cmp.Or(get("IMAPSYNC_VAULT_MOUNT"), "secret"), "/"),
		path:  strings.Trim(cmp.Or(get("IMAPSYNC_VAULT_PATH"), "imapsync/tenants/{tenant}/{name}"), "/"),
		field: cmp.Or(get("IMAPSYNC_VAULT_FIELD"), "value"), auth: cmp.Or(get("IMAPSYNC_VAULT_AUTH"), "token"),
		role: get("IMAPSYNC_VAULT_ROLE"), roleID: get("IMAPSYNC_VAULT_ROLE_ID"), get: get,
	}
	v.authMount = strings.Trim(cmp.Or(get("IMAPSYNC_VAULT_AUTH_MOUNT"), v.auth), "/")
	address := get("VAULT_ADDR")
	if address == "" {
		return nil, wrong("VAULT_ADDR is not set, and vault is in IMAPSYNC_SECRET_CHAIN")
	}
	var err error
	v.base, err = url.Parse(address)
	switch {
	case err != nil || v.base.Host == "" || v.base.User != nil:
		return nil, wrong("VAULT_ADDR is not an address like https://vault.example.org:8200")
	case v.base.Scheme == "http" && !loopback(v.base.Hostname()), v.base.Scheme != "http" && v.base.Scheme != "https":
		return nil, wrong("VAULT_ADDR: %s is not encrypted: use https (http only for an agent on this machine)", v.base.Redacted())
	}
	if !strings.Contains(v.path, "{name}") {
		return nil, wrong("IMAPSYNC_VAULT_PATH: %q has no {name}: every credential would be the same one", v.path)
	}
	switch v.auth {
	case "token":
		if get("VAULT_TOKEN") == "" && get("IMAPSYNC_VAULT_TOKEN_FILE") == "" {
			return nil, wrong("no token for Vault: set VAULT_TOKEN or IMAPSYNC_VAULT_TOKEN_FILE, or IMAPSYNC_VAULT_AUTH to kubernetes or approle")
		}
	case "kubernetes":
		if v.role == "" {
			return nil, wrong("IMAPSYNC_VAULT_ROLE is not set, and IMAPSYNC_VAULT_AUTH is kubernetes")
		}
	case "approle":
		if v.roleID == "" || get("IMAPSYNC_VAULT_SECRET_ID_FILE") == "" {
			return nil, wrong("IMAPSYNC_VAULT_AUTH is approle: set IMAPSYNC_VAULT_ROLE_ID and IMAPSYNC_VAULT_SECRET_ID_FILE")
		}
	default:
		return nil, wrong("IMAPSYNC_VAULT_AUTH: %q: use token, kubernetes or approle", v.auth)
	}
	if v.client, err = vaultClient(get("VAULT_CACERT")); err != nil {
		return nil, wrong("%w", err)
	}
	return v, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// vaultClient verifies who it speaks to. A standby that points to the leader is
// followed, but never from https to http.
func vaultClient(caFile string) (*http.Client, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile != "" {
		data, err := os.ReadFile(caFile)
		if err != nil {
			return nil, fmt.Errorf("VAULT_CACERT: %w", &FileError{Path: caFile, Err: reason(err)})
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(data) {
			return nil, fmt.Errorf("VAULT_CACERT: %w", &FileError{Path: caFile, Err: fmt.Errorf("%w: it holds no PEM certificate", ErrMalformed)})
		}
	}
	return &http.Client{
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: cfg, ForceAttemptHTTP2: true},
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if len(via) > 2 || req.URL.Scheme != via[0].URL.Scheme {
				return errors.New("redirected too often, or away from https")
			}
			return nil
		},
	}, nil
}

// Path is where a credential is, as `vault kv get` takes it.
func (v *Vault) Path(tenant, name string) string {
	return v.mount + "/" + strings.NewReplacer("{tenant}", tenant, "{name}", name).Replace(v.path)
}

// Address is where the Vault is.
func (v *Vault) Address() string { return v.base.Redacted() }

// Get reads the newest version of a credential. The error is ErrAbsent,
// ErrUnavailable, or ErrSettings when Vault refuses.
func (v *Vault) Get(ctx context.Context, tenant, name string) (Value, error) {
	full := v.Path(tenant, name)
	api := "/v1/" + v.mount + "/data/" + strings.TrimPrefix(full, v.mount+"/")
	for try := 1; ; try++ {
		token, err := v.login(ctx)
		if err != nil {
			return Value{}, err
		}
		var answer struct {
			Data struct {
				Data map[string]json.RawMessage `json:"data"`
			} `json:"data"`
		}
		status, err := v.call(ctx, api, token, nil, &answer)
		switch {
		case status == http.StatusForbidden && try == 1 && v.auth != "token":
			v.forget(token) // revoked before its time
			continue
		case status == http.StatusNotFound:
			return Value{}, fmt.Errorf("vault has no %s: %w", full, ErrAbsent)
		case status == http.StatusForbidden:
			return Value{}, fmt.Errorf("%w: vault refuses to show %s: give the token of IMAPSYNC_VAULT_AUTH %s a policy with read on %s",
				ErrSettings, full, v.auth, strings.TrimPrefix(api, "/v1/"))
		case err != nil:
			return Value{}, err
		}
		var text string
		if raw, ok := answer.Data.Data[v.field]; !ok || json.Unmarshal(raw, &text) != nil {
			return Value{}, fmt.Errorf("%w: vault: %s has no text under %q: put it there, or name another in IMAPSYNC_VAULT_FIELD", ErrSettings, full, v.field)
		}
		return trimmed([]byte(text), "vault "+full)
	}
}

// Check logs in and asks Vault about the token, nothing more.
func (v *Vault) Check(ctx context.Context) error {
	token, err := v.login(ctx)
	if err != nil {
		return err
	}
	status, err := v.call(ctx, "/v1/auth/token/lookup-self", token, nil, nil)
	if status == http.StatusForbidden {
		return fmt.Errorf("%w: vault refuses its token: it has ended, or is of another Vault or namespace", ErrSettings)
	}
	return err
}

// login returns the token in force.
func (v *Vault) login(ctx context.Context) (Value, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.token.IsZero() && (v.renewAt.IsZero() || time.Now().Before(v.renewAt)) {
		return v.token, nil
	}
	credentials := map[string]string{}
	switch v.auth {
	case "token":
		if path := v.get("IMAPSYNC_VAULT_TOKEN_FILE"); path != "" {
			return ReadFile(path) // each time: an agent renews it there
		}
		return New(v.get("VAULT_TOKEN")), nil
	case "kubernetes":
		path := cmp.Or(v.get("IMAPSYNC_VAULT_JWT_FILE"), "/var/run/secrets/kubernetes.io/serviceaccount/token")
		// Kubernetes makes it readable by all in the pod: no mode to check.
		f, err := os.Open(path)
		if err != nil {
			return Value{}, &FileError{Path: path, Err: fmt.Errorf("%w: IMAPSYNC_VAULT_JWT_FILE names the service account's token", reason(err))}
		}
		defer f.Close()
		jwt, err := Read(f, path)
		if err != nil {
			return Value{}, err
		}
		credentials["role"], credentials["jwt"] = v.role, jwt.Reveal()
	case "approle":
		id, err := ReadFile(v.get("IMAPSYNC_VAULT_SECRET_ID_FILE"))
		if err != nil {
			return Value{}, err
		}
		credentials["role_id"], credentials["secret_id"] = v.roleID, id.Reveal()
	}
	var answer struct {
		Auth struct {
			Token    string `json:"client_token"`
			Duration int64  `json:"lease_duration"` // seconds
		} `json:"auth"`
	}
	status, err := v.call(ctx, "/v1/auth/"+v.authMount+"/login", Value{}, credentials, &answer)
	switch {
	case status == http.StatusBadRequest || status == http.StatusForbidden || status == http.StatusNotFound:
		return Value{}, fmt.Errorf("%w: vault refuses the login by %s at auth/%s: check its role, and IMAPSYNC_VAULT_AUTH_MOUNT", ErrSettings, v.auth, v.authMount)
	case err != nil:
		return Value{}, err
	case answer.Auth.Token == "":
		return Value{}, fmt.Errorf("%w: vault gave no token for the login by %s", ErrUnavailable, v.auth)
	}
	v.token, v.renewAt = New(answer.Auth.Token), time.Time{}
	if answer.Auth.Duration > 0 {
		v.renewAt = time.Now().Add(time.Duration(answer.Auth.Duration) * time.Second * 9 / 10)
	}
	return v.token, nil
}

func (v *Vault) forget(token Value) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.token.Equal(token) {
		v.token = Value{}
	}
}

// call asks Vault, by POST when there are credentials to send. A status of 0 means
// that there was no answer. What Vault says in an answer is not repeated: it may
// quote what it was sent.
func (v *Vault) call(ctx context.Context, path string, token Value, credentials map[string]string, into any) (status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, vaultTimeout)
	defer cancel()
	method, send := http.MethodGet, []byte(nil)
	if credentials != nil {
		method = http.MethodPost
		if send, err = json.Marshal(credentials); err != nil {
			return 0, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, v.base.JoinPath(path).String(), bytes.NewReader(send))
	if err != nil {
		return 0, fmt.Errorf("%w: vault: the path cannot be asked for", ErrSettings)
	}
	req.Header.Set("X-Vault-Request", "true")
	if !token.IsZero() {
		req.Header.Set("X-Vault-Token", token.Reveal())
	}
	if v.namespace != "" {
		req.Header.Set("X-Vault-Namespace", v.namespace)
	}
	res, err := v.client.Do(req)
	if err != nil {
		if ue, ok := errors.AsType[*url.Error](err); ok {
			err = ue.Err
		}
		if ce, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
			return 0, fmt.Errorf("%w: vault at %s: %w: give its CA with VAULT_CACERT", ErrSettings, v.Address(), ce)
		}
		return 0, fmt.Errorf("%w: vault at %s: %w", ErrUnavailable, v.Address(), err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, maxVaultBytes+1))
	switch {
	case err != nil:
		return 0, fmt.Errorf("%w: vault at %s: %w", ErrUnavailable, v.Address(), err)
	case len(data) > maxVaultBytes:
		return 0, fmt.Errorf("%w: vault answers with more than %d bytes", ErrSettings, maxVaultBytes)
	case res.StatusCode == http.StatusServiceUnavailable:
		return res.StatusCode, fmt.Errorf("%w: vault is sealed or has no leader", ErrUnavailable)
	case res.StatusCode == http.StatusTooManyRequests || res.StatusCode >= 500:
		return res.StatusCode, fmt.Errorf("%w: vault answers %s", ErrUnavailable, res.Status)
	case res.StatusCode >= 300:
		return res.StatusCode, fmt.Errorf("%w: vault answers %s", ErrSettings, res.Status)
	}
	if into != nil && json.Unmarshal(data, into) != nil {
		return res.StatusCode, fmt.Errorf("%w: what answers at %s is no Vault", ErrSettings, v.Address())
	}
	return res.StatusCode, nil
}
