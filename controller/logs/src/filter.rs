//! What a search asks of a record's fields, in SQL where they stand in columns and here where they do not.

use std::fmt::Write as _;
use std::net::IpAddr;

use rusqlite::types::Value as Bound;
use serde_json::{Map, Value};

use crate::record::{Record, address};

/// How a field is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Equal to one of the values; an address may be a network.
    Eq,
    /// Not equal to any of them.
    Ne,
    /// Greater.
    Gt,
    /// Greater or equal.
    Ge,
    /// Less.
    Lt,
    /// Less or equal.
    Le,
    /// Contains the text, whatever its case.
    Contains,
    /// Begins with the text.
    StartsWith,
}

/// A condition on one field.
#[derive(Clone, Debug)]
pub struct Filter {
    /// The field's name; `all`: any field (to contain a text).
    pub field: String,
    /// How it is compared.
    pub op: Op,
    /// With what: one value, several for [`Op::Eq`] and [`Op::Ne`].
    pub values: Vec<String>,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    /// The number of a word in the file's list.
    Word,
    /// A text.
    Text,
    /// A number.
    Number,
    /// 16 bytes.
    Address,
    /// 0 or 1.
    Flag,
}

/// Fields that stand in columns.
pub(crate) const COLUMNS: [(&str, &str, Holds); 11] = [
    ("virtualservice", "service", Holds::Word),
    ("pool_name", "pool", Holds::Word),
    ("service_engine", "engine", Holds::Word),
    ("response_code", "code", Holds::Number),
    ("client_ip", "client", Holds::Address),
    ("server_ip", "server", Holds::Address),
    ("method", "method", Holds::Text),
    ("uri_path", "path", Holds::Text),
    ("total_time", "total_ms", Holds::Number),
    ("response_length", "bytes", Holds::Number),
    ("significant", "significant", Holds::Flag),
];

/// A column by its field's name.
pub(crate) fn column(field: &str) -> Option<(&'static str, Holds)> {
    COLUMNS.iter().find(|(name, ..)| *name == field).map(|(_, column, holds)| (*column, *holds))
}

/// The first and the last address of a network, or of one address.
fn network(text: &str) -> Option<([u8; 16], [u8; 16])> {
    let (ip, bits) = text.split_once('/').map_or((text, None), |(ip, bits)| (ip, Some(bits)));
    let ip: IpAddr = ip.parse().ok()?;
    let whole: u32 = if ip.is_ipv4() { 32 } else { 128 };
    let bits = bits.map_or(Some(whole), |bits| bits.parse().ok()).filter(|bits| *bits <= whole)?;
    let host = u128::MAX.checked_shr(128 - whole + bits).unwrap_or(0);
    let first = u128::from_be_bytes(address(ip)) & !host;
    Some((first.to_be_bytes(), (first | host).to_be_bytes()))
}

/// Whether a text stands in another one, whatever its case.
fn has(text: &[u8], wanted: &[u8]) -> bool {
    let Some(first) = wanted.first() else { return true };
    let begins = |window: &&[u8]| window[0].eq_ignore_ascii_case(first);
    text.windows(wanted.len()).filter(begins).any(|window| window.eq_ignore_ascii_case(wanted))
}

/// Conditions of one search: a part that SQLite sees to, and filters that look at what is compressed.
#[derive(Default)]
pub(crate) struct Plan<'f> {
    /// ` AND …`
    pub sql: String,
    /// What its question marks stand for.
    pub bound: Vec<Bound>,
    /// What is looked at row by row.
    pub rest: Vec<&'f Filter>,
    /// No row of this file can match.
    pub is_empty: bool,
    /// One service is asked for: its index leads.
    pub by_service: bool,
}

impl Filter {
    /// Says whether it makes sense.
    ///
    /// # Errors
    ///
    /// What does not, and what would.
    pub fn check(&self) -> Result<(), String> {
        let several = matches!(self.op, Op::Eq | Op::Ne);
        if self.values.is_empty() || (self.values.len() > 1 && !several) {
            return Err(format!("filter on {}: one value is needed", self.field));
        }
        if self.field == "all" && self.op != Op::Contains {
            return Err("filter on all: it can only contain a text (co)".into());
        }
        let Some((_, holds)) = column(&self.field) else { return Ok(()) };
        let wrong = |value: &&String| match holds {
            Holds::Number => value.parse::<f64>().is_err(),
            Holds::Address => !matches!(self.op, Op::Contains | Op::StartsWith) && network(value).is_none(),
            Holds::Flag => value.parse::<bool>().is_err(),
            Holds::Word | Holds::Text => false,
        };
        if matches!(holds, Holds::Number | Holds::Flag | Holds::Address)
            && matches!(self.op, Op::Contains | Op::StartsWith)
        {
            return Err(format!(
                "filter on {}: it is no text, compare it by eq, ne, gt, ge, lt or le",
                self.field
            ));
        }
        match self.values.iter().find(wrong) {
            Some(value) => Err(format!("filter on {}: \"{value}\" is not what it holds", self.field)),
            None => Ok(()),
        }
    }

    /// Adds its condition to a plan; `words` are those of the file.
    pub(crate) fn plan<'f>(&'f self, words: &[(i64, String)], plan: &mut Plan<'f>) {
        let Some((column, holds)) = column(&self.field) else {
            plan.rest.push(self);
            return;
        };
        match holds {
            Holds::Word => self.plan_words(column, words, plan),
            Holds::Address => self.plan_addresses(column, plan),
            Holds::Text => self.plan_values(column, plan, |value| Bound::Text(value.into())),
            Holds::Number => {
                self.plan_values(column, plan, |value| Bound::Real(value.parse().unwrap_or(f64::NAN)));
            }
            Holds::Flag => {
                self.plan_values(column, plan, |value| Bound::Integer(i64::from(value == "true")));
            }
        }
    }

    fn plan_words(&self, column: &str, words: &[(i64, String)], plan: &mut Plan<'_>) {
        let good: Vec<i64> =
            words.iter().filter(|(_, word)| self.is_met_by_text(word)).map(|(id, _)| *id).collect();
        plan.is_empty |= good.is_empty() && self.op != Op::Ne;
        plan.by_service |= column == "service" && good.len() == 1 && self.op == Op::Eq;
        let list = good.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
        let or_none = if self.op == Op::Ne { format!(" OR {column} IS NULL") } else { String::new() };
        let _ = write!(plan.sql, " AND ({column} IN ({list}){or_none})");
    }

    fn plan_addresses(&self, column: &str, plan: &mut Plan<'_>) {
        let networks: Vec<_> = self.values.iter().filter_map(|value| network(value)).collect();
        let mut bind = |address: [u8; 16]| plan.bound.push(Bound::Blob(address.to_vec()));
        let one = match self.op {
            Op::Gt | Op::Ge | Op::Lt | Op::Le => {
                let (first, last) = networks.first().copied().unwrap_or_default();
                bind(if matches!(self.op, Op::Gt | Op::Le) { last } else { first });
                format!("{column} {} ?", self.sign())
            }
            _ => {
                networks.iter().for_each(|(first, last)| [first, last].into_iter().for_each(|a| bind(*a)));
                let any = vec![format!("{column} BETWEEN ? AND ?"); networks.len()].join(" OR ");
                if self.op == Op::Ne { format!("{column} IS NULL OR NOT ({any})") } else { any }
            }
        };
        let _ = write!(plan.sql, " AND ({one})");
    }

    fn plan_values(&self, column: &str, plan: &mut Plan<'_>, bound: impl Fn(&str) -> Bound) {
        let marks = vec!["?"; self.values.len()].join(",");
        let _ = match self.op {
            Op::Eq => write!(plan.sql, " AND {column} IN ({marks})"),
            Op::Ne => write!(plan.sql, " AND ({column} IS NULL OR {column} NOT IN ({marks}))"),
            Op::Contains => write!(plan.sql, " AND instr(lower({column}), lower(?)) > 0"),
            Op::StartsWith => write!(plan.sql, " AND substr({column}, 1, length(?)) = ?"),
            _ => write!(plan.sql, " AND {column} {} ?", self.sign()),
        };
        let twice = if self.op == Op::StartsWith { 2 } else { 1 };
        for value in &self.values {
            plan.bound.extend(std::iter::repeat_n(bound(value), twice));
        }
    }

    fn sign(&self) -> &'static str {
        match self.op {
            Op::Gt => ">",
            Op::Ge => ">=",
            Op::Lt => "<",
            _ => "<=",
        }
    }

    fn is_met_by_text(&self, text: &str) -> bool {
        let first = self.values.first().map_or("", String::as_str);
        let order = match (text.parse::<f64>(), first.parse::<f64>()) {
            (Ok(text), Ok(value)) => text.partial_cmp(&value),
            _ => Some(text.cmp(first)),
        };
        match self.op {
            Op::Eq => self.values.iter().any(|value| value == text),
            Op::Ne => !self.values.iter().any(|value| value == text),
            Op::Gt => order.is_some_and(std::cmp::Ordering::is_gt),
            Op::Ge => order.is_some_and(std::cmp::Ordering::is_ge),
            Op::Lt => order.is_some_and(std::cmp::Ordering::is_lt),
            Op::Le => order.is_some_and(std::cmp::Ordering::is_le),
            Op::Contains => text.to_lowercase().contains(&first.to_lowercase()),
            Op::StartsWith => text.starts_with(first),
        }
    }

    /// Whether a record may meet it, by the text of what is not in columns: most that do not are told apart without being read.
    pub(crate) fn may_meet(&self, record: &Record) -> bool {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:=& ".contains(&byte);
        let one = match (self.op, self.values.as_slice()) {
            (Op::Eq | Op::Contains | Op::StartsWith, [one]) => one.as_bytes(),
            _ => return true,
        };
        // Such a text stands in JSON as it is. Others change when they are written or compared.
        if !one.iter().copied().all(is_plain) || !record.rest.is_ascii() || has(record.rest.as_bytes(), one) {
            return true;
        }
        self.field == "all" && record.columns().values().any(|value| self.is_met_by(value))
    }

    /// Whether a whole record meets it; one that lacks the field is different from everything, and else meets nothing.
    pub(crate) fn is_met(&self, record: &Map<String, Value>) -> bool {
        if self.field == "all" {
            return record.values().any(|value| self.is_met_by(value));
        }
        record.get(&self.field).map_or(self.op == Op::Ne, |value| self.is_met_by(value))
    }

    fn is_met_by(&self, value: &Value) -> bool {
        match value {
            Value::String(text) => self.is_met_by_text(text),
            // One of a list is enough, but for being different from all of it.
            Value::Array(list) if self.op == Op::Ne => list.iter().all(|value| self.is_met_by(value)),
            Value::Array(list) => list.iter().any(|value| self.is_met_by(value)),
            other => self.is_met_by_text(&other.to_string()),
        }
    }
}

/// A filter that is held against records before they are written: it finds what a search would find.
#[derive(Clone, Debug)]
pub struct Condition {
    filter: Filter,
    /// The networks of a filter on addresses, read once.
    networks: Option<Vec<([u8; 16], [u8; 16])>>,
}

impl From<Filter> for Condition {
    fn from(filter: Filter) -> Self {
        let is_of_addresses = matches!(column(&filter.field), Some((_, Holds::Address)));
        let networks = || filter.values.iter().filter_map(|value| network(value)).collect();
        Condition { networks: is_of_addresses.then(networks), filter }
    }
}

impl Condition {
    /// Whether a record meets it.
    #[must_use]
    pub fn meets(&self, record: &Map<String, Value>) -> bool {
        let Some(networks) = &self.networks else { return self.filter.is_met(record) };
        let ip = record.get(&self.filter.field).and_then(Value::as_str);
        let Some(ip) = ip.and_then(|ip| ip.parse().ok()).map(address) else {
            return self.filter.op == Op::Ne;
        };
        let mut networks = networks.iter();
        match self.filter.op {
            Op::Ne => !networks.any(|(first, last)| (first..=last).contains(&&ip)),
            Op::Gt => networks.any(|(_, last)| ip > *last),
            Op::Ge => networks.any(|(first, _)| ip >= *first),
            Op::Lt => networks.any(|(first, _)| ip < *first),
            Op::Le => networks.any(|(_, last)| ip <= *last),
            Op::Eq | Op::Contains | Op::StartsWith => {
                networks.any(|(first, last)| (first..=last).contains(&&ip))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_its_first_and_last_address() {
        let shown = |text| network(text).map(|(a, b)| (crate::record::shown(a), crate::record::shown(b)));
        assert_eq!(shown("10.20.30.40/12"), Some(("10.16.0.0".into(), "10.31.255.255".into())));
        assert_eq!(shown("10.1.2.3"), Some(("10.1.2.3".into(), "10.1.2.3".into())));
        assert_eq!(shown("0.0.0.0/0"), Some(("0.0.0.0".into(), "255.255.255.255".into())));
        assert_eq!(shown("2001:db8::/127"), Some(("2001:db8::".into(), "2001:db8::1".into())));
        for bad in ["10.0.0.0/33", "x", "::/129", "10.0.0.1/-1"] {
            assert_eq!(shown(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        let filter = |field: &str, op, values: &[&str]| Filter {
            field: field.into(),
            op,
            values: values.iter().map(ToString::to_string).collect(),
        };
        let bad = [
            filter("response_code", Op::Eq, &["many"]),
            filter("client_ip", Op::Eq, &["10.0.0.0/40"]),
            filter("client_ip", Op::Contains, &["10."]),
            filter("all", Op::Eq, &["x"]),
            filter("host", Op::Gt, &["1", "2"]),
            filter("host", Op::Eq, &[]),
            filter("significant", Op::Eq, &["perhaps"]),
        ];
        for filter in bad {
            assert!(filter.check().is_err(), "{filter:?}");
        }
        assert_eq!(filter("anything", Op::Lt, &["7"]).check(), Ok(()));
    }
}
