//! What engines do without of a service that they have, as it was made out the last time: clients ask for it again and again,
//! and only a change of what was read for it has it made out anew.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use forebay_model::Object;
use forebay_model::compile::{Lookup, Placed};

use super::answer::in_words;
use super::{App, objects};
use crate::objects::Held;
use crate::store::Store;

/// Services of which it is remembered: some kilobytes each.
const REMEMBERED_MAX: usize = 4_096;

/// Kind and uuid of what was read; an empty uuid stands for all of the kind.
type Read = BTreeSet<(String, String)>;

/// What is remembered.
#[derive(Default)]
pub struct Idle {
    of: Mutex<HashMap<String, Made>>,
}

struct Made {
    /// How many changes of the objects there had been.
    seen: u64,
    read: Read,
    family: Placed,
    said: Vec<String>,
}

/// Objects, and which of them are read.
pub struct Noted<'o> {
    objects: &'o dyn Lookup,
    read: RefCell<Read>,
}

impl<'o> Noted<'o> {
    /// Of these.
    pub fn new(objects: &'o dyn Lookup) -> Self {
        Noted { objects, read: RefCell::default() }
    }
}

impl Lookup for Noted<'_> {
    fn get(&self, kind: &str, uuid: &str) -> Option<Object> {
        self.read.borrow_mut().insert((kind.to_owned(), uuid.to_owned()));
        self.objects.get(kind, uuid)
    }

    fn named(&self, kind: &str, name: &str) -> Option<(String, Object)> {
        self.read.borrow_mut().insert((kind.to_owned(), String::new()));
        self.objects.named(kind, name)
    }
}

/// What engines do without of a service, in words.
//= API-WARN-03
pub fn of<S: Store>(app: &App<S>, held: &Held) -> Vec<String> {
    let family = objects::family(app, held);
    let seen = {
        let now = app.objects.now();
        let mut all = app.idle.of.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = all.get_mut(&held.uuid).filter(|made| made.family == family) {
            let is_read = |kind: &str, uuid: &str| made.read.contains(&(kind.to_owned(), uuid.to_owned()));
            let changed = now.changed_since(made.seen);
            let is_same = changed
                .is_some_and(|mut all| !all.any(|id| is_read(id.kind, &id.uuid) || is_read(id.kind, "")));
            if is_same {
                made.seen = now.changed();
                return made.said.clone();
            }
        }
        now.changed()
    };
    let with = objects::With { objects: &app.objects, held };
    let noted = Noted::new(&with);
    let said = in_words(&objects::judged_by(held, family.clone(), &noted).idle);
    let made = Made { seen, read: noted.read.into_inner(), family, said: said.clone() };
    let mut all = app.idle.of.lock().unwrap_or_else(PoisonError::into_inner);
    if all.len() >= REMEMBERED_MAX {
        all.clear();
    }
    all.insert(held.uuid.clone(), made);
    said
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::api::scale_tests::Lab;

    //= test API-WARN-03
    #[tokio::test]
    async fn what_is_asked_for_again_is_made_out_again_only_where_something_of_it_has_changed() {
        let lab = Lab::new().await;
        let pool = lab.make("pool", json!({"name": "p"})).await;
        let ip = json!({"addr": "192.0.2.1", "type": "V4"});
        let vip = json!({"name": "v", "vip": [{"vip_id": "1", "ip_address": ip}]});
        lab.make("vsvip", vip).await;
        let service = json!({"name": "s", "services": [{"port": 80}], "vsvip_ref": "/api/vsvip?name=v", "pool_ref": "/api/pool?name=p"});
        let service = lab.make("virtualservice", service).await;
        let path = format!("/api/virtualservice/{service}/runtime");
        let made = || {
            let all = lab.app.idle.of.lock().expect("whole");
            all.get(&service).map(|made| made.read.len()).expect("it was asked for")
        };
        let mark = || {
            let mut all = lab.app.idle.of.lock().expect("whole");
            all.get_mut(&service).expect("it was asked for").read.insert(("mark".to_owned(), String::new()));
        };
        lab.get(&path).await;
        let read = made();
        // A mark stays as long as it is not made out anew.
        mark();
        lab.get(&path).await;
        assert_eq!(made(), read + 1);
        lab.make("pool", json!({"name": "of nobody"})).await;
        lab.get(&path).await;
        assert_eq!(made(), read + 1, "it was not read");
        let change = json!({"replace": {"description": "another"}});
        assert_eq!(lab.ask("PATCH", &format!("/api/pool/{pool}"), &change).await.0, 200);
        lab.get(&path).await;
        assert_eq!(made(), read, "it is made out anew");
    }
}
