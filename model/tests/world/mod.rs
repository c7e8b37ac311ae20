//! Objects in memory, as the Controller would keep them.

use std::collections::BTreeMap;

use forebay_model::compile::{Compiled, Engine, Input, Lookup, Member, Placed, compile};
use forebay_model::reference::Reference;
use forebay_model::{Object, builtin, check, kind, shape};
use serde_json::Value;

/// Objects by kind and uuid.
#[derive(Clone, Default)]
pub struct World(pub BTreeMap<(String, String), Object>);

impl World {
    /// The objects of a first start, and these.
    pub fn of(objects: &Value) -> Self {
        let mut world = World::default();
        for one in builtin::objects() {
            world.put(one.kind, &format!("{}-{}", one.kind, one.name()), &one.document);
        }
        for (kind, all) in objects.as_object().expect("kinds") {
            for (uuid, document) in all.as_object().expect("objects by uuid") {
                world.put(kind, uuid, document);
            }
        }
        world
    }

    /// Keeps an object, which the API would take.
    pub fn put(&mut self, path: &str, uuid: &str, document: &Value) {
        let kind = kind(path).unwrap_or_else(|| panic!("{path} is a kind"));
        let mut sent = document.as_object().expect("an object").clone();
        if kind.field("name").is_some() && !sent.contains_key("name") {
            sent.insert("name".to_owned(), Value::from(uuid));
        }
        let mut object = check(kind, &sent).unwrap_or_else(|problems| panic!("{path} {uuid}: {problems:#?}"));
        shape::references(kind, &mut object, &mut |_, target, text| {
            if let Ok(Reference::Name(name)) = Reference::read(text, target) {
                *text = format!("/api/{target}/{target}-{name}");
            }
        });
        self.0.insert((path.to_owned(), uuid.to_owned()), object);
    }

    /// What an engine gets that has these services.
    pub fn compiled(&self, services: &[&str]) -> Compiled {
        compile(&self.input(services)).unwrap_or_else(|problems| panic!("{problems:#?}"))
    }

    /// What such an engine's document follows from.
    pub fn input(&self, services: &[&str]) -> Input<'_> {
        let children = |parent: &str| {
            let at = format!("/api/virtualservice/{parent}");
            let all = self.0.iter().filter(|((kind, _), _)| kind == "virtualservice");
            let own =
                all.filter(|(_, object)| object.get("vh_parent_vs_ref").and_then(Value::as_str) == Some(&at));
            own.map(|((_, uuid), _)| uuid.clone()).collect()
        };
        let placed = |uuid: &&str| Placed {
            service: (*uuid).to_owned(),
            engines: 2,
            children: children(uuid),
            ..Placed::default()
        };
        let member =
            |slot, address: &str| Member { slot, address: address.parse().expect("an address"), port: None };
        Input {
            objects: self,
            engine: Engine {
                name: "se-1".to_owned(),
                group: "serviceenginegroup-Default-Group".to_owned(),
                member: Some(member(3, "192.0.2.3")),
                peers: vec![member(7, "192.0.2.7"), member(3, "192.0.2.3")],
                ..Engine::default()
            },
            services: services.iter().map(placed).collect(),
            ticket_keys: Vec::new(),
        }
    }
}

impl Lookup for World {
    fn get(&self, kind: &str, uuid: &str) -> Option<Object> {
        self.0.get(&(kind.to_owned(), uuid.to_owned())).cloned()
    }

    fn named(&self, kind: &str, name: &str) -> Option<(String, Object)> {
        let is_it = |(_, object): &(&(String, String), &Object)| {
            name.is_empty() || object.get("name").and_then(Value::as_str) == Some(name)
        };
        let mut own = self.0.iter().filter(|((of, _), _)| of == kind);
        own.find(is_it).map(|((_, uuid), object)| (uuid.clone(), object.clone()))
    }
}
