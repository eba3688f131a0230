package secret

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Place is somewhere that credentials are read from.
type Place string

// The places of a Chain.
const (
	PlaceDB    Place = "db"    // Postgres, sealed
	PlaceEnv   Place = "env"   // TENANT_<tenant>_<name>
	PlaceFile  Place = "file"  // <dir>/tenants/<tenant>/<name>, $CREDENTIALS_DIRECTORY/<name>
	PlaceVault Place = "vault" // KV version 2
)

// DefaultPlaces are asked when nothing else is said, in this order.
const DefaultPlaces = "db,env,file"

// What can be wrong with a credential's place.
var (
	ErrAbsent      = errors.New("no such credential")
	ErrUnavailable = errors.New("the place of credentials does not answer") // it may do so later
	ErrSettings    = errors.New("credentials settings")
)

// absentError is an ErrAbsent that says by which name each place was asked.
type absentError string

func (e absentError) Error() string        { return string(e) }
func (e absentError) Is(target error) bool { return target == ErrAbsent }

// Stored is the credentials in the database: this package knows none.
type Stored struct {
	// Get returns the newest version, or an error that is ErrAbsent.
	Get func(ctx context.Context, tenant, name string) (Value, error)
	// Put stores a new version.
	Put func(ctx context.Context, tenant, name string, value Value) error
}

// Chain reads a credential from the first place that has it. A place that
// cannot be asked ends the search: what stands behind it may be older. It is
// safe for concurrent use.
type Chain struct {
	places  []Place
	stored  Stored
	lookup  func(string) (string, bool)
	dir     string // of PlaceFile; "" for none
	systemd string // $CREDENTIALS_DIRECTORY; "" for none
	vault   *Vault
	written written
}

// NewChain makes a chain by its settings, which lookup finds as os.LookupEnv
// does: IMAPSYNC_SECRET_CHAIN (the places in their order), IMAPSYNC_SECRET_DIR,
// CREDENTIALS_DIRECTORY, IMAPSYNC_SECRET_WRITE_DIR, and those of Vault. The
// error is ErrSettings.
func NewChain(lookup func(string) (string, bool), stored Stored) (*Chain, error) {
	get := func(name string) string { v, _ := lookup(name); return v }
	c := &Chain{
		stored: stored, lookup: lookup, dir: get("IMAPSYNC_SECRET_DIR"), systemd: get("CREDENTIALS_DIRECTORY"),
		written: written{dir: get("IMAPSYNC_SECRET_WRITE_DIR")},
	}
	order := get("IMAPSYNC_SECRET_CHAIN")
	if strings.TrimSpace(order) == "" {
		order = DefaultPlaces
	}
	for word := range strings.SplitSeq(order, ",") {
		place := Place(strings.ToLower(strings.TrimSpace(word)))
		switch {
		case place != PlaceDB && place != PlaceEnv && place != PlaceFile && place != PlaceVault:
			return nil, fmt.Errorf("%w: IMAPSYNC_SECRET_CHAIN: %q is no place: use db, env, file and vault, parted by commas", ErrSettings, word)
		case c.Has(place):
			return nil, fmt.Errorf("%w: IMAPSYNC_SECRET_CHAIN: %q stands there twice", ErrSettings, place)
		}
		c.places = append(c.places, place)
	}
	if c.Has(PlaceVault) {
		var err error
		if c.vault, err = newVault(lookup); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Has reports whether a place is asked.
func (c *Chain) Has(place Place) bool { return slices.Contains(c.places, place) }

// Places are asked in this order.
func (c *Chain) Places() []Place { return slices.Clone(c.places) }

// Ready returns why no credential can be found in a place: the directory of files that is
// named is not there, as when it was not mounted. The error is ErrSettings.
func (c *Chain) Ready() error {
	if c.dir == "" || !c.Has(PlaceFile) {
		return nil
	}
	_, err := os.Stat(c.dir + "/.") // of a file, an error
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: IMAPSYNC_SECRET_DIR: %w", ErrSettings, &FileError{Path: c.dir, Err: reason(err)})
}

// Vault is the one of PlaceVault, nil without it.
func (c *Chain) Vault() *Vault { return c.vault }

// Get returns a credential of a tenant: what Put wrote, while no place has
// something newer, else that of the first place that has it. The error is
// ErrAbsent when none has, and names what would have to be there.
func (c *Chain) Get(ctx context.Context, tenant, name string) (Value, error) {
	value, _, err := c.Find(ctx, tenant, name)
	return value, err
}

// Find is Get that tells where the credential was, in words for a person.
func (c *Chain) Find(ctx context.Context, tenant, name string) (Value, string, error) {
	if err := checkNames(tenant, name); err != nil {
		return Value{}, "", err
	}
	value, where, err := c.read(ctx, tenant, name)
	if c.written.dir == "" || c.Has(PlaceDB) || err != nil && !errors.Is(err, ErrAbsent) {
		return value, where, err
	}
	wrote, writtenErr := c.written.get(tenant, name, value)
	switch {
	case writtenErr == nil:
		return wrote, "file " + c.written.path(tenant, name), nil
	case !errors.Is(writtenErr, ErrAbsent):
		return Value{}, "", fmt.Errorf("%s: %w", name, writtenErr)
	}
	return value, where, err
}

// CanPut tells, before anybody has typed anything, what would keep Put from
// storing it. The error is ErrSettings.
func (c *Chain) CanPut() error {
	if c.Has(PlaceDB) || c.written.dir != "" {
		return nil
	}
	return fmt.Errorf("%w: there is no place to keep a credential: put db into IMAPSYNC_SECRET_CHAIN, or set IMAPSYNC_SECRET_WRITE_DIR to a directory that stays", ErrSettings)
}

// Put stores a credential that has been given or rotated: in the database when
// that is a place of the chain, else in IMAPSYNC_SECRET_WRITE_DIR. The error is
// ErrSettings when there is neither.
func (c *Chain) Put(ctx context.Context, tenant, name string, value Value) error {
	if err := checkNames(tenant, name); err != nil {
		return err
	}
	if c.Has(PlaceDB) {
		return c.stored.Put(ctx, tenant, name, value)
	}
	if err := c.CanPut(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	from, _, err := c.read(ctx, tenant, name)
	if err != nil && !errors.Is(err, ErrAbsent) {
		return err
	}
	if err := c.written.put(tenant, name, from, value); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// read asks one place after the other.
func (c *Chain) read(ctx context.Context, tenant, name string) (Value, string, error) {
	var asked []string // what would have to be there, one a place
	for _, place := range c.places {
		var value Value
		var where string
		var err error
		switch place {
		case PlaceDB:
			where = "none is stored in the database"
			value, err = c.stored.Get(ctx, tenant, name)
		case PlaceEnv:
			value, where, err = c.environment(tenant, name)
		case PlaceFile:
			value, where, err = c.file(tenant, name)
		case PlaceVault:
			where = "vault has no " + c.vault.Path(tenant, name)
			value, err = c.vault.Get(ctx, tenant, name)
		}
		switch {
		case err == nil:
			return value, string(place), nil
		case !errors.Is(err, ErrAbsent):
			return Value{}, "", fmt.Errorf("%s: %w", name, err)
		}
		asked = append(asked, where)
	}
	return Value{}, "", absentError(fmt.Sprintf("no %s for tenant %s: %s", name, tenant, strings.Join(asked, "; ")))
}

// EnvironmentName is the variable of a credential. A name that a shell can set
// holds no dash, so each is an underscore; the name with its dashes is read
// too, since Kubernetes and systemd can set that.
func EnvironmentName(tenant, name string) string {
	return strings.ReplaceAll("TENANT_"+tenant+"_"+name, "-", "_")
}

func (c *Chain) environment(tenant, name string) (value Value, where string, err error) {
	spelt := EnvironmentName(tenant, name)
	for _, variable := range []string{spelt, "TENANT_" + tenant + "_" + name} {
		if text, ok := c.lookup(variable); ok && text != "" {
			value, err := trimmed([]byte(text), "environment variable "+variable)
			return value, "", err
		}
	}
	return Value{}, "environment variable " + spelt + " is not set", ErrAbsent
}

func (c *Chain) file(tenant, name string) (value Value, where string, err error) {
	var paths []string
	if c.dir != "" {
		paths = append(paths, filepath.Join(c.dir, "tenants", tenant, name))
	}
	if c.systemd != "" {
		paths = append(paths, filepath.Join(c.systemd, name))
	}
	for _, path := range paths {
		value, err := ReadFile(path)
		if !errors.Is(err, fs.ErrNotExist) {
			return value, "", err
		}
	}
	if len(paths) == 0 {
		return Value{}, "no directory of files is named (IMAPSYNC_SECRET_DIR, for tenants/" + tenant + "/" + name + ")", ErrAbsent
	}
	return Value{}, "there is no file " + strings.Join(paths, " or "), ErrAbsent
}

var credentialName = regexp.MustCompile(`^[a-zA-Z0-9_-][a-zA-Z0-9._-]{0,199}$`)

// checkNames keeps tenant and name from leading out of a directory, or to
// another path of a Vault.
func checkNames(names ...string) error {
	for _, name := range names {
		if !credentialName.MatchString(name) {
			return fmt.Errorf("%w: %.80q cannot name a credential", ErrSettings, name)
		}
	}
	return nil
}

// written is a directory of rotated credentials, for chains without a database.
// A file there remembers what it replaces, by a hash, so that clocks have no
// say in which is newer: once a place holds something else than it did at the
// rotation, a person has put it there, and that wins.
type written struct {
	dir string
}

// writtenFile is what a file holds.
type writtenFile struct {
	Value    string `json:"value"`
	Replaces string `json:"replaces,omitempty"` // SHA-256 of what the places had then; "" when nothing
}

func (w written) path(tenant, name string) string {
	return filepath.Join(w.dir, "tenants", tenant, name)
}

func hashOf(v Value) string {
	if v.IsZero() {
		return ""
	}
	sum := sha256.Sum256([]byte(v.Reveal()))
	return hex.EncodeToString(sum[:])
}

// get returns what was written, or ErrAbsent when there is nothing or now is no
// longer what it replaced.
func (w written) get(tenant, name string, now Value) (Value, error) {
	path := w.path(tenant, name)
	data, err := readPrivate(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Value{}, ErrAbsent
	}
	if err != nil {
		return Value{}, err
	}
	var f writtenFile
	if json.Unmarshal(data, &f) != nil || f.Value == "" {
		return Value{}, &FileError{Path: path, Err: fmt.Errorf("%w: remove it; what it held must be given again", ErrMalformed)}
	}
	if !now.IsZero() && f.Replaces != hashOf(now) {
		return Value{}, ErrAbsent
	}
	return New(f.Value), nil
}

// put replaces a file as one step; what it held before stays beside it.
func (w written) put(tenant, name string, from, value Value) error {
	if value.IsZero() {
		return errors.New("no credential given")
	}
	path := w.path(tenant, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return &FileError{Path: filepath.Dir(path), Err: fmt.Errorf("%w: IMAPSYNC_SECRET_WRITE_DIR must be a directory that can be written", reason(err))}
	}
	data, err := json.Marshal(writtenFile{value.Reveal(), hashOf(from)})
	if err != nil {
		return err
	}
	_ = os.Remove(path + ".previous")
	if err := os.Link(path, path+".previous"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &FileError{Path: path, Err: reason(err)}
	}
	return WriteFile(path, append(data, '\n'))
}
