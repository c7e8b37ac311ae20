//! The lease of the leader: renewed while it can be, and given up before etcd takes it away.

use std::time::{Duration, Instant};

use forebay_etcd::Client;
use tokio::sync::watch;

/// A leader that is gone is followed after this many seconds; etcd itself may need two to elect its own.
pub(super) const TERM_SECONDS: i64 = 5;
const TERM: Duration = Duration::from_secs(TERM_SECONDS.unsigned_abs());
/// It is renewed so often.
const RENEW_EVERY: Duration = Duration::from_secs(1);
/// Who has no answer within this asks the next member: two of these and a pause are less than a term.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Renews a lease that was asked for at `asked`, until it is lost, and says why.
//= CLUSTER-LEADER-02
pub(super) async fn keep(client: Client, lease: i64, asked: Instant, lost: watch::Sender<Option<String>>) {
    // What etcd counts begins when it hears of it, which is later than when it was asked.
    let mut good_until = asked + TERM;
    let why = loop {
        tokio::time::sleep_until(good_until.min(Instant::now() + RENEW_EVERY).into()).await;
        let now = Instant::now();
        if now >= good_until {
            break "its lease was not renewed in time: etcd did not answer".to_owned();
        }
        let patience = PATIENCE.min(good_until - now);
        match client.renew(lease, patience).await {
            Ok(true) => good_until = now + TERM,
            Ok(false) => break "its lease is over: etcd did not hear of it in time".to_owned(),
            Err(failure) => {
                tracing::warn!(
                    event = "CLUSTER_LEASE_LATE", %failure,
                    left_ms = good_until.saturating_duration_since(Instant::now()).as_millis(),
                    "the leader's lease was not renewed"
                );
            }
        }
    };
    tracing::warn!(event = "CLUSTER_LEAD_LOST", why, "this node leads no more");
    lost.send_if_modified(|lost| {
        let is_new = lost.is_none();
        lost.get_or_insert(why);
        is_new
    });
}
