//! The configuration that an engine runs by, with what was made for it.

use std::fmt;
use std::sync::Arc;

use crate::config::Tree;
use crate::persist::Store;

/// A configuration that the engine runs by. Another one takes its place by a reload; requests that began with this one
/// end with it.
pub struct Running {
    /// Its number: the first is 1.
    pub number: u64,
    /// The configuration.
    pub tree: Arc<Tree>,
    /// Cookie keys and persistence tables.
    pub store: Arc<Store>,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Running({})", self.number)
    }
}
