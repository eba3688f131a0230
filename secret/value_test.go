package secret

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const plain = "hunter2-Tr0ub4dor"

type nested struct {
	Public   Value
	private  Value
	Pointer  *Value
	List     []Value
	Map      map[string]Value
	private2 struct {
		list []Value
	}
}

func newNested() nested {
	v := New(plain)
	n := nested{Public: v, private: v, Pointer: &v, List: []Value{v}, Map: map[string]Value{"k": v}}
	n.private2.list = []Value{v}
	return n
}

type xmlHolder struct{ V Value }

type carrier struct{ value Value }

func (c carrier) Error() string { return fmt.Sprintf("login with %v refused", c.value) }

// leaks looks for the secret as text, as hex and as a list of byte values.
func leaks(t *testing.T, what, out string) {
	t.Helper()
	for _, form := range []string{plain, fmt.Sprintf("%x", plain), fmt.Sprintf("%X", plain), fmt.Sprint([]byte(plain)), fmt.Sprintf("%U", []rune(plain)[0])} {
		if strings.Contains(out, form) {
			t.Errorf("%s shows the secret: %s", what, out)
		}
	}
}

func TestValuePrintsRedactedForEveryVerb(t *testing.T) {
	v := New(plain)
	things := map[string]any{
		"value": v, "pointer": &v, "slice": []Value{v}, "array": [1]Value{v}, "map": map[string]Value{"k": v},
		"struct": newNested(), "struct pointer": new(newNested()),
		"any": []any{v, &v, newNested()}, "error": carrier{v}, "wrapped": fmt.Errorf("outer: %w", carrier{v}),
		"joined": errors.Join(carrier{v}, errors.New("b")),
	}
	verbs := strings.Split("v +v #v s q x X d o O b c U e E f F g G t p T 10s -10v .3s 08d  x", " ")
	for name, thing := range things {
		for _, verb := range verbs {
			out := fmt.Sprintf("%"+verb, thing)
			leaks(t, name+" with %"+verb, out)
		}
	}
	for _, verb := range verbs {
		if verb == "T" || verb == "p" || verb == "" {
			continue // answered by fmt without asking the value
		}
		if got := fmt.Sprintf("%"+verb, v); got != redacted {
			t.Errorf("%%%s = %q, want %q", verb, got, redacted)
		}
	}
	if v.String() != redacted || v.GoString() != redacted {
		t.Error("String and GoString must be redacted")
	}
}

func TestValueIsRedactedInLogs(t *testing.T) {
	v := New(plain)
	for name, handler := range map[string]func(*bytes.Buffer) slog.Handler{
		"text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		"json": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
	} {
		var out bytes.Buffer
		log := slog.New(handler(&out)).With("with", v)
		log.Info("m", "value", v, "pointer", &v, "struct", newNested(), "list", []Value{v},
			"map", map[string]Value{"k": v}, "error", carrier{v}, slog.Group("g", "v", v))
		leaks(t, name, out.String())
		if !strings.Contains(out.String(), redacted) {
			t.Errorf("%s: nothing redacted in %s", name, out.String())
		}
	}
}

func TestValueIsRedactedWhenMarshalled(t *testing.T) {
	n := newNested()
	data, err := json.Marshal(map[string]nested{"k": n})
	if err != nil {
		t.Fatal(err)
	}
	leaks(t, "json", string(data))
	data, err = xml.Marshal(xmlHolder{n.Public})
	if err != nil {
		t.Fatal(err)
	}
	leaks(t, "xml", string(data))
	var out bytes.Buffer
	if err := gob.NewEncoder(&out).Encode(struct{ V Value }{n.Public}); err == nil {
		leaks(t, "gob", out.String())
	}
	leaks(t, "cmp", cmp.Diff(n.Public, New("other")))
	func() {
		defer func() { leaks(t, "panic", fmt.Sprint(recover())) }()
		panic(n.Public)
	}()
}

func TestValueStaysOutOfSQL(t *testing.T) {
	v := New(plain)
	if got, err := v.Value(); err == nil || got != nil {
		t.Errorf("Value() = %v, %v, want an error", got, err)
	}
	var w Value
	if err := w.Scan([]byte(plain)); err == nil || !w.IsZero() {
		t.Errorf("Scan = %v, want an error", err)
	}
}

func TestValueReveals(t *testing.T) {
	v := New(plain)
	if v.Reveal() != plain || v.IsZero() {
		t.Error("Reveal must give the secret back")
	}
	if !New("").IsZero() || New("").Reveal() != "" || !(Value{}).IsZero() {
		t.Error("the empty secret is the zero Value")
	}
	if !v.Equal(New(plain)) || v.Equal(New("x")) || !(Value{}).Equal(New("")) {
		t.Error("Equal compares the text")
	}
}
