//! The parts that services need, put together; services with which the whole would not hold are left out.

use std::collections::{BTreeMap, BTreeSet};

use super::again::MONITOR;
use super::cx::{Cx, Listen};
use super::hosting::{Closed, Shut};
use super::{Compiled, Input, Outline, document, engine, pool, service};
use crate::Problem;

/// The first part: what stands before all tables. Its key comes before all others.
const VERSION: &str = "/version";

/// See [`super::compile`].
//= COMPILE-WHOLE-01
pub(super) fn compile(input: &Input<'_>) -> Result<Compiled, Vec<Problem>> {
    let mut shut = Shut::new();
    loop {
        let mut more = Shut::new();
        let mut out = once(input, &shut, &mut more)?;
        // Each turn finds a child at least that cannot be carried out, or of which there is less than was thought, or is the
        // last one; few need a second.
        let is_last = more.is_empty();
        for (uuid, new) in more {
            let closed = shut.entry(uuid).or_default();
            closed.problems.extend(new.problems);
            closed.has_no_paths |= new.has_no_paths;
        }
        if is_last {
            out.left_out.extend(shut.into_iter().map(|(uuid, closed)| (uuid, closed.problems)));
            return Ok(out);
        }
    }
}

/// The document without these children; others that cannot be carried out come to `more`.
fn once(input: &Input<'_>, shut: &Shut, more: &mut Shut) -> Result<Compiled, Vec<Problem>> {
    let mut base = BTreeMap::from([(VERSION.to_owned(), "version = 1\n\n".to_owned())]);
    base.extend(engine::sections(input)?);
    let mut cx = Cx::new(input, shut);
    // What each service is made of, by its uuid.
    let mut roots: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut out = Compiled::default();
    for placed in &input.services {
        match service::service(&mut cx, placed) {
            Ok(keys) => roots.entry(placed.service.clone()).or_default().extend(keys),
            Err(problems) => {
                out.left_out.insert(placed.service.clone(), problems);
            }
        }
    }
    pool::all(&mut cx);
    for (uuid, traces) in cx.children.iter().filter(|(uuid, _)| !shut.contains_key(*uuid)) {
        let mut problems = traces.problems.clone();
        problems.extend(problems_of(&cx, &reach(&cx, &traces.needs)));
        if !problems.is_empty() {
            more.insert(uuid.clone(), Closed { problems, has_no_paths: false });
        }
    }
    if !more.is_empty() {
        return Ok(out);
    }
    let reached: BTreeMap<&String, BTreeSet<String>> =
        roots.iter().map(|(uuid, keys)| (uuid, reach(&cx, keys))).collect();
    for (uuid, keys) in &reached {
        let problems = problems_of(&cx, keys);
        if !problems.is_empty() {
            out.left_out.insert((*uuid).clone(), problems);
        }
    }
    let mut elders: Vec<(u64, &String)> = input
        .services
        .iter()
        .filter_map(|placed| Some((placed.since, *reached.get_key_value(&placed.service)?.0)))
        .collect();
    elders.sort_unstable();
    // Each turn leaves out one service at least, or is the last one.
    for _ in 0..=reached.len() {
        let crowded = crowded(&cx, &elders, &reached, &out.left_out);
        let mut kept: BTreeSet<&String> = BTreeSet::new();
        let is_in = |uuid: &String| !out.left_out.contains_key(uuid) && !crowded.contains_key(uuid);
        for (_, keys) in reached.iter().filter(|(uuid, _)| is_in(uuid)) {
            kept.extend(keys);
        }
        out.sections = base.clone();
        let made = cx.made.iter().filter(|(key, _)| kept.contains(key));
        out.sections.extend(made.map(|(key, section)| (key.clone(), section.text.clone())));
        if cx.made.iter().any(|(key, section)| kept.contains(key) && section.has_tickets) {
            out.sections.extend(engine::ticket_keys(input));
        }
        let problems = match forebay_snapshot::check(&document(&out.sections)) {
            Ok(snapshot) => {
                let own = reached.iter().filter(|(uuid, _)| is_in(uuid));
                out.warnings =
                    own.map(|(uuid, keys)| ((*uuid).clone(), warnings_of(&cx, keys, &[]))).collect();
                for (uuid, traces) in cx.children.iter().filter(|(uuid, _)| !shut.contains_key(*uuid)) {
                    let needs = reach(&cx, &traces.needs);
                    out.warnings.insert(uuid.clone(), warnings_of(&cx, &needs, &traces.warnings));
                }
                out.warnings.retain(|_, warnings| !warnings.is_empty());
                out.left_out.extend(crowded);
                out.outline = outline(&cx, &snapshot, &kept, &reached, &out);
                return Ok(out);
            }
            Err(problems) => problems,
        };
        // What is too much of all together is nobody's fault alone, and what then seems to be wrong with single services is not.
        //= COMPILE-ROOM-01
        let is_of_all = |problem: &Problem| !problem.path.contains(['.', '[']);
        if problems.iter().any(is_of_all) {
            return Err(problems);
        }
        let mut is_known = false;
        for problem in problems {
            let found = section_at(&out.sections, &problem.path);
            let Some((key, rest)) = found else { continue };
            let Some(section) = cx.made.get(key) else { continue };
            let said = Problem {
                line: None,
                path: if rest.is_empty() {
                    section.label.clone()
                } else {
                    format!("{}: {rest}", section.label)
                },
                ..problem
            };
            if accuse(&cx, (key, rest), &said, more) {
                continue;
            }
            // All that need it.
            for (uuid, _) in reached.iter().filter(|(_, keys)| keys.contains(key)) {
                is_known = true;
                let problems = out.left_out.entry((*uuid).clone()).or_default();
                if !problems.contains(&said) {
                    problems.push(said.clone());
                }
            }
        }
        if !more.is_empty() {
            return Ok(out);
        }
        if !is_known {
            break;
        }
    }
    // What is wrong stands in no service.
    match forebay_snapshot::check(&document(&out.sections)) {
        Ok(_) => Ok(out),
        Err(problems) => Err(problems),
    }
}

/// Gives a problem of the document to the children whose part it is, unless they are shut for the same already.
fn accuse(cx: &Cx<'_>, (key, rest): (&str, &str), said: &Problem, more: &mut Shut) -> bool {
    let rule = rest.strip_prefix("rules[").and_then(|rest| rest.split_once(']'));
    let rule = rule.and_then(|(at, _)| at.parse::<usize>().ok());
    let owner = rule.and_then(|at| cx.made.get(key)?.owners.get(at)?.clone());
    let owners: Vec<String> = match owner {
        Some(owner) if cx.shut.get(&owner).is_none_or(|closed| !closed.has_no_paths) => vec![owner],
        Some(_) => Vec::new(),
        None => {
            let open = cx.children.iter().filter(|(uuid, _)| !cx.shut.contains_key(*uuid));
            let needs = open.filter(|(_, traces)| reach(cx, &traces.needs).contains(key));
            needs.map(|(uuid, _)| uuid.clone()).collect()
        }
    };
    for uuid in &owners {
        let closed = more.entry(uuid.clone()).or_default();
        closed.has_no_paths |= rule.is_some();
        if !closed.problems.contains(said) {
            closed.problems.push(said.clone());
        }
    }
    !owners.is_empty()
}

fn outline(
    cx: &Cx<'_>,
    snapshot: &forebay_snapshot::Snapshot,
    kept: &BTreeSet<&String>,
    reached: &BTreeMap<&String, BTreeSet<String>>,
    out: &Compiled,
) -> Outline {
    let parts = reached.iter().filter(|(uuid, _)| !out.left_out.contains_key(**uuid));
    let parts = parts.map(|(uuid, keys)| ((*uuid).clone(), keys.clone())).collect();
    let sections = || cx.made.iter().filter(|(key, _)| kept.contains(key));
    let tickets = sections().filter(|(_, section)| section.has_tickets).map(|(key, _)| key.clone()).collect();
    let leaves = sections().filter(|(key, section)| key.starts_with(MONITOR) && section.is_leaf());
    let leaves = leaves.map(|(key, _)| key.clone()).collect();
    Outline::of(snapshot, parts, out.warnings.clone(), (tickets, leaves))
}

/// Services that want an address which an elder one has, and what is said of it. Whose it is may not be theirs to know.
fn crowded(
    cx: &Cx<'_>,
    elders: &[(u64, &String)],
    reached: &BTreeMap<&String, BTreeSet<String>>,
    left_out: &BTreeMap<String, Vec<Problem>>,
) -> BTreeMap<String, Vec<Problem>> {
    let mut taken: BTreeMap<Listen, &String> = BTreeMap::new();
    let mut crowded: BTreeMap<String, Vec<Problem>> = BTreeMap::new();
    for (_, uuid) in elders.iter().filter(|(_, uuid)| !left_out.contains_key(*uuid)) {
        let sections = || reached[uuid].iter().filter_map(|key| cx.made.get(key));
        let found = sections().find_map(|section| {
            let has = |listen: &&Listen| taken.get(listen).is_some_and(|owner| owner != uuid);
            section.listens.iter().find(has).map(|(at, _)| (at, &section.label))
        });
        match found {
            Some((at, label)) => {
                let problem = Problem {
                    line: None,
                    path: format!("{label}: services"),
                    reason: format!("{at} is another virtual service's, which was placed before it"),
                    fix: "give it an address and a port that nobody has".to_owned(),
                };
                crowded.insert((*uuid).clone(), vec![problem]);
            }
            None => {
                taken.extend(sections().flat_map(|section| &section.listens).map(|listen| (*listen, *uuid)))
            }
        }
    }
    crowded
}

/// The parts that these need, themselves among them.
fn reach(cx: &Cx<'_>, roots: &BTreeSet<String>) -> BTreeSet<String> {
    let mut open: Vec<&String> = roots.iter().collect();
    let mut seen = BTreeSet::new();
    while let Some(key) = open.pop() {
        if let Some(section) = cx.made.get(key)
            && seen.insert(key.clone())
        {
            open.extend(&section.needs);
        }
    }
    seen
}

fn problems_of(cx: &Cx<'_>, keys: &BTreeSet<String>) -> Vec<Problem> {
    let sections = keys.iter().filter_map(|key| cx.made.get(key));
    sections.flat_map(|section| section.problems.iter().cloned()).collect()
}

/// What these parts do not do, and what else is said; a profile that several parts are made of says it once.
fn warnings_of(cx: &Cx<'_>, keys: &BTreeSet<String>, others: &[Problem]) -> Vec<Problem> {
    let sections = keys.iter().filter_map(|key| cx.made.get(key));
    let mut all: Vec<Problem> =
        sections.flat_map(|section| &section.warnings).chain(others).cloned().collect();
    all.sort();
    all.dedup();
    all
}

/// The part that a place of the document is in, and the place within it: `pool[1].server[0]` is in the second pool.
fn section_at<'s>(sections: &'s BTreeMap<String, String>, path: &'s str) -> Option<(&'s String, &'s str)> {
    let (kind, rest) = path.split_once('[')?;
    let (index, rest) = rest.split_once(']')?;
    let prefix = format!("{kind}/");
    let key = sections.keys().filter(|key| key.starts_with(&prefix)).nth(index.parse().ok()?)?;
    Some((key, rest.trim_start_matches('.')))
}
