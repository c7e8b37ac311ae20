//! Files of many objects: `apply`, `diff`, `export`.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use forebay_model::kind::Scope;
use forebay_model::{Kind, Object, builtin, kinds, shape};
use serde_json::{Map, Value};

use super::order::Wanted;
use super::plain::{name_in, plain};
use super::verbs::{path, print};
use super::{differences, file, kinds as names, ports, show, wait, yaml};
use crate::api::{Api, Failure, failure};
use crate::args::Output;

/// What is to be done with an object of a file.
enum Plan {
    Make,
    Change(Object, Vec<String>),
    Nothing,
}

/// Makes the Controller's objects what the files say. A file says all of an object: what it leaves out has its default.
///
/// # Errors
/// What the user or the Controller did not like; objects before that one are as the files say.
//= CLI-APPLY-03
pub fn apply(
    api: &mut Api,
    files: &[String],
    dry_run: bool,
    wait: Option<Duration>,
) -> Result<ExitCode, Failure> {
    let (mut made, mut changed, mut same) = (0, 0, 0);
    // What a dry run does not make.
    let mut missing = BTreeSet::new();
    for wanted in file::read(files)? {
        let at_place = |failure: Failure| Failure {
            what: format!("{}: {} {}: {}", wanted.place, wanted.kind.path, wanted.name, failure.what),
            ..failure
        };
        let (mut object, plan) = planned(api, &wanted).map_err(at_place)?;
        let (count, what) = match &plan {
            Plan::Nothing => (&mut same, ""),
            Plan::Make => (&mut made, if dry_run { "would be created" } else { "created" }),
            Plan::Change(..) => (&mut changed, if dry_run { "would be changed" } else { "changed" }),
        };
        *count += 1;
        if what.is_empty() {
            continue;
        }
        let (method, at) = match &plan {
            Plan::Change(before, _) => {
                // Who was faster than we has it refused.
                for field in ["_last_modified", "uuid"] {
                    object.extend(before.get(field).map(|value| (field.to_owned(), value.clone())));
                }
                ("PUT", path(wanted.kind, before))
            }
            _ => ("POST", format!("/api/{}", wanted.kind.path)),
        };
        if dry_run {
            match first_missing(&wanted, &missing) {
                Some(target) => eprintln!(
                    "{}: {} {}: not judged by the Controller, as {target} is not there yet",
                    wanted.place,
                    wanted.kind.path,
                    show::printable(&wanted.name)
                ),
                None => drop(api.try_out(method, &at, Some(&Value::Object(object))).map_err(at_place)?),
            }
            if matches!(plan, Plan::Make) {
                missing.insert((wanted.kind.path, wanted.name.clone()));
            }
        } else {
            let sent = api.ask(method, &at, Some(&Value::Object(object))).map_err(at_place)?;
            if let (Value::Object(after), Plan::Change(before, _)) = (&sent, &plan) {
                eprint!("{}", ports::to_open(api, wanted.kind, Some(before), after)?);
            }
        }
        print(&format!("{} {} {what}\n", wanted.kind.path, wanted.name));
        if let Plan::Change(_, lines) = &plan
            && dry_run
        {
            lines.iter().for_each(|line| print(&format!("  {line}\n")));
        }
        if !dry_run {
            wait::until_up(api, wanted.kind, &wanted.name, wait).map_err(at_place)?;
        }
    }
    eprintln!("{made} created, {changed} changed, {same} as they were");
    Ok(ExitCode::SUCCESS)
}

/// What an object refers to of what would have to be made before it.
fn first_missing(wanted: &Wanted, missing: &BTreeSet<(&'static str, String)>) -> Option<String> {
    let mut found = None;
    shape::references(wanted.kind, &mut wanted.object.clone(), &mut |_, kind, text| {
        let name = name_in(kind, text).filter(|name| missing.contains(&(kind, name.clone())));
        if let Some(name) = name {
            found = Some(format!("{kind} {}", show::printable(&name)));
        }
    });
    found
}

/// Says what `apply` would change; exit code 8 if that is anything.
///
/// # Errors
/// What the user or the Controller did not like.
pub fn diff(api: &mut Api, files: &[String]) -> Result<ExitCode, Failure> {
    let mut is_same = true;
    for wanted in file::read(files)? {
        let lines = match planned(api, &wanted)? {
            (_, Plan::Nothing) => continue,
            (object, Plan::Make) => differences::lines(&Value::Object(Map::new()), &Value::Object(object)),
            (_, Plan::Change(_, lines)) => lines,
        };
        is_same = false;
        print(&format!("{}: {} {}\n", wanted.place, wanted.kind.path, wanted.name));
        lines.iter().for_each(|line| print(&format!("  {line}\n")));
    }
    Ok(if is_same { ExitCode::SUCCESS } else { ExitCode::from(failure::Kind::Different as u8) })
}

/// The object as it is to be sent, and what is to be done with it.
fn planned(api: &mut Api, wanted: &Wanted) -> Result<(Object, Plan), Failure> {
    let mut object = wanted.object.clone();
    let found = api.named(wanted.kind, &wanted.name)?;
    let Some(before) = found.filter(|found| is_own(api, wanted.kind, found)) else {
        return Ok((object, Plan::Make));
    };
    let mut held = before.clone();
    plain(wanted.kind, &mut held);
    // What the Controller chose where nothing was said.
    for field in ["tenant_ref", "cloud_ref"] {
        if !object.contains_key(field)
            && let Some(value) = held.get(field)
        {
            object.insert(field.to_owned(), value.clone());
        }
    }
    let whole =
        |object: &Object| forebay_model::check(wanted.kind, object).unwrap_or_else(|_| object.clone());
    let lines = differences::lines(&Value::Object(whole(&held)), &Value::Object(whole(&object)));
    let plan = if lines.is_empty() { Plan::Nothing } else { Plan::Change(before, lines) };
    Ok((object, plan))
}

/// Says whether an object belongs to the tenant that requests are for: others see those of `admin`, and have their own of
/// the same name.
fn is_own(api: &Api, kind: &Kind, object: &Object) -> bool {
    let owner = object.get("tenant_ref").and_then(Value::as_str).and_then(|text| text.split_once('#'));
    matches!(kind.scope, Scope::System | Scope::Single)
        || api.tenant == "*"
        || owner.is_none_or(|(_, name)| name == api.tenant)
}

/// Writes objects as a file for `apply`: those of these kinds, or of all; without what is as it was at the first start.
///
/// # Errors
/// What the user or the Controller did not like.
//= CLI-EXPORT-01
pub fn export(api: &mut Api, wanted: &[String], all: bool, output: Output) -> Result<ExitCode, Failure> {
    let chosen: Vec<&'static Kind> = match wanted.is_empty() {
        true => kinds().collect(),
        false => wanted.iter().map(|name| names::find(name)).collect::<Result<_, _>>()?,
    };
    let mut lists = Map::new();
    for kind in chosen {
        let objects: Vec<Value> = api
            .all(kind, "skip_default=true")?
            .into_iter()
            .filter_map(|mut object| {
                plain(kind, &mut object);
                (all || !is_as_made(kind, &object)).then_some(Value::Object(object))
            })
            .collect();
        if !objects.is_empty() {
            lists.insert(kind.path.to_owned(), Value::Array(objects));
        }
    }
    let lists = Value::Object(lists);
    match output {
        Output::Json => print(&format!("{lists}\n")),
        _ => print(&yaml::write(&lists)),
    }
    Ok(ExitCode::SUCCESS)
}

/// Says whether an object is one of the first start that nobody has changed.
fn is_as_made(kind: &'static Kind, object: &Object) -> bool {
    let name = object.get("name").and_then(Value::as_str).unwrap_or_default();
    let made = builtin::objects()
        .into_iter()
        .find(|made| made.kind == kind.path && (made.name() == name || kind.scope == Scope::Single));
    let Some(Value::Object(mut made)) = made.map(|made| made.document) else { return false };
    plain(kind, &mut made);
    for field in ["tenant_ref", "cloud_ref"] {
        if !made.contains_key(field) {
            made.extend(object.get(field).map(|value| (field.to_owned(), value.clone())));
        }
    }
    let mut held = object.clone();
    if kind.path == "user" {
        // Each Controller makes the first one's for itself, and gives none out.
        held.remove("password");
    }
    let whole = |object: &Object| forebay_model::check(kind, object).unwrap_or_else(|_| object.clone());
    let lines = differences::lines(&Value::Object(whole(&made)), &Value::Object(whole(&held)));
    // A key and certificate of its own is what each Controller makes for itself.
    lines.is_empty() || kind.path == "sslkeyandcertificate"
}
