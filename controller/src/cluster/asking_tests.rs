//! Nodes that are asked for their part, over real sockets.

use std::future::Future;
use std::net::IpAddr;
use std::path::PathBuf;

use axum::body::Body;
use axum::extract::Request as Asked;
use axum::http::Response;
use forebay_logs::{Kind, Search, stamp};
use forebay_metrics::{Ask, Key, Kind as Of, Offer, Range, Tally};
use serde_json::json;
use tokio::net::TcpListener;

use super::*;
use crate::api::clock;
use crate::cluster::presence::Neighbour;
use crate::cluster::{Identity, inside};
use crate::parts::{Answering, Held, Remote, Stores, Wanted};
use crate::sealed::Seal;
use crate::server;
use crate::store::suite::Folder;

/// Nothing here takes longer, unless it never ends.
const SOON: Duration = Duration::from_secs(20);
/// Between two asks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

async fn soon<T>(what: &str, answer: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, answer).await.unwrap_or_else(|_| panic!("{what}: no answer"))
}

fn identity(folder: &Folder, key: &str) -> Identity {
    let seal = Seal::open(&folder.0.join(key)).expect("a key");
    Identity::new(&seal, IpAddr::from([127, 0, 0, 1])).expect("made")
}

/// Answers at an address, as nodes let one another in.
async fn node<A: Future<Output = Response<Body>> + Send + 'static>(
    identity: &Identity,
    answer: impl Fn(Asked) -> A + Clone + Send + Sync + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = listener.local_addr().expect("its address");
    tokio::spawn(server::serve(
        answer,
        listener,
        identity.server().expect("it fits"),
        std::future::pending(),
    ));
    at
}

fn stores(folder: PathBuf) -> (Arc<Stores>, Held) {
    let logs = crate::logs::Settings { folder: folder.join("logs"), hours: 24, bytes: 1 << 30, export: None };
    std::fs::create_dir_all(&folder).expect("room");
    let stores = Arc::new(Stores::new(folder, logs));
    let held = stores.open().expect("room");
    (stores, held)
}

/// One that leads, and knows of these.
fn leads(identity: &Identity, others: &[(&str, SocketAddr)]) -> Cluster {
    let asking = Arc::new(Asking::new(identity.client().expect("it fits")));
    let cluster = Cluster::alone(IpAddr::from([127, 0, 0, 1])).that_asks(asking);
    let one = |(name, at): &(&str, SocketAddr)| Neighbour {
        name: (*name).to_owned(),
        address: at.ip(),
        engines: None,
        controllers: Some(*at),
        leads: false,
        since: None,
    };
    let mut all = cluster.all();
    all.extend(others.iter().map(one));
    cluster.set(all);
    cluster
}

fn tell(held: &Held, nth: u64, of: &str) {
    let record = json!({
        "report_timestamp": stamp(i64::try_from(clock()).expect("not yet") * 1_000 - 1_000_000),
        "virtualservice": "web", "response_code": 200, "uri_path": format!("/{of}/{nth}"),
    });
    held.logs.offer(format!("{record}\n").into_bytes()).expect("room");
    held.logs.flush();
    let tally = Tally { sums: vec![nth], tops: vec![nth], durations: vec![nth] };
    held.series
        .offer(Offer {
            engine: format!("engine-{of}"),
            process: 1,
            number: nth,
            oldest: nth,
            age: 0,
            length: 5_000,
            tallies: vec![(Key::new(Of::Service, "web"), tally)],
            done: Box::new(|_| {}),
        })
        .expect("room");
    held.series.flush();
}

fn search(within: Duration) -> Search {
    let to = i64::try_from(clock()).expect("not yet") * 1_000;
    Search { kind: Some(Kind::Request), filters: vec![], from: 0, to, before: None, limit: 100, within }
}

//= test LOG-SEVERAL-03
//= test CLUSTER-PART-01
#[tokio::test]
async fn answers_have_the_parts_of_all_nodes_and_say_whose_is_missing() {
    let folder = Folder::new("parts");
    let identity = identity(&folder, "key");
    let (_own, own) = stores(folder.0.join("own"));
    let (other, others) = stores(folder.0.join("other"));
    tell(&own, 1, "own");
    tell(&others, 10, "other");
    let answering = Arc::new(Answering::new(other));
    let front = Arc::new(crate::cluster::Front::new(identity.client().expect("it fits")));
    let (within, for_node) = (Arc::clone(&front), Arc::clone(&answering));
    let at =
        node(&identity, move |request| inside(Arc::clone(&within), Arc::clone(&for_node), request)).await;
    // An older one takes what it is asked for a request of a client of ours.
    let older = node(&identity, move |request| {
        let front = Arc::clone(&front);
        async move { front.controller(request).await }
    });
    let older = older.await;
    // Nobody is there.
    let gone = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("its address");
    let cluster = leads(&identity, &[("gone", gone), ("older", older), ("other", at)]);
    let wanted = |within| Wanted { search: search(within), own: Arc::clone(&own.logs) };
    let found = soon("records", wanted(SOON).records(&cluster, None)).await.expect("readable");
    let texts: Vec<&str> = found.found.lines.iter().map(|line| line.text.as_str()).collect();
    assert!(texts.len() == 2 && texts.iter().any(|text| text.contains("/other/10")), "{texts:?}");
    let why: Vec<String> = found.missing.iter().map(ToString::to_string).collect();
    assert!(why.len() == 2 && why[0].contains("gone is missing: it is not reached"), "{why:?}");
    assert!(why[1].contains("older is missing: it is older"), "{why:?}");
    let groups = wanted(SOON).groups(&cluster, "uri_path".to_owned(), None);
    let groups = soon("groups", groups).await.expect("readable");
    assert_eq!((groups.top.values.len(), groups.top.records, groups.missing.len()), (2, 2, 2));
    assert_eq!(groups.next, None);
    // Each counts once, by whomever it was told.
    let keys = vec![Key::new(Of::Service, "web")];
    let range = Range::of(0, clock() - 60_000, clock() + 5_000, 100);
    let remote = || Remote { own: Arc::clone(&own.series), cluster: &cluster };
    let ask = Ask { keys: keys.clone(), engine: None, range };
    // A machine that stands still for half a second makes the one that answers late as well: it is asked again.
    let began = Instant::now();
    let (read, missing) = loop {
        let (read, missing) = soon("series", remote().read(vec![ask.clone()])).await.expect("readable");
        if missing.len() == 2 || began.elapsed() > 2 * SOON {
            break (read, missing);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    };
    assert_eq!(read[0].iter().flatten().map(|tally| tally.sum(0)).sum::<u64>(), 11, "{read:?}");
    assert_eq!(missing.len(), 2, "{missing:?}");
    let (totals, missing) = soon("totals", remote().totals(keys, range)).await.expect("readable");
    assert_eq!((totals[0].as_ref().map(|tally| tally.sum(0)), missing.len()), (Some(11), 2));
}

//= test CLUSTER-PART-02
#[tokio::test]
async fn a_node_that_says_nothing_costs_a_part_of_the_time_and_then_none() {
    let folder = Folder::new("parts-silent");
    let identity = identity(&folder, "key");
    let silent = node(&identity, |_| std::future::pending()).await;
    let cluster = leads(&identity, &[("silent", silent)]);
    let (_own, own) = stores(folder.0.join("own"));
    tell(&own, 1, "own");
    let ask = async |within| {
        let wanted = Wanted { search: search(within), own: Arc::clone(&own.logs) };
        let (began, found) = (Instant::now(), wanted.records(&cluster, None).await.expect("readable"));
        assert_eq!((found.found.lines.len(), found.missing.len()), (1, 1));
        (began.elapsed(), found.missing[0].why.clone())
    };
    let within = Duration::from_millis(1_200);
    let (took, why) = soon("the first", ask(within)).await;
    assert!(why.contains("did not answer within 900 ms"), "{why}");
    assert!(took >= Duration::from_millis(900), "{took:?}");
    // It is not waited for again soon: not even where there is all the time.
    let (again, why) = soon("the second", ask(Duration::from_secs(100))).await;
    assert!(again < Duration::from_secs(15) && why.contains("within 900 ms"), "{again:?} {why}");
}

//= test CLUSTER-PART-01
#[tokio::test]
async fn who_has_another_key_is_told_nothing_and_tells_nothing() {
    let folder = Folder::new("parts-foreign");
    let (ours, theirs) = (identity(&folder, "key"), identity(&folder, "another-key"));
    let (other, others) = stores(folder.0.join("other"));
    tell(&others, 1, "secret");
    let answering = Arc::new(Answering::new(other));
    let at = node(&ours, move |request| {
        let answering = Arc::clone(&answering);
        async move { answering.answer(request).await }
    })
    .await;
    let (_own, own) = stores(folder.0.join("own"));
    for (asks, there) in [(&ours, 1), (&theirs, 0)] {
        let cluster = leads(asks, &[("other", at)]);
        let wanted = Wanted { search: search(SOON), own: Arc::clone(&own.logs) };
        let found = soon("an answer", wanted.records(&cluster, None)).await.expect("readable");
        assert_eq!(found.found.lines.len(), there);
        assert_eq!(found.missing.len(), 1 - there, "{:?}", found.missing);
    }
}

//= test CLUSTER-PART-01
#[test]
fn a_client_s_request_that_is_passed_on_asks_for_no_part() {
    let uri = format!("https://{}/1/records", parts::NAME);
    let request = Asked::post(&uri).body(Body::empty()).expect("a request");
    assert!(Answering::is_asked(&request));
    let (head, _) = request.into_parts();
    let passed = crate::cluster::front::passed(head, Bytes::new()).expect("a request");
    let (head, _) = passed.into_parts();
    assert!(!Answering::is_asked(&Asked::from_parts(head, Body::empty())));
}
