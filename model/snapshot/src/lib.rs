//! A service engine's configuration: file, checks and defaults.
