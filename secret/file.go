package secret

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxFileBytes bounds a credential or a key file.
const maxFileBytes = 64 << 10

// What can be wrong with a secret's file; FileError wraps one of these or the
// operating system's error (fs.ErrNotExist, fs.ErrPermission).
var (
	ErrMode      = errors.New("others may read or change it")
	ErrDirectory = errors.New("is a directory, not a file")
	ErrEmpty     = errors.New("it is empty")
	ErrTooLarge  = fmt.Errorf("it is larger than %d bytes", maxFileBytes)
	ErrMalformed = errors.New("malformed")
)

// FileError says which file could not be used, and why.
type FileError struct {
	Path string
	Line int   // line of a key file, 0 when the file as a whole is meant
	Err  error // never carries what the file holds
}

func (e *FileError) Error() string {
	if e.Line > 0 {
		return fmt.Sprintf("%s line %d: %v", e.Path, e.Line, e.Err)
	}
	return e.Path + ": " + e.Err.Error()
}

func (e *FileError) Unwrap() error { return e.Err }

// ReadFile reads one credential from a file: at most 64 KiB, one newline at
// its end taken off. It refuses, with a *FileError, a file that others may
// read or that the group may write; the group may read it, since Kubernetes
// mounts secrets with mode 0440.
func ReadFile(path string) (Value, error) {
	data, err := readPrivate(path)
	if err != nil {
		return Value{}, err
	}
	return trimmed(data, path)
}

// Read reads one credential from r, e.g. standard input, under the rules of
// ReadFile but for the file mode. Name stands for r in errors.
func Read(r io.Reader, name string) (Value, error) {
	data, err := readBounded(r, name)
	if err != nil {
		return Value{}, err
	}
	return trimmed(data, name)
}

func trimmed(data []byte, name string) (Value, error) {
	text := strings.TrimSuffix(string(data), "\n")
	text = strings.TrimSuffix(text, "\r")
	if text == "" {
		return Value{}, &FileError{Path: name, Err: ErrEmpty}
	}
	return New(text), nil
}

// readPrivate reads a file that only its owner, and its group at most for
// reading, has access to. The mode is that of the opened file, so symbolic
// links (Kubernetes again) are followed and cannot be swapped in between.
func readPrivate(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, &FileError{Path: path, Err: reason(err)}
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, &FileError{Path: path, Err: reason(err)}
	}
	if info.IsDir() {
		return nil, &FileError{Path: path, Err: ErrDirectory}
	}
	if mode := info.Mode().Perm(); mode&0o027 != 0 {
		return nil, &FileError{Path: path, Err: fmt.Errorf("mode %04o: %w", mode, ErrMode)}
	}
	return readBounded(f, path)
}

func readBounded(r io.Reader, name string) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxFileBytes+1))
	if err != nil {
		return nil, &FileError{Path: name, Err: reason(err)}
	}
	if len(data) > maxFileBytes {
		return nil, &FileError{Path: name, Err: ErrTooLarge}
	}
	return data, nil
}

// reason takes the path off an os error: FileError names it already.
func reason(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
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
