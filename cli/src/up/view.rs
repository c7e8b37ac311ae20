//! The live view: a few plain lines that refresh, on a terminal only.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::metrics::Row;
use super::{Running, metrics};
use crate::sys;

/// Between two refreshes.
const REFRESH: Duration = Duration::from_secs(1);
/// Between two looks at whether to stop.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Widest name that keeps the columns in line.
const NAME_MAX: usize = 24;

/// Watches over everything until somebody asks to stop; shows it if `live`.
///
/// # Errors
/// If the service engine ends by itself.
pub fn until_stopped(running: &mut Running, live: bool) -> Result<()> {
    let mut next = Instant::now();
    let mut view = View::default();
    while !sys::stop_asked() {
        running.engine.check()?;
        if live && Instant::now() >= next {
            next = Instant::now() + REFRESH;
            view.refresh(running)?;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

#[derive(Default)]
struct View {
    lines: usize,
    services: Rates,
    servers: Rates,
}

impl View {
    fn refresh(&mut self, running: &mut Running) -> Result<()> {
        let mut text = Vec::new();
        match metrics::read(running.plan.metrics) {
            Ok(rows) => {
                self.services(running, &rows, &mut text);
                self.servers(running, &rows, &mut text);
            }
            Err(error) => text.push(format!("  no metrics: {error:#}")),
        }
        // A line that wraps, or one above the window, cannot be written over.
        let (height, width) = sys::terminal_size().unwrap_or((24, 80));
        fit(&mut text, height, width);
        let mut out = std::io::stdout();
        if self.lines > 0 {
            write!(out, "\x1b[{}A\x1b[J", self.lines)?;
        }
        for line in &text {
            writeln!(out, "{line}")?;
        }
        out.flush()?;
        self.lines = text.len();
        Ok(())
    }

    fn services(&mut self, running: &Running, rows: &[Row], text: &mut Vec<String>) {
        let plan = &running.plan;
        let wide = name_width(plan.services.iter().map(|s| s.name).chain(names(running)));
        text.push(format!("  {:<wide$} {:>10} {:>12} {:>9}", "service", "requests", "per second", "failed"));
        for (i, service) in plan.services.iter().enumerate() {
            let sum = |name: &str, class: &str| {
                let of_name = rows.iter().filter(|r| r.name == name && r.label("class") == class);
                of_name.filter(|r| r.label("virtual_service") == service.name).map(|r| r.value).sum::<f64>()
            };
            let total = sum("forebay_requests_total", "");
            let failed = sum("forebay_responses_total", "5xx");
            let rate = self.services.since_last(i, total);
            text.push(format!("  {:<wide$} {total:>10} {rate:>12} {failed:>9}", service.name));
        }
    }

    fn servers(&mut self, running: &mut Running, rows: &[Row], text: &mut Vec<String>) {
        let wide = name_width(running.plan.services.iter().map(|s| s.name).chain(names(running)));
        text.push(format!("  {:<wide$} {:>10} {:>12}   state", "server", "requests", "per second"));
        for (i, (name, address)) in running.plan.servers.iter().enumerate() {
            let label = address.to_string();
            let of_server = |metric: &'static str| {
                let label = label.clone();
                rows.iter().filter(move |r| r.name == metric && r.label("server") == label)
            };
            let total: f64 = of_server("forebay_server_responses_total").map(|r| r.value).sum();
            let rate = self.servers.since_last(i, total);
            let up = of_server("forebay_server_up").filter(|r| r.value > 0.0).count();
            let pools = of_server("forebay_server_up").count();
            let ended = running.demo.iter_mut().any(|(n, process)| n == name && process.check().is_err());
            let state = match up {
                _ if ended && up > 0 => "ended; not noticed yet".to_owned(),
                _ if ended => "down: its process has ended".to_owned(),
                0 => "down".to_owned(),
                _ if up == pools => "up".to_owned(),
                _ => format!("up in {up} of {pools} pools"),
            };
            text.push(format!("  {name:<wide$} {total:>10} {rate:>12}   {state}"));
        }
    }
}

/// What counters showed at the last refresh.
#[derive(Default)]
struct Rates(Vec<f64>);

impl Rates {
    /// How much more than at the last refresh; nothing at the first.
    fn since_last(&mut self, i: usize, total: f64) -> f64 {
        if self.0.len() <= i {
            self.0.resize(i + 1, total);
        }
        total - std::mem::replace(&mut self.0[i], total)
    }
}

fn names(running: &Running) -> impl Iterator<Item = &str> {
    running.plan.servers.iter().map(|(name, _)| name.as_str())
}

fn name_width<'a>(names: impl Iterator<Item = &'a str>) -> usize {
    names.map(str::len).max().unwrap_or(0).clamp(8, NAME_MAX)
}

/// Cuts lines at the terminal's width and leaves out what is more than its height, saying how much.
fn fit(text: &mut Vec<String>, height: usize, width: usize) {
    let room = height.saturating_sub(2).max(1);
    if text.len() > room {
        let more = text.len() - (room - 1);
        text.truncate(room - 1);
        text.push(format!("  and {more} more"));
    }
    for line in text {
        *line = line.chars().take(width).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_never_outgrows_its_window() {
        let lines = |n: usize| (0..n).map(|i| format!("{i} {}", "x".repeat(90))).collect::<Vec<_>>();
        let mut text = lines(30);
        fit(&mut text, 24, 80);
        assert_eq!(text.len(), 22);
        assert_eq!(text[21], "  and 9 more");
        assert!(text.iter().all(|l| l.len() <= 80));
        let mut text = lines(3);
        fit(&mut text, 24, 200);
        assert_eq!(text, lines(3));
    }

    #[test]
    fn a_rate_is_what_came_since_the_last_look() {
        let mut rates = Rates::default();
        assert_eq!(
            [rates.since_last(1, 7.0), rates.since_last(1, 9.0), rates.since_last(1, 9.0)],
            [0.0, 2.0, 0.0]
        );
    }
}
