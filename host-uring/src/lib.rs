//! The service engine: thread per core on io_uring.

pub mod rt;
