package secret

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"imapsync/internal/devenv"
)

const (
	testTenant = "aaaaaaaa-0000-4000-8000-000000000001"
	testName   = "imap_password_bbbbbbbb-0000-4000-8000-000000000002"
	testEnv    = "TENANT_aaaaaaaa_0000_4000_8000_000000000001_imap_password_bbbbbbbb_0000_4000_8000_000000000002"
)

// newTestChain makes a chain over variables and a map in place of the database.
func newTestChain(t *testing.T, env, stored map[string]string) *Chain {
	t.Helper()
	c, err := NewChain(lookupIn(env), Stored{
		Get: func(_ context.Context, tenant, name string) (Value, error) {
			if v, ok := stored[tenant+"/"+name]; ok {
				return New(v), nil
			}
			return Value{}, ErrAbsent
		},
		Put: func(_ context.Context, tenant, name string, value Value) error {
			stored[tenant+"/"+name] = value.Reveal()
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func lookupIn(env map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { v, ok := env[name]; return v, ok }
}

func put(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(content), mode), os.Chmod(path, mode)); err != nil {
		t.Fatal(err)
	}
}

func TestChainTakesTheFirstPlaceThatHasIt(t *testing.T) {
	dir, creds := t.TempDir(), t.TempDir()
	put(t, filepath.Join(dir, "tenants", testTenant, testName), "from-file\n", 0o400)
	put(t, filepath.Join(creds, testName), "from-systemd", 0o400)
	all := map[string]string{testEnv: "from-env", "IMAPSYNC_SECRET_DIR": dir, "CREDENTIALS_DIRECTORY": creds}
	inDB := map[string]string{testTenant + "/" + testName: "from-db"}
	for _, tt := range []struct {
		order  string
		stored map[string]string
		without,
		want, where string
	}{
		{"", inDB, "", "from-db", "db"},
		{"", nil, "", "from-env", "env"},
		{"file,env,db", inDB, "", "from-file", "file"},
		{"env,db", inDB, testEnv, "from-db", "db"},
		{"db,env,file", nil, testEnv, "from-file", "file"},
		{"file", nil, "IMAPSYNC_SECRET_DIR", "from-systemd", "file"},
		{" Env , file ", inDB, "", "from-env", "env"},
	} {
		env := maps.Clone(all)
		env["IMAPSYNC_SECRET_CHAIN"] = tt.order
		delete(env, tt.without)
		got, where, err := newTestChain(t, env, tt.stored).Find(t.Context(), testTenant, testName)
		if err != nil || got.Reveal() != tt.want || where != tt.where {
			t.Errorf("chain %q: %q from %q, %v; want %q from %q", tt.order, got.Reveal(), where, err, tt.want, tt.where)
		}
	}
}

func TestChainNamesEveryPlaceItAsked(t *testing.T) {
	c := newTestChain(t, map[string]string{"IMAPSYNC_SECRET_DIR": "/run/secrets", "CREDENTIALS_DIRECTORY": "/run/credentials/x"}, nil)
	_, err := c.Get(t.Context(), testTenant, testName)
	if !errors.Is(err, ErrAbsent) {
		t.Fatalf("error %v, want ErrAbsent", err)
	}
	for _, want := range []string{"none is stored in the database", testEnv + " is not set",
		"/run/secrets/tenants/" + testTenant + "/" + testName, "/run/credentials/x/" + testName} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v: does not name %s", err, want)
		}
	}
}

func TestChainDoesNotPassOverAPlaceThatFails(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "tenants", testTenant, testName), "x", 0o644)
	c := newTestChain(t, map[string]string{"IMAPSYNC_SECRET_CHAIN": "file,env", "IMAPSYNC_SECRET_DIR": dir, testEnv: "old"}, nil)
	if got, err := c.Get(t.Context(), testTenant, testName); !errors.Is(err, ErrMode) || !got.IsZero() {
		t.Errorf("a file that others may read: %v, want ErrMode and nothing of the next place", err)
	}
}

func TestChainRefusesNamesThatLeadElsewhere(t *testing.T) {
	c := newTestChain(t, map[string]string{"IMAPSYNC_SECRET_DIR": t.TempDir()}, nil)
	for _, name := range []string{"", "..", "../x", "a/b", "a\\b", "a b", ".hidden", "a\x00", strings.Repeat("a", 201)} {
		if _, err := c.Get(t.Context(), testTenant, name); !errors.Is(err, ErrSettings) {
			t.Errorf("name %q: %v, want ErrSettings", name, err)
		}
		if _, err := c.Get(t.Context(), name, testName); !errors.Is(err, ErrSettings) {
			t.Errorf("tenant %q: %v, want ErrSettings", name, err)
		}
	}
}

func TestChainSettings(t *testing.T) {
	for _, env := range []map[string]string{
		{"IMAPSYNC_SECRET_CHAIN": "db,nowhere"},
		{"IMAPSYNC_SECRET_CHAIN": "db,,env"},
		{"IMAPSYNC_SECRET_CHAIN": "env,ENV"},
		{"IMAPSYNC_SECRET_CHAIN": "vault"},
		{"IMAPSYNC_SECRET_CHAIN": "vault", "VAULT_ADDR": "https://v", "IMAPSYNC_VAULT_AUTH": "magic"},
		{"IMAPSYNC_SECRET_CHAIN": "vault", "VAULT_ADDR": "https://v"},
		{"IMAPSYNC_SECRET_CHAIN": "vault", "VAULT_ADDR": "http://v:8200", "VAULT_TOKEN": "t"},
		{"IMAPSYNC_SECRET_CHAIN": "vault", "VAULT_ADDR": "ftp://127.0.0.1", "VAULT_TOKEN": "t"},
		{"IMAPSYNC_SECRET_CHAIN": "vault", "VAULT_ADDR": "https://u:p@v", "VAULT_TOKEN": "t"},
		{"IMAPSYNC_SECRET_CHAIN": "vault", "VAULT_ADDR": "https://v", "VAULT_TOKEN": "t", "VAULT_CACERT": "/nonexistent"},
		{"IMAPSYNC_SECRET_CHAIN": "vault", "VAULT_ADDR": "https://v", "VAULT_TOKEN": "t", "IMAPSYNC_VAULT_PATH": "imapsync"},
		{"IMAPSYNC_SECRET_CHAIN": "vault", "VAULT_ADDR": "https://v", "IMAPSYNC_VAULT_AUTH": "kubernetes"},
		{"IMAPSYNC_SECRET_CHAIN": "vault", "VAULT_ADDR": "https://v", "IMAPSYNC_VAULT_AUTH": "approle", "IMAPSYNC_VAULT_ROLE_ID": "r"},
	} {
		if _, err := NewChain(lookupIn(env), Stored{}); !errors.Is(err, ErrSettings) {
			t.Errorf("%v: %v, want ErrSettings", env, err)
		}
	}
}

func TestChainPut(t *testing.T) {
	stored := map[string]string{}
	c := newTestChain(t, nil, stored)
	if err := c.Put(t.Context(), testTenant, testName, New("new")); err != nil || stored[testTenant+"/"+testName] != "new" {
		t.Errorf("Put: %v, stored %v", err, stored)
	}
	c = newTestChain(t, map[string]string{"IMAPSYNC_SECRET_CHAIN": "env"}, nil)
	if err := c.Put(t.Context(), testTenant, testName, New("new")); !errors.Is(err, ErrSettings) || c.CanPut() == nil {
		t.Errorf("Put without a place: %v, want ErrSettings", err)
	}
}

// What was rotated wins over what it was rotated from, and loses to what a
// person puts there later, whatever the clocks say.
func TestChainWritten(t *testing.T) {
	dir := t.TempDir()
	env := map[string]string{"IMAPSYNC_SECRET_CHAIN": "env", "IMAPSYNC_SECRET_WRITE_DIR": dir, testEnv: "token-1"}
	get := func(want string) {
		t.Helper()
		got, err := newTestChain(t, env, nil).Get(t.Context(), testTenant, testName)
		if err != nil || got.Reveal() != want {
			t.Errorf("Get: %q, %v; want %q", got.Reveal(), err, want)
		}
	}
	rotate := func(to string) {
		t.Helper()
		if err := newTestChain(t, env, nil).Put(t.Context(), testTenant, testName, New(to)); err != nil {
			t.Fatal(err)
		}
	}
	get("token-1")
	rotate("token-2")
	get("token-2")
	rotate("token-3")
	get("token-3")
	path := filepath.Join(dir, "tenants", testTenant, testName)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%s: %v, %v; want mode 0600", path, info, err)
	}
	if previous, err := os.ReadFile(path + ".previous"); err != nil || !strings.Contains(string(previous), "token-2") {
		t.Errorf("the version before: %s, %v", previous, err)
	}
	env[testEnv] = "token-9"
	get("token-9")
	rotate("token-10")
	get("token-10")
	delete(env, testEnv) // taken away: what was rotated stays
	get("token-10")
	put(t, path, "junk", 0o600)
	if _, err := newTestChain(t, env, nil).Get(t.Context(), testTenant, testName); !errors.Is(err, ErrMalformed) || strings.Contains(err.Error(), "junk") {
		t.Errorf("a broken file: %v, want ErrMalformed", err)
	}
}

func TestVault(t *testing.T) {
	v := devenv.TestVault(t)
	path := "secret/imapsync/tenants/" + testTenant + "/" + testName
	v.Put(path, map[string]any{"value": "from-vault\n", "n": 7})
	jwt, secretID, token := filepath.Join(t.TempDir(), "jwt"), filepath.Join(t.TempDir(), "id"), filepath.Join(t.TempDir(), "token")
	put(t, jwt, v.JWT, 0o644)
	put(t, secretID, v.SecretID+"\n", 0o600)
	put(t, token, v.Token+"\n", 0o600)
	for name, more := range map[string]map[string]string{
		"token":      {"VAULT_TOKEN": v.Token},
		"token file": {"IMAPSYNC_VAULT_TOKEN_FILE": token},
		"kubernetes": {"IMAPSYNC_VAULT_AUTH": "kubernetes", "IMAPSYNC_VAULT_ROLE": v.Role, "IMAPSYNC_VAULT_JWT_FILE": jwt},
		"approle":    {"IMAPSYNC_VAULT_AUTH": "approle", "IMAPSYNC_VAULT_ROLE_ID": v.RoleID, "IMAPSYNC_VAULT_SECRET_ID_FILE": secretID},
	} {
		t.Run(name, func(t *testing.T) {
			env := map[string]string{"IMAPSYNC_SECRET_CHAIN": "vault", "VAULT_ADDR": v.URL, "VAULT_CACERT": v.CAFile}
			maps.Copy(env, more)
			c, before := newTestChain(t, env, nil), v.Logins()
			for range 3 {
				if got, err := c.Get(t.Context(), testTenant, testName); err != nil || got.Reveal() != "from-vault" {
					t.Fatalf("Get: %v", err)
				}
			}
			logins := v.Logins() - before
			if want := len(more["IMAPSYNC_VAULT_AUTH"]); (want > 0) != (logins == 1) || logins > 1 {
				t.Errorf("%d logins for three questions", logins)
			}
			if err := c.Vault().Check(t.Context()); err != nil {
				t.Errorf("Check: %v", err)
			}
			if logins == 1 {
				v.Revoke() // it logs in anew
				if _, err := c.Get(t.Context(), testTenant, testName); err != nil {
					t.Errorf("after its token was revoked: %v", err)
				}
			}
			_, err := c.Get(t.Context(), testTenant, "imap_password_other")
			if !errors.Is(err, ErrAbsent) || !strings.Contains(err.Error(), "vault has no secret/imapsync/tenants/"+testTenant+"/imap_password_other") {
				t.Errorf("absent: %v", err)
			}
		})
	}
}

func TestVaultSettingsOfItsOwn(t *testing.T) {
	v := devenv.TestVault(t)
	v.Namespace = "team-a"
	v.Put("kv/mail/"+testName, map[string]any{"password": "here"})
	c := newTestChain(t, map[string]string{"IMAPSYNC_SECRET_CHAIN": "vault", "VAULT_ADDR": v.URL, "VAULT_CACERT": v.CAFile, "VAULT_TOKEN": v.Token,
		"VAULT_NAMESPACE": "team-a", "IMAPSYNC_VAULT_MOUNT": "kv", "IMAPSYNC_VAULT_PATH": "mail/{name}", "IMAPSYNC_VAULT_FIELD": "password"}, nil)
	if got, err := c.Get(t.Context(), testTenant, testName); err != nil || got.Reveal() != "here" {
		t.Errorf("Get: %v", err)
	}
}

func TestVaultErrors(t *testing.T) {
	v := devenv.TestVault(t)
	v.Put("secret/imapsync/tenants/"+testTenant+"/"+testName, map[string]any{"other": "x"})
	base := map[string]string{"IMAPSYNC_SECRET_CHAIN": "vault", "VAULT_ADDR": v.URL, "VAULT_CACERT": v.CAFile, "VAULT_TOKEN": v.Token}
	with := func(more map[string]string) map[string]string {
		env := maps.Clone(base)
		maps.Copy(env, more)
		return env
	}
	id := filepath.Join(t.TempDir(), "id")
	put(t, id, "wrong-secret-id", 0o600)
	endless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for range 3 << 10 {
			fmt.Fprint(w, strings.Repeat("x", 1<<10))
		}
	}))
	t.Cleanup(endless.Close)
	tokens := make(chan string, 10)
	plainLeader := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { tokens <- r.Header.Get("X-Vault-Token") }))
	t.Cleanup(plainLeader.Close)
	for _, tt := range []struct {
		name   string
		env    map[string]string
		status int
		is     error
		want   string
	}{
		{"no such field", base, 0, ErrSettings, `has no text under "value"`},
		{"wrong token", with(map[string]string{"VAULT_TOKEN": "wrong-token"}), 0, ErrSettings, "policy with read on secret/data/imapsync"},
		{"unknown authority", with(map[string]string{"VAULT_CACERT": ""}), 0, ErrSettings, "give its CA with VAULT_CACERT"},
		{"nobody there", with(map[string]string{"VAULT_ADDR": "https://127.0.0.1:1"}), 0, ErrUnavailable, "vault at https://127.0.0.1:1"},
		{"sealed", base, 503, ErrUnavailable, "sealed"},
		{"throttled", base, 429, ErrUnavailable, "429"},
		{"broken", base, 500, ErrUnavailable, "500"},
		{"wrong login", with(map[string]string{"IMAPSYNC_VAULT_AUTH": "approle", "IMAPSYNC_VAULT_ROLE_ID": v.RoleID, "IMAPSYNC_VAULT_SECRET_ID_FILE": id}), 0, ErrSettings, "refuses the login by approle at auth/approle"},
		{"endless", with(map[string]string{"VAULT_ADDR": endless.URL}), 0, ErrSettings, "more than 1048576 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v.Answer(tt.status)
			defer v.Answer(0)
			_, err := newTestChain(t, tt.env, nil).Get(t.Context(), testTenant, testName)
			if !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("%v, want %v with %q", err, tt.is, tt.want)
			}
			for _, secret := range []string{v.Token, "wrong-token", "wrong-secret-id", v.SecretID} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("%v shows a credential", err)
				}
			}
		})
	}
	// A redirect away from https takes no token with it.
	redirect := httptest.NewTLSServer(http.RedirectHandler(plainLeader.URL, http.StatusTemporaryRedirect))
	t.Cleanup(redirect.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	put(t, ca, string(pemOf(redirect)), 0o600)
	c := newTestChain(t, with(map[string]string{"VAULT_ADDR": redirect.URL, "VAULT_CACERT": ca}), nil)
	if _, err := c.Get(t.Context(), testTenant, testName); !errors.Is(err, ErrUnavailable) || len(tokens) > 0 {
		t.Errorf("redirected to http: %v, and %d requests followed", err, len(tokens))
	}
}

func pemOf(s *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

func TestLazyBox(t *testing.T) {
	reads := 0
	missing := errors.New("no key")
	box := NewLazyBox(func() (*KeyRing, error) { reads++; return nil, missing })
	if reads != 0 {
		t.Error("the keys were read before one was needed")
	}
	_, sealErr := box.Seal(New("x"), AAD{})
	_, keyErr := box.SealingKey()
	if err := box.Ready(); !errors.Is(err, missing) || !errors.Is(sealErr, missing) || !errors.Is(keyErr, missing) || reads != 1 {
		t.Errorf("Ready: %v, Seal: %v, SealingKey: %v, %d reads", err, sealErr, keyErr, reads)
	}
	ring := testRing(t, "k1")
	box = NewLazyBox(func() (*KeyRing, error) { return ring, nil })
	if id, err := box.SealingKey(); id != "k1" || err != nil {
		t.Errorf("SealingKey: %q, %v", id, err)
	}
}

func TestAddKey(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "ring"), filepath.Join(dir, "link")
	first, _ := GenerateKey()
	second, _ := GenerateKey()
	put(t, path, first.Reveal()+"\n", 0o600)
	if err := os.Symlink("ring", link); err != nil {
		t.Fatal(err)
	}
	if err := AddKey(link, second); err != nil {
		t.Fatal(err)
	}
	ring, err := ReadKeyFile(path)
	if err != nil || len(ring.IDs()) != 2 || !strings.HasPrefix(second.Reveal(), ring.IDs()[0]+":") {
		t.Errorf("after AddKey: %v, %v", ring, err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link was replaced: %v", err)
	}
	if err := AddKey(path, second); !errors.Is(err, ErrMalformed) {
		t.Errorf("the same key again: %v, want ErrMalformed", err)
	}
	put(t, path, "junk", 0o644)
	if err := AddKey(path, second); !errors.Is(err, ErrMode) {
		t.Errorf("a file that others may read: %v, want ErrMode", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".new-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
