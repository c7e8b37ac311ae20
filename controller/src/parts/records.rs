//! Records of all Controllers as one answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use forebay_logs::{
    Cursor, Failure, Merged, Micros, Position, Search, Store as Logs, Top, merged, merged_top,
};

use super::{GROUPS, LOOKED, Missing, RECORDS, WAITED, heard, wire};
use crate::cluster::Cluster;

/// Records that were looked for at all nodes.
pub struct Records {
    /// What was found.
    pub found: Merged,
    /// Files that could not be read, of all nodes.
    pub damaged: u32,
    /// The first moment of the eldest hour that a node has.
    pub eldest: Option<Micros>,
    /// Whose part is missing.
    pub missing: Vec<Missing>,
}

/// Values that were counted at all nodes.
pub struct Groups {
    /// What was found.
    pub top: Top,
    /// Where each node ended; `None`: all came to the end.
    pub next: Option<Place>,
    /// The first moment of the eldest hour that a node has.
    pub eldest: Option<Micros>,
    /// Whose part is missing.
    pub missing: Vec<Missing>,
}

/// Where each of several nodes ended: each goes on from its own place. `None`: it came to the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place(BTreeMap<String, Option<Position>>);

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (nth, (node, at)) in self.0.iter().enumerate() {
            let comma = if nth == 0 { "" } else { "," };
            match at {
                Some(Position { at, nth }) => write!(f, "{comma}{node}={at}.{nth}")?,
                None => write!(f, "{comma}{node}=end")?,
            }
        }
        Ok(())
    }
}

impl std::str::FromStr for Place {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let one = |text: &str| {
            let (node, at) = text.rsplit_once('=')?;
            if at == "end" {
                return Some((node.to_owned(), None));
            }
            let (at, nth) = at.split_once('.')?;
            let at = at.parse().ok().filter(|at| *at >= 0)?;
            let nth = nth.parse().ok().filter(|nth| (0..1 << 20).contains(nth))?;
            Some((node.to_owned(), Some(Position { at, nth })))
        };
        text.split(',').map(one).collect::<Option<_>>().map(Place).ok_or(())
    }
}

impl Place {
    /// Before which record a node is to look; `None`: it has nothing more. Who was missing begins where others are.
    fn of(&self, node: &str) -> Option<Position> {
        let open = || self.0.values().flatten().max().copied();
        self.0.get(node).copied().unwrap_or_else(open)
    }
}

/// What is looked for.
pub struct Wanted {
    /// The search; its limit is that of the answer.
    pub search: Search,
    /// This node's own store.
    pub own: Arc<Logs>,
}

impl Wanted {
    /// Records, newest first, behind where an earlier answer ended.
    ///
    /// # Errors
    /// The search makes no sense, or this node's own part cannot be read.
    //= LOG-SEVERAL-01
    pub async fn records(self, cluster: &Cluster, after: Option<Cursor>) -> Result<Records, Failure> {
        let Wanted { search, own } = self;
        let want = search.limit;
        let (before, more) = after.map_or((None, 0), |after| {
            let (before, more) = after.asked();
            (Some(before), more)
        });
        let search = Search { limit: want.saturating_add(more), ..search };
        let at = before.map(|at| Position { at, nth: 0 });
        let content = wire::Looked::of(&search, at, search.within / LOOKED, None);
        let content = serde_json::to_vec(&content).unwrap_or_default();
        let waited = search.within * WAITED.0 / WAITED.1;
        let (told, own) = tokio::join!(
            cluster.ask(RECORDS, waited, |_| Some(content.clone())),
            tokio::task::spawn_blocking(move || own.part(&search, before)),
        );
        let own = own.map_err(broken)??;
        // Thousands of records are read, away from the thread that answers.
        let made = tokio::task::spawn_blocking(move || {
            let mut missing = Vec::new();
            let others = heard(told, &mut missing, wire::read_records);
            let mut parts = vec![own];
            parts.extend(others.into_iter().map(|(_, part)| part));
            let damaged = parts.iter().map(|part| part.damaged).fold(0, u32::saturating_add);
            let eldest = parts.iter().filter_map(|part| part.eldest).min();
            Records { found: merged(parts, after, want), damaged, eldest, missing }
        });
        made.await.map_err(broken)
    }

    /// The most frequent values of a field, behind where an earlier answer ended.
    ///
    /// # Errors
    /// As [`Wanted::records`].
    //= LOG-SEVERAL-02
    pub async fn groups(
        self,
        cluster: &Cluster,
        field: String,
        after: Option<Place>,
    ) -> Result<Groups, Failure> {
        let Wanted { search, own } = self;
        let want = search.limit;
        let before = |node: &str| after.as_ref().map(|after| after.of(node));
        let content = |node: &str| {
            let at = match before(node) {
                Some(None) => return None,
                Some(at) => at,
                None => None,
            };
            let asked = wire::Looked::of(&search, at, search.within / LOOKED, Some(&field));
            serde_json::to_vec(&asked).ok()
        };
        let waited = search.within * WAITED.0 / WAITED.1;
        let node = cluster.own();
        let (is_over, at) = match before(&node) {
            Some(at) => (at.is_none(), at),
            None => (false, None),
        };
        let (look, of) = (Search { before: at, ..search.clone() }, field.clone());
        let (told, own) = tokio::join!(
            cluster.ask(GROUPS, waited, content),
            tokio::task::spawn_blocking(move || {
                let top = if is_over { Top::default() } else { own.groups(&look, &of)? };
                Ok::<_, Failure>((top, own.eldest()))
            }),
        );
        let own = own.map_err(broken)??;
        let made = tokio::task::spawn_blocking(move || {
            let mut missing = Vec::new();
            let mut all = heard(told, &mut missing, wire::read_groups);
            all.push((node, own));
            let mut next = after.unwrap_or_default();
            for (node, (top, _)) in &all {
                next.0.insert(node.clone(), top.next);
            }
            let is_over = next.0.values().all(Option::is_none);
            let eldest = all.iter().filter_map(|(_, (_, eldest))| *eldest).min();
            let stopped = all.iter().filter_map(|(_, (top, _))| top.next).max();
            let mut top = merged_top(all.into_iter().map(|(_, (top, _))| top).collect(), want);
            top.next = stopped;
            Groups { top, next: (!is_over).then_some(next), eldest, missing }
        });
        made.await.map_err(broken)
    }
}

fn broken(panic: tokio::task::JoinError) -> Failure {
    Failure::System(std::path::PathBuf::from("logs"), std::io::Error::other(panic))
}

#[cfg(test)]
mod tests {
    use super::*;

    //= test LOG-SEVERAL-02
    #[test]
    fn each_node_goes_on_from_its_own_place_and_who_was_missing_from_that_of_the_others() {
        let place: Place = "a=7.1,127.0.0.1:9444=9.0,c=end".parse().expect("one");
        assert_eq!(place.to_string(), "127.0.0.1:9444=9.0,a=7.1,c=end");
        let at = |at, nth| Some(Position { at, nth });
        assert_eq!(
            [place.of("a"), place.of("127.0.0.1:9444"), place.of("c"), place.of("d")],
            [at(7, 1), at(9, 0), None, at(9, 0)]
        );
        for bad in ["", "a", "a=1", "a=1.x", "a=-1.0", "a=1.9999999"] {
            assert_eq!(bad.parse::<Place>(), Err(()), "{bad}");
        }
    }
}
