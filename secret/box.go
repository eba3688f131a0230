package secret

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// envelopeV1 is the first byte of an envelope:
//
//	1 byte  version, 0x01
//	1 byte  length n of the key id
//	n bytes key id
//	12 bytes nonce, random
//	rest    AES-256-GCM ciphertext and its 16-byte tag
//
// Authenticated beside the plain text: the bytes before the nonce, then
// tenant, name and version (AAD).
const envelopeV1 = 1

// maxPlainBytes bounds what one envelope holds.
const maxPlainBytes = 1 << 20

// Why an envelope does not open.
var (
	ErrNotAuthentic = errors.New("the envelope was changed, or belongs to another tenant, name or version")
	ErrEnvelope     = errors.New("not a sealed envelope")
	ErrUnknownKey   = errors.New("sealed under a key that the key file does not hold: put that key back into it, below the first line")
)

// AAD ties an envelope to its place: moved to another tenant's row, another
// name or back to an older version, it no longer opens.
type AAD struct {
	Tenant  string
	Name    string
	Version int64
}

// bytes prefixes each field with its length, so that fields cannot run into
// each other.
func (a AAD) bytes(header []byte) []byte {
	b := slices.Clone(header)
	for _, field := range []string{a.Tenant, a.Name} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(field)))
		b = append(b, field...)
	}
	return binary.BigEndian.AppendUint64(b, uint64(a.Version))
}

// Box seals and opens secrets with a key ring. It is safe for concurrent use.
type Box struct {
	ring func() (*KeyRing, error)
}

// NewBox returns a Box over the keys of ring.
func NewBox(ring *KeyRing) *Box {
	return &Box{ring: func() (*KeyRing, error) { return ring, nil }}
}

// NewLazyBox returns a Box that reads its keys when one is needed first: who
// keeps no sealed secret needs no key. Seal and Open return the error of read
// in its own words.
func NewLazyBox(read func() (*KeyRing, error)) *Box {
	return &Box{ring: sync.OnceValues(read)}
}

// Ready reads the keys, so that one that is missing is told before it is used.
func (b *Box) Ready() error {
	_, err := b.ring()
	return err
}

// SealingKey returns the id of the key that seals.
func (b *Box) SealingKey() (string, error) {
	ring, err := b.ring()
	if err != nil {
		return "", err
	}
	return ring.keys[0].id, nil
}

// Seal returns plain as an envelope under the first key.
func (b *Box) Seal(plain Value, aad AAD) ([]byte, error) {
	text := plain.Reveal()
	if text == "" {
		return nil, errors.New("seal: no secret given")
	}
	if len(text) > maxPlainBytes {
		return nil, fmt.Errorf("seal: a secret of %d bytes, at most %d fit", len(text), maxPlainBytes)
	}
	ring, err := b.ring()
	if err != nil {
		return nil, err
	}
	k := ring.keys[0]
	header := append([]byte{envelopeV1, byte(len(k.id))}, k.id...)
	return k.aead.Seal(header, nil, []byte(text), aad.bytes(header)), nil //nolint:gosec // the AEAD makes its nonce by itself
}

// ErrSealed is in the errors of keys that cannot be read while there is what is sealed
// under them: a new key would open nothing.
var ErrSealed = errors.New("credentials are sealed under it")

// sealedError is an error of the keys, in its own words, that is ErrSealed too.
type sealedError struct{ error }

func (e sealedError) Unwrap() error        { return e.error }
func (e sealedError) Is(target error) bool { return target == ErrSealed }

// Sealed is an error of the keys, of which it is known that something is sealed under
// them; it wraps ErrSealed.
func Sealed(err error) error { return sealedError{err} }

// Open returns the secret of an envelope. Its errors wrap ErrEnvelope, ErrUnknownKey or
// ErrNotAuthentic, or ErrSealed where the keys cannot be read.
func (b *Box) Open(envelope []byte, aad AAD) (Value, error) {
	id, headerLen, err := splitHeader(envelope)
	if err != nil {
		return Value{}, fmt.Errorf("open: %w", err)
	}
	ring, err := b.ring()
	if err != nil {
		return Value{}, Sealed(err)
	}
	k := ring.find(id)
	if k == nil {
		return Value{}, fmt.Errorf("open: key %q: %w", id, ErrUnknownKey)
	}
	header, sealed := envelope[:headerLen], envelope[headerLen:]
	if len(sealed) < k.aead.Overhead() {
		return Value{}, fmt.Errorf("open: %w: too short", ErrEnvelope)
	}
	plain, err := k.aead.Open(nil, nil, sealed, aad.bytes(header))
	if err != nil {
		return Value{}, fmt.Errorf("open: key %q: %w", id, ErrNotAuthentic)
	}
	return New(string(plain)), nil
}

// KeyID returns the id of the key an envelope is sealed under, so that a
// rotation finds what is left under the old key.
func KeyID(envelope []byte) (string, error) {
	id, _, err := splitHeader(envelope)
	return id, err
}

func splitHeader(envelope []byte) (id string, length int, err error) {
	if len(envelope) < 2 || envelope[0] != envelopeV1 {
		return "", 0, ErrEnvelope
	}
	length = 2 + int(envelope[1])
	if len(envelope) < length || !keyID.Match(envelope[2:length]) {
		return "", 0, ErrEnvelope
	}
	return string(envelope[2:length]), length, nil
}
