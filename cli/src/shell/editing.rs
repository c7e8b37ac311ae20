//! An object that is being configured: the mode that `configure` leads to, and those within it.

use forebay_model::field::{Field, Message, Type};
use forebay_model::{Kind, Object};
use serde_json::{Map, Value};

use crate::api::{Failure, usage};
use crate::objects::words::{field_of, value};

/// An object and the places within it where we are.
pub struct Editing {
    /// Its kind.
    pub kind: &'static Kind,
    /// What the Controller has of it; `None`: it is new.
    pub before: Option<Object>,
    /// What it is to be.
    pub object: Object,
    /// The groups of fields that were entered, each within the one before.
    levels: Vec<Level>,
}

/// A group of fields that was entered.
struct Level {
    field: &'static Field,
    message: &'static Message,
    /// The entry of a list; `None`: a group, or a new entry.
    index: Option<usize>,
    held: Object,
    was: Object,
}

/// What a line in a mode led to.
pub enum Step {
    /// On with the next line; something to say.
    On(String),
    /// The whole object is to be written.
    Save,
    /// It is to be forgotten.
    Leave,
}

impl Editing {
    /// Begins with an object.
    pub fn new(kind: &'static Kind, name: &str, before: Option<Object>) -> Self {
        let object = before.clone().unwrap_or_else(|| {
            let name = kind.field("name").map(|_| ("name".to_owned(), Value::from(name)));
            name.into_iter().collect()
        });
        Editing { kind, before, object, levels: Vec::new() }
    }

    /// Where we are, as in `pool:servers`.
    pub fn place(&self) -> String {
        let within = self.levels.iter().map(|level| level.field.name);
        std::iter::once(self.kind.path).chain(within).collect::<Vec<_>>().join(":")
    }

    /// The fields of the mode.
    pub fn fields(&self) -> Vec<&'static Field> {
        match self.levels.last() {
            Some(level) => level.message.fields.iter().collect(),
            None => self.kind.all_fields().collect(),
        }
    }

    /// What the mode's fields hold.
    pub fn held(&self) -> &Object {
        self.levels.last().map_or(&self.object, |level| &level.held)
    }

    /// Says whether something of the mode is not saved.
    pub fn is_changed(&self) -> bool {
        match self.levels.last() {
            Some(level) => level.held != level.was,
            None => self.before.as_ref() != Some(&self.object),
        }
    }

    /// The field of this name.
    ///
    /// # Errors
    /// There is none, or only the Controller sets it.
    pub fn field(&self, name: &str) -> Result<&'static Field, Failure> {
        let field = field_of(&mut self.fields().into_iter(), name, &self.place())?;
        if field.is_read_only {
            return Err(usage(format!("{name}: the Controller alone sets this field")));
        }
        Ok(field)
    }

    /// Does what a line says.
    ///
    /// # Errors
    /// It makes no sense.
    //= CLI-SHELL-02
    pub fn step(&mut self, words: &[String]) -> Result<Step, Failure> {
        let (first, rest) = words.split_first().ok_or_else(|| usage("type a field"))?;
        match (first.as_str(), rest) {
            ("save", []) => Ok(match self.levels.pop() {
                Some(level) => {
                    self.put_back(level);
                    Step::On(String::new())
                }
                None => Step::Save,
            }),
            ("cancel", []) => Ok(match self.levels.pop() {
                Some(_) => Step::On(String::new()),
                None => Step::Leave,
            }),
            ("exit" | "quit", []) if self.is_changed() => Err(usage(format!(
                "{} is changed: type save to keep the changes, or cancel to drop them",
                self.place()
            ))),
            ("exit" | "quit", []) => Ok(match self.levels.pop() {
                Some(_) => Step::On(String::new()),
                None => Step::Leave,
            }),
            ("no", [name, rest @ ..]) => self.unset(name, rest).map(Step::On),
            (name, values) => self.set(name, values).map(Step::On),
        }
    }

    fn slot(&mut self) -> &mut Object {
        self.levels.last_mut().map_or(&mut self.object, |level| &mut level.held)
    }

    fn put_back(&mut self, level: Level) {
        let is_list = matches!(level.field.holds, Type::List(_));
        let slot = self.slot();
        let held = Value::Object(level.held);
        if !is_list {
            slot.insert(level.field.name.to_owned(), held);
            return;
        }
        let entries = slot.entry(level.field.name).or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(entries) = entries {
            match level.index.and_then(|index| entries.get_mut(index)) {
                Some(entry) => *entry = held,
                None => entries.push(held),
            }
        }
    }

    fn enter(
        &mut self,
        field: &'static Field,
        message: &'static Message,
        index: Option<usize>,
        held: Object,
    ) {
        self.levels.push(Level { field, message, index, was: held.clone(), held });
    }

    /// `field`, `field value…`, `list index 2`.
    fn set(&mut self, name: &str, values: &[String]) -> Result<String, Failure> {
        let field = self.field(name)?;
        let had = self.held().contains_key(field.name);
        let over = if had {
            format!("Overwriting the previously entered value for {name}\n")
        } else {
            String::new()
        };
        match (&field.holds, values) {
            (Type::Message(message), []) => {
                let held =
                    self.held().get(field.name).and_then(Value::as_object).cloned().unwrap_or_default();
                self.enter(field, message, None, held);
                Ok(String::new())
            }
            (Type::List(list), values) => match (list.of, values) {
                (Type::Message(message), []) => {
                    self.enter(field, message, None, Map::new());
                    Ok(String::new())
                }
                (Type::Message(message), [word, index]) if word == "index" => {
                    let (index, entry) = self.entry(field, index)?;
                    let held = entry.as_object().cloned().unwrap_or_default();
                    self.enter(field, message, Some(index), held);
                    Ok(String::new())
                }
                (_, []) => Err(usage(format!("{name}: say what is to be added"))),
                (of, values) => {
                    let typed: Result<Vec<Value>, Failure> =
                        values.iter().map(|text| value(field.name, of, text)).collect();
                    let slot = self.slot().entry(field.name).or_insert_with(|| Value::Array(Vec::new()));
                    if let Value::Array(entries) = slot {
                        for entry in typed? {
                            if !entries.contains(&entry) {
                                entries.push(entry);
                            }
                        }
                    }
                    Ok(String::new())
                }
            },
            (Type::Flag, []) => {
                self.slot().insert(field.name.to_owned(), Value::from(true));
                Ok(over)
            }
            (_, []) => {
                Err(usage(format!("{name}: say its value: {}", crate::objects::words::wanted(&field.holds))))
            }
            (holds, values) => {
                let typed = value(field.name, holds, &values.join(" "))?;
                self.slot().insert(field.name.to_owned(), typed);
                Ok(over)
            }
        }
    }

    /// `no flag`, `no field`, `no list index 2`, `no list entry`.
    fn unset(&mut self, name: &str, values: &[String]) -> Result<String, Failure> {
        let field = self.field(name)?;
        match (&field.holds, values) {
            (Type::Flag, []) => {
                self.slot().insert(field.name.to_owned(), Value::from(false));
            }
            (Type::List(_), [word, index]) if word == "index" => {
                let (index, _) = self.entry(field, index)?;
                if let Some(Value::Array(entries)) = self.slot().get_mut(field.name) {
                    entries.remove(index);
                }
            }
            (Type::List(list), [text]) => {
                let typed = value(field.name, list.of, text)?;
                let names = |held: &Value| match (list.of, held) {
                    // What the Controller has ends with the name, what was typed is a query by it.
                    (Type::Ref(kind), Value::String(held)) => {
                        held.split_once('#').map(|(_, name)| crate::objects::words::reference(kind, name))
                    }
                    _ => None,
                };
                let Some(Value::Array(entries)) = self.slot().get_mut(field.name) else {
                    return Err(usage(format!("{name} is empty")));
                };
                let count = entries.len();
                entries.retain(|held| {
                    *held != typed
                        && names(held).is_none_or(|by_name| typed.as_str() != Some(by_name.as_str()))
                });
                if entries.len() == count {
                    return Err(usage(format!("{name} has no entry {text}")));
                }
            }
            (_, []) => {
                self.slot().remove(field.name);
            }
            _ => return Err(usage(format!("no {name}: nothing may stand behind it"))),
        }
        Ok(String::new())
    }

    /// The entry of a list, counted from 1.
    fn entry(&self, field: &'static Field, index: &str) -> Result<(usize, &Value), Failure> {
        let entries = self.held().get(field.name).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let place = index.parse::<usize>().ok().and_then(|index| index.checked_sub(1));
        let found = place.and_then(|place| Some((place, entries.get(place)?)));
        found
            .ok_or_else(|| usage(format!("{}: it has {} entries, counted from 1", field.name, entries.len())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::words::words;
    use serde_json::json;

    fn typed(editing: &mut Editing, lines: &[&str]) -> Result<(), Failure> {
        for line in lines {
            editing.step(&words(line)?)?;
        }
        Ok(())
    }

    fn editing(kind: &str, before: Option<Value>) -> Editing {
        let before = before.map(|before| before.as_object().expect("an object").clone());
        Editing::new(forebay_model::kind(kind).expect("a kind"), "p1", before)
    }

    //= test CLI-SHELL-02
    #[test]
    fn fields_are_set_and_modes_lead_into_one_another() {
        let mut pool = editing("pool", None);
        typed(
            &mut pool,
            &[
                "lb_algorithm round_robin",
                "no enabled",
                "servers",
                "ip 10.0.0.1",
                "port 8080",
                "save",
                "servers",
                "ip 10.0.0.2",
                "cancel",
                "servers 10.0.0.3:80",
                "servers index 1",
                "ratio 3",
                "save",
                "health_monitor_refs System-TCP System-Ping",
                "no health_monitor_refs System-TCP",
                "request_queue_enabled",
            ],
        )
        .expect("a pool");
        let wanted = json!({
            "name": "p1", "lb_algorithm": "LB_ALGORITHM_ROUND_ROBIN", "enabled": false, "request_queue_enabled": true,
            "servers": [
                {"ip": {"addr": "10.0.0.1", "type": "V4"}, "port": 8080, "ratio": 3},
                {"ip": {"addr": "10.0.0.3", "type": "V4"}, "port": 80}
            ],
            "health_monitor_refs": ["/api/healthmonitor?name=System-Ping"]
        });
        assert_eq!(Value::Object(pool.object.clone()), wanted);
        typed(&mut pool, &["no servers index 1", "fail_action", "local_rsp"]).expect("modes");
        assert_eq!(pool.place(), "pool:fail_action:local_rsp");
        typed(&mut pool, &["status_code 503", "save", "type http_local_rsp", "save"]).expect("modes");
        assert_eq!(pool.object["fail_action"]["local_rsp"]["status_code"], "FAIL_HTTP_STATUS_CODE_503");
        assert!(matches!(pool.step(&words("save").expect("a word")), Ok(Step::Save)));
    }

    #[test]
    fn what_the_controller_has_is_named_and_overwritten() {
        let held = json!({"name": "p1", "objsync_port": 9001, "_last_modified": "1"});
        let mut group = editing("serviceenginegroup", Some(held));
        let Ok(Step::On(said)) = group.step(&words("objsync_port 9002").expect("words")) else {
            panic!("a step")
        };
        assert_eq!(said, "Overwriting the previously entered value for objsync_port\n");
        for (line, said) in [
            ("objsync_prt 1", "objsync_port"),
            ("_last_modified 1", "alone"),
            ("exit", "cancel"),
            ("objsync_port", "say its value"),
            ("vcenters index 1", "0 entries"),
            ("no objsync_port 3", "nothing may stand"),
        ] {
            let failure = typed(&mut group, &[line]).expect_err(line);
            assert!(failure.to_string().contains(said), "{line}: {failure}");
        }
        let refs = json!({"name": "p", "health_monitor_refs": ["https://c/api/healthmonitor/healthmonitor-1#System-TCP"]});
        let mut pool = editing("pool", Some(refs));
        typed(&mut pool, &["no health_monitor_refs System-TCP"]).expect("it goes");
        assert_eq!(pool.object["health_monitor_refs"], json!([]));
    }
}
