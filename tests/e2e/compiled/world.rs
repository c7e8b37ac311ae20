//! Objects that users make, and the document that an engine gets of them.

use std::collections::BTreeMap;

use forebay_model::compile::{Input, Lookup, Placed, compile, document};
use forebay_model::reference::Reference;
use forebay_model::{Object, builtin, check, kind, shape};
use serde_json::Value;

/// A field, by its kind and path, that is taken out of the test's own objects once they are checked: as if nothing were
/// compiled of it.
pub type Without<'w> = Option<(&'w str, &'w str)>;

/// Objects by kind and uuid.
pub struct World(BTreeMap<(String, String), Object>);

impl World {
    pub fn of(objects: &Value, without: Without<'_>) -> Self {
        let mut world = World(BTreeMap::new());
        for one in builtin::objects() {
            world.put(one.kind, &format!("{}-{}", one.kind, one.name()), &one.document);
        }
        for (kind, all) in objects.as_object().expect("kinds") {
            for (uuid, document) in all.as_object().expect("objects") {
                world.put(kind, uuid, document);
                if let Some((_, path)) = without.filter(|(of, _)| of == kind) {
                    let held = world.0.get_mut(&(kind.clone(), uuid.clone())).expect("it was put there");
                    strip(held, path);
                }
            }
        }
        world
    }

    fn put(&mut self, path: &str, uuid: &str, document: &Value) {
        let kind = kind(path).expect("a kind");
        let mut sent = document.as_object().expect("an object").clone();
        if kind.field("name").is_some() {
            sent.entry("name").or_insert_with(|| Value::from(uuid));
        }
        let mut object = check(kind, &sent).unwrap_or_else(|problems| panic!("{uuid}: {problems:?}"));
        shape::references(kind, &mut object, &mut |_, target, text| {
            if let Ok(Reference::Name(name)) = Reference::read(text, target) {
                *text = format!("/api/{target}/{target}-{name}");
            }
        });
        self.0.insert((path.to_owned(), uuid.to_owned()), object);
    }

    /// What an engine is to do that has all services; what it says of itself is its own. `whole`: none may be left out.
    pub fn document(&self, whole: bool) -> String {
        let text = |object: &Object, name: &str| {
            object.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let all = || self.0.iter().filter(|((kind, _), _)| kind == "virtualservice");
        let follows = |parent: &str| {
            let at = format!("/api/virtualservice/{parent}");
            let own = all().filter(|(_, object)| text(object, "vh_parent_vs_ref") == at);
            own.map(|((_, uuid), _)| uuid.clone()).collect()
        };
        let services = all().filter(|(_, object)| text(object, "type") != "VS_TYPE_VH_CHILD");
        let placed = |((_, uuid), _): (&(String, String), &Object)| Placed {
            service: uuid.clone(),
            children: follows(uuid),
            ..Placed::default()
        };
        let services = services.map(placed).collect();
        let input = Input { objects: self, engine: Default::default(), services, ticket_keys: Vec::new() };
        let mut compiled = compile(&input).unwrap_or_else(|problems| panic!("{problems:?}"));
        assert!(!whole || compiled.left_out.is_empty(), "{:?}", compiled.left_out);
        compiled.sections.retain(|key, _| key != "/version" && key != "engine/engine");
        document(&compiled.sections)
    }
}

impl Lookup for World {
    fn get(&self, kind: &str, uuid: &str) -> Option<Object> {
        self.0.get(&(kind.to_owned(), uuid.to_owned())).cloned()
    }

    fn named(&self, kind: &str, name: &str) -> Option<(String, Object)> {
        let uuid = format!("{kind}-{name}");
        self.get(kind, &uuid).map(|object| (uuid, object))
    }
}

/// Takes out what is at this path, at any place of a list whose name ends with `[]`.
fn strip(object: &mut Object, path: &str) {
    let (first, rest) = match path.split_once('.') {
        Some((first, rest)) => (first, Some(rest)),
        None => (path, None),
    };
    let name = first.trim_end_matches("[]");
    let Some(rest) = rest else {
        object.remove(name);
        return;
    };
    match object.get_mut(name) {
        Some(Value::Object(inner)) => strip(inner, rest),
        Some(Value::Array(entries)) => {
            entries.iter_mut().filter_map(Value::as_object_mut).for_each(|entry| strip(entry, rest));
        }
        _ => {}
    }
}
