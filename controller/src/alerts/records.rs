//! Records of requests and connections that alert configurations ask for, as they come in.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use forebay_logs::Condition;
use serde_json::{Map, Value};

use super::rule::{Asks, Rule};
use super::{Pair, REMEMBERED_MAX};

/// Conditions of one tenant's configurations: each record of it is held against all of them, on the thread that writes records.
const CONDITIONS_MAX: usize = 64;
/// Of a record's path so many bytes are told.
const PATH_MAX: usize = 200;

/// What a configuration asks of records.
#[derive(Clone, Debug)]
pub struct OfRecords {
    /// Of requests, or else of connections.
    pub is_of_requests: bool,
    /// Conditions.
    pub filters: Vec<Condition>,
}

/// One that looks.
struct Asking {
    rule: String,
    object: Option<String>,
    is_any: bool,
    of: OfRecords,
}

/// Those that look, by tenant.
#[derive(Default)]
struct AllAsking {
    tenants: HashMap<String, Vec<Asking>>,
    /// How many look at nothing, because their tenant has too many conditions.
    beyond: usize,
}

/// What came of one service since the last look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Came {
    /// How many records.
    pub times: u64,
    /// The first of them, in words.
    pub why: String,
}

/// What is looked for, and what came.
#[derive(Default)]
pub struct Watch {
    asking: RwLock<Arc<AllAsking>>,
    came: Mutex<HashMap<Pair, Came>>,
}

impl Watch {
    /// From now on these are looked for.
    //= ALERT-LOGS-01
    pub(super) fn ask(&self, rules: &[Rule]) {
        let mut all = AllAsking::default();
        let mut conditions: HashMap<&str, usize> = HashMap::new();
        let mut first = None;
        for rule in rules {
            let Asks::Records(of) = &rule.asks else { continue };
            if rule.kind.as_deref().is_some_and(|kind| kind != "virtualservice") {
                continue;
            }
            let count = conditions.entry(&rule.tenant).or_default();
            *count += of.filters.len();
            if *count > CONDITIONS_MAX {
                all.beyond += 1;
                first.get_or_insert(rule);
                continue;
            }
            all.tenants.entry(rule.tenant.clone()).or_default().push(Asking {
                rule: rule.uuid.clone(),
                object: rule.object.clone(),
                is_any: rule.is_any,
                of: of.clone(),
            });
        }
        let mut asking = self.asking.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(rule) = first.filter(|_| all.beyond != asking.beyond) {
            tracing::warn!(
                event = "ALERT_CONFIG_BEYOND",
                name = rule.name,
                tenant = rule.tenant,
                beyond = all.beyond,
                "alert configurations on logs have more conditions than are looked at: take some of the tenant's away"
            );
        }
        *asking = Arc::new(all);
    }

    /// Looks at a record of this service, before it is written. Where nobody asks it costs two looks at an empty table.
    //= ALERT-LOGS-01
    pub fn see(&self, service: &str, tenant: &str, record: &Map<String, Value>) {
        let asking = Arc::clone(&self.asking.read().unwrap_or_else(PoisonError::into_inner));
        let own = asking.tenants.get(tenant).into_iter().flatten();
        // Those of the tenant that has the system look at all of it.
        let of_all = asking.tenants.get(crate::access::ADMIN).filter(|_| tenant != crate::access::ADMIN);
        for one in own.chain(of_all.into_iter().flatten()) {
            let is_meant = one.object.as_deref().is_none_or(|object| object == service)
                && one.of.is_of_requests == record.contains_key("response_code");
            let is_so = || {
                let mut conditions = one.of.filters.iter();
                match one.is_any {
                    true => conditions.any(|condition| condition.meets(record)),
                    false => conditions.all(|condition| condition.meets(record)),
                }
            };
            if is_meant && is_so() {
                self.note((one.rule.clone(), service.to_owned()), || shown(record));
            }
        }
    }

    fn note(&self, pair: Pair, why: impl FnOnce() -> String) {
        let mut came = self.came.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(came) = came.get_mut(&pair) {
            came.times = came.times.saturating_add(1);
        } else if came.len() < REMEMBERED_MAX {
            came.insert(pair, Came { times: 1, why: why() });
        }
    }

    /// What came since it was taken last.
    pub(super) fn take(&self) -> HashMap<Pair, Came> {
        std::mem::take(&mut *self.came.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What no alert could be raised for yet: it is taken again.
    pub(super) fn put_back(&self, back: HashMap<Pair, Came>) {
        let mut came = self.came.lock().unwrap_or_else(PoisonError::into_inner);
        for (pair, before) in back {
            match came.get_mut(&pair) {
                Some(since) => {
                    since.times = since.times.saturating_add(before.times);
                    since.why = before.why;
                }
                None => drop(came.insert(pair, before)),
            }
        }
    }
}

/// A record in words.
fn shown(record: &Map<String, Value>) -> String {
    let text = |name: &str| match record.get(name) {
        Some(Value::String(text)) => text.chars().take(PATH_MAX).collect(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    };
    let mut words = vec![text("report_timestamp"), format!("client {}", text("client_ip"))];
    if record.contains_key("response_code") {
        words.push(format!("{} {} {}", text("method"), text("host"), text("uri_path")));
        words.push(format!("answered {}", text("response_code")));
    }
    if record.contains_key("server_ip") {
        words.push(format!("server {}", text("server_ip")));
    }
    if let Some(Value::Array(reasons)) = record.get("significant_log") {
        let reasons: Vec<&str> = reasons.iter().filter_map(Value::as_str).collect();
        if !reasons.is_empty() {
            words.push(reasons.join(" "));
        }
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_cannot_be_raised_yet_is_there_again_with_what_came_since() {
        let watch = Watch::default();
        let pair = |service: &str| ("rule".to_owned(), service.to_owned());
        watch.note(pair("a"), || "first".to_owned());
        watch.note(pair("a"), || "second".to_owned());
        let taken = watch.take();
        assert_eq!(taken[&pair("a")], Came { times: 2, why: "first".to_owned() });
        watch.note(pair("a"), || "third".to_owned());
        watch.put_back(taken);
        assert_eq!(watch.take()[&pair("a")], Came { times: 3, why: "first".to_owned() });
        assert!(watch.take().is_empty());
        for nth in 0..REMEMBERED_MAX + 10 {
            watch.note(pair(&nth.to_string()), String::new);
        }
        assert_eq!(watch.take().len(), REMEMBERED_MAX);
    }

    #[test]
    fn a_record_is_told_in_words() {
        let record = json!({
            "report_timestamp": "2026-11-22T13:48:22Z", "client_ip": "10.0.0.1", "method": "GET", "host": "a", "uri_path": "/b",
            "response_code": 503, "significance": ["the client got a 5xx"],
            "significant_log": ["ADF_RESPONSE_CODE_5XX"],
        });
        assert_eq!(
            shown(record.as_object().expect("an object")),
            "2026-11-22T13:48:22Z, client 10.0.0.1, GET a /b, answered 503, ADF_RESPONSE_CODE_5XX"
        );
    }
}
