//! What the Controller mirrors of tables: it gives back what all engines have lost, and its death is nothing to engines.

use std::time::{Duration, Instant};

use forebay_e2e::Client;
use forebay_e2e::led::{Led, Options};
use forebay_e2e::metrics::Page;
use forebay_e2e::wait::{eventually, secs};
use serde_json::{Value, json};

use crate::site::Site;

/// Clients, each with an address of its own: no multiple of the servers.
const CLIENTS: u32 = 13;

/// The server of each client, asked in this order.
pub fn homes(site: &Site, order: impl Iterator<Item = u32>) -> Vec<(u32, String)> {
    let home = |n: u32| {
        let answer = Client::new(site.at).from(site.lab.client_ip(n)).patience(secs(5)).get_once("/");
        (n, answer.expect("an answer").server().to_owned())
    };
    let mut homes: Vec<(u32, String)> = order.map(home).collect();
    homes.sort_unstable();
    homes
}

fn mirror(site: &Site) -> Value {
    let all = site.get("serviceenginegroup?name=Default-Group");
    let uuid = all["results"][0]["uuid"].as_str().expect("there is one").to_owned();
    site.get(&format!("serviceenginegroup/{uuid}/mirror"))
}

/// Entries in the tables of an engine.
pub fn entries(engine: &Led) -> f64 {
    Page::read(engine.metrics).unwrap_or_default().sum("forebay_persistence_entries", &[])
}

pub fn mirrored(site: &Site, entries: u64) {
    eventually(&format!("{entries} entries are mirrored"), secs(20), || mirror(site)["entries"] == entries);
}

/// An engine dies, and its disk with it.
fn dies(engine: &mut Led) {
    engine.process.kill();
    std::fs::remove_dir_all(&engine.state).expect("it has one");
}

//= test SYNC-MIRROR-01
//= test SYNC-MIRROR-03
//= test SYNC-MIRROR-04
//= test SYNC-MIRROR-05
#[test]
fn a_service_that_has_lost_all_its_engines_has_its_tables_back_from_the_controller() {
    let mut site = Site::new(2);
    let [first] = site.serving()[..] else { panic!("one engine has it") };
    let before = homes(&site, 0..CLIENTS);
    mirrored(&site, u64::from(CLIENTS));

    // Another engine, which runs and has never had the service.
    dies(&mut site.engines[first]);
    site.serve(&[1 - first]);
    // In another order: by their turns all would come to other servers.
    assert_eq!(homes(&site, (1..CLIENTS).chain([0])), before, "by the engine that had run");

    // One that has just been made, and is alone.
    mirrored(&site, u64::from(CLIENTS));
    dies(&mut site.engines[1 - first]);
    let options = Options { arguments: vec!["--share-addresses".to_owned()], ..Options::default() };
    let mut third = Led::new(&site.lab, &site.controller, &options);
    third.joins(&site.controller);
    site.uuids.push(third.uuid());
    site.engines.push(third);
    site.serve(&[2]);
    assert_eq!(homes(&site, (2..CLIENTS).chain([0, 1])), before, "by the engine that is new");
}

//= test SYNC-READER-02
//= test SYNC-MIRROR-04
#[test]
fn a_controller_that_stands_still_or_is_dead_changes_nothing_between_engines() {
    /// From the answer to a new client until both engines have its entry: two hundred times what it takes, and less than any
    /// wait for a Controller or a comparison.
    const BOUND: Duration = Duration::from_secs(2);
    let mut site = Site::new(2);
    let [first] = site.serving()[..] else { panic!("one engine has it") };
    let to = format!("/api/serviceengine/{}", site.uuids[1 - first]);
    site.ask("scaleout", json!({"to_se_ref": to}));
    site.done("SCALEOUT_SUCCESS");
    site.serve(&[first, 1 - first]);
    let mut clients = 0;
    let mut converge = |site: &Site, when: &str| {
        let mut longest = Duration::ZERO;
        for _ in 0..8 {
            clients += 1;
            homes(site, [clients].into_iter());
            let began = Instant::now();
            let both = || site.engines.iter().all(|engine| entries(engine) == f64::from(clients));
            eventually("both engines have the client", secs(5), both);
            longest = longest.max(began.elapsed());
        }
        println!("{when}: {longest:?}");
        assert!(longest < BOUND, "{when}: {longest:?}");
    };
    converge(&site, "in peace");
    mirrored(&site, 8);
    site.controller.process.signal(libc::SIGSTOP);
    converge(&site, "while the Controller stands still");
    site.controller.process.signal(libc::SIGCONT);
    mirrored(&site, 16);
    site.controller.process.kill();
    converge(&site, "while the Controller is dead");
    // A new one begins with what the engines have.
    let Site { controller, lab, .. } = &mut site;
    controller.again(lab);
    mirrored(&site, 24);
    let warned: Vec<usize> = site.engines.iter().map(|engine| engine.said("OBJSYNC_TABLES_DIFFER")).collect();
    assert_eq!(warned, [0, 0], "engines of one group need not have the same services");
}
