//! Engines as placement sees them, for whoever answers.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use forebay_model::{Kind, compile};

use super::App;
use super::request::Asked;
use super::runtime::clock;
use crate::engines::Engine;
use crate::placement::{Seen, seen};
use crate::store::{Refusal, Store};

impl<S: Store> App<S> {
    /// The engines as placement sees them now.
    pub fn seen(&self) -> Vec<Seen> {
        seen_of(&self.engines.all(), self.began, Instant::now(), |_| true)
    }

    /// The same, as far as the states of these objects need it: of ten thousand services of others nothing is read.
    pub fn seen_for<'o>(&self, kind: &Kind, objects: impl Iterator<Item = &'o str>) -> Vec<Seen> {
        match kind.path {
            "virtualservice" => {
                let known = self.placement.known();
                let with_parent =
                    |uuid: &'o str| [Some(uuid), known.world.parents.get(uuid).map(String::as_str)];
                let wanted: BTreeSet<&str> = objects.flat_map(with_parent).flatten().collect();
                seen_of(&self.engines.all(), self.began, Instant::now(), |uuid| wanted.contains(uuid))
            }
            "pool" => Vec::new(),
            _ => self.seen(),
        }
    }

    /// Places what is to be placed now.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn place(&self) -> Result<(), Refusal> {
        let reading = || self.placement.world(&self.objects.now());
        let engines = || {
            let (engines, began, now) = (self.engines.all(), self.began, Instant::now());
            move || seen_of(&engines, began, now, |_| true)
        };
        self.placement.step(&self.store, reading, engines, clock()).await
    }

    pub(super) fn engine_name(&self, uuid: &str) -> String {
        self.engines.get(uuid).map_or_else(|| uuid.to_owned(), |engine| engine.name.clone())
    }

    pub(super) fn engine_ref(&self, asked: &Asked, uuid: &str) -> String {
        let name = asked.query.iter().any(|(item, value)| item == "include_name" && value != "false");
        let name =
            Some(self.engine_name(uuid)).filter(|_| name).map_or(String::new(), |name| format!("#{name}"));
        format!("{}/api/serviceengine/{uuid}{name}", asked.base())
    }
}

/// The engines as they were at a moment: each as it was heard of by then, so that both have to be read together.
fn seen_of(
    engines: &[Arc<Engine>],
    began: Instant,
    now: Instant,
    wanted: impl Fn(&str) -> bool,
) -> Vec<Seen> {
    let uuid_of = |name| Some(compile::uuid_of(name)).filter(|uuid| wanted(uuid));
    engines.iter().map(|engine| seen(engine, began, now, uuid_of)).collect()
}
