package event

import _ "embed"

// Schema is the JSON Schema (draft 2020-12) of an event. Its $defs/emailData
// is that of EmailDataFrom.
//
//go:embed schema.json
var Schema []byte
