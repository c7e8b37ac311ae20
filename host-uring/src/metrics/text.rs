//! OpenMetrics text: families in order, each with its type, unit and help.

use std::fmt::Write as _;

use super::histogram::{BOUNDS_US, HistogramSum};

/// Kinds of metric families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows; its samples end in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Durations by size.
    Histogram,
    /// A constant 1 with labels; its sample ends in `_info`.
    Info,
    /// One of several states is 1.
    StateSet,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
            Self::StateSet => "stateset",
        }
    }
}

/// A page of metrics that is being written.
pub struct Page {
    out: String,
    family: &'static str,
    kind: Kind,
}

impl Page {
    /// An empty page.
    pub fn new() -> Self {
        Self { out: String::with_capacity(64 << 10), family: "", kind: Kind::Gauge }
    }

    /// Begins a family; `unit` is the last part of its name, or empty. Each family is begun once.
    pub fn family(&mut self, name: &'static str, kind: Kind, unit: &str, help: &str) {
        debug_assert!(unit.is_empty() || name.ends_with(unit), "{name}: the unit is the name's end");
        debug_assert!(!name.ends_with("_total"), "{name}: the samples get the suffix");
        (self.family, self.kind) = (name, kind);
        // Writing to a text cannot fail, here and below.
        let _ = writeln!(self.out, "# TYPE {name} {}", kind.word());
        if !unit.is_empty() {
            let _ = writeln!(self.out, "# UNIT {name} {unit}");
        }
        let _ = writeln!(self.out, "# HELP {name} {}", Escaped(help));
    }

    /// Writes one sample of the family.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: u64) {
        self.sample_text(labels, format_args!("{value}"));
    }

    /// Writes one sample given in thousandths (milliseconds where the unit is seconds).
    pub fn sample_milli(&mut self, labels: &[(&str, &str)], value: u64) {
        self.sample_text(labels, format_args!("{}.{:03}", value / 1_000, value % 1_000));
    }

    fn sample_text(&mut self, labels: &[(&str, &str)], value: std::fmt::Arguments<'_>) {
        let suffix = match self.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram | Kind::StateSet => "",
        };
        let _ = write!(self.out, "{}{suffix}", self.family);
        self.labels(labels, None);
        let _ = writeln!(self.out, " {value}");
    }

    /// Writes the samples of one histogram.
    pub fn histogram(&mut self, labels: &[(&str, &str)], sum: &HistogramSum) {
        let mut below = 0;
        for (index, count) in sum.buckets.iter().enumerate() {
            below += count;
            let _ = write!(self.out, "{}_bucket", self.family);
            match BOUNDS_US.get(index) {
                Some(us) => self.labels(labels, Some(&format!("{}.{:06}", us / 1_000_000, us % 1_000_000))),
                None => self.labels(labels, Some("+Inf")),
            }
            let _ = writeln!(self.out, " {below}");
        }
        let _ = write!(self.out, "{}_count", self.family);
        self.labels(labels, None);
        let _ = writeln!(self.out, " {below}");
        let _ = write!(self.out, "{}_sum", self.family);
        self.labels(labels, None);
        let _ = writeln!(self.out, " {}.{:06}", sum.sum_us / 1_000_000, sum.sum_us % 1_000_000);
    }

    fn labels(&mut self, labels: &[(&str, &str)], bound: Option<&str>) {
        if labels.is_empty() && bound.is_none() {
            return;
        }
        let mut before = '{';
        for (name, value) in labels.iter().copied().chain(bound.map(|bound| ("le", bound))) {
            let _ = write!(self.out, "{before}{name}=\"{}\"", Escaped(value));
            before = ',';
        }
        self.out.push('}');
    }

    /// Ends the page.
    pub fn end(mut self) -> String {
        self.out.push_str("# EOF\n");
        self.out
    }
}

impl Default for Page {
    fn default() -> Self {
        Self::new()
    }
}

/// A text with backslash, quote and line end escaped.
struct Escaped<'t>(&'t str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for c in self.0.chars() {
            match c {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}
