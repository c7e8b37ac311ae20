//! When to probe, what counts as success, when a server's state flips.
