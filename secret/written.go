package secret

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

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

// WriteFile makes a file of mode 0600, or replaces one, as one step: whoever
// reads sees the old or the new. It is on the disk when it returns.
func WriteFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return &FileError{Path: path, Err: reason(err)}
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return &FileError{Path: path, Err: fmt.Errorf("write: %w", errors.Join(err, os.Remove(f.Name())))}
	}
	if dir, err := os.Open(filepath.Dir(path)); err == nil {
		_ = dir.Sync() // not every file system can
		_ = dir.Close()
	}
	return nil
}
