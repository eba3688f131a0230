package event

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"
)

// node is a JSON Schema (draft 2020-12), as far as an event needs one.
type node struct {
	Schema               string     `json:"$schema,omitempty"`
	ID                   string     `json:"$id,omitempty"`
	Title                string     `json:"title,omitempty"`
	Description          string     `json:"description,omitempty"`
	Ref                  string     `json:"$ref,omitempty"`
	Type                 string     `json:"type,omitempty"`
	Const                string     `json:"const,omitempty"`
	Enum                 []string   `json:"enum,omitempty"`
	Format               string     `json:"format,omitempty"`
	Pattern              string     `json:"pattern,omitempty"`
	Not                  *node      `json:"not,omitempty"`
	ContentEncoding      string     `json:"contentEncoding,omitempty"`
	MinLength            int        `json:"minLength,omitempty"`
	Minimum              *int64     `json:"minimum,omitempty"`
	Maximum              int64      `json:"maximum,omitempty"`
	MinItems             int        `json:"minItems,omitempty"`
	MinProperties        int        `json:"minProperties,omitempty"`
	Required             []string   `json:"required,omitempty"`
	Properties           properties `json:"properties,omitempty"`
	AdditionalProperties *node      `json:"additionalProperties,omitempty"`
	Items                *node      `json:"items,omitempty"`
	Defs                 properties `json:"$defs,omitempty"`
}

// properties keep the order of the fields.
type properties []property

type property struct {
	name string
	node *node
}

func (p properties) MarshalJSON() ([]byte, error) {
	var out bytes.Buffer
	for i, each := range p {
		if i > 0 {
			out.WriteByte(',')
		}
		var value bytes.Buffer
		enc := json.NewEncoder(&value)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(each.node); err != nil {
			return nil, err
		}
		fmt.Fprintf(&out, "%q:%s", each.name, value.Bytes())
	}
	return append(append([]byte{'{'}, out.Bytes()...), '}'), nil
}

// generator makes a schema of types: names, kinds, what is required (what is
// never left out) and what is never empty (what is left out when it is). The
// rules add what a type cannot say.
type generator struct {
	rules map[string]func(*node)
	defs  properties
}

// generate returns the schema of a type, and the rules that found no field.
func generate(typ reflect.Type) (root *node, unused []string) {
	g := &generator{rules: rules(), defs: shared()}
	root = &node{}
	g.object(root, typ)
	g.rule("Event", root)
	root.Schema, root.Defs = "https://json-schema.org/draft/2020-12/schema", g.defs
	for field := range g.rules {
		unused = append(unused, field)
	}
	slices.Sort(unused)
	return root, unused
}

// rule applies a rule once: each field has one place in the schema.
func (g *generator) rule(name string, n *node) {
	if rule := g.rules[name]; rule != nil {
		rule(n)
		delete(g.rules, name)
	}
}

func (g *generator) object(n *node, typ reflect.Type) {
	n.Type = "object"
	for f := range typ.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" || !f.IsExported() {
			continue
		}
		optional := strings.Contains(options, "omit")
		if !optional {
			n.Required = append(n.Required, name)
		}
		child := g.value(f.Type, optional)
		g.rule(typ.Name()+"."+name, child)
		n.Properties = append(n.Properties, property{name, child})
	}
}

// value is the schema of a field's or an element's type.
func (g *generator) value(typ reflect.Type, optional bool) *node {
	least := 0
	if optional {
		least = 1
	}
	switch {
	case typ == reflect.TypeFor[time.Time]():
		return &node{Ref: "#/$defs/time"}
	case typ == reflect.TypeFor[[]byte]():
		return &node{Type: "string", ContentEncoding: "base64", MinLength: least}
	case typ == reflect.TypeFor[Payload](): // it stands in one place only
		n := &node{}
		g.object(n, typ)
		return n
	}
	switch typ.Kind() {
	case reflect.Pointer:
		return g.value(typ.Elem(), false)
	case reflect.String:
		return &node{Type: "string", MinLength: least}
	case reflect.Bool:
		return &node{Type: "boolean"}
	case reflect.Int64, reflect.Uint64: // of the latter none has its highest bit set
		minimum := int64(least)
		return &node{Type: "integer", Minimum: &minimum}
	case reflect.Uint32:
		return &node{Type: "integer", Minimum: new(int64), Maximum: math.MaxUint32}
	case reflect.Slice:
		return &node{Type: "array", MinItems: least, Items: g.value(typ.Elem(), true)}
	case reflect.Map:
		return &node{Type: "object", MinProperties: least, AdditionalProperties: g.value(typ.Elem(), false)}
	case reflect.Struct:
		return &node{Ref: "#/$defs/" + g.define(typ)}
	}
	panic(fmt.Sprintf("a field of the event is of type %v", typ))
}

// define puts a struct among the definitions, once.
func (g *generator) define(typ reflect.Type) string {
	name := map[string]string{"IMAP": "imap", "RawMIME": "rawMime"}[typ.Name()]
	if name == "" {
		name = strings.ToLower(typ.Name()[:1]) + typ.Name()[1:]
	}
	if !slices.ContainsFunc(g.defs, func(p property) bool { return p.name == name }) {
		n := &node{}
		g.defs = append(g.defs, property{name, n})
		g.object(n, typ)
		g.rule(typ.Name(), n)
	}
	return name
}
