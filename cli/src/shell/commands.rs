//! The commands of the shell.

use forebay_model::Kind as ObjectKind;
use serde_json::{Value, json};

use super::editing::{Editing, Step};
use super::{Next, Shell};
use crate::api::{Failure, Kind, escaped, usage};
use crate::args::Output;
use crate::objects::verbs::{checked, path};
use crate::objects::{kinds, ports, scale, show};

/// The first words of lines, outside of modes.
pub const COMMANDS: &[&str] = &[
    "configure",
    "show",
    "delete",
    "scaleout",
    "scalein",
    "migrate",
    "switchover",
    "switchto",
    "where",
    "help",
    "exit",
];
/// Words of modes beside the fields.
pub const WORDS: &[&str] = &["no", "save", "cancel", "show", "where", "help", "exit"];
/// What can be looked at of an object beside itself, and where the API has it.
pub const VIEWS: &[(&str, &str, &str)] = &[
    ("virtualservice", "keyvalsummary", "keyvalsummary"),
    ("virtualservice", "keyvalsummaryobjsync", "keyvalsummaryobjsync"),
    ("virtualservice", "keyval", "keyval"),
    ("virtualservice", "runtime", "runtime"),
    ("virtualservice", "detail", "runtime/detail"),
    ("virtualservice", "scaleoutstatus", "scaleoutstatus"),
    ("virtualservice", "placement", "placement"),
    ("virtualservice", "candidatesehostlist", "candidatesehostlist"),
    ("pool", "internal", "runtime/internal"),
    ("pool", "objsync", "objsync"),
    ("pool", "persistence", "persistence"),
    ("pool", "runtime", "runtime"),
    ("pool", "server", "runtime/server"),
    ("pool", "detail", "runtime/server/detail"),
    ("pool", "algo", "algo"),
    ("pool", "hmon", "hmon"),
    ("pool", "connpool", "connpool"),
    ("serviceengine", "objsync", "objsync"),
    ("serviceengine", "runtime", "runtime"),
    ("serviceengine", "flowtablestat", "flowtablestat"),
    ("serviceengine", "cpu", "cpu"),
    ("serviceengine", "interface", "interface"),
];

const HELP: &str = "\
configure KIND NAME            change an object, or make it; the prompt says what is being changed
configure KIND NAME FIELD VALUE  change one field and save
show KIND [NAME [VIEW [filter FIELD VALUE]...]]  list, or look at one; | grep TEXT
delete KIND NAME               delete an object
scaleout|scalein|migrate|switchover virtualservice NAME [vip_id ID] [to_se|from_se NAME]
switchto tenant NAME           objects of another tenant
where, help, exit
";
const MODE_HELP: &str = "\
FIELD VALUE         set a field; a flag alone is switched on; a list gets one more entry
FIELD               enter a group of fields; of a list, a new entry
LIST index N        enter an entry of a list, counted from 1
no FIELD            switch a flag off, or give a field its default; no LIST index N: take an entry out
save, cancel        keep or drop what was changed, and leave
show, where, help, exit
";

impl Shell<'_> {
    /// Does what the words of a line say.
    pub(super) fn words(&mut self, line: &[String], said: &mut String) -> Result<Next, Failure> {
        let line_text: Vec<&str> = line.iter().map(String::as_str).collect();
        if self.editing.is_some() {
            return self.in_mode(line, &line_text, said);
        }
        match line_text[..] {
            ["exit" | "quit"] => return Ok(Next::End),
            ["help" | "?"] => said.push_str(HELP),
            ["where"] => said.push_str(&format!("tenant {} at {}\n", self.api.tenant, self.api.at)),
            ["configure", kind, ..] => self.configure(kinds::find(kind)?, &line[2..], said)?,
            ["show", kind] => {
                let kind = kinds::find(kind)?;
                let all = self.api.all(kind, show::joins(kind, Output::Text))?;
                said.push_str(&show::objects(kind, &all, Output::Text, true));
            }
            ["show", kind, name] => {
                let kind = kinds::find(kind)?;
                let object = self.api.one(kind, name)?;
                said.push_str(&show::fields(&Value::Object(object)));
            }
            ["show", kind, name, view, ref filters @ ..] => {
                self.view(kinds::find(kind)?, name, view, filters, said)?
            }
            ["delete", kind, name] => {
                let kind = kinds::find(kind)?;
                let object = self.api.one(kind, name)?;
                self.api.ask("DELETE", &path(kind, &object), None)?;
                said.push_str(&format!("{} {name} deleted\n", kind.path));
            }
            [action @ ("scaleout" | "scalein" | "migrate" | "switchover"), kind, name, ref rest @ ..] => {
                self.scale(action, kinds::find(kind)?, name, rest, said)?;
            }
            ["switchto", "tenant", name] => {
                let tenants = kinds::find("tenant")?;
                if name != "*" {
                    self.api.one(tenants, name)?;
                }
                name.clone_into(&mut self.api.tenant);
            }
            [first, ..] => {
                let failure = usage(format!("there is no command \"{first}\", or it needs more words"));
                return Err(match forebay_snapshot::nearest(first, COMMANDS.iter().copied()) {
                    Some(near) if near != first => failure.next(format!("did you mean {near}?")),
                    _ => failure.next("help"),
                });
            }
            [] => {}
        }
        Ok(Next::On)
    }

    fn in_mode(&mut self, line: &[String], words: &[&str], said: &mut String) -> Result<Next, Failure> {
        let Some(editing) = &mut self.editing else { return Ok(Next::On) };
        match words {
            ["help" | "?"] => said.push_str(MODE_HELP),
            ["where"] => said.push_str(&format!("{}\n", editing.place())),
            ["show"] => said.push_str(&show::fields(&Value::Object(editing.held().clone()))),
            _ => match editing.step(line)? {
                Step::On(text) => said.push_str(&text),
                Step::Leave => self.editing = None,
                Step::Save => self.save(said)?,
            },
        }
        Ok(Next::On)
    }

    fn configure(
        &mut self,
        kind: &'static ObjectKind,
        rest: &[String],
        said: &mut String,
    ) -> Result<(), Failure> {
        let is_single = kind.scope == forebay_model::kind::Scope::Single;
        let (name, rest) = match rest.split_first() {
            _ if is_single => ("", rest),
            Some((name, rest)) => (name.as_str(), rest),
            None => {
                return Err(usage(format!("name the {} that is meant", kind.path))
                    .next(format!("show {}", kind.path)));
            }
        };
        let before = self.api.named(kind, name)?;
        let mut editing = Editing::new(kind, name, before);
        if rest.is_empty() {
            if editing.before.is_some() {
                said.push_str("Updating an existing object. Currently, the object is:\n");
                said.push_str(&show::fields(&Value::Object(editing.object.clone())));
            }
            self.editing = Some(editing);
            return Ok(());
        }
        // On one line: what would be typed in the mode, and `save`.
        match editing.step(rest)? {
            Step::On(text) if editing.place() == kind.path => said.push_str(&text),
            Step::On(_) => return Err(usage(format!("{}: say its value as well", rest.join(" ")))),
            Step::Save | Step::Leave => {
                return Err(usage("there is nothing to save: say a field and its value"));
            }
        }
        self.editing = Some(editing);
        let saved = self.save(said);
        self.editing = None;
        saved
    }

    /// Writes the object; if it is refused the mode goes on, with all that was typed.
    fn save(&mut self, said: &mut String) -> Result<(), Failure> {
        let Some(editing) = &self.editing else { return Ok(()) };
        let kind = editing.kind;
        checked(kind, &editing.object)
            .map_err(|failure| failure.next("mend it and save again, or cancel"))?;
        let content = Value::Object(editing.object.clone());
        let before = editing.before.clone();
        let saved = match &before {
            Some(before) => {
                self.api.ask("PUT", &format!("{}?include_name=true", path(kind, before)), Some(&content))?
            }
            None => self.api.ask("POST", &format!("/api/{}?include_name=true", kind.path), Some(&content))?,
        };
        self.editing = None;
        said.push_str(&show::fields(&saved));
        if let Value::Object(after) = &saved {
            said.push_str(&ports::to_open(self.api, kind, before.as_ref(), after)?);
        }
        Ok(())
    }

    fn view(
        &mut self,
        kind: &'static ObjectKind,
        name: &str,
        view: &str,
        filters: &[&str],
        said: &mut String,
    ) -> Result<(), Failure> {
        let known = || VIEWS.iter().filter(|(path, ..)| *path == kind.path);
        let Some((.., below)) = known().find(|(_, name, _)| *name == view) else {
            let names: Vec<&str> = known().map(|(_, name, _)| *name).collect();
            return Err(usage(format!(
                "there is no view \"{view}\" of a {}: {}",
                kind.path,
                names.join(", ")
            )));
        };
        let object = self.api.one(kind, name)?;
        let mut address = format!("{}/{below}?", path(kind, &object));
        // What stands before the first `filter` is nothing.
        let stray = filters.first().is_some_and(|word| *word != "filter");
        for filter in filters.split(|word| *word == "filter").skip(usize::from(!stray)) {
            let [field, value] = filter else {
                return Err(usage("filters are written: filter FIELD VALUE"));
            };
            // Objects are named, and the API takes their uuids.
            let value = match field.strip_suffix("_ref").map(kinds::find) {
                Some(Ok(target)) => {
                    let found = self.api.one(target, value)?;
                    found.get("uuid").and_then(Value::as_str).unwrap_or(value).to_owned()
                }
                _ => (*value).to_owned(),
            };
            address.push_str(&format!("{}={}&", escaped(field), escaped(&value)));
        }
        let seen = self.api.get(&address).map_err(|failure| match failure.kind {
            Kind::NotFound => {
                Failure::new(Kind::NotFound, format!("the Controller has no {view} of {} {name}", kind.path))
            }
            _ => failure,
        })?;
        let all = seen.get("results").unwrap_or(&seen);
        match all.as_array() {
            Some(rows) => rows.iter().for_each(|row| said.push_str(&show::fields(row))),
            None => said.push_str(&show::fields(all)),
        }
        Ok(())
    }

    /// `scaleout virtualservice NAME [vip_id ID] [to_se NAME]`, and the like.
    fn scale(
        &mut self,
        action: &str,
        kind: &'static ObjectKind,
        name: &str,
        rest: &[&str],
        said: &mut String,
    ) -> Result<(), Failure> {
        if kind.path != "virtualservice" {
            return Err(usage(format!("{action} is for a virtualservice")));
        }
        let object = self.api.one(kind, name)?;
        let mut content = json!({});
        for pair in rest.chunks(2) {
            match pair {
                ["vip_id", id] => content["vip_id"] = json!(id),
                [place @ ("to_se" | "from_se"), engine] => {
                    let end = place.strip_suffix("_se").unwrap_or(place);
                    content[scale::field(action, end)] = scale::reference(self.api, engine)?;
                }
                [flag @ ("to_new_se" | "scalein_primary" | "admin_up" | "admin_down")] => {
                    content[*flag] = json!(true)
                }
                _ => return Err(usage("behind the name there may be: vip_id ID, to_se NAME, from_se NAME")),
            }
        }
        if content["vip_id"].is_null() {
            content["vip_id"] = scale::only_vip(self.api, &path(kind, &object))?.into();
        }
        let answer = self.api.ask("POST", &format!("{}/{action}", path(kind, &object)), Some(&content))?;
        if answer.is_object() {
            said.push_str(&show::fields(&answer));
        }
        said.push_str(&format!("{action} of {name} has begun: show virtualservice {name} scaleoutstatus\n"));
        Ok(())
    }
}
