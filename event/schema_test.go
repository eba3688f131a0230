package event

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"strings"
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

// TestSchemaRefuses shows that the schema can fail.
func TestSchemaRefuses(t *testing.T) {
	c, err := contract.New(Schema)
	if err != nil {
		t.Fatal(err)
	}
	full, err := os.ReadFile("testdata/full.json")
	if err != nil {
		t.Fatal(err)
	}
	good := string(full)
	if err := c.Event(full); err != nil {
		t.Fatal(err)
	}
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
