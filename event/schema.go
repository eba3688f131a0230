package event

import _ "embed"

// Schema is the JSON Schema (draft 2020-12) of an event. Its $defs/emailData
// is that of EmailData. It is made of the types, by the tests of this
// package: go test ./event -run SchemaIsGenerated -update-schema
//
//go:embed schema.json
var Schema []byte
