//! Each field of what engines carry out, changed: those that are said to act change the document, the others do not.

mod world;

use std::collections::BTreeMap;

use forebay_model::compile::{Compiled, Input, Lookup, compile};
use forebay_model::field::{Field, Type};
use forebay_model::fields::{Effect, effect, kinds, page, paths, without_effect};
use forebay_model::{Kind, Object, check, kind};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use world::World;

/// Documents that are tried for a field that is said to do nothing, unless all are.
const TRIED: usize = 2;

/// The service whose part an object is: one of HTTP with all there is, or one of bytes.
fn service(uuid: &str) -> &'static str {
    if uuid.ends_with("-2") { "virtualservice-2" } else { "virtualservice-1" }
}

/// A world with one object as it would be.
struct With<'w> {
    world: &'w World,
    at: (&'w str, &'w str),
    object: &'w Object,
}

impl Lookup for With<'_> {
    fn get(&self, kind: &str, uuid: &str) -> Option<Object> {
        if (kind, uuid) == self.at { Some(self.object.clone()) } else { self.world.get(kind, uuid) }
    }

    fn named(&self, kind: &str, name: &str) -> Option<(String, Object)> {
        self.world.named(kind, name)
    }
}

/// What stands around the fields of an object, and what becomes of it.
struct Around {
    uuid: String,
    document: Value,
    world: World,
    before: Compiled,
}

fn v4(addr: &str) -> Value {
    json!({"addr": addr, "type": "V4"})
}

/// What has to stand beside a field for it to be read.
struct Beside {
    kind: String,
    /// The beginning of the paths for which it does.
    paths: String,
    uuid: String,
    row: Value,
}

/// Two objects of each kind, so that a reference can lead elsewhere; and what stands beside fields. There `own` is set in the
/// object itself and `others` in other ones; `null` takes a field out.
fn read() -> (Value, Vec<Beside>) {
    let json = |text: &str| serde_json::from_str::<Value>(text).expect("it is JSON");
    let rows = json(include_str!("effects/beside.json"));
    let text =
        |row: &Value, name: &str| row[name].as_str().unwrap_or_else(|| panic!("{name} of {row}")).to_owned();
    let rows = rows.as_array().expect("rows").iter().map(|row| Beside {
        kind: text(row, "kind"),
        paths: text(row, "paths"),
        uuid: text(row, "uuid"),
        row: row.clone(),
    });
    (json(include_str!("effects/objects.json")), rows.collect())
}

/// Puts `from` into `to`: messages field by field, `null` takes out, all else replaces.
fn merge(to: &mut Value, from: &Value) {
    match (to, from) {
        (Value::Object(to), Value::Object(from)) => {
            for (name, value) in from {
                match value {
                    Value::Null => drop(to.remove(name)),
                    value => merge(to.entry(name.clone()).or_insert(Value::Null), value),
                }
            }
        }
        (to, from) => *to = from.clone(),
    }
}

/// The row for a field, if there is one.
fn row_for<'a>(all: &'a [Beside], kind: &str, path: &str) -> Option<&'a Beside> {
    let fits = |row: &&Beside| row.kind == kind && path.starts_with(&row.paths);
    all.iter().filter(fits).max_by_key(|row| row.paths.len())
}

fn around(row: Option<&Beside>, objects: &Value, kind: &str) -> Around {
    let mut documents = objects.clone();
    let uuid = row.map_or(format!("{kind}-1"), |row| row.uuid.clone());
    if let Some(Beside { row, .. }) = row {
        merge(&mut documents[kind][&uuid], &row["own"]);
        for other in row["others"].as_array().expect("others") {
            let (kind, uuid) =
                (other["kind"].as_str().expect("a kind"), other["uuid"].as_str().expect("a uuid"));
            merge(&mut documents[kind][uuid], &other["set"]);
        }
    }
    let world = World::of(&documents);
    let before = world.compiled(&[service(&uuid)]);
    assert!(before.left_out.is_empty(), "{kind}: {:#?}", before.left_out);
    Around { document: documents[kind][&uuid].clone(), uuid, world, before }
}

fn field_at(kind: &'static Kind, path: &str) -> &'static Type {
    let mut steps = path.split('.');
    let first = steps.next().expect("a step");
    let mut holds = stepped(&|name| kind.field(name), first);
    for step in steps {
        let Type::Message(message) = holds else { panic!("{path}: no message") };
        holds = stepped(&|name| message.fields.iter().find(|field| field.name == name), step);
    }
    holds
}

fn stepped(find: &dyn Fn(&str) -> Option<&'static Field>, step: &str) -> &'static Type {
    let field = find(step.trim_end_matches("[]")).unwrap_or_else(|| panic!("no field {step}"));
    let mut holds = &field.holds;
    for _ in step.matches("[]") {
        let Type::List(list) = holds else { panic!("{step}: no list") };
        holds = list.of;
    }
    holds
}

/// Other values than `old` that a field of this type may have.
fn others(holds: &'static Type, old: Option<&Value>) -> Vec<Value> {
    let mut all = match holds {
        Type::Text(_) => {
            let old = old.and_then(Value::as_str).unwrap_or_default();
            let mut all: Vec<Value> = [
                "192.0.2.77",
                "10.7.1.5",
                "2001:db8::77",
                "x",
                "/x/",
                "GET /x HTTP/1.0",
                "X25519",
                "20",
                "b.internal",
                "ECDHE-RSA-AES128-GCM-SHA256",
                "TLS_AES_128_GCM_SHA256",
                "IAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
                "-----BEGIN CERTIFICATE-----\nZZZZ\n-----END CERTIFICATE-----\n",
            ]
            .into_iter()
            .map(Value::from)
            .collect();
            all.push(Value::from(format!("{old}x")));
            all
        }
        Type::Flag => vec![json!(true), json!(false)],
        Type::Int(allowed) => {
            let old = old.and_then(Value::as_i64).unwrap_or(0);
            let mut all: Vec<i64> = vec![old + 1, old - 1, 80, 82, 443, 25, 17, 503, 3600];
            all.extend(allowed.iter().flat_map(|(low, high)| [*low, *high]));
            all.retain(|number| allowed.iter().any(|(low, high)| (low..=high).contains(&number)));
            all.into_iter().map(Value::from).collect()
        }
        Type::Number => vec![json!(0.25), json!(2)],
        Type::Enum(names) => names.iter().map(|name| Value::from(*name)).collect(),
        Type::Ref(kind) => {
            vec![Value::from(format!("/api/{kind}/{kind}-2")), Value::from(format!("/api/{kind}/{kind}-1"))]
        }
        Type::Message(_) | Type::List(_) => Vec::new(),
    };
    all.retain(|value| Some(value) != old);
    all
}

/// The least that a message may be.
fn least(fields: &'static [Field]) -> Value {
    let needed =
        fields.iter().filter(|field| field.is_required && field.default.is_none() && !field.is_read_only);
    Value::Object(needed.map(|field| (field.name.to_owned(), some(&field.holds))).collect())
}

fn some(holds: &'static Type) -> Value {
    match holds {
        Type::Message(message) => {
            let mut least = least(message.fields);
            if message.name == "IpAddr" {
                least = v4("192.0.2.66");
            }
            least
        }
        Type::List(list) => Value::Array(vec![some(list.of)]),
        Type::Int(allowed) => Value::from(allowed.last().map_or(0, |(low, _)| *low)),
        Type::Text(_) => Value::from("x"),
        other => others(other, None).into_iter().next().unwrap_or(Value::Null),
    }
}

/// The place of a field in a document, made where it is not there.
fn place<'v>(kind: &'static Kind, document: &'v mut Value, path: &str) -> &'v mut Value {
    let mut at = document;
    let mut so_far = String::new();
    for step in path.split('.') {
        let name = step.trim_end_matches("[]");
        if !so_far.is_empty() {
            so_far.push('.');
        }
        so_far.push_str(name);
        if !at.is_object() {
            *at = json!({});
        }
        let made = match field_at(kind, &so_far) {
            holds @ (Type::Message(_) | Type::List(_)) => some(holds),
            _ => Value::Null,
        };
        at = at.as_object_mut().expect("a message").entry(name.to_owned()).or_insert(made);
        for _ in step.matches("[]") {
            so_far.push_str("[]");
            let list = at.as_array_mut().expect("a list");
            if list.is_empty() {
                list.push(some(field_at(kind, &so_far)));
            }
            at = &mut list[0];
        }
    }
    at
}

/// What came of changing a field to one other value after another.
#[derive(Default)]
struct Seen {
    /// Documents that the API took.
    taken: usize,
    /// The engine's document was another one, with all services that were in it.
    changed: bool,
    /// A service was not in it any more.
    left_out: bool,
}

fn seen(kind: &'static Kind, path: &str, around: &Around, is_enough: &dyn Fn(&Seen) -> bool) -> Seen {
    let Around { uuid, document, world, before } = around;
    let mut seen = Seen::default();
    let old = {
        let mut document = document.clone();
        merge(&mut document, &Value::Object(world.0[&(kind.path.to_owned(), uuid.clone())].clone()));
        place(kind, &mut document, path).clone()
    };
    let compiled = |value: Option<Value>| {
        let mut document = document.clone();
        let place = place(kind, &mut document, path);
        if let Some(value) = value {
            *place = value;
        }
        if kind.field("name").is_some() && document.get("name").is_none() {
            document["name"] = Value::from(uuid.as_str());
        }
        let object = check(kind, document.as_object().expect("an object")).ok()?;
        let with = With { world, at: (kind.path, uuid), object: &object };
        let input = Input { objects: &with, ..world.input(&[service(uuid)]) };
        Some(compile(&input).unwrap_or_else(|problems| panic!("{path}: {problems:#?}")))
    };
    // What is around the field may not have been there: it is another thing than the field.
    let mut first = match compiled(None) {
        Some(made) if made.left_out.is_empty() => Some(made.sections),
        Some(_) => None,
        None => Some(before.sections.clone()).filter(|_| !old.is_null()),
    };
    for value in others(field_at(kind, path), Some(&old).filter(|old| !old.is_null())) {
        let Some(after) = compiled(Some(value)) else { continue };
        seen.taken += 1;
        seen.left_out |= !after.left_out.is_empty();
        if after.left_out.is_empty() {
            match &first {
                Some(first) => seen.changed |= after.sections != *first,
                None => first = Some(after.sections),
            }
        }
        if is_enough(&seen) {
            break;
        }
    }
    seen
}

//= test API-WARN-01
#[test]
fn each_field_does_what_is_said_of_it_and_nothing_else() {
    let (objects, all) = read();
    let is_long = std::env::var_os("FOREBAY_LONG").is_some();
    let mut wrong = Vec::new();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for kind in kinds() {
        let mut settings: BTreeMap<&str, Around> = BTreeMap::new();
        for path in paths(kind) {
            let own = effect(kind.path, &path);
            let row = row_for(&all, kind.path, &path);
            let name = row.map_or("-", |row| row.paths.as_str());
            let setting = settings.entry(name).or_insert_with(|| around(row, &objects, kind.path));
            // What says how a text is written fits the text, or the service is left out.
            let says_form = path.ends_with("_base64");
            let acts = |seen: &Seen| seen.changed || (says_form && seen.left_out);
            let is_enough = |seen: &Seen| match own {
                Effect::Engine(_) => acts(seen),
                Effect::Refused => seen.left_out,
                Effect::Nothing | Effect::Elsewhere(_) => seen.changed || (seen.taken == TRIED && !is_long),
            };
            let seen = seen(kind, &path, setting, &is_enough);
            let (word, is_right) = match own {
                Effect::Engine(_) => ("engine", acts(&seen)),
                Effect::Refused => ("refused", seen.left_out || seen.taken == 0),
                Effect::Nothing => ("nothing", !seen.changed && !seen.left_out),
                Effect::Elsewhere(_) => ("elsewhere", !seen.changed),
            };
            *counts.entry(word).or_default() += 1;
            if !is_right {
                wrong.push(format!(
                    "{}.{path}: {own:?}; of {} documents, one changed it: {}, one left a service out: {}",
                    kind.path, seen.taken, seen.changed, seen.left_out
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {counts:?}\n{}", wrong.len(), wrong.join("\n"));
    assert!(counts["engine"] > 300, "{counts:?}");
}

#[test]
fn no_row_of_the_table_is_of_a_field_that_there_is_not() {
    for kind in kinds() {
        let known = paths(kind);
        for row in forebay_model::fields::rows(kind.path) {
            let covers = |path: &String| {
                path.strip_prefix(row).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
            };
            assert!(known.iter().any(covers), "{}: {row}", kind.path);
        }
    }
}

#[test]
fn the_page_is_that_of_the_table() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/spec/fields.md");
    if std::env::var_os("FOREBAY_BLESS").is_some() {
        std::fs::write(file, page()).expect("the page is written");
    }
    let there = std::fs::read_to_string(file).unwrap_or_default();
    assert!(there == page(), "docs/spec/fields.md is not what the table says: FOREBAY_BLESS=1 writes it");
}

//= test API-WARN-01
#[test]
fn who_sets_what_does_nothing_is_told_where_it_stands() {
    let object = |path: &str, value: &Value| -> Object {
        check(kind(path).expect("a kind"), value.as_object().expect("an object")).expect("it is right")
    };
    let plain = json!({"name": "p", "servers": [{"ip": v4("10.0.0.1")}], "default_server_port": 81});
    assert!(without_effect("pool", &object("pool", &plain)).is_empty());
    let odd = json!({"name": "p", "capacity_estimation": true,
        "servers": [{"ip": v4("10.0.0.1")}, {"ip": v4("10.0.0.2"), "rewrite_host_header": true}]});
    assert_eq!(
        without_effect("pool", &object("pool", &odd)),
        ["servers[1].rewrite_host_header", "capacity_estimation"]
    );
    assert!(without_effect("tenant", &object("tenant", &json!({"name": "t"}))).is_empty());
}

/// A world with some objects as they would be.
struct Changed<'w> {
    world: &'w World,
    objects: BTreeMap<(String, String), Object>,
}

impl Lookup for Changed<'_> {
    fn get(&self, kind: &str, uuid: &str) -> Option<Object> {
        let changed = self.objects.get(&(kind.to_owned(), uuid.to_owned()));
        changed.cloned().or_else(|| self.world.get(kind, uuid))
    }

    fn named(&self, kind: &str, name: &str) -> Option<(String, Object)> {
        self.world.named(kind, name)
    }
}

//= test COMPILE-WHOLE-01
#[test]
fn whatever_the_api_takes_is_carried_out_or_left_out_with_reasons() {
    let (objects, _) = read();
    let world = World::of(&objects);
    let all: Vec<(&'static Kind, String)> =
        kinds().flat_map(|kind| paths(kind).into_iter().map(move |path| (kind, path))).collect();
    let change = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<bool>());
    let cases = if std::env::var_os("FOREBAY_LONG").is_some() { 5_000 } else { 300 };
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&prop::collection::vec(change, 1..10), |changes| {
        let mut documents = objects.clone();
        let mut changed = Changed { world: &world, objects: BTreeMap::new() };
        for (field, value, is_second) in changes {
            let (kind, path) = &all[field.index(all.len())];
            let uuid = format!("{}-{}", kind.path, if is_second { 2 } else { 1 });
            let mut document = documents[kind.path][&uuid].clone();
            let at = place(kind, &mut document, path);
            let mut values = others(field_at(kind, path), Some(&*at));
            values.push(Value::Null);
            *at = values.swap_remove(value.index(values.len()));
            let mut named = document.clone();
            named["name"] = Value::from(uuid.as_str());
            let Ok(object) = check(kind, named.as_object().expect("an object")) else { continue };
            documents[kind.path][&uuid] = document;
            changed.objects.insert((kind.path.to_owned(), uuid), object);
        }
        let input = Input { objects: &changed, ..world.input(&["virtualservice-1", "virtualservice-2"]) };
        let compiled = compile(&input).unwrap_or_else(|problems| panic!("{problems:#?}"));
        prop_assert!(forebay_snapshot::check(&compiled.document()).is_ok());
        for (service, problems) in &compiled.left_out {
            prop_assert!(!problems.is_empty(), "{service} is left out without a word");
            for problem in problems {
                prop_assert!(
                    problem.path.contains('"') && !problem.reason.is_empty() && !problem.fix.is_empty()
                );
            }
        }
        for service in ["virtualservice-1", "virtualservice-2"] {
            let key = format!("virtual_service/{service}");
            let is_there = compiled.sections.keys().any(|known| known.starts_with(&key));
            prop_assert!(is_there != compiled.left_out.contains_key(service), "{service}");
        }
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}
