//! Parts of an engine's document as text.

use toml::{Table, Value};

/// A table to be.
#[derive(Clone, Default)]
pub(super) struct Part(Table);

impl Part {
    /// A named one.
    pub fn named(name: &str) -> Self {
        Part::default().with("name", name)
    }

    /// With this key.
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.set(key, value);
        self
    }

    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sets a key.
    pub fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.0.insert(key.to_owned(), value.into());
    }

    /// Sets a key, if there is something to set.
    pub fn set_some<T: Into<Value>>(&mut self, key: &str, value: Option<T>) {
        if let Some(value) = value {
            self.set(key, value);
        }
    }

    /// Sets a key that is on.
    pub fn set_if(&mut self, key: &str, on: bool) {
        if on {
            self.set(key, true);
        }
    }

    /// Sets a list, unless it is empty.
    pub fn set_list<T: Into<Value>>(&mut self, key: &str, values: impl IntoIterator<Item = T>) {
        let values: Vec<Value> = values.into_iter().map(Into::into).collect();
        if !values.is_empty() {
            self.set(key, Value::Array(values));
        }
    }

    /// As the one table of this name.
    pub fn alone(self, kind: &str) -> String {
        written(kind, Value::Table(self.0))
    }

    /// As one of many of this name.
    pub fn one_of(self, kind: &str) -> String {
        written(kind, Value::Array(vec![Value::Table(self.0)]))
    }
}

impl From<Part> for Value {
    fn from(part: Part) -> Value {
        Value::Table(part.0)
    }
}

fn written(kind: &str, value: Value) -> String {
    // Keys of a table are kept sorted: the same parts are the same text.
    let text = Table::from_iter([(kind.to_owned(), value)]).to_string();
    if text.ends_with('\n') { text + "\n" } else { text + "\n\n" }
}
