//! The live view: a few plain lines that refresh, on a terminal only.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::{Running, metrics};
use crate::sys;

/// Between two refreshes.
const REFRESH: Duration = Duration::from_secs(1);
/// Between two looks at whether to stop.
const LOOK_EVERY: Duration = Duration::from_millis(50);

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
    last: Vec<f64>,
}

impl View {
    fn refresh(&mut self, running: &mut Running) -> Result<()> {
        let mut text = Vec::new();
        match metrics::read(running.plan.metrics) {
            Ok(rows) => self.rows(running, &rows, &mut text),
            Err(error) => text.push(format!("  no metrics: {error:#}")),
        }
        for (name, process) in &mut running.demo {
            if process.check().is_err() {
                text.push(format!("  {name} has ended"));
            }
        }
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

    fn rows(&mut self, running: &Running, rows: &[metrics::Row], text: &mut Vec<String>) {
        text.push(format!("  {:<8} {:>12} {:>12} {:>9}", "service", "requests", "per second", "failed"));
        let mut totals = Vec::new();
        for (i, service) in running.plan.services.iter().enumerate() {
            let of_service = |r: &&metrics::Row| r.label("virtual_service") == service.name;
            let sum = |name: &str, class: &str| -> f64 {
                let rows = rows.iter().filter(|r| r.name == name && r.label("class") == class);
                rows.filter(of_service).map(|r| r.value).sum()
            };
            let total = sum("forebay_requests_total", "");
            let rate = total - self.last.get(i).copied().unwrap_or(total);
            let failed = sum("forebay_responses_total", "5xx");
            text.push(format!("  {:<8} {total:>12} {rate:>12} {failed:>9}", service.name));
            totals.push(total);
        }
        self.last = totals;
    }
}
