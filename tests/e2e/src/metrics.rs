//! Reads a metrics page.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::client::Client;

/// One row.
#[derive(Clone, Debug)]
pub struct Row {
    /// Name of the metric.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

/// A page of metrics.
#[derive(Debug, Default)]
pub struct Page(pub Vec<Row>);

impl Page {
    /// Reads it from its server; `None` if there is no proper answer.
    pub fn read(from: SocketAddr) -> Option<Self> {
        let answer = Client::new(from).get_once("/metrics").ok().filter(|a| a.status == 200)?;
        Some(Self::parse(&answer.text()))
    }

    /// Reads a text.
    pub fn parse(text: &str) -> Self {
        Self(text.lines().filter(|l| !l.starts_with('#')).filter_map(row).collect())
    }

    /// Sum of the rows with this name and all of these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.rows(name, labels).map(|r| r.value).sum()
    }

    /// The rows with this name and all of these labels.
    pub fn rows<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = &'a Row> {
        let fits = move |r: &&Row| labels.iter().all(|(n, v)| r.labels.get(*n).is_some_and(|l| l == v));
        self.0.iter().filter(move |r| r.name == name).filter(fits)
    }
}

fn row(line: &str) -> Option<Row> {
    // An exemplar follows after ` # `.
    let line = line.split(" # ").next()?;
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
    let pairs = labels.split("\",").filter_map(|p| p.split_once("=\""));
    let labels = pairs.map(|(n, v)| (n.trim().to_owned(), v.trim_end_matches('"').to_owned())).collect();
    Some(Row { name: name.to_owned(), labels, value })
}
