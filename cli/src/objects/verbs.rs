//! `forebay <kind> <verb>`: list, get, create, set, delete, fields.

use std::io::Write;
use std::process::ExitCode;

use forebay_model::field::{Field, Type};
use forebay_model::kind::Scope;
use forebay_model::{Kind, Object};
use serde_json::Value;

use super::plain::plain;
use super::{change, differences, ports, show, wait, words};
use crate::api::{Api, Failure, escaped, failure, usage};
use crate::args::{Asked, Output, Verb};

/// Does what was asked for with objects of one kind.
///
/// # Errors
/// What the user or the Controller did not like.
pub fn run(
    api: &mut dyn FnMut() -> Result<Api, Failure>,
    kind: &'static Kind,
    asked: &Asked,
    output: Output,
) -> Result<ExitCode, Failure> {
    if asked.verb == Verb::Fields {
        print(&fields(kind, asked.words.first().map(String::as_str))?);
        return Ok(ExitCode::SUCCESS);
    }
    let mut api = api()?;
    let done = with(&mut api, kind, asked, output);
    api.close();
    done.map(|()| ExitCode::SUCCESS)
}

fn with(api: &mut Api, kind: &'static Kind, asked: &Asked, output: Output) -> Result<(), Failure> {
    match asked.verb {
        Verb::List => {
            let mut query = show::joins(kind, output).to_owned();
            for item in &asked.filters {
                let (name, value) = item.split_once('=').ok_or_else(|| {
                    usage(format!("--where {item}: write FIELD=VALUE, as in --where name.contains=web"))
                })?;
                query.push_str(&format!("{}={}&", escaped(name), escaped(value)));
            }
            let all = api.all(kind, &query)?;
            print(&show::objects(kind, &all, output, true));
            Ok(())
        }
        Verb::Get => {
            for name in names(kind, asked)? {
                let object = api.one(kind, name)?;
                let runtime = format!("{}/runtime", path(kind, &object));
                print(&show::objects(kind, &[object], output, false));
                //= CLI-WARN-01
                if kind.path == "virtualservice" && output == Output::Text {
                    let told = api.get(&runtime)?;
                    for warning in told["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str)
                    {
                        eprintln!("warning: {}", show::printable(warning));
                    }
                }
            }
            Ok(())
        }
        Verb::Create => create(api, kind, asked, output),
        Verb::Set => set(api, kind, asked, output),
        Verb::Delete => delete(api, kind, asked),
        Verb::Fields => Ok(()),
    }
}

/// The names that were typed; of a kind with one object none is needed.
fn names<'a>(kind: &Kind, asked: &'a Asked) -> Result<Vec<&'a str>, Failure> {
    match (asked.words.is_empty(), kind.scope) {
        (true, Scope::Single) => Ok(vec![""]),
        (true, _) => Err(usage(format!("name the {} that is meant", kind.path))
            .next(format!("forebay {} list", kind.path))),
        _ => Ok(asked.words.iter().map(String::as_str).collect()),
    }
}

/// The name and the changes behind it.
fn name_and_changes<'a>(kind: &Kind, asked: &'a Asked) -> Result<(&'a str, &'a [String]), Failure> {
    if kind.scope == Scope::Single {
        return Ok(("", &asked.words));
    }
    match asked.words.split_first() {
        Some((name, changes)) if !name.contains('=') => Ok((name, changes)),
        _ => Err(usage(format!(
            "name the {} first, as in: forebay {} {} NAME FIELD=VALUE",
            kind.path,
            kind.path,
            asked.verb.name()
        ))),
    }
}

fn create(api: &mut Api, kind: &'static Kind, asked: &Asked, output: Output) -> Result<(), Failure> {
    if kind.scope == Scope::Single {
        return Err(usage(format!("there is one {}, and it is there", kind.path))
            .next(format!("forebay {} set FIELD=VALUE", kind.path)));
    }
    let (name, changes) = name_and_changes(kind, asked)?;
    let mut object = Object::new();
    if kind.field("name").is_some() {
        object.insert("name".to_owned(), Value::from(name));
    }
    for typed in changes {
        change::apply(kind, &mut object, typed)?;
    }
    checked(kind, &object)?;
    let object = Value::Object(object);
    let at = format!("/api/{}?include_name=true", kind.path);
    let made = match asked.dry_run {
        true => api.try_out("POST", &at, Some(&object)),
        false => api.ask("POST", &at, Some(&object)),
    };
    let made = made.map_err(|failure| match failure.kind {
        failure::Kind::Conflict => failure.next(format!("forebay {} set {name} FIELD=VALUE", kind.path)),
        _ => failure,
    })?;
    if asked.dry_run {
        for line in differences::lines(&Value::Object(Object::new()), &object) {
            print(&format!("{line}\n"));
        }
        return Ok(());
    }
    told(kind, made, output, "created");
    wait::until_up(api, kind, name, asked.wait)
}

fn set(api: &mut Api, kind: &'static Kind, asked: &Asked, output: Output) -> Result<(), Failure> {
    let (name, changes) = name_and_changes(kind, asked)?;
    if changes.is_empty() {
        return Err(usage("say what to change: FIELD=VALUE, LIST+=ENTRY, LIST-=ENTRY or FIELD-")
            .next(format!("forebay {} fields", kind.path)));
    }
    let before = api.one(kind, name)?;
    let mut after = before.clone();
    for typed in changes {
        change::apply(kind, &mut after, typed)?;
    }
    checked(kind, &after)?;
    // It carries `_last_modified`: who was faster than we has it refused.
    let at = format!("{}?include_name=true", path(kind, &before));
    if asked.dry_run {
        let mut before = before;
        plain(kind, &mut before);
        let mut after = api.try_out("PUT", &at, Some(&Value::Object(after)))?;
        if let Value::Object(after) = &mut after {
            plain(kind, after);
        }
        for line in differences::lines(&Value::Object(before), &after) {
            print(&format!("{line}\n"));
        }
        return Ok(());
    }
    let made = api.ask("PUT", &at, Some(&Value::Object(after)))?;
    if let Value::Object(after) = &made {
        eprint!("{}", ports::to_open(api, kind, Some(&before), after)?);
    }
    told(kind, made, output, "changed");
    wait::until_up(api, kind, name, asked.wait)
}

fn delete(api: &mut Api, kind: &'static Kind, asked: &Asked) -> Result<(), Failure> {
    if asked.words.is_empty() {
        return Err(usage(format!("name the {} that is to go", kind.path))
            .next(format!("forebay {} list", kind.path)));
    }
    for name in &asked.words {
        let object = api.one(kind, name)?;
        if asked.dry_run {
            api.try_out("DELETE", &path(kind, &object), None)?;
            print(&format!("{} {name} would be deleted\n", kind.path));
            continue;
        }
        api.ask("DELETE", &path(kind, &object), None)?;
        print(&format!("{} {name} deleted\n", kind.path));
    }
    Ok(())
}

/// Where an object is.
pub fn path(kind: &Kind, object: &Object) -> String {
    match object.get("uuid").and_then(Value::as_str) {
        Some(uuid) if kind.scope != Scope::Single => format!("/api/{}/{uuid}", kind.path),
        _ => format!("/api/{}", kind.path),
    }
}

/// Everything that is wrong with a document, by the same tables that the Controller has.
///
/// # Errors
/// It is.
pub fn checked(kind: &'static Kind, object: &Object) -> Result<(), Failure> {
    match forebay_model::check(kind, object) {
        Ok(_) => Ok(()),
        Err(problems) => {
            let lines: Vec<String> = problems
                .iter()
                .map(|problem| format!("{}: {}; {}", problem.path, problem.reason, problem.fix))
                .collect();
            Err(usage(lines.join("\n")).next(format!("forebay {} fields", kind.path)))
        }
    }
}

fn told(kind: &'static Kind, made: Value, output: Output, what: &str) {
    let Value::Object(object) = made else { return };
    match output {
        Output::Text => print(&format!("{} {} {what}\n", kind.path, show::printable(&show::name(&object)))),
        _ => print(&show::objects(kind, &[object], output, false)),
    }
}

/// Prints to standard output; whoever has closed it wants no more.
pub fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// The fields of a kind, or of the group of fields at a path.
fn fields(kind: &'static Kind, path: Option<&str>) -> Result<String, Failure> {
    let mut all: Vec<&'static Field> = kind.all_fields().collect();
    let mut of = kind.path;
    for step in path.unwrap_or_default().split('.').filter(|step| !step.is_empty()) {
        let name = step.split('[').next().unwrap_or(step);
        let field = words::field_of(&mut all.iter().copied(), name, of)?;
        let holds = match &field.holds {
            Type::List(list) => list.of,
            other => other,
        };
        let Type::Message(message) = holds else {
            return Ok(format!("{}: {}\n", field.name, words::wanted(&field.holds)));
        };
        all = message.fields.iter().collect();
        of = message.name;
    }
    let mut rows = vec![["FIELD", "VALUE", "DEFAULT"].map(str::to_owned).to_vec()];
    for field in all {
        let unit = if field.unit.is_empty() { String::new() } else { format!(" {}", field.unit) };
        let default = match field.default {
            Some(forebay_model::field::Default::Flag(on)) => on.to_string(),
            Some(forebay_model::field::Default::Int(number)) => number.to_string(),
            Some(forebay_model::field::Default::Text(text)) => text.to_owned(),
            Some(forebay_model::field::Default::Message) | None if field.is_required => {
                "(required)".to_owned()
            }
            Some(forebay_model::field::Default::Message) | None => String::new(),
        };
        let read_only = if field.is_read_only { " (read only)" } else { "" };
        rows.push(vec![
            field.name.to_owned(),
            format!("{}{unit}{read_only}", words::wanted(&field.holds)),
            default,
        ]);
    }
    Ok(show::columns(&rows))
}
