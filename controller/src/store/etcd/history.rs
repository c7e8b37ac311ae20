//! What changed since a revision.

use forebay_etcd::proto::event::EventType;
use forebay_etcd::proto::{RangeRequest, WatchCreateRequest};

use super::{Inner, next};
use crate::store::{Change, Refusal, Revision};

/// One thing in the history.
pub(super) enum Seen<'s> {
    /// A key was written, or went.
    Key(i64, &'s [u8], Option<&'s [u8]>),
    /// A step ended: its mark.
    Mark(i64, &'s [u8]),
}

impl Inner {
    pub(super) async fn changes(&self, since: Revision, most: usize) -> Result<Vec<Change>, Refusal> {
        self.leads()?;
        let mut found: Vec<(i64, Vec<u8>, Option<Vec<u8>>)> = Vec::new();
        let since = i64::try_from(since).map_err(|_| Refusal::Forgotten)?;
        self.history(since, &mut |seen| match seen {
            Seen::Key(revision, key, value) => {
                found.push((revision, key.to_vec(), value.map(<[u8]>::to_vec)));
                true
            }
            Seen::Mark(..) => found.len() < most,
        })
        .await?;
        found
            .into_iter()
            .map(|(revision, key, value)| {
                let revision = u64::try_from(revision).unwrap_or(0);
                Ok(Change { revision, key: self.leading.plain(key)?, value })
            })
            .collect()
    }

    /// Goes through the steps after `since`, oldest first, up to the last one that there is or until `more` is false.
    pub(super) async fn history(
        &self,
        since: i64,
        more: &mut (dyn FnMut(Seen<'_>) -> bool + Send),
    ) -> Result<(), Refusal> {
        let (client, mark) = (&self.leading.client, self.leading.key("e"));
        let now =
            client.range(RangeRequest { key: mark.clone(), keys_only: true, ..Default::default() }).await?;
        if now.header.is_none_or(|header| since > header.revision) {
            return Err(Refusal::Forgotten);
        }
        let last = now.kvs.first().map_or(0, |held| held.mod_revision);
        if since >= last {
            return Ok(());
        }
        let request = WatchCreateRequest {
            key: self.leading.data(""),
            // The mark stands behind all keys, and is the last one that a step writes.
            range_end: next(mark.clone()),
            start_revision: since + 1,
            fragment: true,
        };
        let mut watching = client.watch(request).await?;
        loop {
            let said = watching.soon().await?;
            for event in &said.events {
                let Some(held) = &event.kv else { continue };
                let revision = held.mod_revision;
                if held.key == mark {
                    if !more(Seen::Mark(revision, &held.value)) || revision >= last {
                        return Ok(());
                    }
                } else {
                    let is_there = event.r#type() == EventType::Put;
                    more(Seen::Key(revision, &held.key, is_there.then_some(held.value.as_slice())));
                }
            }
        }
    }
}
