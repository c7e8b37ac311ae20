//! From what a user writes to what a worker asks.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::addr::{Prefix, Ranges};
use super::check::{self, Wrong};
use super::config::{
    Action, ClientMatch, Edit, EscapedSlashes, FieldMatch, Part, PolicyConfig, Rate, Redirect, Respond, Rule,
    TextMatch,
};
use super::path::{self, Slash};
use super::text::Text;
use crate::id::{GroupId, PoolId};
use crate::limits::{
    ACTIONS_MAX, GLOB_MAX, GROUP_VALUES_MAX, MATCH_VALUES_MAX, RATE_COUNT_MAX, RATE_PERIOD_MAX_MS, RULES_MAX,
};
use crate::problem::Problem;
use crate::units::Seconds;

/// How rules' names of pools become ids.
#[derive(Clone, Copy)]
pub struct Names<'a> {
    /// The pool of this name.
    pub pool: &'a dyn Fn(&str) -> Option<PoolId>,
    /// The pool group of this name.
    pub group: &'a dyn Fn(&str) -> Option<GroupId>,
}

/// The compiled rules of a virtual service: immutable, shared by all workers. What changes per worker is
/// its [`State`](Policy::state).
#[derive(Clone, Debug, Default)]
pub struct Policy {
    pub(super) rules: Vec<Compiled>,
    pub(super) rates: Vec<Rate>,
    /// Some if rules compare paths.
    pub(super) paths: Option<EscapedSlashes>,
}

#[derive(Clone, Debug)]
pub(super) struct Compiled {
    pub name: String,
    pub host: Option<Text>,
    pub path: Option<Text>,
    pub method: Vec<Vec<u8>>,
    pub query: Option<Text>,
    pub header: Vec<Field>,
    pub cookie: Vec<Field>,
    pub client: Option<(Ranges, bool)>,
    pub actions: Vec<Step>,
}

#[derive(Clone, Debug)]
pub(super) struct Field {
    pub name: String,
    pub value: Option<Text>,
    pub absent: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    Pool(PoolId),
    Group(GroupId),
    Redirect(Redirect),
    Respond(Respond),
    Close,
    Header(Edit),
    SetPath(String),
    ReplacePrefix(String, String),
    SetQuery(String),
    RateLimit { limiter: usize, status: u16 },
    Persist(Part, Seconds),
    HashBy(Part),
}

impl Policy {
    /// Compiles rules.
    ///
    /// # Errors
    /// All problems; paths are relative to the configuration.
    //= POL-CHECK-01
    pub fn new(config: &PolicyConfig, names: &Names<'_>) -> Result<Self, Vec<Problem>> {
        let mut c = Compiler { config, names, out: Vec::new(), rates: Vec::new() };
        c.groups();
        if config.rules.len() > RULES_MAX {
            c.problem(
                "rules",
                format!("there are {}", config.rules.len()),
                format!("write at most {RULES_MAX}"),
            );
        }
        let mut rules = Vec::new();
        for (i, rule) in config.rules.iter().enumerate() {
            let compiled = c.rule(rule, &format!("rules[{i}]"));
            if rule.enabled {
                rules.push(compiled);
            }
        }
        let paths = rules.iter().any(Compiled::compares_path).then_some(config.escaped_slashes);
        if c.out.is_empty() { Ok(Self { rules, rates: c.rates, paths }) } else { Err(c.out) }
    }

    /// What an escaped slash may be, at the widest reading that rules compare.
    pub(super) fn widest(&self) -> Slash {
        widest(self.paths.unwrap_or_default())
    }

    /// True without rules: nothing need be asked.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The name of the rule at this place (see [`Outcome::ended_by`](super::Outcome::ended_by)).
    pub fn name_of(&self, rule: usize) -> Option<&str> {
        self.rules.get(rule).map(|rule| rule.name.as_str())
    }
}

impl Compiled {
    fn compares_path(&self) -> bool {
        self.path.is_some() || self.actions.iter().any(|step| matches!(step, Step::ReplacePrefix(..)))
    }
}

fn widest(slashes: EscapedSlashes) -> Slash {
    match slashes {
        EscapedSlashes::Refuse => Slash::Refused,
        EscapedSlashes::Compare => Slash::Separator,
    }
}

struct Compiler<'a> {
    config: &'a PolicyConfig,
    names: &'a Names<'a>,
    out: Vec<Problem>,
    rates: Vec<Rate>,
}

impl Compiler<'_> {
    fn problem(&mut self, path: impl Into<String>, reason: impl Into<String>, fix: impl Into<String>) {
        self.out.push(Problem::new(path, reason, fix));
    }

    //= POL-CHECK-04
    fn check(&mut self, path: impl Into<String>, wrong: Wrong) {
        if let Some((reason, fix)) = wrong {
            self.problem(path, reason, fix);
        }
    }

    fn groups(&mut self) {
        let config = self.config;
        let strings = config.string_groups.iter().map(|g| (&g.name, g.values.len()));
        let addresses = config.address_groups.iter().map(|g| (&g.name, g.prefixes.len()));
        let all = [("string_groups", strings.collect::<Vec<_>>()), ("address_groups", addresses.collect())];
        for (list, groups) in all {
            for (i, (name, len)) in groups.iter().enumerate() {
                if *len > GROUP_VALUES_MAX {
                    self.problem(
                        format!("{list}[{i}]"),
                        format!("{name:?} has {len} entries"),
                        format!("split it: a group holds at most {GROUP_VALUES_MAX}"),
                    );
                }
                if let Some(j) = groups[..i].iter().position(|(other, _)| other == name) {
                    self.problem(
                        format!("{list}[{i}].name"),
                        format!("{list}[{j}] has the same name"),
                        "rename one",
                    );
                }
            }
        }
    }

    fn rule(&mut self, rule: &Rule, path: &str) -> Compiled {
        let when = &rule.when;
        let text = |c: &mut Self, m: &Option<TextMatch>, what: &str| {
            m.as_ref().map(|m| c.text(m, &format!("{path}.when.{what}")))
        };
        // Host names have no case.
        let host = when.host.as_ref().map(|m| TextMatch { ignore_case: true, ..m.clone() });
        let host = text(self, &host, "host");
        if let Some(m) = &when.path {
            self.check_paths(m, &format!("{path}.when.path"));
        }
        if rule.then.is_empty() || rule.then.len() > ACTIONS_MAX {
            self.problem(
                format!("{path}.then"),
                format!("the rule has {} actions", rule.then.len()),
                format!("give it 1 to {ACTIONS_MAX}"),
            );
        }
        if when.method.as_ref().is_some_and(|m| m.is_empty()) {
            self.problem(format!("{path}.when.method"), "no method is named", "name one, or leave it out");
        }
        if let Some(method) = when.method.iter().flatten().find(|m| !check::is_token(m)) {
            self.problem(
                format!("{path}.when.method"),
                format!("{method:?} is no method"),
                "write one like GET",
            );
        }
        Compiled {
            name: rule.name.clone(),
            host,
            path: text(self, &when.path, "path"),
            method: when.method.iter().flatten().map(|m| m.as_bytes().to_vec()).collect(),
            query: text(self, &when.query, "query"),
            header: self.fields(&when.header, &format!("{path}.when.header"), true),
            cookie: self.fields(&when.cookie, &format!("{path}.when.cookie"), false),
            client: when.client.as_ref().map(|m| self.client(m, &format!("{path}.when.client"))),
            actions: rule
                .then
                .iter()
                .enumerate()
                .filter_map(|(i, a)| self.action(a, &format!("{path}.then[{i}]")))
                .collect(),
        }
    }

    fn text(&mut self, m: &TextMatch, path: &str) -> Text {
        let mut equals: Vec<&str> = m.equals.iter().map(String::as_str).collect();
        for name in &m.in_group {
            match self.config.string_groups.iter().find(|g| g.name == *name) {
                Some(group) => equals.extend(group.values.iter().map(String::as_str)),
                None => self.problem(
                    format!("{path}.in_group"),
                    format!("there is no string group {name:?}"),
                    "define it under string_groups",
                ),
            }
        }
        let given = [&m.equals, &m.begins_with, &m.ends_with, &m.contains, &m.glob];
        let count: usize = given.iter().map(|l| l.len()).sum();
        if count == 0 && m.in_group.is_empty() {
            self.problem(path, "the condition has no value", "write equals, begins_with, glob or in_group");
        }
        if count > MATCH_VALUES_MAX {
            self.problem(path, format!("{count} values are too many"), "put them into a string group");
        }
        if let Some(g) = m.glob.iter().find(|g| g.len() > GLOB_MAX) {
            self.problem(
                format!("{path}.glob"),
                format!("{} bytes are too long", g.len()),
                format!("use at most {GLOB_MAX}"),
            );
        }
        let bytes = |list: &[String]| list.iter().map(|v| v.as_bytes().to_vec()).collect::<Vec<_>>();
        let mut equals: Vec<Vec<u8>> = equals
            .iter()
            .map(|v| if m.ignore_case { v.to_ascii_lowercase().into_bytes() } else { v.as_bytes().to_vec() })
            .collect();
        equals.sort_unstable();
        equals.dedup();
        Text {
            equals,
            begins_with: bytes(&m.begins_with),
            ends_with: bytes(&m.ends_with),
            contains: bytes(&m.contains),
            glob: bytes(&m.glob),
            ignore_case: m.ignore_case,
            not: m.not,
        }
    }

    /// A value that no compared path can have is a rule that never applies: a hole, if it was to protect.
    //= POL-CHECK-03
    fn check_paths(&mut self, m: &TextMatch, path: &str) {
        for (kind, list) in [("equals", &m.equals), ("begins_with", &m.begins_with)] {
            for value in list {
                self.check_compared(value, &format!("{path}.{kind}"));
            }
        }
        for (kind, list) in [("ends_with", &m.ends_with), ("contains", &m.contains), ("glob", &m.glob)] {
            for value in list {
                let form = path::piece(value, kind == "glob");
                if form != *value {
                    let (reason, fix) = path::never(value, Some(form));
                    self.problem(format!("{path}.{kind}"), reason, fix);
                }
            }
        }
        let config = self.config;
        for group in config.string_groups.iter().filter(|g| m.in_group.contains(&g.name)) {
            // One is enough to say what is wrong with a long list.
            let known = self.out.len();
            for value in group.values.iter() {
                if self.out.len() == known {
                    self.check_compared(value, &format!("{path}.in_group"));
                }
            }
        }
    }

    fn check_compared(&mut self, value: &str, path: &str) {
        // Either reading of an escaped slash may be meant.
        let (plain, wide) = match self.config.escaped_slashes {
            EscapedSlashes::Refuse => (Slash::Refused, Slash::Refused),
            EscapedSlashes::Compare => (Slash::Data, Slash::Separator),
        };
        let form = path::shown(value, plain);
        if form.as_deref() != Some(value) {
            let (reason, fix) = path::never(value, form.or_else(|| path::shown(value, wide)));
            self.problem(path, reason, fix);
        }
    }

    fn fields(&mut self, list: &[FieldMatch], path: &str, header: bool) -> Vec<Field> {
        let mut fields = Vec::new();
        for (i, f) in list.iter().enumerate() {
            let path = format!("{path}[{i}]");
            let case = header && f.name.chars().any(|c| c.is_ascii_uppercase());
            if !check::is_token(&f.name) || case {
                self.problem(
                    format!("{path}.name"),
                    format!("{:?} is not a name", f.name),
                    "write it in lower case",
                );
            }
            if f.absent && f.value.is_some() {
                self.problem(&path, "a field that must be absent has no value", "leave out value or absent");
            }
            let value = f.value.as_ref().map(|m| self.text(m, &format!("{path}.value")));
            fields.push(Field { name: f.name.clone(), value, absent: f.absent });
        }
        fields
    }

    fn client(&mut self, m: &ClientMatch, path: &str) -> (Ranges, bool) {
        let mut prefixes: Vec<&Prefix> = m.within.iter().collect();
        for name in &m.in_group {
            match self.config.address_groups.iter().find(|g| g.name == *name) {
                Some(group) => prefixes.extend(&group.prefixes),
                None => self.problem(
                    format!("{path}.in_group"),
                    format!("there is no address group {name:?}"),
                    "define it under address_groups",
                ),
            }
        }
        if m.within.is_empty() && m.in_group.is_empty() {
            self.problem(path, "the condition has no network", "write within or in_group");
        }
        (Ranges::new(prefixes.into_iter()), m.not)
    }

    fn action(&mut self, action: &Action, path: &str) -> Option<Step> {
        match action {
            Action::Pool(name) => match (self.names.pool)(name) {
                Some(id) => Some(Step::Pool(id)),
                None => {
                    self.problem(
                        path,
                        format!("there is no pool {name:?}"),
                        "name a pool of this configuration",
                    );
                    None
                }
            },
            Action::PoolGroup(name) => match (self.names.group)(name) {
                Some(id) => Some(Step::Group(id)),
                None => {
                    self.problem(
                        path,
                        format!("there is no pool group {name:?}"),
                        "name a pool group that exists",
                    );
                    None
                }
            },
            Action::Redirect(r) => {
                if !matches!(r.status, 301 | 302 | 307 | 308) {
                    self.problem(format!("{path}.status"), "not a redirect", "write 301, 302, 307 or 308");
                }
                if r.scheme.as_deref().is_some_and(|s| s != "http" && s != "https") {
                    self.problem(
                        format!("{path}.scheme"),
                        "not a scheme that we serve",
                        "write http or https",
                    );
                }
                let to = r.path.as_deref().and_then(|p| check::location_path(p, r.keep_query));
                self.check(format!("{path}.path"), to);
                self.check(format!("{path}.host"), r.host.as_deref().and_then(check::host));
                Some(Step::Redirect(r.clone()))
            }
            Action::Respond(r) => {
                if !(200..=599).contains(&r.status) {
                    self.problem(format!("{path}.status"), "not a final HTTP status", "write 200 to 599");
                }
                self.check(format!("{path}.content_type"), r.content_type.as_deref().and_then(check::line));
                self.check(format!("{path}.body"), check::content(r.status, &r.body));
                Some(Step::Respond(r.clone()))
            }
            Action::Close => Some(Step::Close),
            Action::Header(edit) => {
                let (name, value) = match edit {
                    Edit::Add(_, n, v) | Edit::Set(_, n, v) => (n, Some(v.as_str())),
                    Edit::Remove(_, n) => (n, None),
                };
                self.check(path, check::edited(name).or_else(|| value.and_then(check::line)));
                Some(Step::Header(edit.clone()))
            }
            Action::SetPath(p) => {
                self.check(path, check::path(p));
                Some(Step::SetPath(p.clone()))
            }
            Action::ReplacePrefix(from, to) => {
                self.check_compared(from, path);
                self.check(path, check::path(to));
                Some(Step::ReplacePrefix(from.clone(), to.clone()))
            }
            Action::SetQuery(q) => {
                self.check(path, check::query(q));
                Some(Step::SetQuery(q.clone()))
            }
            Action::RateLimit(rate) => {
                let ok = (1..=RATE_COUNT_MAX).contains(&rate.count)
                    && (1..=RATE_PERIOD_MAX_MS).contains(&rate.period_ms)
                    && rate.burst <= RATE_COUNT_MAX;
                if !ok {
                    self.problem(
                        path,
                        format!(
                            "{} requests in {} ms, burst {}, is out of range",
                            rate.count, rate.period_ms, rate.burst
                        ),
                        format!("count 1 to {RATE_COUNT_MAX}, period_ms 1 to {RATE_PERIOD_MAX_MS}"),
                    );
                }
                if rate.status != 0 && !(400..=599).contains(&rate.status) {
                    self.problem(format!("{path}.status"), "not an error", "write 429, or 0 to close");
                }
                self.rates.push(rate.clone());
                Some(Step::RateLimit { limiter: self.rates.len() - 1, status: rate.status })
            }
            Action::Persist(part, lifetime) => {
                self.check_part(part, path);
                Some(Step::Persist(part.clone(), Seconds(*lifetime)))
            }
            Action::HashBy(part) => {
                self.check_part(part, path);
                Some(Step::HashBy(part.clone()))
            }
        }
    }

    fn check_part(&mut self, part: &Part, path: &str) {
        if let Part::Header(n) | Part::Cookie(n) | Part::Query(n) = part {
            let case = matches!(part, Part::Header(_)) && n.chars().any(|c| c.is_ascii_uppercase());
            if n.is_empty() || case {
                self.problem(path, format!("{n:?} is not a name"), "name a part; headers in lower case");
            }
        }
    }
}
