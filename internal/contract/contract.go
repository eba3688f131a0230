// Package contract holds JSON against the published schema of the event, for
// tests and the demo.
//
// Invariant: it is stricter than the schema in one thing: properties that the
// schema does not name are refused, so that no field of ours can be missing
// there.
package contract

import (
	"bytes"
	"fmt"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Contract is the compiled schema. It may be used by several goroutines.
type Contract struct {
	event, emailData *jsonschema.Schema
}

// New compiles a schema, that of event.Schema.
func New(schema []byte) (*Contract, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	root, ok := doc.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("schema: a %T", doc)
	}
	closeObjects(root)
	delete(root, "$id")
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	const url = "https://imapsync.invalid/strict.json"
	if err := compiler.AddResource(url, doc); err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	c := &Contract{}
	if c.event, err = compiler.Compile(url); err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	if c.emailData, err = compiler.Compile(url + "#/$defs/emailData"); err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	return c, nil
}

// closeObjects refuses what an object does not name.
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

// Event says in what the JSON of an event is not that of the schema.
func (c *Contract) Event(data []byte) error { return hold(c.event, data) }

// EmailData does the same with the JSON of a mail alone, as `imapsync parse`
// prints it.
func (c *Contract) EmailData(data []byte) error { return hold(c.emailData, data) }

func hold(schema *jsonschema.Schema, data []byte) error {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return err
	}
	return schema.Validate(doc)
}
