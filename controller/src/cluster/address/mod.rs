//! The address that is always that of the Controller that leads: `virtual_ip` of the object `cluster`.
//!
//! A small process beside this one has it: what it takes to change addresses of the machine (`CAP_NET_ADMIN`), and to tell
//! neighbours of them (`CAP_NET_RAW`), it alone keeps, and this one gives up at its start. It is told again and again until when
//! we lead, by a clock that both have, and gives the address back before another Controller may lead. The system itself takes
//! the address away if that process does not say otherwise in time.

mod holding;
mod wire;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use caps::{CapSet, Capability};
use forebay_model::Object;
use tokio::sync::watch;

pub use holding::keep;

use super::member::Node;
use crate::clock::Moment;

/// Who leads says so this often.
pub(super) const EVERY: Duration = Duration::from_millis(200);
/// What it takes.
const RIGHTS: [Capability; 2] = [Capability::CAP_NET_ADMIN, Capability::CAP_NET_RAW];
/// Words that wait for the process: some ten seconds of them. One that takes no more of them stands still.
const WAITING_MAX: usize = 64;
/// Says to a Controller that begins anew in the same process that standard input is the pipe to the process that it had before.
const HANDED: &str = "FOREBAY_ADDRESS_HANDED";

/// The process, as we hold it.
pub struct Address {
    /// Words go to it by way of a thread: a pipe that nobody reads fills up, and nothing here waits for that.
    words: Mutex<Option<SyncSender<String>>>,
    /// The pipe, for who comes after us in this process.
    pipe: Option<File>,
    held: Mutex<BTreeSet<IpAddr>>,
    said: Mutex<bool>,
    lost: watch::Sender<bool>,
}

/// The addresses that go with the lead.
pub fn wanted(cluster: &Object) -> BTreeSet<IpAddr> {
    let texts =
        ["virtual_ip", "virtual_ip6"].into_iter().filter_map(|field| cluster.get(field)?["addr"].as_str());
    texts.filter_map(|text| text.parse().ok()).collect()
}

/// Says whether the addresses that go with the lead can be: of none that a Controller has for itself.
///
/// # Errors
/// As a text that says what to do.
//= CLUSTER-VIP-04
pub fn judge(cluster: &Object, nodes: &[Node]) -> Result<(), String> {
    for address in wanted(cluster) {
        let field = if address.is_ipv4() { "virtual_ip" } else { "virtual_ip6" };
        if address.is_unspecified() || address.is_loopback() || address.is_multicast() {
            return Err(format!(
                "{field}: {address} is no address that a machine has in its network; name one"
            ));
        }
        if let Some(node) = nodes.iter().find(|node| node.address == address) {
            return Err(format!(
                "{field}: {address} is that of {} itself; name one that no machine has",
                node.name
            ));
        }
    }
    Ok(())
}

impl Address {
    /// Starts it, where this process may have addresses changed at all, and gives up that right: call it before there is any other
    /// thread, which would keep the right.
    //= CLUSTER-VIP-02
    pub fn start() -> Self {
        let may = RIGHTS.iter().all(|right| caps::has_cap(None, CapSet::Permitted, *right).unwrap_or(false));
        let pipe = match std::env::var_os(HANDED) {
            Some(_) => std::io::stdin().as_fd().try_clone_to_owned().map(Some),
            None if may => begin().map(Some),
            None => Ok(None),
        };
        for right in RIGHTS {
            for set in [CapSet::Ambient, CapSet::Inheritable, CapSet::Effective, CapSet::Permitted] {
                // What is not there is given up already.
                let _ = caps::drop(None, set, right);
            }
        }
        let pipe = pipe.unwrap_or_else(|error| {
            tracing::warn!(event = "CLUSTER_ADDRESS_FAILED", %error, "no process that holds the virtual address");
            None
        });
        Self::over(pipe.map(File::from))
    }

    fn over(pipe: Option<File>) -> Self {
        let lost = watch::Sender::new(false);
        let words = pipe.as_ref().and_then(|pipe| {
            let (mut pipe, lost) = (pipe.try_clone().ok()?, lost.clone());
            let (words, said) = sync_channel::<String>(WAITING_MAX);
            let told = move || {
                while let Ok(word) = said.recv() {
                    if pipe.write_all(word.as_bytes()).is_err() {
                        lost.send_replace(true);
                        break;
                    }
                }
            };
            std::thread::Builder::new().name("address".to_owned()).spawn(told).ok().map(|_| words)
        });
        Address { words: Mutex::new(words), pipe, held: Mutex::default(), said: Mutex::new(false), lost }
    }

    /// Hands the process on to the Controller that `command` begins in the place of this one.
    pub fn hand_over(self, command: &mut Command) {
        if let Some(pipe) = self.pipe {
            command.stdin(Stdio::from(pipe)).env(HANDED, "1");
        }
    }

    /// Until then we lead: these are ours meanwhile, and no others.
    //= CLUSTER-VIP-03
    pub fn hold(&self, wanted: &BTreeSet<IpAddr>, until: Moment) {
        let before = std::mem::replace(&mut *lock(&self.held), wanted.clone());
        before.difference(wanted).for_each(|address| self.say("leave", *address));
        let word = format!("hold-{}", until.millis());
        wanted.iter().for_each(|address| self.say(&word, *address));
    }

    /// We do not lead: none of these is ours, nor what we had.
    pub fn leave(&self, known: &BTreeSet<IpAddr>) {
        let before = std::mem::take(&mut *lock(&self.held));
        before.union(known).for_each(|address| self.say("leave", *address));
    }

    /// Ends when the process that was started has ended, or takes no more words, and says what follows. Of one that nobody needs
    /// nothing is noticed.
    //= CLUSTER-VIP-03
    pub async fn lost(&self) -> String {
        let mut lost = self.lost.subscribe();
        // It is ours: the wait ends when it is so.
        let _ = lost.wait_for(|lost| *lost).await;
        "the process that holds the virtual address has ended, and this one may not start another: it ends as well, to be \
         started anew"
            .to_owned()
    }

    fn say(&self, word: &str, address: IpAddr) {
        let mut words = lock(&self.words);
        if let Some(to) = words.as_ref() {
            if to.try_send(format!("{word} {address}\n")).is_err() {
                *words = None;
                self.lost.send_replace(true);
            }
            return;
        }
        if !*self.lost.borrow() && word != "leave" && !std::mem::replace(&mut *lock(&self.said), true) {
            tracing::warn!(
                event = "CLUSTER_ADDRESS_FAILED",
                %address,
                error = "this Controller may not change addresses: give it CAP_NET_ADMIN and CAP_NET_RAW",
                "the virtual address is not taken"
            );
        }
    }
}

/// The pipe of one that was just started.
fn begin() -> std::io::Result<OwnedFd> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("hold-address").stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = command.spawn()?;
    let pipe = child.stdin.take().map(OwnedFd::from);
    // How it ended nobody asks: that it did is noticed by its pipe.
    pipe.ok_or_else(|| std::io::Error::other("it has no pipe"))
}

fn lock<T>(held: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    //= test CLUSTER-VIP-04
    #[test]
    fn the_virtual_address_is_one_that_no_controller_has_for_itself() {
        let nodes: Vec<Node> =
            ["a=192.0.2.1", "b=2001:db8::2"].map(|text| text.parse().expect("one")).to_vec();
        let of = |field: &str, text: &str| {
            let mut object = Object::new();
            object.insert(field.to_owned(), json!({"addr": text, "type": "V4"}));
            judge(&object, &nodes)
        };
        assert_eq!((of("virtual_ip", "192.0.2.7"), of("virtual_ip6", "2001:db8::7")), (Ok(()), Ok(())));
        for (field, text, said) in [
            ("virtual_ip", "192.0.2.1", "of a itself"),
            ("virtual_ip6", "2001:db8::2", "of b itself"),
            ("virtual_ip", "127.0.0.1", "is no address"),
            ("virtual_ip", "0.0.0.0", "is no address"),
            ("virtual_ip6", "ff02::1", "is no address"),
        ] {
            let why = of(field, text).expect_err(text);
            assert!(why.starts_with(field) && why.contains(said), "{why}");
        }
        let cluster =
            json!({"virtual_ip": {"addr": "192.0.2.7", "type": "V4"}, "virtual_ip6": {"addr": "host"}});
        assert_eq!(
            wanted(cluster.as_object().expect("one")),
            BTreeSet::from(["192.0.2.7".parse().expect("one")])
        );
    }

    //= test CLUSTER-VIP-03
    #[tokio::test]
    async fn a_process_that_is_gone_or_takes_no_more_words_is_missed_and_nobody_waits_for_it() {
        let wanted = BTreeSet::from(["192.0.2.7".parse().expect("one")]);
        let soon = Duration::from_secs(20);
        let (theirs, ours) = std::io::pipe().expect("a pipe");
        let address = Address::over(Some(File::from(OwnedFd::from(ours))));
        drop(theirs);
        address.hold(&wanted, Moment::now());
        tokio::time::timeout(soon, address.lost()).await.expect("it is gone");
        // One that stands still.
        let (_theirs, ours) = std::io::pipe().expect("a pipe");
        let address = Address::over(Some(File::from(OwnedFd::from(ours))));
        let all = async {
            while !*address.lost.borrow() {
                address.hold(&wanted, Moment::now());
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(soon, all).await.expect("what fits into a pipe has an end");
        // Where there was none nothing is missed.
        let address = Address::over(None);
        address.hold(&wanted, Moment::now());
        assert!(!*address.lost.borrow());
    }
}
