//! Where the host names of servers lead, asked in the control thread and never on a worker.
//!
//! The [`Book`] knows for each name its addresses and when to ask again; [`keep`] asks, and lets the servers follow.
//! A configuration is made of what the book says at that moment.

mod lookup;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use forebay_snapshot::engine::Dns;
use forebay_snapshot::{Snapshot, host_names};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;

use self::lookup::{Answer, Resolver};
use crate::config::{Addresses, Tree, Unplaced};
use crate::limits::{
    NAME_ADDRESSES_MAX, NAME_FILES_LOOK_S, NAME_FIRST_WAIT_MS, NAME_LOOKUPS_AT_ONCE_MAX, NAME_PUBLISH_MS,
    NAME_RETRY_FIRST_S, NAME_RETRY_MAX_S,
};
use crate::metrics::NamesView;

/// What is known of the host names of servers.
pub struct Book {
    names: Mutex<BTreeMap<String, Entry>>,
    dns: Mutex<Dns>,
    /// Made when it is first needed, and anew when what it was made of has changed.
    resolver: Mutex<Option<Arc<Resolver>>>,
    files: Mutex<Files>,
    places: Semaphore,
    /// Told when names have come.
    woken: Notify,
    answered: AtomicU64,
    failed: AtomicU64,
}

/// What is known of one name.
struct Entry {
    addresses: Vec<IpAddr>,
    /// Why the last lookup failed; `None`: it did not, or there was none.
    why: Option<String>,
    failures: u32,
    due: Instant,
}

/// What tells the system's files from what they were.
type Files = [Option<(u64, i64, i64, u64)>; 2];

impl Default for Book {
    fn default() -> Self {
        Self {
            names: Mutex::default(),
            dns: Mutex::default(),
            resolver: Mutex::default(),
            files: Mutex::new(files()),
            places: Semaphore::new(NAME_LOOKUPS_AT_ONCE_MAX),
            woken: Notify::new(),
            answered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }
}

impl Book {
    /// Follows the names of a configuration, by its settings, and no others.
    pub fn follow(&self, snapshot: &Snapshot) {
        self.follow_too(snapshot);
        let wanted: BTreeSet<&str> = host_names(snapshot).collect();
        self.names().retain(|name, _| wanted.contains(name.as_str()));
        let mut dns = lock(&self.dns);
        if *dns != snapshot.engine.dns {
            dns.clone_from(&snapshot.engine.dns);
            drop(dns);
            self.ask_anew();
        }
    }

    /// Follows the names of a configuration beside those that are followed already.
    pub fn follow_too(&self, snapshot: &Snapshot) {
        // Whoever brings new names looks them up himself for so long.
        let due = Instant::now() + Duration::from_millis(NAME_FIRST_WAIT_MS);
        let mut names = self.names();
        for name in host_names(snapshot) {
            if !names.contains_key(name) {
                let entry = Entry { addresses: Vec::new(), why: None, failures: 0, due };
                names.insert(name.to_owned(), entry);
            }
        }
        drop(names);
        self.woken.notify_one();
    }

    /// The names that lead somewhere, each to its addresses.
    pub fn known(&self) -> Vec<(String, Vec<IpAddr>)> {
        let names = self.names();
        let known = names.iter().filter(|(_, entry)| !entry.addresses.is_empty());
        known.map(|(name, entry)| (name.clone(), entry.addresses.clone())).collect()
    }

    /// Begins with where names led for the process before this one. They are asked for at once, and waited for by nobody.
    //= NAME-LOST-03
    pub fn inherit(&self, known: impl IntoIterator<Item = (String, Vec<IpAddr>)>) {
        let mut names = self.names();
        for (name, mut addresses) in known {
            // The configuration may be another one than that process had.
            let Some(entry) = names.get_mut(&name).filter(|entry| entry.addresses.is_empty()) else {
                continue;
            };
            addresses.truncate(NAME_ADDRESSES_MAX);
            entry.addresses = addresses;
            entry.due = Instant::now();
        }
    }

    /// Looks up the names that were never looked up, as far as that goes within a few seconds.
    //= NAME-START-01
    pub async fn first(self: &Arc<Self>) {
        let fresh = |entry: &Entry| entry.addresses.is_empty() && entry.why.is_none();
        let names: Vec<String> =
            self.names().iter().filter(|(_, entry)| fresh(entry)).map(|(name, _)| name.clone()).collect();
        let mut looks = JoinSet::new();
        for name in names {
            self.look(&mut looks, name);
        }
        let all = async { while looks.join_next().await.is_some() {} };
        // Those that take longer are asked again by who keeps the book.
        let _ = tokio::time::timeout(Duration::from_millis(NAME_FIRST_WAIT_MS), all).await;
    }

    /// Where the names lead.
    pub fn addresses(&self) -> Addresses {
        Addresses::new(self.names().iter().map(|(name, entry)| (name.clone(), entry.addresses.clone())))
    }

    /// Why a name (with its port) leads nowhere.
    pub fn why(&self, full: &str) -> String {
        let name = full.rsplit_once(':').map_or(full, |(name, _)| name);
        match self.names().get(name).and_then(|entry| entry.why.as_ref()) {
            Some(why) => format!("name not resolved: {why}"),
            None => "name not resolved yet".to_owned(),
        }
    }

    /// What the metrics page shows.
    pub fn view(&self) -> NamesView {
        let mut view = NamesView {
            answered: self.answered.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            ..NamesView::default()
        };
        for entry in self.names().values() {
            match (entry.addresses.is_empty(), entry.why.is_some()) {
                (true, _) => view.unresolved += 1,
                (false, true) => view.lost += 1,
                (false, false) => view.resolved += 1,
            }
        }
        view
    }

    fn names(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        lock(&self.names)
    }

    fn resolver(&self) -> Result<Arc<Resolver>, String> {
        let mut made = lock(&self.resolver);
        if let Some(resolver) = &*made {
            return Ok(Arc::clone(resolver));
        }
        let resolver = Arc::new(Resolver::new(&lock(&self.dns))?);
        *made = Some(Arc::clone(&resolver));
        Ok(resolver)
    }

    /// Makes the resolver anew, and every name due.
    fn ask_anew(&self) {
        *lock(&self.resolver) = None;
        let now = Instant::now();
        for entry in self.names().values_mut() {
            entry.due = now;
        }
        self.woken.notify_one();
    }

    /// Asks anew if the system's files have changed.
    //= NAME-TTL-01
    fn look_at_files(&self) {
        let now = files();
        let before = std::mem::replace(&mut *lock(&self.files), now);
        if before != now {
            tracing::info!(
                "resolv.conf or the hosts file has changed; the servers' names are looked up again"
            );
            self.ask_anew();
        }
    }

    /// Begins a lookup; it ends with the name, and whether its addresses have changed.
    fn look(self: &Arc<Self>, looks: &mut JoinSet<(String, bool)>, name: String) {
        let book = Arc::clone(self);
        looks.spawn(async move {
            let _place = book.places.acquire().await;
            let answer = match book.resolver() {
                Ok(resolver) => resolver.look_up(&name).await,
                Err(why) => Err(why),
            };
            let changed = book.take(&name, answer);
            (name, changed)
        });
    }

    /// Notes what a lookup gave; says whether the name's addresses have changed.
    //= NAME-TTL-01
    //= NAME-LOST-01
    fn take(&self, name: &str, answer: Result<Answer, String>) -> bool {
        let (least, most) = {
            let dns = lock(&self.dns);
            (Duration::from_secs(dns.ttl_min_s.into()), Duration::from_secs(dns.ttl_max_s.into()))
        };
        let mut names = self.names();
        // It may be gone with its configuration.
        let Some(entry) = names.get_mut(name) else { return false };
        match answer {
            Ok(Answer { addresses, left_out, ttl }) => {
                self.answered.fetch_add(1, Ordering::Relaxed);
                entry.due = Instant::now() + ttl.clamp(least, most.max(least));
                entry.failures = 0;
                if entry.why.take().is_some() && !entry.addresses.is_empty() {
                    tracing::info!(event = "NAME_BACK", name, "a server's name is resolved again");
                }
                if entry.addresses == addresses {
                    return false;
                }
                let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                let list = list.join(" ");
                tracing::info!(
                    event = "NAME_CHANGED",
                    name,
                    addresses = list,
                    left_out,
                    ttl_s = ttl.as_secs(),
                    "a server's name leads elsewhere"
                );
                entry.addresses = addresses;
                true
            }
            Err(why) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                let wait = NAME_RETRY_FIRST_S << entry.failures.min(16);
                entry.due = Instant::now() + Duration::from_secs(wait.min(NAME_RETRY_MAX_S));
                entry.failures = entry.failures.saturating_add(1);
                if entry.why.is_none() {
                    let kept = entry.addresses.len();
                    tracing::warn!(
                        event = "NAME_LOST",
                        name,
                        why,
                        addresses_kept = kept,
                        "a server's name cannot be resolved; it is tried again"
                    );
                }
                entry.why = Some(why);
                false
            }
        }
    }
}

/// Asks for each name when it is due, and lets the servers `follow` where the names lead; runs until dropped.
//= NAME-CHANGE-01
//= NAME-WAIT-01
pub(super) async fn keep<F: Future<Output = ()>>(book: Arc<Book>, mut follow: impl FnMut() -> F) {
    let mut looks = JoinSet::new();
    let mut under_way: BTreeSet<String> = BTreeSet::new();
    let mut changed_at: Option<Instant> = None;
    let mut look = tokio::time::interval(Duration::from_secs(NAME_FILES_LOOK_S));
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let (due, next) = book.due(&under_way);
        for name in due {
            book.look(&mut looks, name.clone());
            under_way.insert(name);
        }
        let publish = changed_at.map(|at| at + Duration::from_millis(NAME_PUBLISH_MS));
        tokio::select! {
            Some(ended) = looks.join_next() => match ended {
                Ok((name, changed)) => {
                    under_way.remove(&name);
                    if changed {
                        changed_at.get_or_insert_with(Instant::now);
                    }
                }
                // Which one panicked is not known; all that have ended are asked again in their time.
                Err(_) if looks.is_empty() => under_way.clear(),
                Err(_) => {}
            },
            () = sleep_until(publish), if publish.is_some() => {
                changed_at = None;
                follow().await;
            }
            () = sleep_until(next) => {}
            () = book.woken.notified() => {}
            _ = look.tick() => book.look_at_files(),
        }
    }
}

impl Book {
    /// The names to ask for now, and when the next one is due; those under way apart.
    fn due(&self, under_way: &BTreeSet<String>) -> (Vec<String>, Option<Instant>) {
        let now = Instant::now();
        let names = self.names();
        let waiting = || names.iter().filter(|(name, _)| !under_way.contains(*name));
        let due = waiting().filter(|(_, entry)| entry.due <= now).map(|(name, _)| name.clone()).collect();
        (due, waiting().map(|(_, entry)| entry.due).filter(|at| *at > now).min())
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// Tells of addresses of names that are no servers, those apart that were none before.
//= NAME-SAME-01
pub(super) fn say_left_out(before: Option<&Tree>, after: &Tree) {
    let of = |tree: &Tree| -> BTreeSet<(String, Unplaced)> {
        let pools = tree.pools.iter();
        pools.flat_map(|pool| pool.unplaced.iter().map(|one| (pool.name.clone(), one.clone()))).collect()
    };
    let was = before.map(of).unwrap_or_default();
    for (pool, one) in of(after).difference(&was) {
        if let Some(address) = one.address {
            tracing::warn!(
                event = "NAME_ADDRESS_LEFT_OUT",
                pool,
                name = one.name,
                %address,
                why = one.why,
                "an address of a server's name is no server"
            );
        }
    }
}

fn files() -> Files {
    ["/etc/resolv.conf", "/etc/hosts"].map(|path| {
        let meta = std::fs::metadata(path).ok()?;
        Some((meta.len(), meta.mtime(), meta.mtime_nsec(), meta.ino()))
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whoever panicked left at worst one name half noted, which the next lookup repairs.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
