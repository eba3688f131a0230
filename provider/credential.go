package provider

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"imapsync/db"
	"imapsync/oauth"
	"imapsync/secret"
	mailsync "imapsync/sync"
)

// CredentialInput are credentials that a person has just given, by the names that
// problems have for them. They go before stored ones; where there is none, what is
// stored stays.
type CredentialInput map[string]secret.Value

// Give adds one, unless it is blank.
func (in CredentialInput) Give(name string, value secret.Value) {
	if !value.IsZero() {
		in[name] = value
	}
}

// storedAs is what the places where credentials are kept call them.
var storedAs = map[string]func(providerID string) string{
	Password: db.PasswordName, ClientSecret: db.OAuthClientSecretName, ServiceAccount: db.ServiceAccountName,
}

// seal makes new versions of the credentials that were given, to be stored, and
// names them. Where the database keeps none, they go where the chain puts them.
func (c *credentials) seal(ctx context.Context, p *db.Provider, now time.Time) (sealed []db.Secret, names []string, err error) {
	names = slices.Sorted(maps.Keys(c.input))
	for _, name := range names {
		stored, value := storedAs[name](p.ID), c.input[name]
		if !c.chain.Has(secret.PlaceDB) {
			if err := c.chain.Put(ctx, p.Tenant, stored, value); err != nil {
				return nil, nil, err
			}
			continue
		}
		s, err := c.store.SealSecret(ctx, c.box, p.Tenant, stored, value, now)
		if err != nil {
			return nil, nil, err
		}
		sealed = append(sealed, s)
	}
	return sealed, names, nil
}

// credentials find what providers log in with.
type credentials struct {
	store  *db.Store
	box    *secret.Box
	chain  *secret.Chain
	input  CredentialInput
	unkept bool // tokens are not stored: the provider is not either
}

// of returns what p logs in with. Without a fence a token that is due is
// renewed under a lock of its own.
func (c *credentials) of(ctx context.Context, p *db.Provider, fence db.Fence) (mailsync.Credential, error) {
	if p.AuthType != db.AuthOAuth2 {
		password, err := c.read(ctx, p, Password)
		return mailsync.Credential{Password: password}, err
	}
	client, err := c.client(ctx, p)
	if err != nil {
		return mailsync.Credential{}, err
	}
	keep := oauth.Keep{
		Load: func(context.Context) (oauth.Tokens, error) { return oauth.Tokens{}, nil },
		Save: func(context.Context, oauth.Tokens) error { return nil },
	}
	if !c.unkept {
		k := &keptTokens{credentials: c, provider: p, fence: fence, patience: busyPatience}
		keep.Load, keep.Save = k.load, k.save
		if fence.Epoch == 0 {
			keep.Lock = k.lock
		}
	}
	return mailsync.Credential{Tokens: client.NewSource(keep)}, nil
}

// read returns one credential of a provider: what was given, or what is stored.
func (c *credentials) read(ctx context.Context, p *db.Provider, name string) (secret.Value, error) {
	if given, ok := c.input[name]; ok {
		return given, nil
	}
	return c.chain.Get(ctx, p.Tenant, storedAs[name](p.ID))
}

// optional is what was read of a credential that may be absent.
func optional(value secret.Value, err error) (secret.Value, error) {
	if errors.Is(err, secret.ErrAbsent) {
		return value, nil
	}
	return value, err
}

func (c *credentials) client(ctx context.Context, p *db.Provider) (*oauth.Client, error) {
	s := oauth.Settings{
		Preset: p.OAuthPreset, Flow: oauth.Flow(p.OAuthFlow), Tenant: p.OAuthTenant, ClientID: p.OAuthClientID,
		AuthorizeURL: p.OAuthAuthorize, TokenURL: p.OAuthToken, DeviceURL: p.OAuthDevice, Scopes: p.OAuthScopes,
		Subject: p.Username,
	}
	var err error
	s.ClientSecret, err = optional(c.read(ctx, p, ClientSecret))
	if err == nil && s.Flow == oauth.ServiceAccount {
		s.ServiceAccount, err = optional(c.read(ctx, p, ServiceAccount))
	}
	if err != nil {
		return nil, err
	}
	return oauth.New(s)
}

// credentials finds what mailboxes log in with in the places that the environment
// names, behind what was given. Without a store, nothing is in the database.
func (s *Service) credentials(in CredentialInput) (*credentials, error) {
	c := &credentials{store: s.Store, box: s.Box, input: in}
	var err error
	c.chain, err = secret.NewChain(s.LookupEnv, secret.Stored{Get: c.stored, Put: c.storeNew})
	return c, err
}

func (c *credentials) stored(ctx context.Context, tenant, name string) (secret.Value, error) {
	if c.store == nil {
		return secret.Value{}, secret.ErrAbsent
	}
	value, version, err := c.store.OpenSecret(ctx, c.box, tenant, name)
	if err == nil && version == 0 {
		err = secret.ErrAbsent
	}
	return value, err
}

func (c *credentials) storeNew(ctx context.Context, tenant, name string, value secret.Value) error {
	sealed, err := c.store.SealSecret(ctx, c.box, tenant, name, value, time.Now().UTC())
	if err != nil {
		return err
	}
	return c.store.PutSecret(ctx, sealed)
}

// ready makes sure, before mailboxes are read, that the places of credentials are there,
// and that the sealed ones can be opened. Where there are none, no key is needed.
func (c *credentials) ready(ctx context.Context) error {
	if err := c.chain.Ready(); err != nil || !c.chain.Has(secret.PlaceDB) {
		return err
	}
	keyErr := c.box.Ready()
	if keyErr == nil {
		return c.store.CheckKey(ctx, c.box)
	}
	sealed, err := c.store.HasSecrets(ctx)
	if err != nil || !sealed {
		return err
	}
	return secret.Sealed(keyErr)
}

// canKeep tells, before anybody types anything, why credentials could not be stored.
func (c *credentials) canKeep() error {
	if c.chain.Has(secret.PlaceDB) {
		return c.box.Ready()
	}
	return c.chain.CanPut()
}

// Chain is where credentials are looked for.
func (s *Service) Chain() (*secret.Chain, error) {
	c, err := s.credentials(nil)
	return c.chain, err
}

// CanKeep tells, before anybody types anything, why credentials could not be stored.
func (s *Service) CanKeep() error {
	c, err := s.credentials(nil)
	if err != nil {
		return err
	}
	return c.canKeep()
}

// NeedsPassword reports whether somebody has to give the password of a new
// mailbox: there is none under its id, and the database would keep one.
func (s *Service) NeedsPassword(ctx context.Context, p *db.Provider) (bool, error) {
	if p.AuthType == db.AuthOAuth2 {
		return false, nil
	}
	c, err := s.credentials(nil)
	if err != nil || !c.chain.Has(secret.PlaceDB) {
		return false, err
	}
	_, err = c.chain.Get(ctx, p.Tenant, db.PasswordName(p.ID))
	return err != nil, nil
}

// CredentialProblems are those with what was given, and with what a new mailbox
// cannot do without and that is neither given nor there. Where that cannot be
// known, a test finds out.
func (s *Service) CredentialProblems(ctx context.Context, p *db.Provider, in CredentialInput, adding bool) (problems []Problem) {
	if adding {
		problems = MissingSecrets(p, !in[ServiceAccount].IsZero(), !in[ClientSecret].IsZero())
		if needed, err := s.NeedsPassword(ctx, p); err == nil && needed && in[Password].IsZero() {
			problems = []Problem{Wrong(Password, "missing: give the password of the mailbox")}
		}
	}
	if account := in[ServiceAccount]; !account.IsZero() {
		if err := oauth.CheckServiceAccount(account); err != nil {
			problems = append(problems, Wrong(ServiceAccount, "%s", err))
		}
	}
	return problems
}

// NeedsPerson reports whether somebody has to sign in before p can be read.
func NeedsPerson(p *db.Provider) bool {
	return p.AuthType == db.AuthOAuth2 && oauth.Flow(p.OAuthFlow).NeedsPerson()
}

// Forecasts tells when the credentials of a provider will die.
func Forecasts(p *db.Provider, now time.Time) []oauth.Forecast {
	if p.AuthType != db.AuthOAuth2 {
		return nil
	}
	return oauth.Forecasts(oauth.Facts{
		Preset: p.OAuthPreset, Flow: oauth.Flow(p.OAuthFlow), AuthorisedAt: p.AuthorisedAt, RefreshedAt: p.RefreshedAt,
		RefreshExpiry: p.RefreshExpiresAt, SecretExpiry: p.SecretExpiresAt,
	}, now)
}
