package secret

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

const keyBytes = 32 // AES-256

var keyID = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,64}$`)

// key is one sealing key under its name.
type key struct {
	id   string
	aead cipher.AEAD
}

// KeyRing holds the sealing keys of a key file: the first seals, all open. To
// rotate, put a new key on the first line, seal everything again, then take
// the old line out.
type KeyRing struct {
	keys []key
}

// ReadKeyFile reads a key file. Its lines are `keyid:base64`, where keyid is 1
// to 64 of the characters a-z A-Z 0-9 . _ - and base64 (standard, padded) is a
// key of 32 bytes; empty lines and lines that begin with # do not count. It
// returns a *FileError when the file is missing, others may read it, or a line
// is malformed.
func ReadKeyFile(path string) (*KeyRing, error) {
	data, err := readPrivate(path)
	if err != nil {
		return nil, err
	}
	return ParseKeys(data, path)
}

// ParseKeys reads what a key file holds. Name stands for the file in errors.
func ParseKeys(data []byte, name string) (*KeyRing, error) {
	ring := &KeyRing{}
	n := 0
	for line := range strings.Lines(string(data)) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		k, err := parseKey(line)
		if err == nil && ring.find(k.id) != nil {
			err = fmt.Errorf("%w: key id %q stands on an earlier line too", ErrMalformed, k.id)
		}
		if err != nil {
			return nil, &FileError{Path: name, Line: n, Err: err}
		}
		ring.keys = append(ring.keys, *k)
	}
	if len(ring.keys) == 0 {
		return nil, &FileError{Path: name, Err: fmt.Errorf("%w: no key in it", ErrEmpty)}
	}
	return ring, nil
}

// parseKey reads `keyid:base64`. Nothing of the line but a sound key id goes
// into an error: a person may have put the key itself there.
func parseKey(line string) (*key, error) {
	id, encoded, found := strings.Cut(line, ":")
	if !found || !keyID.MatchString(id) {
		return nil, fmt.Errorf("%w: want keyid:base64, the id of at most 64 letters, digits, dots, dashes or underscores", ErrMalformed)
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(strings.TrimSpace(encoded))
	if err != nil {
		return nil, fmt.Errorf("%w: the key is not base64", ErrMalformed)
	}
	if len(raw) != keyBytes {
		return nil, fmt.Errorf("%w: the key has %d bytes, want %d", ErrMalformed, len(raw), keyBytes)
	}
	block, err := aes.NewCipher(raw)
	if err != nil {
		return nil, errors.New("aes cannot use the key")
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, errors.New("aes-gcm cannot use the key")
	}
	return &key{id: id, aead: aead}, nil
}

// GenerateKey returns the line of a new key for a key file, without newline,
// under a random id.
func GenerateKey() (Value, error) {
	raw := make([]byte, keyBytes+4)
	if _, err := rand.Read(raw); err != nil {
		return Value{}, fmt.Errorf("generate a key: %w", err)
	}
	id := "k" + hex.EncodeToString(raw[keyBytes:])
	return New(id + ":" + base64.StdEncoding.EncodeToString(raw[:keyBytes])), nil
}

// CreateKeyFile writes the line of a key to a new file of mode 0600. Its error is
// fs.ErrExist where there is one already.
func CreateKeyFile(path string, line Value) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, line.Reveal())
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// AddKey puts the line of a new key before all others of a key file, as one
// step. The file must be sound, and private.
func AddKey(path string, line Value) error {
	before, err := readPrivate(path)
	if err != nil {
		return err
	}
	after := append([]byte(line.Reveal()+"\n"), before...)
	if len(after) > maxFileBytes {
		return &FileError{Path: path, Err: fmt.Errorf("%w: take old keys out of it", ErrTooLarge)}
	}
	if _, err := ParseKeys(after, path); err != nil {
		return err
	}
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // the file is replaced, not the link to it
	}
	return WriteFile(path, after)
}

// IDs returns the ids of the keys, the sealing one first.
func (r *KeyRing) IDs() []string {
	ids := make([]string, len(r.keys))
	for i, k := range r.keys {
		ids[i] = k.id
	}
	return ids
}

// String returns the ids only, so that a ring may be logged.
func (r *KeyRing) String() string { return "keys " + strings.Join(r.IDs(), ",") }

func (r *KeyRing) find(id string) *key {
	i := slices.IndexFunc(r.keys, func(k key) bool { return k.id == id })
	if i < 0 {
		return nil
	}
	return &r.keys[i]
}
