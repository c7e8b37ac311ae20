//! The workers' side of the process, as the control thread starts it.

use std::sync::Arc;

use anyhow::{Context, anyhow};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use forebay_core::table::EngineSlot;

use super::{Common, run};
use crate::config::Tree;
use crate::control::handover::Legacy;
use crate::control::{WorkerSeat, Workers, worker_count};
use crate::limits::sizes::Sizes;
use crate::persist::{Place, Store};
use crate::rt::{Backend, clock};
use crate::sync;

/// The environment's word for "do not use io_uring": for kernels where it is allowed but unwelcome.
const NO_RING: &str = "FOREBAY_NO_IO_URING";

/// Sets up what all workers share, and gives what each of them runs; `legacy`: what the process begins with that takes
/// over from another one.
///
/// # Errors
/// The persistence table does not fit its share of the memory; the system has no random numbers.
pub fn make(tree: &Arc<Tree>, sizes: &Sizes, legacy: Option<Legacy>) -> anyhow::Result<Workers> {
    let is_shared = tree.objsync.is_on();
    let secret = match (&tree.engine.table_secret, legacy) {
        _ if is_shared => sync::secrets(&tree.objsync).map_err(|why| anyhow!(why))?.table,
        (Some(secret), _) => *secret.expose(),
        (None, Some(legacy)) => legacy.secret,
        (None, None) => {
            let mut secret = [0; 16];
            SystemRandom::new()
                .fill(&mut secret)
                .ok()
                .context("the system gives no random numbers for the table's secret")?;
            secret
        }
    };
    let me = match EngineSlot::new(tree.objsync.slot).filter(|_| is_shared) {
        Some(slot) => slot,
        None => legacy.map_or(EngineSlot::default(), |legacy| legacy.slot),
    };
    let store = Store::build_as(
        tree,
        sizes.table_bytes,
        secret,
        Place { me, is_shared, before: sync::place_of_before(&tree.objsync) },
        clock::now(),
    )?;
    let store = Arc::new(store);
    let backend = match std::env::var_os(NO_RING) {
        Some(value) if !value.is_empty() && value != "0" => Backend::Epoll,
        _ => Backend::IoUring,
    };
    let common = Common { workers: worker_count(tree).max(1), backend };
    let body = move |seat: WorkerSeat| {
        let index = seat.index;
        let ended = run(seat, common.clone(), |started| match &started.refusal {
            None => tracing::info!(
                worker = index,
                backend = started.backend.word(),
                "a worker accepts connections"
            ),
            Some(refusal) => tracing::warn!(
                event = "SE_IO_URING_REFUSED",
                worker = index,
                backend = started.backend.word(),
                %refusal,
                "the kernel refuses io_uring: the worker runs on epoll; allow io_uring (sysctl \
                 kernel.io_uring_disabled=0, container profile, memory lock limit) for less cost per request"
            ),
        });
        if let Err(error) = ended {
            tracing::error!(worker = index, %error, "a worker cannot be set up");
        }
    };
    Ok(Workers { body: Arc::new(body), store })
}
