//! One record: what stands in columns of its own, and the rest.

use std::net::{IpAddr, Ipv6Addr};

use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::Micros;

/// Of what a record tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A connection.
    Connection,
    /// A request.
    Request,
}

/// A record as it is written.
#[derive(Clone, Debug)]
pub struct Record {
    /// When it began.
    pub at: Micros,
    /// Of what it tells.
    pub kind: Kind,
    /// Whether it deserves a look.
    pub significant: bool,
    /// The virtual service.
    pub service: String,
    /// The pool.
    pub pool: Option<String>,
    /// The engine.
    pub engine: Option<String>,
    /// The status that the client got.
    pub code: Option<u16>,
    /// The client, an IPv4 address as IPv6 has it, so that all of them compare.
    pub client: Option<[u8; 16]>,
    /// The server.
    pub server: Option<[u8; 16]>,
    /// The method.
    pub method: Option<String>,
    /// The path.
    pub path: Option<String>,
    /// How long it took, in milliseconds.
    pub total_ms: Option<f64>,
    /// Bytes of the answer.
    pub bytes: Option<i64>,
    /// All else, a JSON object.
    pub rest: String,
    /// To whose room it counts; it is not shown, and not known of a record that is read.
    pub owner: String,
}

/// An address as it stands in a column.
pub fn address(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

/// An address as it is shown.
pub fn shown(address: [u8; 16]) -> String {
    Ipv6Addr::from(address).to_canonical().to_string()
}

/// A moment as engines write it.
pub fn moment(text: &str) -> Option<Micros> {
    let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    Micros::try_from(at.unix_timestamp_nanos() / 1000).ok()
}

/// The same the other way.
pub fn stamp(at: Micros) -> String {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at) * 1000);
    at.ok().and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_default()
}

fn text(fields: &mut Map<String, Value>, name: &str) -> Option<String> {
    match fields.remove(name)? {
        Value::String(text) => Some(text),
        other => {
            fields.insert(name.into(), other);
            None
        }
    }
}

fn ip(fields: &mut Map<String, Value>, name: &str) -> Option<[u8; 16]> {
    let ip = fields.get(name)?.as_str()?.parse().ok()?;
    fields.remove(name);
    Some(address(ip))
}

/// The fields of a line.
pub(crate) fn fields_of(line: &[u8]) -> Result<Map<String, Value>, &'static str> {
    match serde_json::from_slice(line) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err("it is no object"),
        Err(_) => Err("it is no JSON"),
    }
}

impl Record {
    /// Reads one line.
    ///
    /// # Errors
    ///
    /// Why it is none: no object, no time, or no service.
    pub fn read(line: &[u8]) -> Result<Record, &'static str> {
        Record::of(fields_of(line)?)
    }

    /// Makes one of its fields.
    ///
    /// # Errors
    ///
    /// Why it is none: no time, or no service.
    pub fn of(mut fields: Map<String, Value>) -> Result<Record, &'static str> {
        let at = text(&mut fields, "report_timestamp");
        let at = at.and_then(|at| moment(&at)).ok_or("it has no report_timestamp")?;
        let service = text(&mut fields, "virtualservice").ok_or("it has no virtualservice")?;
        let code = fields.get("response_code").and_then(Value::as_u64).and_then(|c| u16::try_from(c).ok());
        let kind = if code.is_some() { Kind::Request } else { Kind::Connection };
        let total_ms = fields.get("total_time").and_then(Value::as_f64);
        let bytes = fields.get("response_length").and_then(Value::as_i64);
        let significant = fields.get("significant").and_then(Value::as_bool);
        let taken = [
            ("response_code", code.is_some()),
            ("total_time", total_ms.is_some()),
            ("response_length", bytes.is_some()),
            ("significant", significant.is_some()),
        ];
        taken.iter().filter(|(_, is_taken)| *is_taken).for_each(|(name, _)| {
            fields.remove(*name);
        });
        Ok(Record {
            at,
            kind,
            significant: significant.unwrap_or(false),
            service,
            pool: text(&mut fields, "pool_name"),
            engine: text(&mut fields, "service_engine"),
            code,
            client: ip(&mut fields, "client_ip"),
            server: ip(&mut fields, "server_ip"),
            method: text(&mut fields, "method"),
            path: text(&mut fields, "uri_path"),
            total_ms,
            bytes,
            rest: Value::Object(fields).to_string(),
            owner: String::new(),
        })
    }

    /// The record as it came, its fields in the order of their names.
    pub fn shown(&self) -> Map<String, Value> {
        let mut fields = match serde_json::from_str(&self.rest) {
            Ok(Value::Object(fields)) => fields,
            _ => Map::new(),
        };
        fields.append(&mut self.columns());
        fields
    }

    /// What stands in columns.
    pub(crate) fn columns(&self) -> Map<String, Value> {
        let text = |text: &Option<String>| text.as_deref().map(Value::from);
        let fields = [
            ("report_timestamp", Some(stamp(self.at).into())),
            ("significant", Some(self.significant.into())),
            ("virtualservice", Some(self.service.as_str().into())),
            ("pool_name", text(&self.pool)),
            ("service_engine", text(&self.engine)),
            ("response_code", self.code.map(Value::from)),
            ("client_ip", self.client.map(|ip| shown(ip).into())),
            ("server_ip", self.server.map(|ip| shown(ip).into())),
            ("method", text(&self.method)),
            ("uri_path", text(&self.path)),
            ("total_time", self.total_ms.map(Value::from)),
            ("response_length", self.bytes.map(Value::from)),
        ];
        fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_shown_as_it_came() {
        let line = serde_json::json!({
            "report_timestamp": "2026-11-22T13:48:22.264884Z", "virtualservice": "web", "client_ip": "10.1.2.3",
            "client_src_port": 4711, "uri_path": "/a", "response_code": 200, "total_time": 1.5, "response_length": 10,
            "significant": true, "significant_log": ["ADF_CLIENT_SENT_RESET"], "server_ip": "2001:db8::1", "method": "GET",
            "service_engine": "se-1", "reason": {"kind": "persistence", "to": 1},
        });
        let record = Record::read(line.to_string().as_bytes()).expect("a record");
        assert_eq!((record.kind, record.code, record.significant), (Kind::Request, Some(200), true));
        assert_eq!(Value::Object(record.shown()), line);
    }

    #[test]
    fn fields_of_another_type_stay_what_they_are_and_nonsense_is_none() {
        let line = r#"{"report_timestamp":"2026-11-22T13:48:22Z","virtualservice":"tcp","client_ip":"?","pool_name":7,"response_code":70000}"#;
        let record = Record::read(line.as_bytes()).expect("a record");
        assert_eq!((record.kind, record.client, record.code), (Kind::Connection, None, None));
        let shown = record.shown();
        assert_eq!(
            (&shown["client_ip"], &shown["pool_name"], &shown["response_code"]),
            (&"?".into(), &7.into(), &70_000.into())
        );
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"report_timestamp":"yesterday","virtualservice":"a"}"#,
            r#"{"report_timestamp":"2026-11-22T13:48:22Z"}"#,
        ] {
            assert!(Record::read(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
