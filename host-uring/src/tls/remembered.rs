//! Sessions with one server, to go on with.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;

use crate::limits::{SESSION_NAMES_MAX, SESSION_TICKETS_MAX};

/// What one worker remembers of one server, by the name that was asked for: the names that were used last, each with
/// few sessions. It belongs to the files and settings by which the server was judged, and goes with them.
//= TLS-SERVER-SESSION-01
#[derive(Debug)]
pub(super) struct Remembered {
    lifetime: Duration,
    /// The one that was used last is the last one.
    names: Mutex<VecDeque<Named>>,
}

#[derive(Debug)]
struct Named {
    name: ServerName<'static>,
    group: Option<NamedGroup>,
    session: Option<(Instant, Tls12ClientSessionValue)>,
    /// The youngest one last. Each is used once.
    tickets: VecDeque<(Instant, Tls13ClientSessionValue)>,
}

impl Remembered {
    /// Nothing yet; a session is gone on with for so long.
    pub(super) fn new(lifetime_s: u32) -> Self {
        Remembered { lifetime: Duration::from_secs(u64::from(lifetime_s)), names: Mutex::default() }
    }

    // Only the worker's own thread comes here; the library wants something that any thread might use.
    fn names(&self) -> MutexGuard<'_, VecDeque<Named>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_good(&self, since: Instant) -> bool {
        since.elapsed() < self.lifetime
    }

    fn note(&self, name: ServerName<'static>, with: impl FnOnce(&mut Named)) {
        let mut names = self.names();
        let known = names.iter().position(|one| one.name == name).and_then(|at| names.remove(at));
        let mut one =
            known.unwrap_or_else(|| Named { name, group: None, session: None, tickets: VecDeque::new() });
        with(&mut one);
        if names.len() >= SESSION_NAMES_MAX {
            names.pop_front();
        }
        names.push_back(one);
    }
}

impl ClientSessionStore for Remembered {
    fn set_kx_hint(&self, name: ServerName<'static>, group: NamedGroup) {
        self.note(name, |one| one.group = Some(group));
    }

    fn kx_hint(&self, name: &ServerName<'_>) -> Option<NamedGroup> {
        self.names().iter().find(|one| one.name == *name)?.group
    }

    fn set_tls12_session(&self, name: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.note(name, |one| one.session = Some((Instant::now(), value)));
    }

    fn tls12_session(&self, name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        let names = self.names();
        let (since, value) = names.iter().find(|one| one.name == *name)?.session.as_ref()?;
        self.is_good(*since).then(|| value.clone())
    }

    fn remove_tls12_session(&self, name: &ServerName<'static>) {
        if let Some(one) = self.names().iter_mut().find(|one| one.name == *name) {
            one.session = None;
        }
    }

    fn insert_tls13_ticket(&self, name: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.note(name, |one| {
            if one.tickets.len() >= SESSION_TICKETS_MAX {
                one.tickets.pop_front();
            }
            one.tickets.push_back((Instant::now(), value));
        });
    }

    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        let mut names = self.names();
        let one = names.iter_mut().find(|one| one.name == *name)?;
        let (since, value) = one.tickets.pop_back()?;
        if self.is_good(since) {
            return Some(value);
        }
        // The others are older.
        one.tickets.clear();
        None
    }
}
