//! The worker's own clockwork: signs of life, the wall clock, old connections, expired entries.

use super::{Worker, from_now};
use crate::control::ShutdownFlag;
use crate::http::limits::{TICK_US, UPSTREAM_SWEEP_US};
use crate::listen::Entrances;
use crate::rt::{Rt, Sockets};

/// Every partition of the table is swept in this many ticks (ten seconds): expired entries cost memory until
/// then, never a wrong answer.
const SWEEP_TICKS: u32 = 100;

/// Ticks until the engine's stop ends the worker, one of `workers`.
pub(super) async fn keep(
    worker: &Worker<Sockets>,
    workers: u32,
    entrances: &Entrances,
    shutdown: &ShutdownFlag,
) {
    let mut sweep_at = from_now(&worker.rt, UPSTREAM_SWEEP_US);
    let share = worker.current().store.partitions().div_ceil(SWEEP_TICKS.saturating_mul(workers.max(1)));
    loop {
        worker.metrics.tick();
        worker.read_wall_clock();
        if worker.follow_stop(&entrances.acceptors, shutdown.stage()) {
            return;
        }
        worker.follow_servers();
        entrances.inlets.count_unread();
        let now = worker.rt.now();
        worker.follow_doors(now);
        // The hand is shared and each worker moves it by its share: one that is stuck does not stop it.
        if share > 0 {
            worker.current().store.sweep(share, now);
        }
        if now >= sweep_at {
            sweep_at = from_now(&worker.rt, UPSTREAM_SWEEP_US);
            let freed = worker.conversations.release() + worker.works.release() + worker.buffers.release();
            worker.metrics.freed_bytes.add(freed as u64);
            let current = worker.current();
            worker.upstreams.sweep(|slot| {
                let mut routes = current.routes.iter();
                routes
                    .find(|route| route.servers.iter().any(|server| server.slot == slot))
                    .map(|route| route.keep)
            });
        }
        worker.rt.sleep_until(from_now(&worker.rt, TICK_US)).await;
    }
}
