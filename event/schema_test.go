package event

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// schemas compiles the published schema with one addition: properties it does
// not name are refused, so that a field of ours cannot be missing there.
var schemas = sync.OnceValues(func() (map[string]*jsonschema.Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema))
	if err != nil {
		return nil, err
	}
	closeObjects(doc)
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	const url = "https://imapsync.invalid/strict.json"
	delete(doc.(map[string]any), "$id")
	if err := c.AddResource(url, doc); err != nil {
		return nil, err
	}
	out := make(map[string]*jsonschema.Schema)
	for name, part := range map[string]string{"event": "", "emailData": "#/$defs/emailData"} {
		if out[name], err = c.Compile(url + part); err != nil {
			return nil, err
		}
	}
	return out, nil
})

func closeObjects(node any) {
	switch node := node.(type) {
	case map[string]any:
		if _, ok := node["properties"].(map[string]any); ok {
			node["additionalProperties"] = false
		}
		for _, child := range node {
			closeObjects(child)
		}
	case []any:
		for _, child := range node {
			closeObjects(child)
		}
	}
}

// validate holds v, an *Event or an EmailData, against the schema.
func validate(t testing.TB, v any) []byte {
	t.Helper()
	compiled, err := schemas()
	if err != nil {
		t.Fatal(err)
	}
	which := "emailData"
	var data []byte
	if ev, ok := v.(*Event); ok {
		which = "event"
		data, err = marshal(ev)
	} else {
		data, err = json.Marshal(v)
	}
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if err := compiled[which].Validate(doc); err != nil {
		t.Errorf("against the schema: %v\n%.2000s", err, data)
	}
	if bytes.Contains(data, []byte(":null")) {
		t.Errorf("a null in %.2000s", data)
	}
	return data
}

// TestSchemaNamesEveryField walks types and schema side by side: the same
// names, and required exactly where the type never leaves a field out.
func TestSchemaNamesEveryField(t *testing.T) {
	var doc map[string]any
	if err := json.Unmarshal(Schema, &doc); err != nil {
		t.Fatal(err)
	}
	compareSchema(t, "event", reflect.TypeFor[Event](), doc, doc)
}

func compareSchema(t *testing.T, at string, typ reflect.Type, node, doc map[string]any) {
	t.Helper()
	extra := asStrings(node["required"])
	if ref, ok := node["$ref"].(string); ok {
		name := strings.TrimPrefix(ref, "#/$defs/")
		node = doc["$defs"].(map[string]any)[name].(map[string]any)
	}
	for typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	want := func(kind string) {
		if got := node["type"]; got != nil && got != kind {
			t.Errorf("%s: the schema says %v, the type %s", at, got, kind)
		}
	}
	switch {
	case typ == reflect.TypeFor[time.Time](), typ == reflect.TypeFor[[]byte](), typ.Kind() == reflect.String:
		want("string")
	case typ.Kind() == reflect.Bool:
		want("boolean")
	case typ.Kind() == reflect.Int64 || typ.Kind() == reflect.Uint32:
		want("integer")
	case typ.Kind() == reflect.Slice:
		want("array")
		compareSchema(t, at+"[]", typ.Elem(), node["items"].(map[string]any), doc)
	case typ.Kind() == reflect.Map:
		want("object")
	case typ.Kind() == reflect.Struct:
		want("object")
		properties, _ := node["properties"].(map[string]any)
		required := append(asStrings(node["required"]), extra...)
		left := maps.Clone(properties)
		for f := range typ.Fields() {
			name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name == "-" {
				continue
			}
			property, ok := properties[name].(map[string]any)
			if !ok {
				t.Errorf("%s.%s is not in the schema", at, name)
				continue
			}
			delete(left, name)
			always := !strings.Contains(options, "omit")
			if always != slices.Contains(required, name) && !slices.Contains(extra, name) {
				t.Errorf("%s.%s: always there %v, required %v", at, name, always, !always)
			}
			compareSchema(t, at+"."+name, f.Type, property, doc)
		}
		for name := range left {
			t.Errorf("%s.%s is in the schema only", at, name)
		}
	default:
		t.Errorf("%s: a %v", at, typ)
	}
}

func asStrings(v any) []string {
	var out []string
	list, _ := v.([]any)
	for _, item := range list {
		out = append(out, fmt.Sprint(item))
	}
	return out
}

// TestSchemaRefuses shows that the schema can fail.
func TestSchemaRefuses(t *testing.T) {
	compiled, err := schemas()
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
		{`"email":"ada@example.org"`, `"email":"ada"`},
	} {
		bad := strings.Replace(good, change[0], change[1], 1)
		if bad == good {
			t.Errorf("%s is not in %s", change[0], good)
			continue
		}
		doc, err := jsonschema.UnmarshalJSON(strings.NewReader(bad))
		if err != nil {
			t.Fatal(err)
		}
		if compiled["event"].Validate(doc) == nil {
			t.Errorf("%s was accepted", change[1])
		}
	}
}
