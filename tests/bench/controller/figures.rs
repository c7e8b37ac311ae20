//! Figures, their bars, and how they are shown.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};

/// One measured number.
struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
    /// At most this much is asked for.
    bar: Option<f64>,
}

/// All of a run.
#[derive(Default)]
pub struct Figures {
    all: Vec<Figure>,
}

/// Times of the same thing.
#[derive(Default)]
pub struct Times {
    all: Vec<Duration>,
}

impl Times {
    /// One more.
    pub fn put(&mut self, time: Duration) {
        self.all.push(time);
    }

    /// The value that so many of a hundred do not exceed, in milliseconds; of none: 0.
    pub fn percentile(&self, part: usize) -> f64 {
        let mut sorted = self.all.clone();
        sorted.sort_unstable();
        let at = (sorted.len() * part).div_ceil(100).max(1) - 1;
        sorted.get(at).map_or(0.0, |time| milliseconds(*time))
    }
}

/// A time in milliseconds.
pub fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

impl Figures {
    /// Keeps a number, and says it at once: a run takes minutes.
    pub fn put(&mut self, name: &str, value: f64, unit: &'static str, bar: Option<f64>) {
        eprintln!("{name}: {value:.1} {unit}");
        self.all.push(Figure { name: name.to_owned(), value, unit, bar });
    }

    /// Keeps the median and the 99th percentile of times; the bar is that of the latter.
    pub fn times(&mut self, name: &str, times: &Times, bar: Option<f64>) {
        self.put(&format!("{name}, median"), times.percentile(50), "ms", None);
        self.put(&format!("{name}, p99"), times.percentile(99), "ms", bar);
    }

    /// How many bars are missed.
    pub fn misses(&self) -> usize {
        self.all.iter().filter(|figure| figure.bar.is_some_and(|bar| figure.value > bar)).count()
    }

    /// Shows a table.
    pub fn print(&self) {
        println!("{:<62} {:>12} {:<5} {:>9}", "what", "measured", "", "bar");
        for figure in &self.all {
            let bar = figure.bar.map_or(String::new(), |bar| format!("{bar:.0}"));
            let verdict = match figure.bar {
                Some(bar) if figure.value > bar => "missed",
                Some(_) => "met",
                None => "",
            };
            println!("{:<62} {:>12.1} {:<5} {bar:>9} {verdict}", figure.name, figure.value, figure.unit);
        }
    }

    /// Writes them as JSON.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, file: &Path) -> anyhow::Result<()> {
        let all = self.all.iter().map(|figure| {
            json!({"name": figure.name, "value": figure.value, "unit": figure.unit, "bar": figure.bar})
        });
        let text = format!("{:#}\n", Value::from_iter(all));
        if file == Path::new("-") {
            print!("{text}");
            return Ok(());
        }
        std::fs::write(file, text).with_context(|| format!("{}", file.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_times_that_so_many_do_not_exceed() {
        let mut times = Times::default();
        assert!(times.percentile(99).abs() < f64::EPSILON);
        (1..=200).for_each(|n| times.put(Duration::from_millis(n)));
        let all = [1, 50, 99, 100].map(|part| times.percentile(part).round());
        assert!(
            all.iter().zip([2.0, 100.0, 198.0, 200.0]).all(|(a, b): (&f64, f64)| (a - b).abs() < 0.5),
            "{all:?}"
        );
    }

    #[test]
    fn a_figure_above_its_bar_is_missed() {
        let mut figures = Figures::default();
        figures.put("a", 5.0, "ms", Some(5.0));
        figures.put("b", 5.1, "ms", Some(5.0));
        figures.put("c", 500.0, "ms", None);
        assert_eq!(figures.misses(), 1);
    }
}
