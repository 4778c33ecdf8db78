package adminapi

import (
	_ "embed"
	"encoding/json"
	"strings"
)

// schemas are the bodies of requests and answers, by name.
//
//go:embed schemas.json
var schemas []byte

type object = map[string]any

// describe returns the OpenAPI 3.1 description of routes: it is made of the
// table that answers, so it cannot tell of another API.
func describe(routes []route) []byte {
	paths := make(map[string]object)
	for _, rt := range routes {
		path := prefix + rt.path
		if paths[path] == nil {
			paths[path] = make(object)
		}
		paths[path][strings.ToLower(rt.method)] = rt.operation()
	}
	raw, err := json.Marshal(object{
		"openapi": "3.1.0",
		"info": object{"title": "Beffroi admin API", "version": "1",
			"description": "Documents, drafts, findings and the audit trail of the policy of one server."},
		"paths": paths,
		"components": object{
			"schemas":         json.RawMessage(schemas),
			"securitySchemes": object{"token": object{"type": "http", "scheme": "bearer"}},
		},
		"security": []object{{"token": []string{}}},
	})
	if err != nil {
		panic(err) // constants that are no JSON
	}
	return raw
}

func (rt *route) operation() object {
	op := object{
		"summary":     rt.summary,
		"operationId": strings.ToLower(rt.method) + strings.NewReplacer("/", "_", "{", "", "}", "").Replace(rt.path),
		"description": "Roles: " + rt.roleNames() + ".",
		"responses": object{
			"200": answer("The outcome", rt.out),
			"400": answer("The request or the document is wrong", "Error"),
			"401": answer("No token, or one that is not in use", "Error"),
			"403": answer("The role may not do this, or another person has to", "Error"),
			"404": answer("There is no such thing", "Error"),
			"409": answer("Somebody was first", "Error"),
			"429": answer("Too many calls", "Error"),
		},
	}
	var parameters []object
	if strings.Contains(rt.path, "{id}") {
		parameters = append(parameters, object{"name": "id", "in": "path", "required": true, "schema": object{"type": "string"}})
	}
	for _, q := range rt.query {
		parameters = append(parameters, object{"name": q.name, "in": "query", "description": q.text, "schema": object{"type": q.kind}})
	}
	if len(parameters) > 0 {
		op["parameters"] = parameters
	}
	if rt.in != "" {
		op["requestBody"] = object{"required": true, "content": content(rt.in)}
	}
	return op
}

func answer(text, schema string) object {
	return object{"description": text, "content": content(schema)}
}

func content(schema string) object {
	return object{"application/json": object{"schema": object{"$ref": "#/components/schemas/" + schema}}}
}
