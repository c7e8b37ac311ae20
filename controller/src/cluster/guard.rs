//! A small process beside this one, which ends our lease when we have died: another Controller leads then at once.
//!
//! It reads a pipe of which nobody but us has the other end. The system closes that one when the last of our threads is gone,
//! and not before: who is cut off or stands still keeps its lease until it is over.

use std::io::{BufRead, Write};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use forebay_etcd::{Client, Endpoint, Tls};
use tokio::signal::unix::{SignalKind, signal};

use super::Files;

/// A member that has not answered within this is asked no longer: while etcd elects a leader of its own what it is asked for may
/// be lost without a word.
const PATIENCE: Duration = Duration::from_millis(500);
/// It tries for so long: a lease is over by then anyway.
const TRYING: Duration = Duration::from_secs(5);
/// The pause between two tries.
const RETRY: Duration = Duration::from_millis(100);

/// The process, as we hold it.
pub struct Guard(Mutex<Option<ChildStdin>>);

impl Guard {
    /// Starts it. Without one a lease goes when its time is over.
    //= CLUSTER-LEADER-03
    pub fn start(endpoints: &[String], files: Option<&Files>) -> Self {
        let started = std::env::current_exe().and_then(|own| {
            let mut command = Command::new(own);
            command.arg("release-lease").arg(others_first(endpoints));
            if let Some(files) = files {
                command.args([&files.authority, &files.certificate, &files.key]);
            }
            command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()
        });
        match started {
            Ok(mut child) => {
                let pipe = child.stdin.take();
                // It ends after us; while we are there it is waited for.
                std::thread::spawn(move || child.wait());
                Guard(Mutex::new(pipe))
            }
            Err(error) => {
                tracing::warn!(event = "CLUSTER_NO_GUARD", %error, "if this Controller dies, its lease ends by time");
                Guard(Mutex::new(None))
            }
        }
    }

    /// This is our lease; 0: we have none.
    pub fn holds(&self, lease: i64) {
        self.say(&lease.to_string());
    }

    /// These are the members from now on, our own one first.
    pub fn asks(&self, endpoints: &[String]) {
        self.say(&others_first(endpoints));
    }

    fn say(&self, line: &str) {
        let mut pipe = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(to) = pipe.as_mut()
            && writeln!(to, "{line}").is_err()
        {
            *pipe = None;
        }
    }
}

/// Our own member of etcd goes with us: others are asked first.
fn others_first(endpoints: &[String]) -> String {
    let (first, rest) = endpoints.split_at(endpoints.len().min(1));
    rest.iter().chain(first).cloned().collect::<Vec<_>>().join(",")
}

/// What the small process does.
///
/// # Errors
/// As a text: an argument is none.
pub async fn release(endpoints: &str, files: Option<Files>) -> Result<(), String> {
    let read = |text: &str| text.split(',').map(str::parse).collect::<Result<Vec<Endpoint>, String>>();
    let first = read(endpoints)?;
    let tls = match files {
        Some(files) => Some(Tls::of_files(&files.authority, &files.certificate, &files.key)?),
        None => None,
    };
    // Whoever ends the whole group ends it too early: it goes with its pipe.
    let kept = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal);
    let told = tokio::task::spawn_blocking(move || {
        let (mut lease, mut all) = (0_i64, first);
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            match (line.trim().parse(), read(line.trim())) {
                (Ok(number), _) => lease = number,
                (_, Ok(endpoints)) => all = endpoints,
                _ => {}
            }
        }
        (lease, all)
    });
    let (lease, all) = told.await.map_err(|error| error.to_string())?;
    if lease == 0 {
        return Ok(());
    }
    let client = Client::new(all, tls).apart(PATIENCE);
    let revoking = async {
        while let Err(forebay_etcd::Failure::Unreached(_) | forebay_etcd::Failure::Lost(_)) =
            client.revoke(lease).await
        {
            tokio::time::sleep(RETRY).await;
        }
    };
    let _ = tokio::time::timeout(TRYING, revoking).await;
    drop(kept);
    Ok(())
}
