//! What an alert configuration asks for.

use forebay_metrics::{Key, Kind, Metric, find};
use forebay_model::Object;
use serde_json::Value;

use super::records::OfRecords;
use crate::objects::Held;

/// A configuration, read.
pub struct Rule {
    /// Its uuid, its name and its tenant.
    pub uuid: String,
    /// See `uuid`.
    pub name: String,
    /// See `uuid`.
    pub tenant: String,
    /// What it is about.
    pub asks: Asks,
    /// Whether one of its conditions is enough.
    pub is_any: bool,
    /// When what was asked for raises an alert.
    pub when: When,
    /// Seconds for which the same object raises no other alert.
    pub throttle: u64,
    /// Seconds after which an alert is over.
    pub expiry: u64,
    /// The object that it is about, if it is one.
    pub object: Option<String>,
    /// The kind of the objects that it is about, in small letters, if it is one.
    pub kind: Option<String>,
    /// What people are told.
    pub summary: String,
    /// Its actions, which have a level.
    pub actions: Option<String>,
}

/// What a rule is about.
pub enum Asks {
    /// Events.
    Events(Vec<OfEvent>),
    /// Metrics.
    Metrics(Vec<OfMetric>),
    /// Records of requests or connections.
    Records(OfRecords),
}

/// When what was asked for raises an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// At once.
    AtOnce,
    /// When it was so as often within so many seconds.
    Often(u64, u64),
    /// When it becomes so.
    Crossed,
}

/// A condition on an event.
pub struct OfEvent {
    id: String,
    details: Vec<(Comparison, String, String)>,
    is_not: bool,
}

/// A condition on a metric.
pub struct OfMetric {
    /// Which.
    pub metric: &'static Metric,
    /// Of so many seconds.
    pub seconds: u64,
    comparison: Comparison,
    threshold: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Less,
    AtMost,
    Equal,
    NotEqual,
    AtLeast,
    More,
}

impl Comparison {
    fn read(text: Option<&Value>, or: Self) -> Self {
        match text.and_then(Value::as_str) {
            Some("ALERT_OP_LT") => Self::Less,
            Some("ALERT_OP_LE") => Self::AtMost,
            Some("ALERT_OP_EQ") => Self::Equal,
            Some("ALERT_OP_NE") => Self::NotEqual,
            Some("ALERT_OP_GE") => Self::AtLeast,
            Some("ALERT_OP_GT") => Self::More,
            _ => or,
        }
    }

    fn is_so(self, value: f64, than: f64) -> bool {
        match self {
            Self::Less => value < than,
            Self::AtMost => value <= than,
            Self::Equal => (value - than).abs() <= f64::EPSILON * than.abs(),
            Self::NotEqual => (value - than).abs() > f64::EPSILON * than.abs(),
            Self::AtLeast => value >= than,
            Self::More => value > than,
        }
    }

    /// Numbers by their size, other texts by whether they are the same.
    fn is_so_of(self, value: &str, than: &str) -> bool {
        match (value.parse(), than.parse(), self) {
            (Ok(value), Ok(than), _) => self.is_so(value, than),
            (_, _, Self::Equal) => value == than,
            (_, _, Self::NotEqual) => value != than,
            (_, _, Self::Less | Self::AtMost | Self::AtLeast | Self::More) => false,
        }
    }
}

/// Seconds that a metric is looked at, where the rule says nothing, and at most: as long as short slots are kept.
const SECONDS: (u64, u64) = (300, 3_600);

impl Rule {
    /// Reads one; `None`: it is off, or is about something that raises no alerts here.
    pub fn read(held: &Held) -> Option<Self> {
        let object = held.object();
        let text = |name: &str| object.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let number = |name: &str, or: u64| object.get(name).and_then(Value::as_u64).unwrap_or(or);
        if object.get("enabled") == Some(&Value::Bool(false)) {
            return None;
        }
        let rule = object.get("alert_rule")?.as_object()?;
        let asks = match text("source")? {
            "EVENT_LOGS" => Asks::Events(entries(rule, "sys_event_rule").filter_map(of_event).collect()),
            "METRICS" => Asks::Metrics(entries(rule, "metrics_rule").filter_map(of_metric).collect()),
            source @ ("APP_LOGS" | "CONN_LOGS") => {
                let text = rule.get("conn_app_log_rule")?.get("filter_string")?.as_str()?;
                // What is no condition at all is refused where it is written.
                let filters = crate::api::filters(text).ok()?;
                let filters = filters.into_iter().map(Into::into).collect();
                Asks::Records(OfRecords { is_of_requests: source == "APP_LOGS", filters })
            }
            _ => return None,
        };
        let when = match text("category") {
            Some("ROLLINGWINDOW") => When::Often(number("threshold", 1), number("rolling_window", 300)),
            Some("WATERMARK") => When::Crossed,
            _ => When::AtOnce,
        };
        Some(Rule {
            uuid: held.uuid.clone(),
            name: held.name.clone(),
            tenant: held.tenant.clone(),
            is_any: rule.get("operator").and_then(Value::as_str) == Some("OPERATOR_OR"),
            asks,
            when,
            throttle: number("throttle", 600),
            expiry: number("expiry_time", 86_400),
            object: text("obj_uuid").map(str::to_owned),
            kind: text("object_type").map(str::to_lowercase),
            summary: text("summary").unwrap_or_default().to_owned(),
            actions: text("action_group_ref").and_then(|text| text.rsplit('/').next()).map(str::to_owned),
        })
    }

    /// Whether an event is one that is asked for.
    pub fn fits(&self, event: &Value) -> bool {
        let Asks::Events(conditions) = &self.asks else { return false };
        let text = |name: &str| event[name].as_str().unwrap_or_default();
        let is_about = self.object.as_deref().is_none_or(|uuid| uuid == text("obj_uuid"))
            && self.kind.as_deref().is_none_or(|kind| kind == text("obj_type").to_lowercase())
            // A rule of the tenant that has the system is about all of it.
            && (self.tenant == crate::access::ADMIN || self.tenant == text("tenant"));
        is_about && self.holds(conditions.iter().map(|condition| condition.is_so(event)))
    }

    /// Whether as many of its conditions are so as have to be; of none nothing follows.
    pub fn holds(&self, conditions: impl ExactSizeIterator<Item = bool>) -> bool {
        let mut conditions = conditions;
        match (conditions.len(), self.is_any) {
            (0, _) => false,
            (_, true) => conditions.any(|is_so| is_so),
            (_, false) => conditions.all(|is_so| is_so),
        }
    }
}

fn entries<'o>(object: &'o Object, name: &str) -> impl Iterator<Item = &'o Value> {
    object.get(name).and_then(Value::as_array).into_iter().flatten()
}

fn of_event(entry: &Value) -> Option<OfEvent> {
    let text = |entry: &Value, name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    let detail = |detail: &Value| {
        let comparison = Comparison::read(detail.get("comparator"), Comparison::Equal);
        (comparison, text(detail, "event_details_key"), text(detail, "event_details_value"))
    };
    let id = text(entry, "event_id");
    (!id.is_empty()).then(|| OfEvent {
        id,
        details: entry["event_details"].as_array().into_iter().flatten().map(detail).collect(),
        is_not: entry["not_cond"] == true,
    })
}

fn of_metric(entry: &Value) -> Option<OfMetric> {
    let threshold = entry.get("metric_threshold")?;
    Some(OfMetric {
        metric: find(entry.get("metric_id")?.as_str()?)?,
        seconds: entry["duration"]
            .as_u64()
            .filter(|seconds| *seconds > 0)
            .unwrap_or(SECONDS.0)
            .min(SECONDS.1),
        comparison: Comparison::read(threshold.get("comparator"), Comparison::More),
        threshold: threshold.get("threshold")?.as_f64()?,
    })
}

impl OfEvent {
    fn is_so(&self, event: &Value) -> bool {
        let of = |key: &str| match &event[key] {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        };
        let is_so = event["event_id"] == self.id.as_str()
            && self.details.iter().all(|(comparison, key, than)| comparison.is_so_of(&of(key), than));
        is_so != self.is_not
    }
}

impl OfMetric {
    /// Whether a value is one that is asked for.
    pub fn is_so(&self, value: f64) -> bool {
        self.comparison.is_so(value, self.threshold)
    }

    /// Whose tallies it is made of, of an object of this kind.
    pub fn key(&self, of: Kind, uuid: &str) -> Option<Key> {
        let is_own = match of {
            Kind::Service => !self.metric.is_of(Kind::Server),
            Kind::Pool | Kind::Server | Kind::Engine | Kind::Controller => true,
        };
        (is_own && self.metric.is_of(of)).then(|| Key::new(of, uuid))
    }
}
