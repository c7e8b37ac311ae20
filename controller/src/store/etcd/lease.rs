//! The lease of the leader: renewed while it can be, and given up before etcd takes it away.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use forebay_etcd::{Client, Failure};
use tokio::sync::{oneshot, watch};

use crate::clock::Moment;

/// A leader that is cut off is followed after this many seconds. Two are the least that etcd grants, and etcd itself may need
/// two to elect its own, in which nothing is renewed.
pub(super) const TERM_SECONDS: i64 = 3;
const TERM: Duration = Duration::from_secs(TERM_SECONDS.unsigned_abs());
/// It is renewed so often.
const RENEW_EVERY: Duration = Duration::from_millis(500);
/// One that was not renewed is tried again after this: the next member may answer.
const RETRY: Duration = Duration::from_millis(100);
/// Who has no connection, or no answer, within this asks the next member: three members are asked within a term.
const PATIENCE: Duration = Duration::from_millis(700);

/// Until when a lease is good, by our own clock: one that goes on while the machine sleeps.
#[derive(Clone)]
pub(super) struct Good(Arc<Mutex<Moment>>);

impl Good {
    /// What etcd counts begins when it hears of it, which is later than when it was asked.
    pub(super) fn since(asked: Moment) -> Self {
        Good(Arc::new(Mutex::new(asked.after(TERM))))
    }

    /// That moment.
    pub(super) fn until(&self) -> Moment {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn renewed(&self, asked: Moment) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = asked.after(TERM);
    }

    /// Says whether it is good.
    pub(super) fn is_now(&self) -> bool {
        !self.until().is_over()
    }
}

/// A lease that is renewed, in a thread with connections of its own: nothing else that this process does makes it late.
pub(super) struct Keeping(Mutex<Option<oneshot::Sender<()>>>);

impl Keeping {
    /// Begins.
    ///
    /// # Errors
    /// The system gives no thread.
    //= CLUSTER-LEADER-02
    pub(super) fn start(
        client: &Client,
        lease: i64,
        good: Good,
        lost: watch::Sender<Option<String>>,
    ) -> Result<Self, String> {
        let (stop, stopped) = oneshot::channel();
        let client = client.apart(PATIENCE);
        let told = |error: std::io::Error| format!("no thread for the lease: {error}");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(told)?;
        let kept = move || {
            runtime.block_on(async {
                tokio::select! {
                    // It is dropped as well.
                    _ = stopped => {}
                    () = keep(client, lease, good, lost) => {}
                }
            });
        };
        std::thread::Builder::new().name("lease".to_owned()).spawn(kept).map_err(told)?;
        Ok(Keeping(Mutex::new(Some(stop))))
    }

    /// Renews it no more.
    pub(super) fn stop(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// Renews a lease until it is lost, and says why.
async fn keep(client: Client, lease: i64, good: Good, lost: watch::Sender<Option<String>>) {
    let mut pause = RENEW_EVERY;
    let why = loop {
        let good_until = good.until();
        tokio::time::sleep(pause.min(good_until.left())).await;
        pause = RENEW_EVERY;
        let now = Moment::now();
        if good_until.is_over() {
            break "its lease was not renewed in time: etcd did not answer".to_owned();
        }
        // Members that do not take a connection may use up all of the time.
        let renewed = tokio::time::timeout(good_until.left(), client.renew(lease, PATIENCE)).await;
        match renewed.unwrap_or_else(|_| Err(Failure::Unreached("no member in time".to_owned()))) {
            Ok(true) => good.renewed(now),
            Ok(false) => break "its lease is over: etcd did not hear of it in time".to_owned(),
            Err(failure) => {
                pause = RETRY;
                tracing::warn!(
                    event = "CLUSTER_LEASE_LATE", %failure,
                    left_ms = good_until.left().as_millis(),
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
