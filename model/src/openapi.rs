//! The API's document, read off the tables: OpenAPI 3.1.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::field::{Field, Message, TEXT_BYTES_MAX, Type};
use crate::kind::{COMMON, Kind, Scope, default_value, kinds};
use crate::version::OURS;

/// The document of the whole API.
//= API-DOCUMENT-01
pub fn document() -> Value {
    let mut schemas = BTreeMap::new();
    let mut paths = Map::new();
    for kind in kinds() {
        let mut fields: Vec<&'static Field> = kind.fields.iter().collect();
        fields.extend(COMMON.iter().filter(|common| !kind.fields.iter().any(|own| own.name == common.name)));
        let schema = object(&mut fields.into_iter(), &mut schemas);
        schemas.insert(kind.name.to_owned(), schema);
        of_kind(kind, &mut paths);
    }
    schemas.insert("Error".to_owned(), error());
    besides(&mut paths);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Forebay Controller",
            "version": OURS.to_string(),
            "description": "Objects, and what is done with them. Every refusal is an Error.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}
        },
        "security": [{"basic": []}, {"session": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic"},
                "session": {
                    "type": "apiKey", "in": "cookie", "name": "sessionid",
                    "description": "POST /login; writes send the cookie csrftoken as X-CSRFToken as well"
                }
            },
            "responses": {"Refused": {
                "description": "what was wrong, and what to do",
                "content": content(&json!({"$ref": "#/components/schemas/Error"}))
            }}
        }
    })
}

fn error() -> Value {
    json!({
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {"type": "string", "description": "all of it, for people"},
            "problems": {"type": "array", "items": {
                "type": "object",
                "required": ["path", "reason", "fix"],
                "properties": {
                    "path": {"type": "string"}, "reason": {"type": "string"}, "fix": {"type": "string"}
                }
            }}
        }
    })
}

fn content(schema: &Value) -> Value {
    json!({"application/json": {"schema": schema}})
}

fn object(fields: &mut dyn Iterator<Item = &'static Field>, schemas: &mut BTreeMap<String, Value>) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for field in fields {
        let mut schema = holds(&field.holds, schemas);
        if let Some(default) = field.default {
            schema["default"] = default_value(default);
        } else if field.is_required {
            required.push(Value::from(field.name));
        }
        if field.is_read_only {
            schema["readOnly"] = Value::from(true);
        }
        if field.is_secret {
            schema["format"] = Value::from("password");
        }
        if !field.unit.is_empty() {
            schema["description"] = Value::from(field.unit);
        }
        properties.insert(field.name.to_owned(), schema);
    }
    let mut schema = json!({"type": "object", "additionalProperties": false, "properties": properties});
    if !required.is_empty() {
        schema["required"] = Value::from(required);
    }
    schema
}

fn holds(holds_: &'static Type, schemas: &mut BTreeMap<String, Value>) -> Value {
    match holds_ {
        Type::Text(most) if *most == TEXT_BYTES_MAX => json!({"type": "string"}),
        Type::Text(most) => json!({"type": "string", "maxLength": most}),
        Type::Flag => json!({"type": "boolean"}),
        Type::Number => json!({"type": "number"}),
        Type::Int(ranges) => match ranges {
            [(low, high)] => json!({"type": "integer", "minimum": low, "maximum": high}),
            many => {
                let each: Vec<Value> =
                    many.iter().map(|(low, high)| json!({"minimum": low, "maximum": high})).collect();
                json!({"type": "integer", "anyOf": each})
            }
        },
        Type::Enum(names) => json!({"type": "string", "enum": names}),
        Type::Ref(kind) => json!({"type": "string", "x-refers-to": kind}),
        Type::Message(message) => reference(message, schemas),
        Type::List(list) => json!({"type": "array", "maxItems": list.most, "items": holds(list.of, schemas)}),
    }
}

fn reference(message: &'static Message, schemas: &mut BTreeMap<String, Value>) -> Value {
    if !schemas.contains_key(message.name) {
        // Its place is taken first: what is within it may name it.
        schemas.insert(message.name.to_owned(), Value::Null);
        let schema = object(&mut message.fields.iter(), schemas);
        schemas.insert(message.name.to_owned(), schema);
    }
    json!({"$ref": format!("#/components/schemas/{}", message.name)})
}

fn of_kind(kind: &'static Kind, paths: &mut Map<String, Value>) {
    let whole = json!({"$ref": format!("#/components/schemas/{}", kind.name)});
    let refused = json!({"$ref": "#/components/responses/Refused"});
    let operation =
        |verb: &str, status: &str, takes: Option<Value>, gives: Option<&Value>, parameters: Value| {
            let mut answer = json!({"description": "done"});
            if let Some(schema) = gives {
                answer["content"] = content(schema);
            }
            let mut operation = json!({
                "operationId": format!("{verb}_{}", kind.path),
                "tags": [kind.name],
                "parameters": parameters,
                "responses": {status: answer, "default": refused}
            });
            if let Some(schema) = takes {
                operation["requestBody"] = json!({"required": true, "content": content(&schema)});
            }
            operation
        };
    let look = |more: &[&str]| -> Value {
        let names = ["include_name", "skip_default", "fields"].iter().chain(more);
        names.map(|name| json!({"name": name, "in": "query", "schema": {"type": "string"}})).collect()
    };
    let change = json!({
        "type": "object",
        "properties": {
            "add": {"type": "object"}, "replace": {"type": "object"}, "delete": {"type": "object"},
            "json_patch": {"type": "array", "items": {"type": "object"}}
        }
    });
    let uuid = json!([{"name": "uuid", "in": "path", "required": true, "schema": {"type": "string"}}]);
    if kind.scope == Scope::Single {
        paths.insert(
            format!("/api/{}", kind.path),
            json!({
                "get": operation("get", "200", None, Some(&whole), look(&[])),
                "put": operation("replace", "200", Some(whole.clone()), Some(&whole), look(&[])),
                "patch": operation("patch", "200", Some(change), Some(&whole), look(&[])),
            }),
        );
        return;
    }
    let list = json!({
        "type": "object",
        "required": ["count", "results"],
        "properties": {
            "count": {"type": "integer"}, "next": {"type": "string"},
            "results": {"type": "array", "items": {"type": "object"}}
        }
    });
    let filters = [
        "name",
        "name.contains",
        "name.in",
        "uuid",
        "search",
        "refers_to",
        "referred_by",
        "page",
        "page_size",
        "sort",
    ];
    paths.insert(
        format!("/api/{}", kind.path),
        json!({
            "get": operation("list", "200", None, Some(&list), look(&filters)),
            "post": operation("create", "201", Some(whole.clone()), Some(&whole), look(&[])),
        }),
    );
    let mut one = json!({
        "get": operation("get", "200", None, Some(&whole), look(&[])),
        "put": operation("replace", "200", Some(whole.clone()), Some(&whole), look(&[])),
        "patch": operation("patch", "200", Some(change), Some(&whole), look(&[])),
        "delete": operation("delete", "204", None, None, json!([])),
    });
    one["parameters"] = uuid;
    paths.insert(format!("/api/{}/{{uuid}}", kind.path), one);
}

/// What is no object.
fn besides(paths: &mut Map<String, Value>) {
    let refused = json!({"$ref": "#/components/responses/Refused"});
    let done = |status: &str| json!({status: {"description": "done"}, "default": refused});
    let credentials = json!({
        "type": "object",
        "required": ["username"],
        "properties": {
            "username": {"type": "string"},
            "password": {"type": "string", "format": "password"},
            "token": {"type": "string", "format": "password"}
        }
    });
    let mut put = |path: &str, verb: &str, name: &str, status: &str, takes: Option<Value>| {
        let mut operation = json!({"operationId": name, "responses": done(status)});
        if let Some(takes) = takes {
            operation["requestBody"] = takes;
        }
        let place = paths.entry(path).or_insert_with(|| json!({}));
        place[verb] = operation;
    };
    let body = json!({"required": true, "content": {
        "application/json": {"schema": credentials.clone()},
        "application/x-www-form-urlencoded": {"schema": credentials}
    }});
    put("/login", "post", "login", "200", Some(body));
    put("/logout", "post", "logout", "200", None);
    put("/api/initial-data", "get", "initial_data", "200", None);
    put("/api/cluster/version", "get", "cluster_version", "200", None);
    put("/api/cluster/status", "get", "cluster_status", "200", None);
    put("/api/user-token", "get", "list_tokens", "200", None);
    let hours =
        json!({"content": content(&json!({"type": "object", "properties": {"hours": {"type": "string"}}}))});
    put("/api/user-token", "post", "make_token", "200", Some(hours));
    put("/api/user-token/{uuid}", "delete", "end_token", "204", None);
    let uuid = json!([{"name": "uuid", "in": "path", "required": true, "schema": {"type": "string"}}]);
    if let Some(place) = paths.get_mut("/api/user-token/{uuid}") {
        place["parameters"] = uuid;
    }
}
