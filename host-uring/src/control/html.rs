//! The status page: one piece of HTML below 50 KiB, without scripts, readable on a dying machine.

use std::fmt::Write as _;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::State;
use super::answers::{shown as server_shown, unresolved};
use super::names::Book;
use crate::config::{HealthState, Pool, PoolIndex, Server, Service, Tree};
use crate::metrics::page::{VERSION, sum};

/// The page's style sheet.
const STYLE: &str = ":root{color-scheme:light dark}\
body{font:14px/1.4 system-ui,sans-serif;margin:1.5em;color:#222;background:#fff;overflow-wrap:anywhere}\
table{border-collapse:collapse;margin:.3em 0 1.2em;display:block;overflow-x:auto}\
td,th{padding:.15em .7em;text-align:right;border-bottom:1px solid #ddd;white-space:nowrap}\
td:first-child,th:first-child{text-align:left;padding-left:0}th:first-child{white-space:normal;min-width:11em}\
h1{font-size:1.3em}h2{font-size:1.1em;margin:1em 0 .2em}p{margin:.3em 0}\
.up{color:#06632d}.down{color:#b00020;font-weight:bold}.maintenance,.checking{color:#8a5a00}.disabled{color:#666}\
td.why,th.why{text-align:left;white-space:normal;min-width:14em;max-width:40em}\
@media(prefers-color-scheme:dark){body{color:#ddd;background:#1b1b1b}a{color:#8ab4f8}\
td,th{border-color:#444}.up{color:#5fd38d}.down{color:#ff7a85}.maintenance,.checking{color:#e7b75f}.disabled{color:#999}}\
@media(max-width:50em){body{margin:.8em;font-size:13px}td,th{padding:.15em .4em}}";

/// The style sheet's hash as a content security policy names it: no other style and no script gets in.
pub(super) fn style_policy() -> String {
    let hash = digest::digest(&digest::SHA256, STYLE.as_bytes());
    format!("'sha256-{}'", STANDARD.encode(hash))
}

/// Bytes that the page never exceeds.
const PAGE_BYTES_MAX: usize = 50 << 10;

/// Renders the page.
//= OBS-WEB-03
pub(super) fn page(state: &State) -> String {
    let tree = &*state.tree();
    let mut out = String::with_capacity(16 << 10);
    // Writing to a text cannot fail, here and below.
    let _ = write!(
        out,
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <meta http-equiv=\"refresh\" content=\"5\"><title>{0}</title><style>{STYLE}</style><h1>{0} <small>forebay-se {VERSION}, \
         up {1}</small></h1>",
        Text(&tree.engine.name),
        Age(state.uptime_ms() / 1_000)
    );
    workers(&mut out, state);
    let mut left_out = 0;
    for (index, service) in tree.services.iter().enumerate() {
        let whole = out.len();
        one_service(&mut out, tree, index, service, &state.names);
        if out.len() > PAGE_BYTES_MAX - 1_024 {
            out.truncate(whole);
            left_out += 1;
        }
    }
    if left_out > 0 {
        let _ = write!(
            out,
            "<p>{left_out} services are left out here; all are in <a href=\"/metrics\">/metrics</a>."
        );
    }
    out.push_str("<p><a href=\"/metrics\">metrics</a>");
    out
}

fn workers(out: &mut String, state: &State) {
    let supervised = state.supervised().clone();
    let stuck = supervised.iter().filter(|w| w.is_stuck).count();
    let panics: u64 = supervised.iter().map(|w| w.panics).sum();
    let open = sum(&state.workers, |w| w.connections.now());
    let flows = sum(&state.workers, |w| w.flows.now());
    let log = state.log_counts();
    let class = if stuck > 0 { "down" } else { "up" };
    let _ = write!(
        out,
        "<p><span class=\"{class}\">{} workers, {stuck} stuck</span>, {panics} panics; {open} of {} client connections, {flows} flows; \
         access log {} written, {} dropped, {} lost",
        supervised.len(),
        state.sizes.connections_max,
        log.written,
        log.dropped,
        log.lost
    );
    let table = state.table_view();
    let _ = write!(out, "; {} of {} persistence entries", table.entries, table.capacity);
}

fn one_service(out: &mut String, tree: &Tree, index: usize, service: &Service, names: &Book) {
    let up = tree.pools_of(service).iter().any(|pool| is_up(tree.pool(*pool)));
    let word = if up { "up" } else { "down" };
    let counts = &service.shared.counts;
    let requests = counts.sum(|s| s.requests.get());
    let failed = counts.sum(|s| s.responses[4].get());
    let duration = counts.histogram(|s| &s.duration);
    let open = counts.sum(|s| s.connections.now());
    let _ = write!(out, "<h2 class=\"{word}\">{} <small>{word}", Text(&service.name));
    for listener in tree.listeners.iter().filter(|l| l.service.0 == index) {
        let _ = write!(out, ", {}", listener.address);
    }
    let _ =
        write!(out, "</small></h2><p>{requests} requests, {failed} answered 5xx, {open} connections open");
    for percent in [50, 95, 99] {
        if let Some(us) = duration.percentile_us(percent) {
            let _ = write!(out, ", p{percent} ≤ {}", Millis(us));
        }
    }
    for pool in tree.pools_of(service) {
        one_pool(out, tree, *pool, names);
    }
}

fn is_up(pool: &Pool) -> bool {
    pool.servers.iter().any(|s| s.is_enabled() && s.shared.state() == HealthState::Up)
}

fn one_pool(out: &mut String, tree: &Tree, index: PoolIndex, names: &Book) {
    let pool = tree.pool(index);
    let kind = pool.persistence.as_ref().map_or("no persistence", |p| p.type_word());
    let _ = write!(
        out,
        "<table><tr><th>{} <small>{}, {kind}</small><th>state<th>for<th class=\"why\">why<th>requests<th>5xx<th>failed<th>active<th>open<th>p99",
        Text(&pool.name),
        pool.config.algorithm
    );
    // Not all of them were answered with a 5xx: a pool may close the connection instead.
    let unserved = pool.shared.counts.sum(|p| p.no_server.get());
    if unserved > 0 {
        let _ = write!(out, "<tr class=\"down\"><td colspan=\"10\">found no server: {unserved} requests");
    }
    let mut ordered: Vec<&Server> = pool.servers.iter().collect();
    // Those that need a look come first, since a long list is cut.
    ordered.sort_by_key(|server| server.shared.state() == HealthState::Up);
    let shown = ordered.len().min(if tree.server_slots > 100 { 10 } else { 100 });
    for server in &ordered[..shown] {
        let report = server.shared.report().clone();
        let counts = &server.shared.counts;
        let word = if server.is_enabled() { report.state.word() } else { "disabled" };
        let count = |of: fn(&crate::metrics::ServerMetrics) -> u64| counts.sum(of);
        let p99 = counts.histogram(|s| &s.response_time).percentile_us(99);
        let _ = write!(
            out,
            "<tr class=\"{word}\"><td>{}<td>{word}<td>{}<td class=\"why\">{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}",
            Text(&server_shown(server)),
            Age(crate::health::unix_s().saturating_sub(report.since_unix_s)),
            Text(report.why.get(..200).unwrap_or(&report.why)),
            count(|s| s.responses.iter().map(crate::metrics::Counter::get).sum()),
            count(|s| s.responses[4].get()),
            count(|s| s.connect_failures.get() + s.aborts.get()),
            count(|s| s.active.now()),
            count(|s| s.connections.now()),
            p99.map_or("–".to_owned(), |us| format!("≤ {}", Millis(us)))
        );
    }
    for name in unresolved(pool).take(10) {
        let why = names.why(name);
        let _ = write!(
            out,
            "<tr class=\"down\"><td>{}<td>down<td><td class=\"why\">{}",
            Text(name),
            Text(why.get(..200).unwrap_or(&why))
        );
    }
    let rest = ordered.len() - shown;
    if rest > 0 {
        let _ = write!(out, "<tr><td>and {rest} more");
    }
    out.push_str("</table>");
}

/// A text that comes from outside, as HTML shows it.
struct Text<'t>(&'t str);

impl std::fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                c if c.is_control() => f.write_char(' ')?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// Seconds in the two largest units.
pub(super) struct Age(pub u64);

impl std::fmt::Display for Age {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            s @ 0..60 => write!(f, "{s} s"),
            s @ 60..3_600 => write!(f, "{} min {} s", s / 60, s % 60),
            s @ 3_600..86_400 => write!(f, "{} h {} min", s / 3_600, s / 60 % 60),
            s => write!(f, "{} d {} h", s / 86_400, s / 3_600 % 24),
        }
    }
}

/// Microseconds in milliseconds.
struct Millis(u64);

impl std::fmt::Display for Millis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            u64::MAX => f.write_str("more than a minute"),
            us if us < 1_000 => write!(f, "0.{:02} ms", us / 10),
            us => write!(f, "{} ms", us / 1_000),
        }
    }
}
