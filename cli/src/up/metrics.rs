//! Reads the service engine's metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::http::Reader;

/// The counter that has one row per worker and counts what clients were answered.
const REQUESTS: &str = "forebay_requests_total";
const PATIENCE: Duration = Duration::from_secs(2);

/// One line of the page.
pub struct Row {
    /// Name of the metric.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

impl Row {
    /// A label's value, empty if there is none.
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

/// All rows of the page.
pub fn read(from: SocketAddr) -> Result<Vec<Row>> {
    let stream = TcpStream::connect_timeout(&from, PATIENCE).with_context(|| format!("metrics at {from}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut reader = Reader::new(stream);
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {from}\r\nConnection: close\r\n\r\n");
    reader.stream().write_all(request.as_bytes())?;
    let head = reader.head()?.context("metrics: no answer")?;
    let mut text = Vec::new();
    reader.body(head.framing(true)?, |part| text.extend_from_slice(part))?;
    Ok(parse(&String::from_utf8_lossy(&text)))
}

/// How many workers of an engine have answered requests.
pub fn workers_used(from: SocketAddr) -> Result<usize> {
    let rows = read(from)?;
    let used: BTreeSet<&str> =
        rows.iter().filter(|r| r.name == REQUESTS && r.value > 0.0).map(|r| r.label("worker")).collect();
    Ok(used.len())
}

fn parse(text: &str) -> Vec<Row> {
    text.lines().filter(|l| !l.starts_with('#')).filter_map(row).collect()
}

fn row(line: &str) -> Option<Row> {
    let (name, labels, rest) = match line.split_once('{') {
        Some((name, rest)) => {
            let (labels, rest) = rest.rsplit_once('}')?;
            (name, labels, rest)
        }
        None => {
            let (name, rest) = line.split_once(' ')?;
            (name, "", rest)
        }
    };
    let value = rest.split_whitespace().next()?.parse().ok()?;
    let labels = labels
        .split("\",")
        .filter_map(|pair| pair.split_once("=\""))
        .map(|(n, v)| (n.trim().to_owned(), v.trim_end_matches('"').to_owned()))
        .collect();
    Some(Row { name: name.to_owned(), labels, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_with_and_without_labels() {
        let rows = parse("# TYPE a counter\na_total{worker=\"1\",vs=\"web, main\"} 12\nup 1\n# EOF\n");
        assert_eq!(rows.len(), 2);
        assert_eq!((rows[0].label("worker"), rows[0].label("vs"), rows[0].value), ("1", "web, main", 12.0));
        assert_eq!((rows[1].name.as_str(), rows[1].value), ("up", 1.0));
    }
}
