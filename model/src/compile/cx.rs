//! What is being compiled: objects that were read, parts that were made, and what was found wrong on the way.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::rc::Rc;

use super::Input;
use super::hosting::{Shut, Traces};
use super::place::Held;
use super::pool::{PoolKey, Use};
use super::table::Part;
use crate::kind::{Object, kind};
use crate::{Problem, check};

/// A part of the document.
pub(super) struct Section {
    pub text: String,
    /// The object that it is made of, in the words of its user.
    pub label: String,
    /// The parts that it names.
    pub needs: BTreeSet<String>,
    /// What is wrong with it.
    pub problems: Vec<Problem>,
    /// What of it does nothing.
    pub warnings: Vec<Problem>,
    /// Its clients get session tickets.
    pub has_tickets: bool,
    /// Where it listens.
    pub listens: Vec<Listen>,
    /// Of its first rules, whose each is: a child's uuid, or nobody's else.
    pub owners: Vec<Option<String>>,
}

/// An address that is listened on, and whether for datagrams.
pub(super) type Listen = (SocketAddr, bool);

impl Section {
    /// It is what its object says and nothing else: no other part follows from it, and nothing is said of it.
    pub fn is_leaf(&self) -> bool {
        self.needs.is_empty() && self.problems.is_empty() && self.warnings.is_empty()
    }
}

/// All that is made so far.
pub(super) struct Cx<'a> {
    pub input: &'a Input<'a>,
    /// The parts, by `<what>/<name>`.
    pub made: BTreeMap<String, Section>,
    /// Pools that services and groups named, with what they are used for; they are made last.
    pub pools: BTreeMap<PoolKey, Use>,
    /// Children that are not carried out, as far as that is known from the start.
    pub shut: &'a Shut,
    /// What children have made, by uuid.
    pub children: BTreeMap<String, Traces>,
    read: RefCell<Read>,
    named: RefCell<Read>,
}

/// Objects that were looked for, by their kind and by uuid or name: what many services stand on is read once.
//= COMPILE-COST-01
type Read = BTreeMap<(&'static str, String), Option<(String, Rc<Object>)>>;

/// One part that is being made.
pub(super) struct Making {
    pub key: String,
    label: String,
    pub needs: BTreeSet<String>,
    pub problems: Vec<Problem>,
    pub warnings: Vec<Problem>,
    pub has_tickets: bool,
    pub listens: Vec<Listen>,
    pub owners: Vec<Option<String>>,
}

impl Making {
    pub fn new(key: String, held: &Held) -> Self {
        Making {
            key,
            label: held.label(),
            needs: BTreeSet::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
            has_tickets: false,
            listens: Vec::new(),
            owners: Vec::new(),
        }
    }

    /// Names another part.
    pub fn needs(&mut self, what: &str, name: &str) {
        self.needs.insert(format!("{what}/{name}"));
    }

    /// Something that cannot be carried out.
    pub fn wrong(&mut self, held: &Held, path: &str, reason: impl Into<String>, fix: impl Into<String>) {
        self.problems.push(held.said(path, reason, fix));
    }

    /// Something that does nothing.
    pub fn idle(&mut self, held: &Held, path: &str, reason: impl Into<String>, fix: impl Into<String>) {
        self.warnings.push(held.said(path, reason, fix));
    }
}

impl<'a> Cx<'a> {
    pub fn new(input: &'a Input<'a>, shut: &'a Shut) -> Self {
        let (made, pools) = (BTreeMap::new(), BTreeMap::new());
        let (read, named) = (RefCell::default(), RefCell::default());
        Cx { input, made, pools, shut, children: BTreeMap::new(), read, named }
    }

    /// The object of this kind and uuid.
    pub fn get(&self, path: &str, uuid: &str) -> Option<Held> {
        let kind = kind(path)?;
        let mut read = self.read.borrow_mut();
        let object = read.entry((kind.path, uuid.to_owned())).or_insert_with(|| {
            let object = self.input.objects.get(path, uuid)?;
            Some((uuid.to_owned(), Rc::new(object)))
        });
        object.as_ref().map(|(uuid, object)| Held { kind, uuid: uuid.clone(), object: Rc::clone(object) })
    }

    /// The object that a reference names; what leads nowhere is a problem of who refers to it.
    pub fn follow(
        &self,
        making: &mut Making,
        held: &Held,
        field: &str,
        path: &str,
        uuid: &str,
    ) -> Option<Held> {
        let found = self.get(path, uuid);
        if found.is_none() {
            making.wrong(
                held,
                field,
                format!("the {path} that it names is not there"),
                format!("make it, or name another {path}"),
            );
        }
        found
    }

    /// The object that a system has from its first start under this name, as it is now, or as it was then.
    pub fn built_in(&self, path: &str, name: &str) -> Option<Held> {
        let kind = kind(path)?;
        let mut named = self.named.borrow_mut();
        let found = named.entry((kind.path, name.to_owned())).or_insert_with(|| {
            if let Some((uuid, object)) = self.input.objects.named(path, name) {
                return Some((uuid, Rc::new(object)));
            }
            let made = crate::builtin::objects();
            let made = made.into_iter().find(|one| one.kind == path && one.name() == name)?;
            let object = check(kind, made.document.as_object()?).ok()?;
            Some((format!("{path}-{name}"), Rc::new(object)))
        });
        found.as_ref().map(|(uuid, object)| Held { kind, uuid: uuid.clone(), object: Rc::clone(object) })
    }

    /// Says whether a part is there already, or is being made.
    pub fn has(&self, what: &str, name: &str) -> bool {
        self.made.contains_key(&format!("{what}/{name}"))
    }

    /// Keeps a part.
    pub fn done(&mut self, making: Making, part: Part) {
        let what = making.key.split('/').next().unwrap_or_default().to_owned();
        self.done_as(making, part.one_of(&what));
    }

    /// Keeps a part that is this text.
    pub fn done_as(&mut self, making: Making, text: String) {
        let Making { key, label, needs, problems, warnings, has_tickets, listens, owners } = making;
        let made = Section { text, label, needs, problems, warnings, has_tickets, listens, owners };
        self.made.insert(key, made);
    }
}
