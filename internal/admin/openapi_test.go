package admin

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var rewrite = flag.Bool("rewrite", false, "write openapi.json anew, from the routes")

// TestOpenAPI holds the document that is served against the routes and the
// types: "go test ./internal/admin -run TestOpenAPI -rewrite" writes it anew.
func TestOpenAPI(t *testing.T) {
	text, err := json.MarshalIndent(document(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, '\n')
	if *rewrite {
		if err := os.WriteFile("openapi.json", text, 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(text, openAPI) {
		t.Error("openapi.json is not what the routes say: run this test with -rewrite, and look at what has changed")
	}
}

type object = map[string]any

// document is the API as OpenAPI 3.1 describes it.
func document() object {
	schemas := object{"Problem": nil}
	paths := object{}
	for i := range table {
		r := &table[i]
		at, _ := paths["/"+r.path].(object)
		if at == nil {
			at = object{}
			paths["/"+r.path] = at
		}
		at[strings.ToLower(r.method)] = operation(r, schemas)
	}
	schemas["Problem"] = problemSchema()
	return object{
		"openapi": "3.1.0",
		"info": object{
			"title": "dagstore admin API", "version": "1",
			"description": "All that a store can do. Over TCP a token is shown as \"Authorization: Bearer\", or the cookie of a session; over the unix socket nothing is. " +
				"Errors are problems as RFC 9457 has them; the last part of their type is a stable name.",
		},
		"servers": []object{{"url": strings.TrimSuffix(prefix, "/")}},
		"paths":   paths,
		"components": object{
			"schemas": schemas,
			"securitySchemes": object{
				"token":   object{"type": "http", "scheme": "bearer"},
				"session": object{"type": "apiKey", "in": "cookie", "name": cookieName},
			},
		},
	}
}

var inPath = regexp.MustCompile(`\{(\w+)\}`)

func operation(r *route, schemas object) object {
	op := object{"summary": r.summary, "operationId": strings.ToLower(r.method) + nonWord.ReplaceAllString("-"+r.path, "-")}
	params := []object{}
	for _, name := range inPath.FindAllStringSubmatch(r.path, -1) {
		params = append(params, object{"name": name[1], "in": "path", "required": true, "schema": object{"type": "string"}})
	}
	for _, p := range r.query {
		params = append(params, object{"name": p.name, "in": "query", "description": p.what, "schema": object{"type": p.kind}})
	}
	if len(params) > 0 {
		op["parameters"] = params
	}
	if r.body.mime != "" {
		op["requestBody"] = object{"required": true, "content": content(r.body, schemas)}
	}
	good := object{"description": "done"}
	if r.answer.mime != "" {
		good["content"] = content(r.answer, schemas)
	}
	op["responses"] = object{
		strconv.Itoa(r.success()): good,
		"default":                 object{"description": "a problem", "content": object{mimeProblem: object{"schema": object{"$ref": "#/components/schemas/Problem"}}}},
	}
	if r.scope != Anyone {
		op["security"] = []object{{"token": []string{string(r.scope)}}, {"session": []string{}}}
		op["x-scope"] = string(r.scope)
	} else {
		op["security"] = []object{}
	}
	return op
}

var nonWord = regexp.MustCompile(`\W+`)

func content(m media, schemas object) object {
	var schema any = object{"type": "string"}
	if m.mime == mimeJSON && m.typ == nil {
		schema = object{"type": "object"}
	}
	if m.typ != nil {
		schema = schemaOf(m.typ, schemas)
	}
	return object{strings.TrimSuffix(m.mime, "; charset=utf-8"): object{"schema": schema}}
}

// schemaOf describes a type; structs go into schemas, by name.
func schemaOf(t reflect.Type, schemas object) object {
	switch t {
	case reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case reflect.TypeFor[json.RawMessage](), reflect.TypeFor[any]():
		return object{}
	}
	switch t.Kind() { //nolint:exhaustive // all others panic
	case reflect.Pointer:
		return schemaOf(t.Elem(), schemas)
	case reflect.String:
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Int, reflect.Int64, reflect.Uint64:
		return object{"type": "integer"}
	case reflect.Float64:
		return object{"type": "number"}
	case reflect.Slice:
		return object{"type": "array", "items": schemaOf(t.Elem(), schemas)}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": schemaOf(t.Elem(), schemas)}
	case reflect.Struct:
		if _, known := schemas[t.Name()]; !known {
			schemas[t.Name()] = object{} // for types that hold themselves
			schemas[t.Name()] = structSchema(t, schemas)
		}
		return object{"$ref": "#/components/schemas/" + t.Name()}
	}
	panic("no schema for " + t.String())
}

func structSchema(t reflect.Type, schemas object) object {
	properties, required := object{}, []string{}
	for _, f := range reflect.VisibleFields(t) {
		name, opts, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous || !f.IsExported() || name == "-" {
			continue
		}
		properties[name] = schemaOf(f.Type, schemas)
		if opts != "omitempty" {
			required = append(required, name)
		}
	}
	slices.Sort(required)
	return object{"type": "object", "properties": properties, "required": required}
}

func problemSchema() object {
	return object{
		"type": "object", "required": []string{"type", "title", "status"},
		"properties": object{
			"type": object{"type": "string"}, "title": object{"type": "string"}, "status": object{"type": "integer"},
			"detail": object{"type": "string"}, "instance": object{"type": "string"}, "key": object{"type": "string"}, "op": object{"type": "string"},
			"causes": object{"type": "array", "items": object{"type": "string"}, "description": "the names of all that the error is"},
		},
	}
}
