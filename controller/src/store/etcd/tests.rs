//! The store over real members of etcd.

mod member;
mod relay;

use std::time::{Duration, Instant};

use super::*;
use crate::store::suite::{self, Folder};
use crate::store::{HISTORY, STEP_MAX};
use member::Member;
use relay::Relay;

/// The pause between two looks at a condition.
const LOOK_EVERY: Duration = Duration::from_millis(20);

fn leading(endpoints: &[String]) -> Leading {
    let endpoints: Vec<forebay_etcd::Endpoint> =
        endpoints.iter().map(|text| text.parse().expect("an endpoint")).collect();
    Leading { client: Client::new(endpoints, None), prefix: "/forebay/".to_owned(), shown: b"one".to_vec() }
}

async fn lead(endpoints: &[String]) -> Etcd {
    let deadline = Instant::now() + Duration::from_secs(15);
    loop {
        if let Ok(Some(store)) = leading(endpoints).lead().await {
            return store;
        }
        assert!(Instant::now() < deadline, "nobody else leads");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn write(key: &str, value: &str) -> Step {
    Step::default().write(key, Some(value.as_bytes().to_vec()))
}

/// Waits until the lease was renewed once more.
async fn renewed(store: &Etcd) {
    let (before, deadline) = (store.inner.good.until(), Instant::now() + Duration::from_secs(10));
    while store.inner.good.until() == before {
        assert!(Instant::now() < deadline, "the lease is not renewed");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// How often a key was written.
async fn written(store: &Etcd, key: &str) -> i64 {
    let leading = &store.inner.leading;
    let request = RangeRequest { key: leading.data(key), ..Default::default() };
    leading.client.range(request).await.expect("readable").kvs.first().map_or(0, |held| held.version)
}

//= test API-STORE-01
//= test API-STORE-03
#[tokio::test]
async fn etcd_does_what_a_store_does() {
    let folder = Folder::in_memory("etcd-suite");
    let member = Member::start(&folder.0, 1, &[]).await;
    suite::run(async || lead(&[member.endpoint()]).await, &folder.0).await;
    // What an administrator forgets is forgotten, and is said to be.
    let store = lead(&[member.endpoint()]).await;
    let first = store.commit(write("a", "1")).await.expect("room");
    let last = store.commit(write("a", "2")).await.expect("room");
    assert_eq!(store.changes(first, 10).await.expect("kept").len(), 1);
    let client = &store.inner.leading.client;
    client.compact(i64::try_from(last).expect("small")).await.expect("compacted");
    assert_eq!(store.changes(first - 1, 10).await, Err(Refusal::Forgotten));
    assert_eq!(store.changes(last, 10).await, Ok(Vec::new()));
    assert!(client.status().await.expect("an answer").version.starts_with("3."));
}

//= test CLUSTER-LEADER-01
#[tokio::test]
async fn one_leads_at_a_time_and_who_leads_no_more_writes_nothing() {
    let folder = Folder::in_memory("etcd-lead");
    let member = Member::start(&folder.0, 2, &[]).await;
    let at = [member.endpoint()];
    let first = lead(&at).await;
    first.commit(write("a", "1")).await.expect("it leads");
    assert!(leading(&at).lead().await.expect("an answer").is_none(), "another one leads");
    assert_eq!(leading(&at).leader().await.expect("an answer").as_deref(), Some(&b"one"[..]));
    // etcd takes the lease away, as after a pause of the whole process: the leader has not heard of it yet.
    first.inner.keeping.stop();
    leading(&at).client.revoke(first.inner.lease).await.expect("gone");
    let second = lead(&at).await;
    second.commit(write("a", "2")).await.expect("it leads");
    let refusal = first.commit(write("a", "3")).await.expect_err("it leads no more");
    assert!(matches!(&refusal, Refusal::Unavailable(text) if text.contains("leads no more")), "{refusal}");
    assert!(first.lost().await.contains("another node"));
    assert!(first.get("a").await.is_err(), "nor does it answer");
    assert_eq!(second.get("a").await.expect("readable").expect("there").value, b"2");
    second.resign().await;
    let third = lead(&at).await;
    assert!(second.commit(write("a", "4")).await.is_err());
    assert_eq!(third.get("a").await.expect("readable").expect("there").value, b"2");
}

//= test CLUSTER-LEADER-02
#[tokio::test]
async fn a_leader_that_etcd_does_not_hear_gives_up_before_another_one_may_lead() {
    let folder = Folder::in_memory("etcd-mute");
    let member = Member::start(&folder.0, 3, &[]).await;
    let relay = Relay::start(member.port()).await;
    let cut_off = lead(&[relay.endpoint()]).await;
    cut_off.commit(write("a", "1")).await.expect("it leads");
    renewed(&cut_off).await;
    relay.mute();
    let waiting = async {
        let store = lead(&[member.endpoint()]).await;
        (store, Instant::now())
    };
    let losing = async {
        let why = cut_off.lost().await;
        (why, Instant::now())
    };
    let ((next, leads), (why, lost)) = tokio::join!(waiting, losing);
    assert!(lost <= leads, "{why}: {:?} too late", lost.duration_since(leads));
    next.commit(write("a", "2")).await.expect("it leads");
    assert!(cut_off.get("a").await.is_err());
}

//= test CLUSTER-LEADER-02
#[tokio::test]
async fn a_leader_that_is_busy_goes_on_leading() {
    let folder = Folder::in_memory("etcd-busy");
    let member = Member::start(&folder.0, 7, &[]).await;
    let at = [member.endpoint()];
    let store = lead(&at).await;
    // Sleep: the only thread of this runtime does something else for longer than a lease lasts.
    std::thread::sleep(Duration::from_secs(lease::TERM_SECONDS.unsigned_abs() + 1));
    assert!(store.is_led(), "its lease was renewed meanwhile");
    assert!(leading(&at).lead().await.expect("an answer").is_none(), "nobody else may lead");
    store.commit(write("a", "1")).await.expect("it leads");
}

//= test CLUSTER-STEP-01
#[tokio::test]
async fn a_step_whose_answer_is_lost_is_done_once() {
    let folder = Folder::in_memory("etcd-once");
    let member = Member::start(&folder.0, 4, &[]).await;
    let relay = Relay::start(member.port()).await;
    let store = lead(&[relay.endpoint()]).await;
    store.commit(write("a", "0")).await.expect("it leads");
    // Asked for, done, and the answer never comes.
    relay.swallow();
    let done = store.commit(write("a", "1").demand("b", None)).await.expect("found again");
    assert_eq!(written(&store, "a").await, 2);
    assert_eq!(store.get("a").await.expect("readable").expect("there").revision, done);
    renewed(&store).await;
    // Asked for, held back on the way, asked for anew. What the first one does when it arrives later is not shown here: etcd forgets
    // what was asked for on a connection that ends.
    relay.hold();
    let done = store.commit(write("a", "2")).await.expect("done by the second request");
    assert_eq!(written(&store, "a").await, 3);
    assert_eq!(store.get("a").await.expect("readable").expect("there").revision, done);
}

//= test CLUSTER-FULL-01
#[tokio::test]
async fn a_member_whose_storage_is_full_is_named_with_the_remedy_and_reading_goes_on() {
    let folder = Folder::in_memory("etcd-full");
    let member = Member::start(&folder.0, 5, &["--quota-backend-bytes=6000000"]).await;
    let store = lead(&[member.endpoint()]).await;
    let mut kept = 0;
    let refusal = loop {
        assert!(kept < 50, "it is never full");
        match store.commit(Step::default().write("big", Some(vec![7; 1_000_000])).demand("x", None)).await {
            Ok(_) => kept += 1,
            Err(refusal) => break refusal,
        }
    };
    assert!(
        matches!(&refusal, Refusal::Unavailable(text) if text.contains("--quota-backend-bytes")),
        "{refusal}"
    );
    assert!(kept > 0 && store.get("big").await.expect("readable").is_some());
}

//= test CLUSTER-FORM-01
#[tokio::test]
async fn what_another_version_has_written_is_left_alone() {
    let folder = Folder::in_memory("etcd-form");
    let member = Member::start(&folder.0, 6, &[]).await;
    let at = leading(&[member.endpoint()]);
    let newer = TxnRequest { success: vec![put(at.key("form"), b"2".to_vec(), 0)], ..Default::default() };
    at.client.txn(newer).await.expect("written");
    let refusal = at.lead().await.err().expect("not this version's");
    assert!(
        refusal.to_string().contains("form 2") && refusal.to_string().contains("--etcd-prefix"),
        "{refusal}"
    );
}

#[test]
fn the_first_key_behind_a_prefix_is_found() {
    assert_eq!(behind(b"a/".to_vec()), b"a0");
    assert_eq!(behind(vec![1, 255, 255]), [2]);
    assert_eq!(next(b"a".to_vec()), b"a\0");
    const { assert!(STEP_MAX < 128 && HISTORY > 0) };
}
