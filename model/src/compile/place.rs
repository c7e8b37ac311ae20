//! Where an object stands in the words of problems.

use std::rc::Rc;

use crate::Problem;
use crate::kind::{Kind, Object};

use super::view::View;

/// An object that is being compiled.
pub(super) struct Held {
    pub kind: &'static Kind,
    pub uuid: String,
    pub object: Rc<Object>,
}

impl Held {
    pub fn view(&self) -> View<'_> {
        View::of(self.kind, &self.object)
    }

    /// The same once more.
    pub fn again(&self) -> Held {
        Held { kind: self.kind, uuid: self.uuid.clone(), object: Rc::clone(&self.object) }
    }

    /// What its user calls it, as in `pool "web"`.
    pub fn label(&self) -> String {
        let name = self.object.get("name").and_then(serde_json::Value::as_str).unwrap_or(&self.uuid);
        let name: String = name.chars().take(128).flat_map(char::escape_debug).collect();
        format!("{} \"{name}\"", self.kind.path)
    }

    /// A problem or a warning at a place in it.
    pub fn said(&self, path: &str, reason: impl Into<String>, fix: impl Into<String>) -> Problem {
        let path = if path.is_empty() { self.label() } else { format!("{}: {path}", self.label()) };
        Problem { line: None, path, reason: reason.into(), fix: fix.into() }
    }
}
