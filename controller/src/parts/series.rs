//! Series of all Controllers as one answer.

use std::sync::Arc;

use forebay_metrics::{
    Ask, Failure, Holders, Key, Range, Store as Series, Tally, gathered, gathered_totals, held,
};

use super::{HOLDERS, Missing, SLOTS, TOTALS, Told, WITHIN, heard, wire};
use crate::cluster::Cluster;

/// This node's series, and where those of others are.
pub struct Remote<'c> {
    /// This node's own.
    pub own: Arc<Series>,
    /// The others.
    pub cluster: &'c Cluster,
}

/// What was read, and whose part is missing.
pub type Read<T> = Result<(T, Vec<Missing>), Failure>;

impl Remote<'_> {
    /// For each of these a tally for each of its slots, as [`Series::read`] has them.
    ///
    /// # Errors
    /// This node's own part cannot be read.
    //= MET-SEVERAL-01
    pub async fn read(self, asks: Vec<Ask>) -> Read<Vec<Vec<Option<Tally>>>> {
        let own = self.own;
        let first = asks.iter().map(|ask| ask.range.begin(ask.range.first)).min().unwrap_or(u64::MAX);
        if !self.cluster.had_another(first) {
            let read = move || asks.iter().map(|ask| own.read(ask)).collect::<Result<Vec<_>, _>>();
            return Ok((blocking(read).await?, Vec::new()));
        }
        let mut missing = Vec::new();
        let asked: Vec<_> = asks.iter().map(|ask| wire::Asked::of(ask, Holders::new())).collect();
        let content = serde_json::to_vec(&asked).unwrap_or_default();
        let (series, list) = (Arc::clone(&own), asks.clone());
        let (told, known) = tokio::join!(
            self.cluster.ask(HOLDERS, WITHIN / 2, |_| Some(content.clone())),
            blocking(move || series.holders(&list)),
        );
        let others = heard(told, &mut missing, |said| {
            serde_json::from_slice::<Vec<Holders>>(said).ok().filter(|all| all.len() == asks.len())
        });
        // Who holds what is put together from all; who said nothing of that is not asked further.
        let mut holders = known?;
        for (_, other) in &others {
            for (all, more) in holders.iter_mut().zip(other) {
                *all = held([std::mem::take(all), more.clone()]);
            }
        }
        let nodes: Vec<&String> = others.iter().map(|(node, _)| node).collect();
        let asks: Vec<(Ask, Holders)> = asks.into_iter().zip(holders).collect();
        let asked: Vec<_> = asks.iter().map(|(ask, holders)| wire::Asked::of(ask, holders.clone())).collect();
        let content = serde_json::to_vec(&asked).unwrap_or_default();
        let ranges: Vec<Range> = asks.iter().map(|(ask, _)| ask.range).collect();
        let (told, own) = tokio::join!(
            self.cluster.ask(SLOTS, WITHIN / 2, |node| {
                nodes.iter().any(|known| *known == node).then(|| content.clone())
            }),
            blocking(move || own.parts(&asks)),
        );
        let own = own?;
        let made = blocking(move || {
            let others = heard(told, &mut missing, |said| {
                wire::read_slots(said).filter(|parts| parts.len() == ranges.len())
            });
            let mut all: Vec<_> = own.into_iter().map(|part| vec![part]).collect();
            for (_, parts) in others {
                all.iter_mut().zip(parts).for_each(|(all, part)| all.push(part));
            }
            let read = ranges.into_iter().zip(&all).map(|(range, parts)| gathered(range, parts)).collect();
            Ok((read, missing))
        });
        made.await
    }

    /// For each thing what it counted in all of these slots together.
    ///
    /// # Errors
    /// This node's own part cannot be read.
    //= MET-SEVERAL-01
    pub async fn totals(self, keys: Vec<Key>, range: Range) -> Read<Vec<Option<Tally>>> {
        let own = self.own;
        let is_shared = self.cluster.had_another(range.begin(range.first));
        let (count, list) = (keys.len(), keys.clone());
        let content = serde_json::to_vec(&wire::AskedTotals::of(&keys, range)).unwrap_or_default();
        let is_short = count <= wire::THINGS_MAX;
        let (told, read) = tokio::join!(
            self.cluster.ask(TOTALS, WITHIN, |_| (is_shared && is_short).then(|| content.clone())),
            blocking(move || own.totals(&list, range)),
        );
        let read = read?;
        let mut missing = Vec::new();
        if is_shared && !is_short {
            let why = format!("it is not asked for more than {} things at once", wire::THINGS_MAX);
            missing.extend(self.cluster.others().into_iter().map(|node| Missing { node, why: why.clone() }));
        }
        if told.is_empty() {
            return Ok((read, missing));
        }
        let made = blocking(move || {
            let others = told_totals(told, &mut missing, count);
            Ok((gathered_totals(std::iter::once(read).chain(others)), missing))
        });
        made.await
    }
}

fn told_totals(told: Vec<Told>, missing: &mut Vec<Missing>, count: usize) -> Vec<Vec<Option<Tally>>> {
    let others = heard(told, missing, |said| wire::read_totals(said, count));
    others.into_iter().map(|(_, totals)| totals).collect()
}

/// Away from the thread that answers.
async fn blocking<T: Send + 'static>(
    what: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(what).await;
    done.unwrap_or_else(|panic| {
        Err(Failure::System(std::path::PathBuf::from("metrics"), std::io::Error::other(panic)))
    })
}
