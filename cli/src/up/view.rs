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
/// If no service engine is left.
pub fn until_stopped(running: &mut Running, live: bool) -> Result<()> {
    let mut next = Instant::now();
    let mut view = View::default();
    let mut ended = vec![false; running.engines.len()];
    while !sys::stop_asked() {
        let mut why = None;
        for (engine, ended) in running.engines.iter_mut().zip(&mut ended) {
            if let Err(error) = engine.process.check() {
                if !*ended && !live {
                    eprintln!("{}: {error:#}", engine.seat.name());
                }
                *ended = true;
                why = Some(error);
            }
        }
        if let Some(why) = why.filter(|_| ended.iter().all(|ended| *ended)) {
            return Err(why);
        }
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
    engines: Rates,
    servers: Rates,
    /// What each engine's metrics said last.
    counted: Vec<Vec<Row>>,
}

impl View {
    fn refresh(&mut self, running: &mut Running) -> Result<()> {
        let mut text = Vec::new();
        let pages: Vec<Option<Vec<Row>>> =
            running.plan.seats.iter().map(|seat| metrics::read(seat.metrics).ok()).collect();
        let live: Vec<bool> = pages.iter().map(Option::is_some).collect();
        self.counted.resize_with(pages.len(), Vec::new);
        for (kept, page) in self.counted.iter_mut().zip(pages) {
            // What an engine that has ended counted was counted all the same.
            *kept = page.unwrap_or_else(|| std::mem::take(kept));
        }
        let counted = std::mem::take(&mut self.counted);
        self.services(running, &counted, &mut text);
        self.engines(running, &counted, &live, &mut text);
        self.servers(running, &counted, &live, &mut text);
        self.counted = counted;
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

    fn services(&mut self, running: &Running, counted: &[Vec<Row>], text: &mut Vec<String>) {
        let plan = &running.plan;
        let wide = name_width(plan.services.iter().map(|s| s.name).chain(names(running)));
        text.push(format!("  {:<wide$} {:>10} {:>12} {:>9}", "service", "requests", "per second", "failed"));
        for (i, service) in plan.services.iter().enumerate() {
            let sum = |name: &str, class: &str| {
                let of_name =
                    counted.iter().flatten().filter(|r| r.name == name && r.label("class") == class);
                of_name
                    .filter(|r| r.label("virtual_service") == running.label(service))
                    .map(|r| r.value)
                    .sum::<f64>()
            };
            let total = sum("forebay_requests_total", "");
            let failed = sum("forebay_responses_total", "5xx");
            let rate = self.services.since_last(i, total);
            text.push(format!("  {:<wide$} {total:>10} {rate:>12} {failed:>9}", service.name));
        }
    }

    fn engines(
        &mut self,
        running: &mut Running,
        counted: &[Vec<Row>],
        live: &[bool],
        text: &mut Vec<String>,
    ) {
        let wide = name_width(running.plan.services.iter().map(|s| s.name).chain(names(running)));
        text.push(format!("  {:<wide$} {:>10} {:>12}   tables", "engine", "requests", "per second"));
        for (i, ((engine, rows), live)) in running.engines.iter_mut().zip(counted).zip(live).enumerate() {
            let sum = |name: &str| rows.iter().filter(|r| r.name == name).map(|r| r.value).sum::<f64>();
            let total = sum("forebay_requests_total");
            let rate = self.engines.since_last(i, total);
            let entries = sum("forebay_persistence_entries");
            let state = match live {
                false if engine.process.check().is_err() => "its process has ended".to_owned(),
                false => "no metrics".to_owned(),
                true if sum("forebay_objsync_peer_synced") > 0.0 => format!("{entries} entries, shared"),
                true => format!("{entries} entries, shared with nobody"),
            };
            text.push(format!("  {:<wide$} {total:>10} {rate:>12}   {state}", engine.seat.name()));
        }
    }

    fn servers(
        &mut self,
        running: &mut Running,
        counted: &[Vec<Row>],
        live: &[bool],
        text: &mut Vec<String>,
    ) {
        let wide = name_width(running.plan.services.iter().map(|s| s.name).chain(names(running)));
        text.push(format!("  {:<wide$} {:>10} {:>12}   state", "server", "requests", "per second"));
        for (i, (name, address)) in running.plan.servers.iter().enumerate() {
            let label = address.to_string();
            let of_server = |metric: &'static str, rows: &'_ [Row]| -> Vec<f64> {
                let of = rows.iter().filter(|r| r.name == metric && r.label("server") == label);
                of.map(|r| r.value).collect()
            };
            let answers = |rows: &Vec<Row>| of_server("forebay_server_responses_total", rows);
            let total: f64 = counted.iter().flat_map(answers).sum();
            let rate = self.servers.since_last(i, total);
            // Which servers are up, an engine that is gone cannot say.
            let told = counted.iter().zip(live).filter(|(_, live)| **live);
            let ups: Vec<f64> = told.flat_map(|(rows, _)| of_server("forebay_server_up", rows)).collect();
            let (up, pools) = (ups.iter().filter(|up| **up > 0.0).count(), ups.len());
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
