//! The store of several nodes: etcd, led by one Controller at a time.
//!
//! Who leads has a key on a lease, and every step demands that the key is as that one left it: whoever leads no more
//! writes nothing any more, however late a request of it arrives. Each step writes a mark of its own beside what it changes,
//! so that a step whose answer was lost is found again, or is known to be none.
//!
//! Keys under the prefix: `d/…` what the store has, `e` the mark of the last step, `form`, `leader`; `n/…` the nodes that there
//! were, `u/…` those that are heard.

mod history;
mod lease;
mod steps;

use std::path::Path;
use std::sync::Arc;

use forebay_etcd::proto::{
    Compare, DeleteRangeRequest, KeyValue, PutRequest, RangeRequest, RequestOp, TxnRequest, compare,
    request_op,
};
use forebay_etcd::{Client, Failure};
use tokio::sync::{Mutex, watch};

use super::{Change, Embedded, Given, Listed, Refusal, Revision, Step, Store, Stored, wrote};
use crate::clock::Moment;
use steps::Turn;

/// The form of what stands under the prefix.
const FORM: &[u8] = b"1";
/// Keys of one answer: at worst as many megabytes, and an answer may have 128.
const PAGE: usize = 100;
/// Who looks who leads, or wants to, waits so long for an answer.
const QUICK: std::time::Duration = std::time::Duration::from_secs(1);
/// Nodes that are looked at: many more than there can be at once.
const NODES_MAX: i64 = 100;

/// How a Controller comes to lead.
#[derive(Clone)]
pub struct Leading {
    /// The members.
    pub client: Client,
    /// What all our keys begin with, `/forebay/` by custom.
    pub prefix: String,
    /// What the others are told of the leader.
    pub shown: Vec<u8>,
}

/// The store, for as long as this process leads.
#[derive(Clone)]
pub struct Etcd {
    inner: Arc<Inner>,
}

struct Inner {
    leading: Leading,
    lease: i64,
    /// Steps are made one after another.
    turn: Mutex<Turn>,
    /// Why it leads no more.
    lost: watch::Sender<Option<String>>,
    /// Until when nobody else may lead.
    good: lease::Good,
    keeping: lease::Keeping,
}

impl Leading {
    fn key(&self, key: &str) -> Vec<u8> {
        [self.prefix.as_bytes(), key.as_bytes()].concat()
    }

    fn data(&self, key: &str) -> Vec<u8> {
        [self.prefix.as_bytes(), b"d/", key.as_bytes()].concat()
    }

    /// The key as the store's user knows it.
    fn plain(&self, key: Vec<u8>) -> Result<String, Refusal> {
        let own = key.strip_prefix(self.prefix.as_bytes()).and_then(|key| key.strip_prefix(b"d/"));
        let text = own.and_then(|key| std::str::from_utf8(key).ok());
        text.map(str::to_owned).ok_or_else(|| {
            Refusal::Damaged(format!("etcd has a key below {} that no Controller wrote", self.prefix))
        })
    }

    async fn read(&self, key: &str) -> Result<Option<KeyValue>, Refusal> {
        let answer = self.client.range(RangeRequest { key: self.key(key), ..Default::default() }).await?;
        Ok(answer.kvs.into_iter().next())
    }

    /// With connections of its own, for what is asked for again soon: while etcd elects a leader of its own, questions may be lost
    /// without a word.
    #[must_use]
    pub fn quick(&self) -> Self {
        Leading { client: self.client.apart(QUICK), ..self.clone() }
    }

    /// What the leader shows of itself; `None`: nobody leads.
    ///
    /// # Errors
    /// etcd does not answer.
    pub async fn leader(&self) -> Result<Option<Vec<u8>>, Refusal> {
        Ok(self.read("leader").await?.map(|held| held.value))
    }

    /// What stands at a key of the store now, whoever leads.
    ///
    /// # Errors
    /// etcd does not answer.
    pub async fn peek(&self, key: &str) -> Result<Option<Vec<u8>>, Refusal> {
        Ok(self.read(&format!("d/{key}")).await?.map(|held| held.value))
    }

    /// Shows a node to the others: as one that there is, and for as long as `lease` lasts as one that is heard.
    ///
    /// # Errors
    /// etcd does not answer.
    pub async fn show(&self, name: &str, shown: Vec<u8>, lease: i64) -> Result<(), Refusal> {
        let success = vec![
            put(self.key(&format!("n/{name}")), shown.clone(), 0),
            put(self.key(&format!("u/{name}")), shown, lease),
        ];
        self.client.txn(TxnRequest { success, ..Default::default() }).await?;
        Ok(())
    }

    /// The nodes that were shown, and which of them are heard.
    ///
    /// # Errors
    /// etcd does not answer.
    pub async fn shown(&self) -> Result<Vec<(bool, Vec<u8>)>, Refusal> {
        let mut all = Vec::new();
        for (front, is_heard) in [("n/", false), ("u/", true)] {
            let key = self.key(front);
            let range =
                RangeRequest { range_end: behind(key.clone()), key, limit: NODES_MAX, ..Default::default() };
            let answer = self.client.range(range).await?;
            all.extend(answer.kvs.into_iter().map(|held| (is_heard, held.value)));
        }
        Ok(all)
    }

    /// Leads, if nobody does; `None`: another one does.
    ///
    /// # Errors
    /// etcd does not answer, or what it has is of a form that this version does not know.
    //= CLUSTER-LEADER-01
    //= CLUSTER-FORM-01
    pub async fn lead(self) -> Result<Option<Etcd>, Refusal> {
        let quick = self.quick();
        if let Some(form) = quick.read("form").await?
            && form.value != FORM
        {
            return Err(Refusal::Damaged(format!(
                "what etcd has below {} is of form {}, and this version knows form 1: use the version that wrote it, \
                 or another --etcd-prefix",
                self.prefix,
                String::from_utf8_lossy(&form.value)
            )));
        }
        if quick.read("leader").await?.is_some() {
            return Ok(None);
        }
        let (asked, lease) = (Moment::now(), quick.client.grant(lease::TERM_SECONDS).await?);
        let is_free = demand(self.key("leader"), 0);
        let took = TxnRequest {
            compare: vec![is_free],
            success: vec![
                put(self.key("leader"), self.shown.clone(), lease),
                put(self.key("form"), FORM.to_vec(), 0),
            ],
            failure: Vec::new(),
        };
        let fence = match quick.client.txn(took).await {
            Ok(answer) if answer.succeeded => answer.header.map_or(0, |header| header.revision),
            done => {
                // Without its lease a request that comes late is refused.
                let _ = quick.client.revoke(lease).await;
                return done.map(|_| None).map_err(Refusal::from);
            }
        };
        let (lost, _) = watch::channel(None);
        let good = lease::Good::since(asked);
        let keeping = lease::Keeping::start(&self.client, lease, good.clone(), lost.clone());
        let keeping = keeping.map_err(Refusal::Unavailable)?;
        let turn = Mutex::new(Turn::new(fence));
        Ok(Some(Etcd { inner: Arc::new(Inner { leading: self, lease, turn, lost, good, keeping }) }))
    }
}

impl Etcd {
    /// Ends when this process leads no more, and says why. From then on nothing may be answered by what was read before.
    pub async fn lost(&self) -> String {
        let mut lost = self.inner.lost.subscribe();
        match lost.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
            Err(_) => String::new(),
        }
    }

    /// Says whether nobody else may lead at this moment: what was read before is still so.
    pub fn is_led(&self) -> bool {
        self.inner.leads().is_ok()
    }

    /// Until when nobody else may lead.
    pub(crate) fn led_until(&self) -> Moment {
        self.inner.good.until()
    }

    /// The lease by which this process leads.
    pub fn lease(&self) -> i64 {
        self.inner.lease
    }

    /// Leads no more, so that another one may at once.
    pub async fn resign(&self) {
        self.inner.lose("this node has resigned");
        let _ = self.inner.leading.client.revoke(self.inner.lease).await;
    }
}

impl Inner {
    fn lose(&self, why: &str) {
        self.keeping.stop();
        self.lost.send_if_modified(|lost| {
            let is_new = lost.is_none();
            lost.get_or_insert_with(|| why.to_owned());
            is_new
        });
    }

    /// Says whether this process still leads.
    fn leads(&self) -> Result<(), Refusal> {
        match &*self.lost.borrow() {
            None if self.good.is_now() => Ok(()),
            None => Err(Refusal::Unavailable("this node leads no more: its lease is over".to_owned())),
            Some(why) => Err(Refusal::Unavailable(format!("this node leads no more: {why}"))),
        }
    }

    async fn get(&self, key: &str) -> Result<Option<Stored>, Refusal> {
        self.leads()?;
        let request = RangeRequest { key: self.leading.data(key), ..Default::default() };
        let answer = self.leading.client.range(request).await?;
        Ok(answer.kvs.into_iter().next().map(stored))
    }

    /// At most [`PAGE`] keys from `from` on, as they were at a revision (0: as they are), and the store's revision.
    async fn page(&self, from: Vec<u8>, prefix: &str, most: usize, at: i64) -> Result<Listed, Refusal> {
        let request = RangeRequest {
            key: from,
            range_end: behind(self.leading.data(prefix)),
            limit: i64::try_from(most.min(PAGE)).unwrap_or(1),
            revision: at,
            ..Default::default()
        };
        let answer = self.leading.client.range(request).await?;
        let revision = answer.header.map_or(0, |header| header.revision);
        let entries: Result<Vec<_>, Refusal> = answer
            .kvs
            .into_iter()
            .map(|mut held| Ok((self.leading.plain(std::mem::take(&mut held.key))?, stored(held))))
            .collect();
        Ok(Listed { revision: u64::try_from(revision).unwrap_or(0), entries: entries? })
    }

    async fn list(&self, prefix: &str, after: Option<&str>, most: usize) -> Result<Listed, Refusal> {
        self.leads()?;
        let mut from = match after.filter(|after| *after >= prefix) {
            Some(after) => next(self.leading.data(after)),
            None => self.leading.data(prefix),
        };
        let mut all = Listed::default();
        let mut at = 0;
        loop {
            // A limit of 0 would be none.
            let left = (most - all.entries.len()).max(1);
            let page = self.page(from, prefix, left, at).await?;
            if at == 0 {
                all.revision = page.revision;
                at = i64::try_from(page.revision).unwrap_or(0);
            }
            let is_last = page.entries.len() < left.min(PAGE);
            all.entries.extend(page.entries);
            all.entries.truncate(most);
            match all.entries.last() {
                Some((last, _)) if !is_last && all.entries.len() < most => {
                    from = next(self.leading.data(last))
                }
                _ => return Ok(all),
            }
        }
    }

    /// Page by page, as everything was at one moment.
    async fn backup(&self, file: &Path) -> Result<(), Refusal> {
        self.leads()?;
        let first = self.page(self.leading.data(""), "", PAGE, 0).await?;
        let (revision, at) = (first.revision, i64::try_from(first.revision).unwrap_or(0));
        let (pages, mut read) = tokio::sync::mpsc::channel(2);
        let to = file.to_owned();
        let writing = tokio::task::spawn_blocking(move || {
            Embedded::copy(&to, revision, std::iter::from_fn(|| read.blocking_recv()))
        });
        let mut page = Ok(first);
        loop {
            let last =
                page.as_ref().ok().and_then(|page: &Listed| page.entries.last()).map(|(key, _)| key.clone());
            let entries = page.map(|page| page.entries);
            let Some(last) = last else {
                if let Err(refusal) = entries {
                    let _ = pages.send(Err(refusal)).await;
                }
                break;
            };
            if pages.send(entries).await.is_err() {
                break;
            }
            page = self.page(next(self.leading.data(&last)), "", PAGE, at).await;
        }
        drop(pages);
        writing.await.unwrap_or_else(|panic| Err(Refusal::Unavailable(panic.to_string())))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.keeping.stop();
        if self.lost.borrow().is_none()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let (client, lease) = (self.leading.client.clone(), self.lease);
            runtime.spawn(async move { client.revoke(lease).await });
        }
    }
}

//= CLUSTER-FULL-01
impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::TooLarge(text) => Refusal::TooLarge(text),
            Failure::Compacted => Refusal::Forgotten,
            other => Refusal::Unavailable(other.to_string()),
        }
    }
}

fn stored(held: KeyValue) -> Stored {
    Stored { value: held.value, revision: u64::try_from(held.mod_revision).unwrap_or(0) }
}

/// The first key behind this one.
fn next(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}

/// The first key behind all that begin with this.
fn behind(mut prefix: Vec<u8>) -> Vec<u8> {
    while let Some(last) = prefix.last_mut() {
        if *last < u8::MAX {
            *last += 1;
            break;
        }
        prefix.pop();
    }
    prefix
}

/// The key stands at this revision; 0: it is not there.
fn demand(key: Vec<u8>, revision: i64) -> Compare {
    Compare {
        result: compare::CompareResult::Equal.into(),
        target: compare::CompareTarget::Mod.into(),
        key,
        target_union: Some(compare::TargetUnion::ModRevision(revision)),
    }
}

fn put(key: Vec<u8>, value: Vec<u8>, lease: i64) -> RequestOp {
    RequestOp { request: Some(request_op::Request::RequestPut(PutRequest { key, value, lease })) }
}

fn delete(key: Vec<u8>) -> RequestOp {
    let request = DeleteRangeRequest { key, range_end: Vec::new() };
    RequestOp { request: Some(request_op::Request::RequestDeleteRange(request)) }
}

/// Whether a key is there and since when, without its value.
fn look(key: Vec<u8>) -> RequestOp {
    let request = RangeRequest { key, keys_only: true, ..Default::default() };
    RequestOp { request: Some(request_op::Request::RequestRange(request)) }
}

impl Store for Etcd {
    fn get(&self, key: &str) -> Given<'_, Option<Stored>> {
        let key = key.to_owned();
        Box::pin(async move { self.inner.get(&key).await })
    }

    fn list(&self, prefix: &str, after: Option<&str>, most: usize) -> Given<'_, Listed> {
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        Box::pin(async move { self.inner.list(&prefix, after.as_deref(), most).await })
    }

    fn commit(&self, step: Step) -> Given<'_, Revision> {
        let inner = Arc::clone(&self.inner);
        // Whoever asked may go away; a step that was begun is carried to its end, so that the next one finds it settled.
        Box::pin(async move {
            let done = tokio::spawn(async move { inner.commit(&step).await }).await;
            wrote::note(done.unwrap_or_else(|panic| Err(Refusal::Unknown(panic.to_string()))))
        })
    }

    fn changes(&self, since: Revision, most: usize) -> Given<'_, Vec<Change>> {
        Box::pin(async move { self.inner.changes(since, most).await })
    }

    fn backup(&self, file: &Path) -> Given<'_, ()> {
        let file = file.to_owned();
        Box::pin(async move { self.inner.backup(&file).await })
    }
}

#[cfg(test)]
mod tests;
