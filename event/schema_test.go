package event

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"imapsync/internal/contract"
)

var updateSchema = flag.Bool("update-schema", false, "write schema.json anew")

// The published schema is the one that the types and the rules of
// schemarules_test.go make.
func TestSchemaIsGenerated(t *testing.T) {
	made, unused := generate(reflect.TypeFor[Event]())
	for _, field := range unused {
		t.Errorf("there is a rule for %s, which no type has", field)
	}
	var want bytes.Buffer
	enc := json.NewEncoder(&want)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(made); err != nil {
		t.Fatal(err)
	}
	if *updateSchema {
		if err := os.WriteFile("schema.json", want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want.String(), string(Schema)); diff != "" {
		t.Errorf("schema.json is not what the types say; go test ./event -run SchemaIsGenerated -update-schema\n%s", diff)
	}
}

var compiled = sync.OnceValues(func() (*contract.Contract, error) { return contract.New(Schema) })

// validate holds v, an *Event or an EmailData, against the schema.
func validate(t testing.TB, v any) []byte {
	t.Helper()
	c, err := compiled()
	if err != nil {
		t.Fatal(err)
	}
	var data []byte
	hold := c.EmailData
	if ev, ok := v.(*Event); ok {
		hold = c.Event
		data, err = marshal(ev)
	} else {
		data, err = json.Marshal(v)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := hold(data); err != nil {
		t.Errorf("against the schema: %v\n%.2000s", err, data)
	}
	if bytes.Contains(data, []byte(":null")) {
		t.Errorf("a null in %.2000s", data)
	}
	return data
}

// TestSchemaRefuses shows that the schema can fail.
func TestSchemaRefuses(t *testing.T) {
	c, err := compiled()
	if err != nil {
		t.Fatal(err)
	}
	good := string(validate(t, fullEvent()))
	for _, change := range [][2]string{
		{`"eventType":"INBOUND_EMAIL_RECEIVED"`, `"eventType":"OTHER"`},
		{`Z","payload"`, `+01:00","payload"`},
		{`"size":7,`, `"size":0,`},
		{`"isBounce":`, `"isBounced":`},
		{`"importance":"high"`, `"importance":null`},
		{`"uid":12`, `"uid":"12"`},
		{`"uid":12`, `"uid":4294967296`},
		{`"email":"ada@example.org"`, `"email":"ada"`},
		{`"store":"nats"`, `"store":"s3"`},
	} {
		bad := strings.Replace(good, change[0], change[1], 1)
		if bad == good {
			t.Errorf("%s is not in %s", change[0], good)
			continue
		}
		if c.Event([]byte(bad)) == nil {
			t.Errorf("%s was accepted", change[1])
		}
	}
}
