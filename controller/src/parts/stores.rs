//! A node's own stores, open for as long as its process runs: whoever leads writes into its own, and all let the oldest go.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use forebay_logs::Store as Logs;
use forebay_metrics::Store as Series;

use crate::{counted, logs};

/// Both of them.
#[derive(Clone)]
pub struct Held {
    /// Records of requests and connections.
    pub logs: Arc<Logs>,
    /// What engines count.
    pub series: Arc<Series>,
}

/// Where they are, and once they are open themselves.
pub struct Stores {
    folder: PathBuf,
    logs: logs::Settings,
    held: Mutex<Option<Held>>,
}

impl Stores {
    /// Those of a node with this folder, which are not open yet.
    pub fn new(folder: PathBuf, logs: logs::Settings) -> Self {
        Stores { folder, logs, held: Mutex::default() }
    }

    /// Opens them, or gives those that are open.
    ///
    /// # Errors
    /// As a text that says what to do. It may be tried again.
    pub fn open(&self) -> Result<Held, String> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = &*held {
            return Ok(held.clone());
        }
        let opened = Held { logs: logs::open(&self.logs)?, series: counted::open(&self.folder)? };
        Ok(held.insert(opened).clone())
    }

    /// Has them closed when nobody else uses them any more.
    pub fn close(&self) {
        drop(self.held.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}
