//! Clients read and write by way of every node while leaders are killed, stand still and are cut off; what they saw is judged.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use forebay_e2e::controller::Curl;
use forebay_e2e::wait::{eventually, secs};
use forebay_e2e::{Hosts, Lab};
use serde_json::json;

use crate::follows;
use crate::history::{Op, What, is_as_of_one};
use crate::site::{Site, right_is_given_up};

/// Objects that are read and written.
const KEYS: usize = 3;
/// Clients, each at a node of its own or at that of another one.
const CLIENTS: usize = 5;
/// What took longer is told of with what the nodes have said meanwhile.
const SLOW: Duration = Duration::from_secs(5);
/// A client that is told to come again waits so long.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What clients saw.
struct Record {
    began: Instant,
    /// The key, the node, and what happened.
    ops: Mutex<Vec<(usize, usize, Op)>>,
    values: AtomicU64,
    stop: AtomicBool,
}

impl Record {
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).expect("a short time")
    }

    /// When the first write that was asked for after `since`, elsewhere than at `node`, was acknowledged.
    fn written(&self, since: u64, node: usize) -> Option<u64> {
        let ops = self.ops.lock().expect("whole");
        let after = ops
            .iter()
            .filter(|(_, at, op)| *at != node && op.invoked >= since && matches!(op.what, What::Write(_)));
        after.filter_map(|(_, _, op)| op.returned).min()
    }

    /// Reads and writes until it is told to stop.
    fn ask(&self, node: usize, admin: &Curl, pools: &[String], mut seed: u64) {
        while !self.stop.load(Ordering::Relaxed) {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            let key = usize::try_from(seed % KEYS as u64).expect("small");
            let path = format!("/api/pool/{}", pools[key]);
            let is_write = seed >> 20 & 1 == 0;
            let value = self.values.fetch_add(1, Ordering::Relaxed) + 1;
            let invoked = self.now();
            let (status, said) = match is_write {
                true => admin.send("PATCH", &path, &json!({"replace": {"description": value.to_string()}})),
                false => admin.get(&path),
            };
            let returned = self.now();
            let read = || said["description"].as_str().and_then(|text| text.parse().ok()).unwrap_or(0);
            let what = match (is_write, status) {
                (true, 200) => Some((What::Write(value), Some(returned))),
                (false, 200) => Some((What::Read(read()), Some(returned))),
                // Nothing was done, as it says; 429: too many passwords are compared at this moment.
                (_, 503 | 429) => {
                    // Sleep: between two asks of a client that was told to come again.
                    std::thread::sleep(LOOK_EVERY);
                    None
                }
                // No answer, or "this may have been done".
                (true, 0 | 504) => Some((What::Write(value), None)),
                (false, 0 | 504) => None,
                (_, other) => panic!("{other}: {said}"),
            };
            if let Some((what, returned)) = what {
                self.ops.lock().expect("whole").push((key, node, Op { what, invoked, returned }));
            }
        }
    }
}

/// What happens to the node that leads.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Killed,
    StandsStill,
    CutOff,
}

fn strike(fault: Fault, site: &mut Site, hosts: &Hosts, node: usize) {
    let links = (0..3).filter(|other| *other != node).map(|other| (host(node), host(other)));
    match fault {
        Fault::Killed => site.nodes[node].process.kill(),
        Fault::StandsStill => site.nodes[node].process.signal(19),
        Fault::CutOff => {
            for (one, other) in links {
                hosts.cut(one, other);
                hosts.cut(other, one);
            }
        }
    }
}

fn mend(fault: Fault, site: &mut Site, lab: &Lab, hosts: &Hosts, node: usize) {
    let links = (0..3).filter(|other| *other != node).map(|other| (host(node), host(other)));
    match fault {
        Fault::Killed => hosts.at(host(node), || site.again(lab, node)),
        Fault::StandsStill => site.nodes[node].process.signal(18),
        Fault::CutOff => {
            for (one, other) in links {
                hosts.heal(one, other);
                hosts.heal(other, one);
            }
        }
    }
}

/// When an answer came, and what it said.
type Heard = (Instant, Option<String>);

/// Clients with much patience who ask one node for one object, until they are told to stop.
struct Patient {
    stop: Arc<AtomicBool>,
    /// When each answer came, and what was read: `None`: to come again.
    readers: Vec<std::thread::JoinHandle<Vec<Heard>>>,
}

impl Patient {
    /// Two whose passwords are compared, and two who wait for that. All of them are at it when this returns.
    fn ask(site: &Site, node: usize, pool: &str) -> Self {
        let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let one = |_| {
            let admin = site.admin(node).with(&["--max-time", "30"]);
            let (stop, answers) = (Arc::clone(&stop), Arc::clone(&answers));
            let path = format!("/api/pool/{pool}");
            std::thread::spawn(move || {
                let mut read = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    match admin.get(&path) {
                        (200, said) => {
                            let text = said["description"].as_str().map(str::to_owned);
                            read.push((Instant::now(), text));
                            answers.fetch_add(1, Ordering::Relaxed);
                        }
                        (503 | 429 | 0, _) => {
                            read.push((Instant::now(), None));
                            std::thread::sleep(LOOK_EVERY);
                        }
                        (other, said) => panic!("{other}: {said}"),
                    }
                }
                read
            })
        };
        let readers = (0..4).map(one).collect();
        let patient = Patient { stop, readers };
        eventually("they are answered", secs(20), || answers.load(Ordering::Relaxed) >= 12);
        patient
    }

    /// Who waited while the node stood still hears nothing of before when it goes on.
    fn judge(self, written: Instant) {
        self.stop.store(true, Ordering::Relaxed);
        let all = self.readers.into_iter().flat_map(|reader| reader.join().expect("a client"));
        let after: Vec<Option<String>> =
            all.filter(|(when, _)| *when > written).map(|(_, read)| read).collect();
        println!("{} answers after the leader went on", after.len());
        assert!(!after.is_empty(), "nobody waited for an answer");
        assert!(after.iter().flatten().all(|text| text == "after"), "what it knew from before: {after:?}");
    }
}

/// Somebody at each node but one who writes again and again into an object of its own, with little patience for each try: what
/// this sees is when writes go on, and not how long one of the clients was left to wait by a node that still believed.
struct Impatient {
    stop: Arc<AtomicBool>,
    writers: Vec<std::thread::JoinHandle<Option<Instant>>>,
}

impl Impatient {
    fn write(site: &Site, but: usize, pool: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let one = |node: usize| {
            let (admin, stop) = (site.admin(node).with(&["--max-time", "1"]), Arc::clone(&stop));
            let path = format!("/api/pool/{pool}");
            std::thread::spawn(move || {
                let change = json!({"replace": {"description": "tried"}});
                while !stop.load(Ordering::Relaxed) {
                    if admin.send("PATCH", &path, &change).0 == 200 {
                        return Some(Instant::now());
                    }
                    std::thread::sleep(LOOK_EVERY);
                }
                None
            })
        };
        let writers = (0..3).filter(|node| *node != but).map(one).collect();
        Impatient { stop, writers }
    }

    /// When the first of them had written, if one has.
    fn first(self) -> Option<Instant> {
        self.stop.store(true, Ordering::Relaxed);
        self.writers.into_iter().filter_map(|writer| writer.join().expect("a client")).min()
    }

    fn has_written(&self) -> bool {
        self.writers.iter().any(std::thread::JoinHandle::is_finished)
    }
}

/// Writes into an object until that is acknowledged.
fn describe(site: &Site, node: usize, pool: &str, text: &str) {
    let (path, change) = (format!("/api/pool/{pool}"), json!({"replace": {"description": text}}));
    eventually("it is written", secs(30), || site.admin(node).send("PATCH", &path, &change).0 == 200);
}

fn host(node: usize) -> u8 {
    u8::try_from(node).expect("one of three")
}

/// The time until a write elsewhere. `looked_at`: what is asked of a leader that stands still, and what the impatient write.
fn suffer(
    fault: Fault,
    site: &mut Site,
    lab: &Lab,
    hosts: &Hosts,
    record: &Record,
    looked_at: (&str, &str),
) -> Duration {
    let leader = site.leader(&[0, 1, 2]);
    let before = record.now();
    eventually("writes go on", secs(30), || record.written(before, 9).is_some());
    // What one machine takes with it is one leader, and not that of etcd as well.
    eventually("etcd is led elsewhere", secs(20), || {
        !hosts.at(host(leader), || site.nodes[leader].leads_etcd())
    });
    let said: Vec<usize> = site.nodes.iter().map(|node| node.said().len()).collect();
    let patient = matches!(fault, Fault::StandsStill).then(|| {
        describe(site, leader, looked_at.0, "before");
        Patient::ask(site, leader, looked_at.0)
    });
    let since = record.now();
    let struck = Instant::now();
    strike(fault, site, hosts, leader);
    let impatient = Impatient::write(site, leader, looked_at.1);
    let mut written = None;
    eventually("writes go on elsewhere", secs(30), || {
        written = record.written(since, leader);
        written.is_some() || impatient.has_written()
    });
    let tried = impatient.first().map(|at| at.duration_since(struck));
    let seen = written.map(|at| Duration::from_micros(at - since));
    let gap = tried.into_iter().chain(seen).min().expect("seen");
    println!(
        "{fault:?} of node {leader}: a write elsewhere after {gap:?} (clients {seen:?}, the impatient {tried:?})"
    );
    if gap > SLOW {
        for (node, before) in site.nodes.iter().zip(said) {
            let said = node.said();
            let since = said.get(before..).unwrap_or(&said).lines();
            since.filter(|line| line.contains("CLUSTER_")).for_each(|line| println!("  {line}"));
        }
    }
    let others: Vec<usize> = (0..3).filter(|node| *node != leader).collect();
    follows::is_at(site, hosts, site.leader(&others));
    if patient.is_some() {
        describe(site, others[0], looked_at.0, "after");
    }
    let mended = Instant::now();
    mend(fault, site, lab, hosts, leader);
    site.all_answer();
    if let Some(patient) = patient {
        patient.judge(mended);
    }
    gap
}

//= test CLUSTER-LEADER-01
//= test CLUSTER-LEADER-02
//= test CLUSTER-LEADER-03
//= test CLUSTER-LEADER-05
//= test CLUSTER-LEADER-06
//= test CLUSTER-ANY-02
//= test CLUSTER-STILL-01
#[test]
fn what_clients_see_of_several_controllers_is_as_if_there_were_one() {
    let lab = Lab::in_memory();
    let Some(hosts) = Hosts::new(3) else { return };
    let mut site = Site::start_on(&lab, &hosts);
    let pool = |name: &str| {
        let pool = json!({"name": name, "description": "0"});
        let (status, made) = site.admin(0).send("POST", "/api/pool", &pool);
        assert_eq!(status, 201, "{made}");
        made["uuid"].as_str().expect("a uuid").to_owned()
    };
    let pools: Vec<String> = (0..KEYS).map(|key| pool(&format!("key-{key}"))).collect();
    let looked_at = (pool("looked-at"), pool("tried"));
    follows::begins(&site, &hosts);
    let leader = site.leader(&[0, 1, 2]);
    follows::is_at(&site, &hosts, leader);
    assert!(right_is_given_up(&site.nodes[leader]).is_some(), "nobody can hold the address");
    // In the gate each fault once; else ten times a minute of them.
    let (runs, lasts) = match std::env::var_os("FOREBAY_LONG") {
        Some(_) => (10, secs(60)),
        None => (1, Duration::ZERO),
    };
    let mut gaps = Vec::new();
    for run in 0..runs {
        for (admin, pool) in (0..3).cycle().map(|node| site.admin(node)).zip(&pools) {
            let said =
                admin.send("PATCH", &format!("/api/pool/{pool}"), &json!({"replace": {"description": "0"}}));
            assert_eq!(said.0, 200, "{said:?}");
        }
        let record = Arc::new(Record {
            began: Instant::now(),
            ops: Mutex::default(),
            values: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        });
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                // Who is cut off waits for no answer for long.
                let admin = site.admin(client % 3).with(&["--max-time", "3"]);
                let (record, pools) = (Arc::clone(&record), pools.clone());
                let seed = 0x9e37_79b9_7f4a_7c15 ^ (run * CLIENTS + client + 1) as u64;
                std::thread::spawn(move || record.ask(client % 3, &admin, &pools, seed))
            })
            .collect();
        loop {
            for fault in [Fault::Killed, Fault::StandsStill, Fault::CutOff] {
                gaps.push((
                    fault,
                    suffer(fault, &mut site, &lab, &hosts, &record, (&looked_at.0, &looked_at.1)),
                ));
            }
            if record.began.elapsed() >= lasts {
                break;
            }
        }
        record.stop.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().expect("a client");
        }
        let ops = record.ops.lock().expect("whole");
        for key in 0..KEYS {
            let of_key: Vec<Op> = ops.iter().filter(|(at, ..)| *at == key).map(|(.., op)| *op).collect();
            let unknown = of_key.iter().filter(|op| op.returned.is_none()).count();
            println!(
                "run {run}, key {key}: {} reads and writes, {unknown} of them without an answer",
                of_key.len()
            );
            assert!(of_key.len() > 20, "hardly anything was asked for");
            assert!(is_as_of_one(&of_key, 0), "no single register has answered so: {of_key:?}");
        }
    }
    follows::goes_without_its_holder(&mut site, &lab, &hosts);
    follows::goes_where_all_stand_still(&mut site, &lab, &hosts);
    // Three times what is measured on a machine that does nothing else.
    for (fault, gap) in gaps {
        assert!(gap < secs(15), "{fault:?}: no write for {gap:?}");
    }
}
