package secret

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func testRing(t *testing.T, ids ...string) *KeyRing {
	t.Helper()
	var lines []string
	for _, id := range ids {
		raw := bytes.Repeat([]byte(id[len(id)-1:]), keyBytes)
		lines = append(lines, id+":"+base64.StdEncoding.EncodeToString(raw))
	}
	ring, err := ParseKeys([]byte(strings.Join(lines, "\n")), "keys")
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func TestBoxSealsAndOpens(t *testing.T) {
	box := NewBox(testRing(t, "k1"))
	aad := AAD{Tenant: "t", Name: "imap/p/password", Version: 3}
	for _, text := range []string{"x", plain, "пароль", strings.Repeat("a", maxPlainBytes)} {
		envelope, err := box.Seal(New(text), aad)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(envelope, []byte(text)) && len(text) > 1 {
			t.Error("the envelope shows the secret")
		}
		got, err := box.Open(envelope, aad)
		if err != nil || got.Reveal() != text {
			t.Errorf("Open: %v", err)
		}
		again, err := box.Seal(New(text), aad)
		if err != nil || bytes.Equal(envelope, again) {
			t.Error("two envelopes of one secret must differ")
		}
	}
	if _, err := box.Seal(Value{}, aad); err == nil {
		t.Error("sealing nothing must fail")
	}
	if _, err := box.Seal(New(strings.Repeat("a", maxPlainBytes+1)), aad); err == nil {
		t.Error("sealing too much must fail")
	}
}

// An envelope that is stored somewhere opens for ever.
func TestBoxOpensWhatWasSealedBefore(t *testing.T) {
	envelope, err := hex.DecodeString("01026b31101919f1fb03654c3ddbb001c5d379509cf17f3761ef0260990ac996603e24e750df4f64f30fccd735")
	if err != nil {
		t.Fatal(err)
	}
	got, err := NewBox(testRing(t, "k1")).Open(envelope, AAD{Tenant: "t", Name: "imap_password", Version: 3})
	if err != nil || got.Reveal() != "correct horse" {
		t.Errorf("Open: %v", err)
	}
}

func TestBoxRefusesAnotherPlace(t *testing.T) {
	box := NewBox(testRing(t, "k1"))
	at := AAD{Tenant: "ab", Name: "cd", Version: 1}
	envelope, err := box.Seal(New(plain), at)
	if err != nil {
		t.Fatal(err)
	}
	for _, other := range []AAD{
		{"ab", "cd", 2}, {"ab", "ce", 1}, {"ac", "cd", 1}, {"abc", "d", 1}, {"a", "bcd", 1}, {"", "abcd", 1}, {"abcd", "", 1}, {},
	} {
		if _, err := box.Open(envelope, other); !errors.Is(err, ErrNotAuthentic) {
			t.Errorf("Open at %+v: %v, want ErrNotAuthentic", other, err)
		}
	}
}

func TestBoxRefusesEveryChangedByte(t *testing.T) {
	box := NewBox(testRing(t, "k1"))
	aad := AAD{Tenant: "t", Name: "n"}
	envelope, err := box.Seal(New(plain), aad)
	if err != nil {
		t.Fatal(err)
	}
	for i := range envelope {
		changed := bytes.Clone(envelope)
		changed[i] ^= 1
		got, err := box.Open(changed, aad)
		if err == nil {
			t.Fatalf("byte %d changed: opened", i)
		}
		if !got.IsZero() || strings.Contains(err.Error(), plain) {
			t.Fatalf("byte %d changed: the secret came out", i)
		}
		if _, err := box.Open(envelope[:i], aad); err == nil {
			t.Fatalf("cut at %d: opened", i)
		}
	}
}

func TestBoxRotation(t *testing.T) {
	aad := AAD{Tenant: "t", Name: "n"}
	old := NewBox(testRing(t, "k1"))
	envelope, err := old.Seal(New(plain), aad)
	if err != nil {
		t.Fatal(err)
	}
	both := NewBox(testRing(t, "k2", "k1"))
	got, err := both.Open(envelope, aad)
	if err != nil || got.Reveal() != plain {
		t.Fatalf("the new ring must open the old envelope: %v", err)
	}
	resealed, err := both.Seal(got, aad)
	if err != nil {
		t.Fatal(err)
	}
	if id, err := KeyID(resealed); err != nil || id != "k2" {
		t.Errorf("sealed under %q, %v, want the first key", id, err)
	}
	if _, err := NewBox(testRing(t, "k2")).Open(envelope, aad); !errors.Is(err, ErrUnknownKey) || !strings.Contains(err.Error(), `"k1"`) {
		t.Errorf("without the old key: %v, want ErrUnknownKey naming k1", err)
	}
	if _, err := old.Open([]byte("no envelope"), aad); !errors.Is(err, ErrEnvelope) {
		t.Errorf("garbage: %v, want ErrEnvelope", err)
	}
}

func TestKeyRingPrintsNoKey(t *testing.T) {
	line, err := GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	ring, err := ParseKeys([]byte(line.Reveal()+"\n"), "keys")
	if err != nil {
		t.Fatal(err)
	}
	_, encoded, _ := strings.Cut(line.Reveal(), ":")
	raw, _ := base64.StdEncoding.DecodeString(encoded)
	for _, verb := range []string{"%v", "%+v", "%s", "%x"} {
		for _, thing := range []any{ring, NewBox(ring), *NewBox(ring)} {
			out := fmt.Sprintf(verb, thing)
			if strings.Contains(out, encoded) || strings.Contains(out, fmt.Sprintf("%x", raw)) {
				t.Errorf("%s of %T shows the key", verb, thing)
			}
		}
	}
	other, err := GenerateKey()
	if err != nil || other.Equal(line) {
		t.Error("two keys must differ")
	}
}
