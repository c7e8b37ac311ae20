//! What is shown: services, their pools, their servers, with what happened between two looks.

use std::time::Instant;

use forebay_host_uring::metrics::HistogramSum;
use serde_json::Value;

use super::super::show::{list, millis, seconds, text};
use super::super::table::Table;
use super::terminal::Key;

/// One look at an engine.
pub struct Sample {
    /// When.
    pub at: Instant,
    /// Its answer to `status`.
    pub status: Value,
    /// Its answer to `servers`.
    pub servers: Value,
}

/// What is listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Level {
    #[default]
    Services,
    Pools,
    Servers,
}

/// What a person has chosen to see.
#[derive(Debug, Default)]
pub struct View {
    level: Level,
    /// Only the pools of this service.
    service: Option<String>,
    /// Only the servers of this pool.
    pool: Option<String>,
    /// Only rows with this text.
    filter: String,
    /// Keys go to the filter.
    typing: bool,
    /// The row that Enter opens, counted from 0.
    selected: usize,
    /// The names of the rows as they were drawn last.
    shown: Vec<String>,
}

const KEYS: &str = "1 services  2 pools  3 servers  j/k move  Enter open  Esc back  / filter  q quit";

impl View {
    /// Takes a key; `true`: enough seen.
    pub fn press(&mut self, key: Key) -> bool {
        match (self.typing, key) {
            (_, Key::Interrupt) | (false, Key::Char('q')) => return true,
            (true, Key::Char(c)) => self.filter.push(c),
            (true, Key::Backspace) => {
                self.filter.pop();
            }
            (true, Key::Enter) => self.typing = false,
            (true, Key::Escape) => (self.typing, self.filter) = (false, String::new()),
            (false, Key::Char('/')) => (self.typing, self.filter) = (true, String::new()),
            (false, Key::Char('1')) => self.list(Level::Services),
            (false, Key::Char('2')) => self.list(Level::Pools),
            (false, Key::Char('3')) => self.list(Level::Servers),
            (_, Key::Up) | (false, Key::Char('k')) => self.selected = self.selected.saturating_sub(1),
            (_, Key::Down) | (false, Key::Char('j')) => self.selected += 1,
            (false, Key::Enter) => self.open(),
            (false, Key::Escape) => self.back(),
            (false, Key::Char(_) | Key::Backspace) => {}
        }
        self.selected = self.selected.min(self.shown.len().saturating_sub(1));
        false
    }

    fn list(&mut self, level: Level) {
        *self = Self { level, ..Self::default() };
    }

    fn open(&mut self) {
        let Some(name) = self.shown.get(self.selected).cloned() else { return };
        match self.level {
            Level::Services => {
                self.list(Level::Pools);
                self.service = Some(name);
            }
            Level::Pools => {
                let service = self.service.take();
                self.list(Level::Servers);
                (self.service, self.pool) = (service, Some(name));
            }
            Level::Servers => {}
        }
    }

    fn back(&mut self) {
        let service = self.service.take();
        match self.level {
            Level::Servers if self.pool.is_some() => {
                self.list(Level::Pools);
                self.service = service;
            }
            _ => self.list(Level::Services),
        }
    }

    /// The lines for a window of this size.
    pub fn draw(
        &mut self,
        before: Option<&Sample>,
        now: &Sample,
        trouble: Option<&str>,
        height: usize,
        width: usize,
    ) -> Vec<String> {
        let (heads, rows) = match self.level {
            Level::Services => services(before, now),
            Level::Pools => pools(before, now, self.service.as_deref()),
            Level::Servers => servers(before, now, self.pool.as_deref()),
        };
        let wanted = self.filter.to_lowercase();
        let fits = |row: &Row| row.cells.iter().any(|cell| cell.to_lowercase().contains(&wanted));
        let rows: Vec<Row> = rows.into_iter().filter(fits).collect();
        self.shown = rows.iter().map(|row| row.name.clone()).collect();
        self.selected = self.selected.min(rows.len().saturating_sub(1));
        let mut lines = vec![headline(before, now), self.place(trouble)];
        let mut table = Table::new(&heads);
        for (index, row) in rows.into_iter().enumerate() {
            let mut cells = row.cells;
            cells[0].insert_str(0, if index == self.selected { "> " } else { "  " });
            table.row(cells);
        }
        let table = table.render();
        let mut table = table.lines();
        lines.extend(table.next().map(|heads| format!("  {heads}")));
        // One line is the keys', and one stays empty, where the cursor waits.
        let room = height.saturating_sub(lines.len() + 2).max(1);
        let first = (self.selected + 1).saturating_sub(room);
        lines.extend(table.skip(first).take(room).map(str::to_owned));
        lines.push(KEYS.to_owned());
        lines.truncate(height.saturating_sub(1).max(1));
        lines.iter_mut().for_each(|line| *line = line.chars().take(width.saturating_sub(1)).collect());
        lines
    }

    fn place(&self, trouble: Option<&str>) -> String {
        let name =
            |name: &Option<String>| name.as_deref().map(|name| format!(" of {name}")).unwrap_or_default();
        let place = match self.level {
            Level::Services => "services".to_owned(),
            Level::Pools => format!("pools{}", name(&self.service)),
            Level::Servers => format!("servers{}", name(&self.pool)),
        };
        let filter = match (self.typing, self.filter.is_empty()) {
            (true, _) => format!("  /{}_", self.filter),
            (false, false) => format!("  /{}", self.filter),
            (false, true) => String::new(),
        };
        let trouble = trouble.map(|reason| format!("  [no answer: {reason}]")).unwrap_or_default();
        format!("[{place}]{filter}{trouble}")
    }
}

/// All levels one after the other, for what is no terminal.
pub fn plain(before: &Sample, now: &Sample) -> String {
    let mut out = headline(Some(before), now);
    for (heads, rows) in
        [services(Some(before), now), pools(Some(before), now, None), servers(Some(before), now, None)]
    {
        let mut table = Table::new(&heads);
        rows.into_iter().for_each(|row| table.row(row.cells));
        out.push_str("\n\n");
        out.push_str(table.render().trim_end());
    }
    out.push('\n');
    out
}

struct Row {
    /// What Enter opens.
    name: String,
    cells: Vec<String>,
}

type Rows = (Vec<&'static str>, Vec<Row>);

fn headline(before: Option<&Sample>, now: &Sample) -> String {
    let status = &now.status;
    let workers = list(&status["workers"]);
    let sum = |of: &str| -> u64 { workers.iter().filter_map(|w| w[of].as_u64()).sum() };
    let (open, flows) = (sum("connections_open"), sum("flows_open"));
    let stuck = workers.iter().filter(|w| w["stuck"] == true).count();
    let total = |sample: &Sample| -> u64 {
        list(&sample.status["virtual_services"]).iter().filter_map(|s| s["requests"].as_u64()).sum()
    };
    format!(
        "{} {}, up {}: {} requests/s, {open} of {} connections, {flows} flows, {} MiB, {} workers ({stuck} stuck), {} log lines dropped",
        text(&status["engine"]),
        if status["ready"] == true { "ready" } else { "NOT READY" },
        seconds(status["uptime_s"].as_u64().unwrap_or(0)),
        rate(before, now, total),
        status["connections_max"],
        status["memory_resident_bytes"].as_u64().unwrap_or(0) >> 20,
        workers.len(),
        status["access_log"]["dropped"],
    )
}

/// What a count grew by in a second; `-` with the first look. An engine that started anew counts from 0 again.
fn rate(before: Option<&Sample>, now: &Sample, count: impl Fn(&Sample) -> u64) -> String {
    let Some(before) = before else { return "-".to_owned() };
    let grown = count(now).saturating_sub(count(before));
    let per_s = grown as f64 / now.at.duration_since(before.at).as_secs_f64().max(0.001);
    if per_s > 0.0 && per_s < 10.0 { format!("{per_s:.1}") } else { format!("{per_s:.0}") }
}

fn find<'s>(all: &'s Value, keys: &[(&str, &Value)]) -> Option<&'s Value> {
    list(all).iter().find(|one| keys.iter().all(|(key, value)| one[*key] == **value))
}

/// A number of the service, in another look.
fn of_service(sample: &Sample, name: &Value, key: &str) -> u64 {
    find(&sample.status["virtual_services"], &[("name", name)]).and_then(|s| s[key].as_u64()).unwrap_or(0)
}

fn of_server(sample: &Sample, server: &Value, key: &str) -> u64 {
    let same = [("pool", &server["pool"]), ("server", &server["server"])];
    find(&sample.servers["servers"], &same).and_then(|s| s[key].as_u64()).unwrap_or(0)
}

/// Durations between the two looks.
fn durations(before: Option<&Sample>, service: &Value) -> HistogramSum {
    let buckets = |service: &Value| -> Vec<u64> {
        list(&service["duration"]["buckets"]).iter().map(|n| n.as_u64().unwrap_or(0)).collect()
    };
    let earlier = before
        .and_then(|sample| find(&sample.status["virtual_services"], &[("name", &service["name"])]))
        .map(buckets)
        .unwrap_or_default();
    let mut sum = HistogramSum::default();
    for (index, (into, now)) in sum.buckets.iter_mut().zip(buckets(service)).enumerate() {
        *into = now.saturating_sub(earlier.get(index).copied().unwrap_or(0));
    }
    sum
}

fn services(before: Option<&Sample>, now: &Sample) -> Rows {
    let heads = vec!["SERVICE", "STATE", "REQUESTS/S", "5XX/S", "OPEN", "P50", "P99", "POOLS UP", "LISTEN"];
    let row = |service: &Value| {
        let name = &service["name"];
        let pools = list(&service["pools"]);
        let up = pools.iter().filter(|pool| pool["servers_up"].as_u64().unwrap_or(0) > 0).count();
        let of = |key: &'static str| rate(before, now, |sample| of_service(sample, name, key));
        let durations = durations(before, service);
        let percentile = |percent| millis(&durations.percentile_us(percent).into());
        Row {
            name: text(name),
            cells: vec![
                text(name),
                text(&service["state"]),
                of("requests"),
                of("responses_5xx"),
                text(&service["connections_open"]),
                percentile(50),
                percentile(99),
                format!("{up} of {}", pools.len()),
                list(&service["listen"]).iter().map(text).collect::<Vec<_>>().join(","),
            ],
        }
    };
    (heads, list(&now.status["virtual_services"]).iter().map(row).collect())
}

fn pools(before: Option<&Sample>, now: &Sample, of: Option<&str>) -> Rows {
    let heads =
        vec!["POOL", "SERVERS UP", "RESPONSES/S", "5XX/S", "OPEN", "ALGORITHM", "PERSISTENCE", "SERVICE"];
    let mut rows = Vec::new();
    for service in list(&now.status["virtual_services"]) {
        if of.is_some_and(|name| service["name"] != name) {
            continue;
        }
        for pool in list(&service["pools"]) {
            let name = &pool["name"];
            let sum = |sample: &Sample, key: &str| -> u64 {
                let servers = list(&sample.servers["servers"]).iter().filter(|s| s["pool"] == *name);
                servers.filter_map(|s| s[key].as_u64()).sum()
            };
            rows.push(Row {
                name: text(name),
                cells: vec![
                    text(name),
                    format!("{} of {}", pool["servers_up"], pool["servers"]),
                    rate(before, now, |sample| sum(sample, "responses")),
                    rate(before, now, |sample| sum(sample, "responses_5xx")),
                    sum(now, "connections_open").to_string(),
                    text(&pool["algorithm"]),
                    text(&pool["persistence"]),
                    text(&service["name"]),
                ],
            });
        }
    }
    (heads, rows)
}

fn servers(before: Option<&Sample>, now: &Sample, of: Option<&str>) -> Rows {
    let heads =
        vec!["SERVER", "STATE", "RESPONSES/S", "5XX/S", "FAILURES/S", "OPEN", "ACTIVE", "POOL", "WHY"];
    let row = |server: &Value| {
        let of = |key: &'static str| rate(before, now, |sample| of_server(sample, server, key));
        let disabled = server["enabled"] == false;
        Row {
            name: text(&server["server"]),
            cells: vec![
                text(&server["server"]),
                if disabled { "disabled".to_owned() } else { text(&server["state"]) },
                of("responses"),
                of("responses_5xx"),
                of("failures"),
                text(&server["connections_open"]),
                text(&server["requests_active"]),
                text(&server["pool"]),
                text(&server["why"]),
            ],
        }
    };
    let wanted = |server: &&Value| of.is_none_or(|pool| server["pool"] == pool);
    (heads, list(&now.servers["servers"]).iter().filter(wanted).map(row).collect())
}
