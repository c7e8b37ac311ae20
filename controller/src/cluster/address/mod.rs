//! The address that is always that of the Controller that leads: `virtual_ip` of the object `cluster`.
//!
//! A small process beside this one has it: what it takes to change addresses of the machine (`CAP_NET_ADMIN`), and to tell
//! neighbours of them (`CAP_NET_RAW`), it alone keeps, and this one gives up at its start. It is told again and again until when
//! we lead, by a clock that both have, and gives the address back before another Controller may lead. The system itself takes
//! the address away if that process does not say otherwise in time.

mod holding;
mod wire;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
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
/// Rounds of words without an answer: five seconds of who leads. The process answers each word, and waits for two calls of `ip` and
/// for neighbours at worst.
const UNANSWERED_MAX: usize = 25;
/// The line takes hundreds of words: one that is full leads to nobody.
const WRITING: Duration = Duration::from_millis(50);
/// Says to a Controller that begins anew in the same process that standard input is the line to the process that it had before.
const HANDED: &str = "FOREBAY_ADDRESS_HANDED";

/// The process, as we hold it.
#[derive(Default)]
pub struct Address {
    /// The line to it; it goes with the last of our threads.
    line: Mutex<Option<UnixStream>>,
    heard: Arc<Heard>,
    held: Mutex<BTreeSet<IpAddr>>,
    said: Mutex<bool>,
    lost: watch::Sender<bool>,
}

/// What came from it.
#[derive(Default)]
struct Heard {
    /// Rounds of words since its last answer.
    unanswered: AtomicUsize,
    /// It has ended.
    is_gone: AtomicBool,
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
        let line = match std::env::var_os(HANDED) {
            Some(_) => std::io::stdin().as_fd().try_clone_to_owned().map(UnixStream::from).map(Some),
            None if may => begin().map(Some),
            None => Ok(None),
        };
        for right in RIGHTS {
            for set in [CapSet::Ambient, CapSet::Inheritable, CapSet::Effective, CapSet::Permitted] {
                // What is not there is given up already.
                let _ = caps::drop(None, set, right);
            }
        }
        let holder = line.and_then(|line| line.map(Self::over).transpose());
        holder.map(Option::unwrap_or_default).unwrap_or_else(|error| {
            tracing::warn!(event = "CLUSTER_ADDRESS_FAILED", %error, "no process that holds the virtual address");
            Self::default()
        })
    }

    /// With a process at the other end.
    fn over(line: UnixStream) -> std::io::Result<Self> {
        line.set_write_timeout(Some(WRITING))?;
        let (address, mut answers) = (Address::default(), line.try_clone()?);
        let heard = Arc::clone(&address.heard);
        let hears = move || {
            let mut bytes = [0; 64];
            while answers.read(&mut bytes).is_ok_and(|count| count > 0) {
                heard.unanswered.store(0, Ordering::Relaxed);
            }
            heard.is_gone.store(true, Ordering::Relaxed);
        };
        std::thread::Builder::new().name("address".to_owned()).spawn(hears)?;
        *lock(&address.line) = Some(line);
        Ok(address)
    }

    /// Hands the process on to the Controller that `command` begins in the place of this one.
    pub fn hand_over(self, command: &mut Command) {
        if let Some(line) = lock(&self.line).take() {
            command.stdin(Stdio::from(OwnedFd::from(line))).env(HANDED, "1");
        }
    }

    /// Until then we lead: these are ours meanwhile, and no others.
    //= CLUSTER-VIP-03
    pub fn hold(&self, wanted: &BTreeSet<IpAddr>, until: Moment) {
        let before = std::mem::replace(&mut *lock(&self.held), wanted.clone());
        let gone = before.difference(wanted).map(|address| format!("leave {address}\n"));
        let until = until.millis();
        self.say(gone.chain(wanted.iter().map(|address| format!("hold-{until} {address}\n"))).collect());
        if let Some(address) = wanted.first().filter(|_| self.is_alone()) {
            self.cannot(*address);
        }
    }

    /// We do not lead: none of these is ours, nor what we had.
    pub fn leave(&self, known: &BTreeSet<IpAddr>) {
        let before = std::mem::take(&mut *lock(&self.held));
        self.say(before.union(known).map(|address| format!("leave {address}\n")).collect());
    }

    /// Ends when the process that was started has ended, or answers no more, and says what follows. Of one that nobody needs
    /// nothing is noticed.
    //= CLUSTER-VIP-03
    pub async fn lost(&self) -> String {
        let mut lost = self.lost.subscribe();
        // It is ours: the wait ends when it is so.
        let _ = lost.wait_for(|lost| *lost).await;
        "the process that holds the virtual address has ended or stands still, and this one may not start another: it ends as \
         well, to be started anew"
            .to_owned()
    }

    /// All that there is to be said at once. Rounds are counted, and not time: who stood still itself hears the answers late.
    fn say(&self, words: String) {
        let mut line = lock(&self.line);
        let Some(to) = line.as_mut().filter(|_| !words.is_empty()) else { return };
        let is_heard = self.heard.unanswered.fetch_add(1, Ordering::Relaxed) < UNANSWERED_MAX
            && !self.heard.is_gone.load(Ordering::Relaxed);
        if !is_heard || to.write_all(words.as_bytes()).is_err() {
            *line = None;
            self.lost.send_replace(true);
        }
    }

    /// There never was such a process.
    fn is_alone(&self) -> bool {
        lock(&self.line).is_none() && !*self.lost.borrow()
    }

    fn cannot(&self, address: IpAddr) {
        if !std::mem::replace(&mut *lock(&self.said), true) {
            tracing::warn!(
                event = "CLUSTER_ADDRESS_FAILED",
                %address,
                error = "this Controller may not change addresses: give it CAP_NET_ADMIN and CAP_NET_RAW",
                "the virtual address is not taken"
            );
        }
    }
}

/// Our end of the line to one that was just started.
fn begin() -> std::io::Result<UnixStream> {
    let (ours, theirs) = UnixStream::pair()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("hold-address").stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::null());
    // How it ends nobody asks: that it did is noticed by its line.
    command.spawn().map(|_| ours)
}

fn lock<T>(held: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

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
    async fn a_process_that_is_gone_or_answers_no_more_is_missed_and_one_that_answers_late_is_not() {
        let wanted = BTreeSet::from(["192.0.2.7".parse().expect("one")]);
        let rounds = |address: &Address, most: usize| {
            let said = (0..most).take_while(|_| !*address.lost.borrow());
            said.map(|_| address.hold(&wanted, Moment::now())).count()
        };
        // One that answers, late: each time just before it is given up.
        let (mut theirs, ours) = UnixStream::pair().expect("two ends");
        let address = Address::over(ours).expect("a thread");
        for _ in 0..3 {
            assert_eq!(rounds(&address, UNANSWERED_MAX), UNANSWERED_MAX);
            theirs.write_all(b".").expect("it is read");
            let deadline = Instant::now() + Duration::from_secs(20);
            while address.heard.unanswered.load(Ordering::Relaxed) > 0 {
                assert!(Instant::now() < deadline, "an answer is not heard");
                tokio::task::yield_now().await;
            }
        }
        // From now on it stands still.
        assert_eq!(rounds(&address, 1_000), UNANSWERED_MAX + 1);
        assert!(address.lost().await.contains("stands still"));
        // One that has ended, and is needed no sooner than now.
        let (theirs, ours) = UnixStream::pair().expect("two ends");
        let address = Address::over(ours).expect("a thread");
        drop(theirs);
        address.leave(&BTreeSet::new());
        address.hold(&BTreeSet::new(), Moment::now());
        assert!(!*address.lost.borrow(), "nobody needs it");
        assert!(rounds(&address, 1_000) <= UNANSWERED_MAX + 1);
        // Where there was none nothing is missed.
        let address = Address::default();
        assert_eq!(rounds(&address, 100), 100);
    }
}
