//! Which records the Controller is told of: significant ones always, others where their service asks for them, and of both so
//! many a second.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay_snapshot::service::ClientLogs;
use memchr::memmem::Finder;

use crate::config::Tree;

/// Lets so many through in a second, and as many at once.
#[derive(Clone, Copy)]
struct Throttle {
    /// Thousandths of records that may pass.
    room: u64,
    at: Instant,
}

impl Throttle {
    fn full(per_s: u32, now: Instant) -> Self {
        Throttle { room: u64::from(per_s) * 1_000, at: now }
    }

    /// `per_s` 0: no bound.
    fn passes(&mut self, per_s: u32, now: Instant) -> bool {
        if per_s == 0 {
            return true;
        }
        let most = u64::from(per_s) * 1_000;
        let ms = u64::try_from(now.saturating_duration_since(self.at).as_millis()).unwrap_or(u64::MAX);
        if ms > 0 {
            self.room = self.room.saturating_add(ms.saturating_mul(u64::from(per_s))).min(most);
            self.at = now;
        }
        let passes = self.room >= 1_000;
        self.room -= if passes { 1_000 } else { 0 };
        passes
    }
}

struct Service {
    settings: ClientLogs,
    /// When `all` was set.
    since: Instant,
    significant: Throttle,
    others: Throttle,
}

impl Service {
    fn new(settings: ClientLogs, now: Instant) -> Self {
        Service {
            since: now,
            significant: Throttle::full(settings.significant_per_s, now),
            others: Throttle::full(settings.others_per_s, now),
            settings,
        }
    }
}

/// Chooses by the settings of services.
#[derive(Default)]
pub(super) struct Chooser {
    /// Whose settings these are.
    tree: Option<Arc<Tree>>,
    services: HashMap<String, Service>,
}

impl Chooser {
    /// Takes the settings of another configuration; what has not changed goes on.
    pub fn follow(&mut self, tree: &Arc<Tree>, now: Instant) {
        if self.tree.as_ref().is_some_and(|own| Arc::ptr_eq(own, tree)) {
            return;
        }
        let mut before = std::mem::take(&mut self.services);
        for service in &tree.services {
            let held = before.remove(&service.name).filter(|held| held.settings == service.client_logs);
            let held = held.unwrap_or_else(|| Service::new(service.client_logs.clone(), now));
            self.services.insert(service.name.clone(), held);
        }
        self.tree = Some(Arc::clone(tree));
    }

    /// Whether the Controller is told of this line.
    //= OBS-CLIENT-02
    pub fn takes(&mut self, line: &[u8], now: Instant) -> bool {
        // Requests of a service that has gone: nobody can be asked how many of them are wanted.
        let Some(service) = service_of(line).and_then(|name| self.services.get_mut(name)) else {
            return false;
        };
        let Service { settings, since, significant, others } = service;
        if is_significant(line) {
            return significant.passes(settings.significant_per_s, now);
        }
        let length = Duration::from_secs(u64::from(settings.minutes) * 60);
        let is_over = settings.minutes > 0 && now.saturating_duration_since(*since) >= length;
        settings.all && !is_over && others.passes(settings.others_per_s, now)
    }
}

/// Within a text of a line no quote stands without a backslash before it, so these words are found where they are names alone.
fn service_of(line: &[u8]) -> Option<&str> {
    let from = Finder::new(b",\"virtualservice\":\"")
        .find(line)
        .map(|at| at + 19)
        .or_else(|| line.starts_with(b"{\"virtualservice\":\"").then_some(19))?;
    let rest = &line[from..];
    let end = memchr::memchr(b'"', rest)?;
    std::str::from_utf8(&rest[..end]).ok()
}

fn is_significant(line: &[u8]) -> bool {
    Finder::new(b",\"significant\":true").find(line).is_some()
}
