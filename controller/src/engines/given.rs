//! What an engine was given, and so may tell of.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay_model::compile::uuid_of;
use forebay_wire::Sections;

/// What was taken away from an engine may be told of for so long: connections that were open then end, and their counts and
/// records are on their way, or wait while the Controller is away.
const LEFT: Duration = Duration::from_secs(3_600);

/// The services and pools of one engine, by their uuids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// Until when those may be told of that it does not have any more.
    names: HashMap<String, Option<Instant>>,
    /// Of which configuration that was read.
    of: Option<Arc<Sections>>,
}

impl Given {
    /// It has been said what the engine is to have; before that nothing of it can be judged.
    pub fn is_known(&self) -> bool {
        self.of.is_some()
    }

    /// It is this that the engine is to have.
    pub fn is_of(&self, sections: &Arc<Sections>) -> bool {
        self.of.as_ref().is_some_and(|of| Arc::ptr_eq(of, sections) || of == sections)
    }

    /// The engine is to have this configuration, and these services that follow others.
    pub fn give(&mut self, sections: &Arc<Sections>, children: impl Iterator<Item = String>, now: Instant) {
        self.of = Some(Arc::clone(sections));
        for until in self.names.values_mut() {
            until.get_or_insert(now + LEFT);
        }
        self.names.retain(|_, until| until.is_some_and(|until| until > now));
        for key in sections.keys() {
            if let Some(("virtual_service" | "pool", name)) = key.split_once('/') {
                self.names.insert(uuid_of(name).to_owned(), None);
            }
        }
        self.names.extend(children.map(|uuid| (uuid, None)));
    }

    /// The services and pools that it has, or had lately.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }

    /// Whether the engine may tell of this service or pool.
    pub fn may_tell_of(&self, uuid: &str, now: Instant) -> bool {
        self.names.get(uuid).is_some_and(|until| until.is_none_or(|until| until > now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= test MET-GIVEN-01
    #[test]
    fn an_engine_may_tell_of_what_it_has_and_for_an_hour_of_what_it_had() {
        let sections = |keys: &[&str]| -> Arc<Sections> {
            Arc::new(keys.iter().map(|key| ((*key).to_owned(), String::new())).collect())
        };
        let now = Instant::now();
        let later = now + LEFT + Duration::from_secs(1);
        let mut given = Given::default();
        assert!(!given.is_known());
        let first = sections(&["virtual_service/a/443", "pool/p/tcp", "certificate/c"]);
        given.give(&first, ["child".to_owned()].into_iter(), now);
        for (uuid, may) in [("a", true), ("p", true), ("child", true), ("c", false), ("b", false)] {
            assert_eq!(given.may_tell_of(uuid, later), may, "{uuid}");
        }
        given.give(&sections(&["virtual_service/b"]), std::iter::empty(), now);
        assert!(given.may_tell_of("b", now) && given.may_tell_of("a", now) && given.may_tell_of("p", now));
        assert!(given.may_tell_of("b", later) && !given.may_tell_of("a", later));
        // What comes back stays.
        given.give(&first, std::iter::empty(), now);
        assert!(
            given.may_tell_of("a", later) && given.may_tell_of("b", now) && !given.may_tell_of("b", later)
        );
        assert!(!given.may_tell_of("child", later));
    }
}
