package policy

import _ "embed" // of the schema

//go:embed schema.json
var schema string

// Schema returns the JSON Schema of a document, made from the types of this
// package. It knows the form; what the values mean is for [Document.Check].
func Schema() string { return schema }
