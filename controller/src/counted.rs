//! What engines count, on its way to the series.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use forebay_metrics::{Keep, Key, Kind, Offer, Store as Series, THINGS_MAX, Tally};
use forebay_model::compile::uuid_of;
use forebay_wire::limits::TALLIES_MAX;
use forebay_wire::proto::{Counted as Of, Sample};
use tokio::sync::{Semaphore, watch};

use crate::api::Remembered;
use crate::engines::Engine;
use crate::objects::Catalogue;

/// Bytes of the file of series: a year of 10,000 services with 100,000 servers of which a third does something at any time.
const BYTES_MAX: u64 = 8 << 30;

/// Readers at once, each a thread with a file open; others wait.
const READERS_MAX: usize = 4;

/// The turns of readers.
pub static READERS: Semaphore = Semaphore::const_new(READERS_MAX);

/// Where series are, once they are kept.
#[derive(Default)]
pub struct Counted {
    series: OnceLock<Arc<Series>>,
    /// What was usual of services.
    pub remembered: Arc<Remembered>,
}

/// The process of an engine, and the sample of it up to which all are kept.
pub type Upto = (u64, u64);

fn clock() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// Opens the series of a Controller with this folder.
///
/// # Errors
/// As a text that says what to do.
pub fn open(folder: &Path) -> Result<Arc<Series>, String> {
    let keep = Keep { bytes_max: BYTES_MAX, things_max: THINGS_MAX, clock: Arc::new(clock) };
    let opened = Series::open(&folder.join("metrics"), keep);
    opened
        .map(Arc::new)
        .map_err(|failure| format!("metrics: {failure}; make room, or name another folder by --data-dir"))
}

impl Counted {
    /// Keeps series here from now on.
    pub fn keep(&self, series: Arc<Series>) {
        // Who comes second has the first one's.
        let _ = self.series.set(series);
    }

    /// The series, where they are kept.
    pub fn series(&self) -> Option<&Arc<Series>> {
        self.series.get()
    }

    /// Takes a sample of an engine; `upto` is told when it lies on the disk. What no object stands behind is left out, and what
    /// the engine was not given. Before it is known what it has nothing is taken: it comes again.
    //= MET-GIVEN-01
    pub fn take(&self, now: &Catalogue, engine: &Engine, sample: Sample, upto: &watch::Sender<Upto>) {
        let Some(series) = self.series().filter(|_| engine.given.is_known()) else { return };
        let at = Instant::now();
        let has =
            |kind: &str, uuid: &str| engine.given.may_tell_of(uuid, at) && now.get(kind, uuid).is_some();
        let mut tallies: BTreeMap<Key, Tally> = BTreeMap::new();
        for told in sample.tallies.into_iter().take(TALLIES_MAX) {
            let uuid = uuid_of(&told.name);
            let key = match told.of() {
                Of::Engine => Key::new(Kind::Engine, &engine.uuid),
                Of::Service if has("virtualservice", uuid) => Key::new(Kind::Service, uuid),
                Of::Pool if has("pool", uuid) => Key::new(Kind::Pool, uuid),
                Of::Server if has("pool", uuid) && told.server.parse::<SocketAddr>().is_ok() => {
                    Key::server(uuid, &told.server)
                }
                Of::Service | Of::Pool | Of::Server => continue,
            };
            // A pool that is used in several ways is several ones to the engine.
            tallies.entry(key).or_default().beside(&Tally::told(told));
        }
        let (process, upto) = (sample.process, upto.clone());
        let offer = Offer {
            engine: engine.uuid.clone(),
            process,
            number: sample.number,
            oldest: sample.oldest,
            age: sample.age_ms,
            length: sample.length_ms,
            tallies: tallies.into_iter().collect(),
            done: Box::new(move |number| {
                upto.send_if_modified(|(of, last)| {
                    let is_news = *of != process || *last < number;
                    if is_news {
                        (*of, *last) = (process, number);
                    }
                    is_news
                });
            }),
        };
        // What finds no place comes again.
        let _ = series.offer(offer);
    }
}
