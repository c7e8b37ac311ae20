//! What of a configuration the engine takes where it cannot take all of it.
//!
//! Some things only the engine can judge: whether a key is its certificate's, whether the machine has an address, whether a
//! program is there. Each such fault is one part's, and costs that part and the services that stand on it, not the others. A
//! part that was there before stays as it was; one that is new is left out, with those that need it.
//!
//! Parts name one another by text: a string in one that is the name of another one leads there.

use std::collections::{BTreeMap, BTreeSet};

use forebay_wire::Sections;
use forebay_wire::limits::{UNTAKEN_BYTES_MAX, UNTAKEN_MAX, UNTAKEN_WHYS_MAX};
use forebay_wire::proto::Untaken;
use toml::{Table, Value};

use crate::fault::{At, Fault};

/// Attempts at one configuration. A part is as it was or left out after two of them, and faults show themselves in few
/// stages: in the document, in certificates and monitors, in addresses.
pub const TURNS_MAX: usize = 16;

const SERVICE: &str = "virtual_service";
const CERTIFICATE: &str = "certificate";
const TICKETS: &str = "ticket_key";

/// What becomes of a part that is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    AsBefore,
    Without,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Accused {
    fate: Fate,
    why: Vec<String>,
    may_mend: bool,
}

/// What is at fault, by its key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accusations(BTreeMap<String, Accused>);

/// Where a part's text is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Text {
    Came,
    Had,
}

/// A configuration that came, beside the one by which the engine works.
pub struct Holding<'s> {
    came: Web<'s>,
    had: Web<'s>,
    accused: Accusations,
    /// Nothing serves yet.
    is_start: bool,
}

impl<'s> Holding<'s> {
    /// Nothing is at fault yet.
    pub fn new(came: &'s Sections, had: &'s Sections) -> Self {
        Holding { came: Web::of(came), had: Web::of(had), accused: Accusations::default(), is_start: false }
    }

    /// For an engine that starts: what it had is no reason to go on with it.
    #[must_use]
    pub fn at_start(self) -> Self {
        Holding { is_start: true, ..self }
    }

    /// With what was found at fault before.
    #[must_use]
    pub fn with(self, accused: Accusations) -> Self {
        Holding { accused, ..self }
    }

    /// What was found at fault.
    pub fn accused(&self) -> &Accusations {
        &self.accused
    }

    /// Takes faults of what was tried to their parts; `false`: nothing else can be tried, as one of them is in no part that can
    /// be held back, or in one that is left out already.
    //= CHAN-PART-01
    pub fn accuse(&mut self, faults: &[Fault], tried: &Sections) -> bool {
        let before = self.accused.clone();
        let mut of = Vec::new();
        for fault in faults {
            // Where the engine's own part and another one do not fit together, it is for the other one.
            let keys: Vec<String> = keys_of(fault, tried).collect();
            let is_own = |key: &&String| matches!(kind(key), "" | "engine" | "objsync");
            let Some(key) = keys.iter().find(|key| !is_own(key)).cloned() else { return false };
            let other = keys.iter().find(|other| **other != key && !is_own(other)).cloned();
            // Where no service is left that has tickets, their keys are for nothing.
            if kind(&key) == TICKETS && !self.accused.0.is_empty() && !self.accused.0.contains_key(TICKETS) {
                let none = Accused { fate: Fate::Without, why: Vec::new(), may_mend: false };
                self.accused.0.insert(TICKETS.to_owned(), none);
                return true;
            }
            if kind(&key) == TICKETS
                || !self.came.texts.contains_key(&key) && !self.had.texts.contains_key(&key)
            {
                return false;
            }
            // Another engine may have that part in another way.
            let may_mend = fault.may_mend || keys.iter().any(|key| is_own(&key));
            of.push((key, other, fault, may_mend));
        }
        for (key, other, fault, may_mend) in of {
            let why = std::slice::from_ref(&fault.why);
            let held = match &fault.at {
                At::Path(_) => self.held_about(&key, other.as_ref()),
                At::Listen(_, address) if self.closes(&key, address, fault) => continue,
                At::Nowhere | At::Part(..) | At::Listen(..) | At::File(_) => Vec::new(),
            };
            if held.is_empty() {
                let is_as_it_was = |key: &String| self.had.texts.contains_key(key) && !self.differs(key, "");
                let is_newer = |other: &String| is_as_it_was(&key) && !is_as_it_was(other);
                let key = other.filter(|other| !self.is_start && is_newer(other)).unwrap_or(key);
                self.step(key, why, may_mend);
            }
            for (key, one) in held {
                self.step(key, &one.why, one.may_mend);
            }
        }
        self.fates() != before.fates()
    }

    /// The parts that are as they were and have to do with these two, which do not fit together: what came did, so it is for
    /// them to go, and for nobody else who is as he was.
    //= CHAN-PART-03
    fn held_about(&self, key: &String, other: Option<&String>) -> Vec<(String, Accused)> {
        let two: Vec<&String> = [key].into_iter().chain(other).collect();
        let leads = |from: &str, to: &String| {
            self.had.reach([from]).contains(to) || self.came.reach([from]).contains(to)
        };
        let is_about =
            |held: &String| two.iter().any(|one| *one == held || leads(held, one) || leads(one, held));
        let held = self.accused.0.iter().filter(|(key, one)| one.fate == Fate::AsBefore && is_about(key));
        held.map(|(key, one)| (key.clone(), one.clone())).collect()
    }

    /// A service that is as it came goes on without an address that cannot be had; `false`: it has no other one.
    //= CHAN-PART-02
    fn closes(&mut self, key: &str, address: &str, fault: &Fault) -> bool {
        let Some(text) = self.came.texts.get(key).filter(|_| !self.accused.0.contains_key(key)) else {
            return false;
        };
        let all = listens(text);
        let closed = |address: &String| self.accused.0.contains_key(&closed_key(key, address));
        let is_left = all.iter().any(|one| one != address && !closed(one));
        if !is_left || !all.iter().any(|one| one == address) {
            return false;
        }
        let why = vec![short(&fault.why)];
        let accused = Accused { fate: Fate::Without, why, may_mend: fault.may_mend };
        self.accused.0.insert(closed_key(key, address), accused);
        true
    }

    /// The addresses of a service that is as it came on which it does not listen.
    fn closed<'a>(&'a self, key: &str) -> impl Iterator<Item = (&'a str, &'a Accused)> {
        let prefix = closed_key(key, "");
        let all = self.accused.0.iter();
        all.filter_map(move |(key, one)| Some((key.strip_prefix(&prefix)?, one)))
    }

    fn fates(&self) -> Vec<(&String, Fate)> {
        self.accused.fates()
    }

    /// The next fate of a part, and of those that cannot be without it.
    fn step(&mut self, key: String, why: &[String], may_mend: bool) {
        let mut open = vec![key];
        while let Some(key) = open.pop() {
            //= CHAN-PART-07
            if !self.is_start && kind(&key) != SERVICE && self.serves(&key) {
                open.extend(self.late_users(&key));
                continue;
            }
            let fate = match self.accused.0.get(&key).map(|one| one.fate) {
                None if self.can_be_as_before(&key) => Fate::AsBefore,
                Some(Fate::Without) => {
                    self.accused.note(&key, why, may_mend);
                    continue;
                }
                None | Some(Fate::AsBefore) => Fate::Without,
            };
            let accused = Accused { fate, why: Vec::new(), may_mend };
            let was = self.accused.0.insert(key.clone(), accused);
            for text in was.into_iter().flat_map(|was| was.why) {
                self.accused.note(&key, &[text], may_mend);
            }
            self.accused.note(&key, why, may_mend);
            if fate == Fate::Without && kind(&key) != SERVICE {
                open.extend(self.users(&key));
            }
        }
    }

    /// Services go on by this part as it is, or as it was.
    fn serves(&self, key: &str) -> bool {
        let is_held = self.accused.0.get(key).is_some_and(|one| one.fate == Fate::AsBefore);
        self.had.texts.contains_key(key)
            && (is_held || !self.accused.0.contains_key(key) && !self.differs(key, ""))
    }

    /// The services with this part of which anything else is another than it was: for who serves by it as before nothing is
    /// judged anew.
    fn late_users(&self, key: &str) -> Vec<String> {
        let services = self.came.texts.keys().filter(|one| kind(one) == SERVICE);
        let open = services.filter(|one| !self.accused.0.contains_key(*one));
        let users = open.filter(|one| self.came.reach([one.as_str()]).iter().any(|part| *part == key));
        users.filter(|one| self.differs(one, key)).cloned().collect()
    }

    /// Says whether a part or anything that it leads to is another than it was, but for what only this other one leads to.
    fn differs(&self, key: &str, but: &str) -> bool {
        let is_end = |one: &String| one == but;
        let (was, is) = (self.had.reach_past([key], &is_end), self.came.reach_past([key], &is_end));
        was != is || was.iter().any(|one| *one != but && self.had.texts[*one] != self.came.texts[*one])
    }

    /// Those that name a part and cannot be without it: a service shows its other certificates.
    //= CHAN-PART-02
    fn users(&self, key: &str) -> Vec<String> {
        let is_out = |key: &str| self.accused.0.get(key).is_some_and(|one| one.fate == Fate::Without);
        let needs = |user: &str| {
            let is_certificate = |other: &&String| kind(other) == CERTIFICATE && !is_out(other);
            kind(key) != CERTIFICATE
                || kind(user) != SERVICE
                || !self.came.leads(user).any(|other| is_certificate(&other))
        };
        let names = |user: &&String| self.came.leads(user).any(|other| other == key);
        let all = self.came.texts.keys().filter(names).filter(|user| !is_out(user));
        all.filter(|user| needs(user)).cloned().collect()
    }

    /// It was there, and something of it was another.
    fn can_be_as_before(&self, key: &str) -> bool {
        let is_out = |key: &&String| self.accused.0.get(*key).is_some_and(|one| one.fate == Fate::Without);
        let was = self.had.reach([key]);
        self.had.texts.contains_key(key) && !was.iter().any(is_out) && self.differs(key, "")
    }

    /// Which parts there are, and which text each has.
    fn sources(&self) -> BTreeMap<&'s String, Text> {
        let mut now: BTreeMap<&String, Text> = self.came.texts.keys().map(|key| (key, Text::Came)).collect();
        let held = self.accused.0.iter().filter(|(_, one)| one.fate == Fate::AsBefore);
        now.retain(|key, _| self.accused.0.get(*key).is_none_or(|one| one.fate != Fate::Without));
        // What others stand on is as they need it; the rest goes with the part that is as it was.
        let is_accused = |key: &String| self.accused.0.contains_key(key);
        let free = self.came.texts.keys().filter(|key| kind(key) == SERVICE && !is_accused(key));
        let others = self.came.reach_past(free.map(String::as_str), &is_accused);
        for key in self.had.reach(held.map(|(key, _)| key.as_str())) {
            let is_held = self.accused.0.get(key).is_some_and(|one| one.fate == Fate::AsBefore);
            let is_out = is_accused(key) && !is_held;
            if !is_out && (is_held || !others.contains(key)) {
                now.insert(key, Text::Had);
            }
        }
        //= CHAN-PART-02
        let has_none = |key: &String, from: &Text| {
            let web = if *from == Text::Came { &self.came } else { &self.had };
            let mut own = web.leads(key).filter(|other| kind(other) == CERTIFICATE).peekable();
            own.peek().is_some() && own.all(|other| !now.contains_key(other))
        };
        let bare: Vec<&String> = now
            .iter()
            .filter(|(key, from)| kind(key) == SERVICE && has_none(key, from))
            .map(|(key, _)| *key)
            .collect();
        now.retain(|key, _| !bare.contains(key));
        // What nobody stands on any more is nobody's.
        let accused = || self.accused.0.keys().map(String::as_str);
        let mut loose = self.came.reach(accused());
        loose.extend(self.had.reach(accused()));
        let mut used: BTreeSet<&String> = BTreeSet::new();
        let mut open: Vec<&String> =
            now.keys().copied().filter(|key| kind(key) == SERVICE || !loose.contains(*key)).collect();
        while let Some(key) = open.pop() {
            let Some(from) = now.get(key) else { continue };
            if used.insert(key) {
                let web = if *from == Text::Came { &self.came } else { &self.had };
                open.extend(web.leads(key));
            }
        }
        now.retain(|key, _| used.contains(*key));
        if self.accused.0.contains_key(TICKETS) {
            now.retain(|key, _| kind(key) != TICKETS);
        }
        now
    }

    /// The configuration without what is at fault.
    pub fn sections(&self) -> Sections {
        let now = self.sources();
        let lacks = |key: &String| !now.contains_key(key);
        let text = |(key, from): (&&'s String, &Text)| {
            let web = if *from == Text::Came { &self.came } else { &self.had };
            let text = web.texts[*key].clone();
            if kind(key) != SERVICE {
                return ((*key).clone(), text);
            }
            let dropped: BTreeSet<&str> = web
                .leads(key)
                .filter(|other| kind(other) == CERTIFICATE && lacks(other))
                .map(|other| name(other))
                .collect();
            //= CHAN-PART-03
            let is_closed = |from: &Text| *from == Text::Came;
            let closed: BTreeSet<&str> =
                self.closed(key).filter(|_| is_closed(from)).map(|(address, _)| address).collect();
            let is_open = match from {
                Text::Came => None,
                Text::Had => self.came.texts.get(*key).map(|text| is_enabled(text)),
            };
            ((*key).clone(), edited(text, (&dropped, &closed), is_open))
        };
        now.iter().map(text).collect()
    }

    /// The services that are not as they should be, as many as are told.
    pub fn untaken(&self) -> Vec<Untaken> {
        if self.accused.0.is_empty() {
            return Vec::new();
        }
        let now = self.sources();
        let services = self.came.texts.keys().filter(|key| kind(key) == SERVICE);
        let told = services.filter_map(|key| {
            let reached = self.came.reach([key.as_str()]);
            let own = self.closed(key).map(|(_, one)| one);
            let accused: Vec<&Accused> =
                reached.iter().filter_map(|key| self.accused.0.get(*key)).chain(own).collect();
            if accused.is_empty() {
                return None;
            }
            let mut why: Vec<String> = Vec::new();
            for text in accused.iter().flat_map(|one| &one.why) {
                if why.len() < UNTAKEN_WHYS_MAX && !why.contains(text) {
                    why.push(text.clone());
                }
            }
            Some(Untaken {
                service: name(key).to_owned(),
                is_left_out: !now.contains_key(key),
                why,
                may_mend: accused.iter().any(|one| one.may_mend),
            })
        });
        told.take(UNTAKEN_MAX).collect()
    }

    /// The texts that say what becomes of what is at fault: while they are the same, so is the answer.
    pub fn concerned(&self) -> Sections {
        let at_fault = |key: &&String| {
            self.closed(key).next().is_some()
                || self.came.reach([key.as_str()]).iter().any(|one| self.accused.0.contains_key(*one))
        };
        let services: Vec<&str> = self
            .came
            .texts
            .keys()
            .filter(|key| kind(key) == SERVICE)
            .filter(at_fault)
            .map(String::as_str)
            .collect();
        let keys = self.came.reach(services);
        keys.into_iter().map(|key| (key.clone(), self.came.texts[key].clone())).collect()
    }

    /// Says whether these texts are as they were in what came.
    pub fn is_as(&self, concerned: &Sections) -> bool {
        concerned.iter().all(|(key, text)| self.came.texts.get(key) == Some(text))
    }
}

impl Accusations {
    /// The same for a configuration of which another service may have tickets.
    #[must_use]
    pub fn again(mut self) -> Self {
        self.0.remove(TICKETS);
        self
    }

    fn fates(&self) -> Vec<(&String, Fate)> {
        self.0.iter().map(|(key, one)| (key, one.fate)).collect()
    }

    fn note(&mut self, key: &str, why: &[String], may_mend: bool) {
        let Some(one) = self.0.get_mut(key) else { return };
        one.may_mend |= may_mend;
        for text in why {
            let text = short(text);
            if one.why.len() < UNTAKEN_WHYS_MAX && !one.why.contains(&text) {
                one.why.push(text);
            }
        }
    }
}

fn short(text: &str) -> String {
    let mut end = text.len().min(UNTAKEN_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

fn kind(key: &str) -> &str {
    key.split('/').next().unwrap_or_default()
}

fn name(key: &str) -> &str {
    key.split_once('/').map_or("", |(_, name)| name)
}

/// What stands for an address of a service on which it does not listen.
fn closed_key(key: &str, address: &str) -> String {
    format!("closed {key} {address}")
}

fn listens(text: &str) -> Vec<String> {
    let table: Table = toml::from_str(text).unwrap_or_default();
    let all = table.get(SERVICE).and_then(|all| all.get(0)).and_then(|one| one.get("listen"));
    let all = all.and_then(Value::as_array).into_iter().flatten();
    all.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The parts that a fault names: the one that it is in, and the other one where two do not fit together.
fn keys_of(fault: &Fault, tried: &Sections) -> impl Iterator<Item = String> {
    let other = fault.why.split_once("(see ").map(|(_, rest)| {
        let end = rest.find([',', ')']).unwrap_or(rest.len());
        At::Path(rest[..end].to_owned())
    });
    let other = other.filter(|_| matches!(fault.at, At::Path(_))).and_then(|at| key_of(&at, tried));
    key_of(&fault.at, tried).into_iter().chain(other)
}

/// The part that a fault is in: a place of the document counts the parts of a kind in the order of their keys.
fn key_of(at: &At, tried: &Sections) -> Option<String> {
    match at {
        At::Nowhere => None,
        At::Part(kind, name) => Some(format!("{kind}/{name}")),
        At::Listen(service, _) => Some(format!("{SERVICE}/{service}")),
        At::Path(path) | At::File(path) => {
            // The engine's own parts are one each.
            let Some((of, rest)) = path.split_once('[') else {
                let own = path.split('.').next().filter(|own| matches!(*own, "engine" | "objsync"))?;
                return Some(own.to_owned());
            };
            let (index, _) = rest.split_once(']')?;
            let mut all = tried.keys().filter(|key| kind(key) == of);
            all.nth(index.parse().ok()?).cloned()
        }
    }
}

/// Parts with what they name.
struct Web<'s> {
    texts: &'s Sections,
    leads: BTreeMap<&'s str, BTreeSet<&'s String>>,
}

impl<'s> Web<'s> {
    fn of(texts: &'s Sections) -> Self {
        let mut called: BTreeMap<&str, Vec<&String>> = BTreeMap::new();
        // Nothing stands on a service: who writes its name into a text of his own has nothing to do with it.
        for key in texts.keys().filter(|key| key.contains('/') && kind(key) != SERVICE) {
            called.entry(name(key)).or_default().push(key);
        }
        let mut leads = BTreeMap::new();
        for (key, text) in texts {
            let mut found = BTreeSet::new();
            // What is no TOML leads nowhere, and is a fault of its own.
            if let Ok(table) = toml::from_str::<Table>(text) {
                // Its own name leads nowhere, though others may have the same.
                let parts = table.values().flat_map(|value| value.as_array().into_iter().flatten());
                let parts = parts.filter_map(Value::as_table).flatten();
                let mut open: Vec<&Value> =
                    parts.filter(|(key, _)| *key != "name").map(|(_, value)| value).collect();
                while let Some(value) = open.pop() {
                    match value {
                        Value::String(text) => {
                            let text = text.strip_prefix("inline:").unwrap_or(text);
                            found.extend(
                                called.get(text).into_iter().flatten().filter(|other| **other != key),
                            );
                        }
                        Value::Array(values) => open.extend(values),
                        Value::Table(table) => open.extend(table.values()),
                        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => {}
                    }
                }
            }
            leads.insert(key.as_str(), found);
        }
        Web { texts, leads }
    }

    fn leads(&self, key: &str) -> impl Iterator<Item = &'s String> + use<'_, 's> {
        self.leads.get(key).into_iter().flatten().copied()
    }

    /// These parts, and all that they lead to.
    fn reach<'k>(&self, keys: impl IntoIterator<Item = &'k str>) -> BTreeSet<&'s String> {
        self.reach_past(keys, &|_| false)
    }

    /// The same, and nothing that only such a part leads to.
    fn reach_past<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k str>,
        is_end: &dyn Fn(&String) -> bool,
    ) -> BTreeSet<&'s String> {
        let mut open: Vec<&'s String> =
            keys.into_iter().filter_map(|key| Some(self.texts.get_key_value(key)?.0)).collect();
        let mut seen = BTreeSet::new();
        while let Some(key) = open.pop() {
            if seen.insert(key) && !is_end(key) {
                open.extend(self.leads(key));
            }
        }
        seen
    }
}

fn is_enabled(text: &str) -> bool {
    let table: Table = toml::from_str(text).unwrap_or_default();
    let service = table.get(SERVICE).and_then(|all| all.get(0));
    service.and_then(|one| one.get("enabled")).and_then(Value::as_bool).unwrap_or(true)
}

/// A service's text without these certificates and addresses, and as open as is said.
fn edited(
    text: String,
    (dropped, closed): (&BTreeSet<&str>, &BTreeSet<&str>),
    is_open: Option<bool>,
) -> String {
    if dropped.is_empty() && closed.is_empty() && is_open.is_none() {
        return text;
    }
    let Ok(mut table) = toml::from_str::<Table>(&text) else { return text };
    let service = table.get_mut(SERVICE).and_then(|all| all.get_mut(0)).and_then(Value::as_table_mut);
    let Some(service) = service else { return text };
    for (list, without) in [("certificates", dropped), ("listen", closed)] {
        if let Some(Value::Array(all)) = service.get_mut(list) {
            all.retain(|one| one.as_str().is_none_or(|one| !without.contains(one)));
        }
    }
    if let Some(is_open) = is_open {
        service.insert("enabled".to_owned(), Value::Boolean(is_open));
    }
    table.to_string() + "\n"
}

#[cfg(test)]
#[path = "holding_tests.rs"]
mod tests;
