//! Completion, from the tables of `model`, and names of objects from the Controller.

use std::cell::RefCell;

use forebay_model::field::{Field, Type};
use rustyline::completion::Completer;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Context, Helper};

use super::Shell;
use super::commands::{COMMANDS, VIEWS, WORDS};
use crate::objects::{kinds, show};

/// The most names of objects that are offered.
const NAMES_MAX: usize = 200;

/// Completes lines of a shell.
pub struct Completing<'s, 'a> {
    /// The shell.
    pub shell: &'s RefCell<Shell<'a>>,
}

//= CLI-SHELL-03
impl Completer for Completing<'_, '_> {
    type Candidate = String;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let typed = line.get(..at).unwrap_or(line);
        let begin = typed.rfind(char::is_whitespace).map_or(0, |space| space + 1);
        let before: Vec<&str> = typed[..begin].split_whitespace().collect();
        let mut shell = self.shell.borrow_mut();
        let mut all = shell.candidates(&before);
        all.retain(|word| word.starts_with(&typed[begin..]));
        all.sort();
        all.dedup();
        Ok((begin, all.into_iter().map(|word| word + " ").collect()))
    }
}

impl Hinter for Completing<'_, '_> {
    type Hint = String;
}

impl Highlighter for Completing<'_, '_> {}
impl Validator for Completing<'_, '_> {}
impl Helper for Completing<'_, '_> {}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

impl Shell<'_> {
    /// The words that may follow these.
    fn candidates(&mut self, before: &[&str]) -> Vec<String> {
        if let Some(editing) = &self.editing {
            let before = before.strip_prefix(&["no"]).unwrap_or(before);
            return match before {
                [] => {
                    let fields = editing.fields().into_iter().filter(|field| !field.is_read_only);
                    fields.map(|field| field.name.to_owned()).chain(owned(WORDS)).collect()
                }
                [name, ..] => editing.field(name).map_or_else(|_| Vec::new(), |field| self.values(field)),
            };
        }
        match before {
            [] => owned(COMMANDS),
            ["configure" | "show" | "delete"] => {
                let paths = forebay_model::kinds().map(|kind| kind.path.to_owned());
                paths.chain(kinds::ALIASES.iter().map(|(alias, _)| (*alias).to_owned())).collect()
            }
            ["scaleout" | "scalein" | "migrate" | "switchover"] => owned(&["virtualservice"]),
            ["switchto"] => owned(&["tenant"]),
            ["switchto", "tenant"] => self.names("tenant"),
            [_, kind] => kinds::find(kind).map_or_else(|_| Vec::new(), |kind| self.names(kind.path)),
            ["show", kind, _] => {
                let path = kinds::find(kind).map_or("", |kind| kind.path);
                VIEWS.iter().filter(|(of, ..)| *of == path).map(|(_, name, _)| (*name).to_owned()).collect()
            }
            ["configure", kind, _] => kinds::find(kind).map_or_else(
                |_| Vec::new(),
                |kind| {
                    kind.all_fields().filter(|f| !f.is_read_only).map(|field| field.name.to_owned()).collect()
                },
            ),
            ["configure", kind, _, name] => {
                let field = kinds::find(kind).ok().and_then(|kind| kind.field(name));
                field.map_or_else(Vec::new, |field| self.values(field))
            }
            _ => Vec::new(),
        }
    }

    /// What may stand behind a field.
    fn values(&mut self, field: &'static Field) -> Vec<String> {
        match &field.holds {
            Type::Flag => owned(&["true", "false"]),
            Type::Enum(names) => owned(names),
            Type::Ref(kind) => self.names(kind),
            Type::List(list) => match list.of {
                Type::Ref(kind) => self.names(kind),
                Type::Enum(names) => owned(names),
                Type::Message(_) => owned(&["index"]),
                _ => Vec::new(),
            },
            _ => Vec::new(),
        }
    }

    /// The names of objects of a kind; none if the Controller does not tell.
    fn names(&mut self, kind: &str) -> Vec<String> {
        let answer = self.api.get(&format!("/api/{kind}?fields=name&page_size={NAMES_MAX}"));
        let results =
            answer.ok().and_then(|answer| answer.get("results").and_then(|all| all.as_array().cloned()));
        let names = results.into_iter().flatten().filter_map(|object| object.as_object().map(show::name));
        names
            .map(|name| if name.contains(char::is_whitespace) { format!("\"{name}\"") } else { name })
            .collect()
    }
}
