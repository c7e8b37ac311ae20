//! Several Controllers over one store: real processes, real members of etcd.

mod engine;
mod follows;
mod history;
mod nodes;
mod site;
mod storm;
mod told;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use forebay_e2e::controller::Curl;
use forebay_e2e::wait::{eventually, secs};
use forebay_e2e::{Lab, Process, bin};
use serde_json::json;
use site::Site;

/// Writes one object after another until it is told to stop: those that were acknowledged, and the longest time in which
/// none was.
fn write(
    admin: Curl,
    prefix: &'static str,
    stop: Arc<AtomicBool>,
) -> std::thread::JoinHandle<(Vec<String>, Duration)> {
    std::thread::spawn(move || {
        let (mut good, mut last, mut longest) = (Vec::new(), Instant::now(), Duration::ZERO);
        for number in 0.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let name = format!("{prefix}-{number}");
            match admin.send("POST", "/api/pool", &json!({"name": name})) {
                (201, _) => {
                    good.push(name);
                    longest = longest.max(last.elapsed());
                    last = Instant::now();
                }
                // Nobody leads, or the answer was lost on its way.
                (503 | 504 | 429 | 0, _) => {}
                (status, said) => panic!("{status}: {said}"),
            }
        }
        (good, longest)
    })
}

fn names(admin: &Curl) -> BTreeSet<String> {
    let mut held = BTreeSet::new();
    for page in 1.. {
        let mut list = serde_json::Value::Null;
        // Who leads may change when a node comes back.
        eventually("somebody leads", secs(20), || {
            let (status, said) = admin.get(&format!("/api/pool?page_size=200&fields=name&page={page}"));
            assert!(matches!(status, 200 | 503 | 429), "{status}: {said}");
            list = said;
            status == 200
        });
        let names = list["results"].as_array().expect("a list").iter();
        for name in names.map(|pool| pool["name"].as_str().expect("a name").to_owned()) {
            assert!(held.insert(name.clone()), "{name} is there twice");
        }
        if list["next"].is_null() {
            break;
        }
    }
    held
}

//= test CLUSTER-ANY-01
//= test CLUSTER-ETCD-01
//= test CLUSTER-LEADER-03
//= test CLUSTER-SHOWN-01
//= test CHAN-SEVERAL-01
//= test CHAN-START-02
//= test CLUSTER-MOVE-01
//= test CLUSTER-JOIN-01
#[test]
fn three_controllers_are_one_and_none_of_what_was_acknowledged_goes_with_the_leader() {
    let lab = Lab::in_memory();
    let mut site = Site::start(&lab);
    // What is written by way of one is there by way of every other as soon as it is acknowledged.
    for node in 0..3 {
        let (status, made) =
            site.admin(node).send("POST", "/api/pool", &json!({"name": format!("by-{node}")}));
        assert_eq!(status, 201, "{made}");
        // Whoever leads, addresses are those by which the client came.
        let base = format!("https://{}/api/", site.nodes[node].api);
        assert!(made["url"].as_str().is_some_and(|url| url.starts_with(&base)), "{made}");
        for other in 0..3 {
            assert_eq!(
                site.admin(other).get(&format!("/api/pool?name=by-{node}")).1["count"],
                1,
                "{node} {other}"
            );
        }
    }
    // A session that is begun at one goes on at another.
    let jar = lab.folder().join("jar");
    let login = json!({"username": "admin", "password": site.password});
    let first = site.nobody(0).with(&["--cookie-jar", &jar.display().to_string()]);
    assert_eq!(first.send("POST", "/login", &login).0, 200);
    let cookies = std::fs::read_to_string(&jar).expect("cookies");
    let session =
        cookies.split_whitespace().skip_while(|word| *word != "sessionid").nth(1).expect("a session");
    for node in 0..3 {
        let client = site.nobody(node).with(&["--header", &format!("Cookie: sessionid={session}")]);
        assert_eq!(client.get("/api/pool").0, 200, "{node}");
    }
    // Whoever it came to, it came from where the client is, whatever that one says.
    for node in 0..3 {
        let client =
            site.admin(node).with(&["--interface", "127.9.9.9", "--header", "x-forebay-client: 192.0.2.9"]);
        assert_eq!(client.send("POST", "/api/pool", &json!({"name": format!("from-{node}")})).0, 201);
        let (status, events) = site.admin(node).get("/api/analytics/logs?type=2&page_size=1000");
        let events = events["results"].as_array().unwrap_or_else(|| panic!("{status} {events}"));
        let event =
            events.iter().find(|event| event["obj_name"] == format!("from-{node}")).expect("its event");
        assert_eq!(event["event_details"]["config_create_details"]["client"], "127.9.9.9", "{event}");
    }
    // Each is shown, with who leads.
    let leader = site.leader(&[0, 1, 2]);
    eventually("all are heard", secs(10), || {
        site.nobody(2).get("/api/cluster/status").1["cluster_state"]["state"] == "CLUSTER_UP_HA_ACTIVE"
    });
    let runtime = site.admin(1).get("/api/cluster/runtime").1;
    let roles: Vec<_> = (0..3).map(|node| runtime["node_states"][node]["role"].clone()).collect();
    assert_eq!(roles.iter().filter(|role| *role == "CLUSTER_LEADER").count(), 1, "{runtime}");
    assert_eq!(roles[leader], "CLUSTER_LEADER", "{runtime}");
    // Who is at the machine of a node that does not lead is told where to go.
    site.at_the_machine(&lab, leader);
    let mut engine = engine::Served::start(&lab, &site, leader);
    let told = told::Told::start(&lab, &site, leader);
    // A member of etcd that dies is started anew, and meanwhile the others do.
    let member = site.nodes[leader].member().expect("a member");
    let killed = std::process::Command::new("kill").args(["-9", &member.to_string()]).status();
    assert!(killed.expect("kill").success());
    eventually("a write without that member", secs(10), || {
        let name = json!({"name": format!("without-{member}")});
        matches!(site.admin(leader).send("POST", "/api/pool", &name).0, 201 | 409)
    });
    eventually("another member in its place", secs(10), || {
        site.nodes[leader].said().contains("CLUSTER_ETCD_ENDED")
            && site.nodes[leader].member().is_some_and(|now| now != member)
    });
    // Killed under writes: another one leads, and has everything that was acknowledged.
    let leader = site.leader(&[0, 1, 2]);
    let others: Vec<usize> = (0..3).filter(|node| *node != leader).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let writer = write(site.admin(others[0]), "k", Arc::clone(&stop));
    let written = |admin: &Curl, least: u64| {
        let count = admin.get("/api/pool?page_size=1").1["count"].as_u64();
        count.is_some_and(|count| count >= least)
    };
    let through = site.admin(others[1]);
    eventually("writes go on", secs(30), || written(&through, site::BROUGHT + 15));
    let loaded = engine.is_mirrored_by(&lab, &site, leader);
    told.is_written(&site);
    site.nodes[leader].process.kill();
    let killed = Instant::now();
    let next = site.leader(&others);
    let led = killed.elapsed();
    let held = through.get("/api/pool?page_size=1").1["count"].as_u64().unwrap_or(0);
    eventually("writes go on with another leader", secs(30), || written(&through, held + 5));
    stop.store(true, Ordering::Relaxed);
    let (good, longest) = writer.join().expect("a writer");
    assert!(led < secs(15), "a new leader after {led:?}");
    let attached = engine.is_attached_to(&site, next, killed);
    assert!(attached < secs(15), "its engine after {attached:?}");
    engine.is_mirrored_still_by(&site, next);
    engine.has_loaded(loaded);
    told.goes_on();
    eventually("the one that was killed is missed", secs(15), || {
        site.nobody(next).get("/api/cluster/status").1["cluster_state"]["state"]
            == "CLUSTER_UP_HA_COMPROMISED"
    });
    //= test EVENT-STATE-04
    eventually("both are told", secs(20), || {
        ["CONTROLLER_LEADER_FAILOVER", "CONTROLLER_NODE_LEFT"].iter().all(|id| {
            let path = format!("/api/analytics/logs?type=2&filter=eq(event_id,{id})");
            site.admin(next).get(&path).1["count"].as_u64().is_some_and(|count| count > 0)
        })
    });
    let missing = |site: &Site, node: usize| {
        let held = names(&site.admin(node));
        good.iter().filter(|name| !held.contains(*name)).cloned().collect::<Vec<_>>()
    };
    assert_eq!(missing(&site, next), [""; 0], "acknowledged and lost");
    told.is_missed(&site, others[0], leader);
    println!(
        "{} acknowledged writes; a new leader after {led:?}, its engine after {attached:?}; no write for {longest:?}",
        good.len()
    );
    // It comes back, and follows.
    site.again(&lab, leader);
    site.all_answer();
    assert_eq!(site.leader(&[0, 1, 2]), next);
    // What was told to it is found again, wherever one asks.
    (0..3).for_each(|node| told.has_all(&site, node));
    // Who is ended in order hands over at once.
    let began = Instant::now();
    assert!(site.nodes[next].process.end(secs(10)).success());
    let rest: Vec<usize> = (0..3).filter(|node| *node != next).collect();
    site.leader(&rest);
    println!("handed over within {:?}", began.elapsed());
    site.goes_back(&lab, site.leader(&rest));
    // All of them are killed: the engine serves on, and everything is there.
    for node in &rest {
        site.nodes[*node].process.kill();
    }
    let alone = engine.serves_alone();
    let restarted = Instant::now();
    for node in 0..3 {
        site.again(&lab, node);
    }
    site.all_answer();
    let found = engine.is_attached_to(&site, site.leader(&[0, 1, 2]), restarted);
    println!(
        "{alone} requests were answered while no Controller was there, which the engine found after {found:?}"
    );
    engine.ends();
    for node in 0..3 {
        assert_eq!(missing(&site, node), [""; 0], "acknowledged and lost");
    }
    // A member that led when its Controller was killed ends seconds later, and its next one finds its port then.
    eventually("all members of etcd are there", secs(40), || site.nodes.iter().all(site::Node::has_etcd));
    site.shrinks(&lab);
}

//= test CLUSTER-KEY-01
#[test]
fn a_node_without_the_key_that_all_share_says_what_to_do() {
    let lab = Lab::in_memory();
    for (arguments, said) in [
        (
            ["--store=etcd", "--nodes=a=127.0.0.1,b=127.0.0.2,c=127.0.0.3", "--node=a"],
            "copy it to the folder of every one",
        ),
        (["--store=etcd", "--nodes=a=127.0.0.1,b=127.0.0.2", "--node=a"], "1, 3, 5 or 7"),
        (["--store=etcd", "--nodes=a=127.0.0.1", "--node=b"], "none of those in --nodes"),
        (["--store=embedded", "--nodes=a=127.0.0.1", "--node=a"], "say --store etcd"),
    ] {
        let mut command = std::process::Command::new(bin::path("forebay-controller"));
        let out = command
            .arg("--data-dir")
            .arg(lab.folder().join("empty"))
            .args(arguments)
            .output()
            .expect("it runs");
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(!out.status.success() && text.contains(said), "{arguments:?}: {text}");
    }
}

//= test CLUSTER-ETCD-01
//= test CLUSTER-LEADER-04
#[test]
fn an_etcd_that_is_there_already_is_shared_by_two_controllers_and_others() {
    let lab = Lab::in_memory();
    let [clients, peers] = lab.addresses::<2>();
    let mut command = std::process::Command::new(bin::foreign("etcd", "etcd-server"));
    command.arg(format!("--data-dir={}", lab.folder().join("outside").display()));
    for (name, at) in [("client", clients), ("peer", peers)] {
        command.arg(format!("--listen-{name}-urls=http://{at}"));
    }
    command.arg(format!("--advertise-client-urls=http://{clients}"));
    command.arg(format!("--initial-advertise-peer-urls=http://{peers}"));
    command.arg(format!("--initial-cluster=default=http://{peers}"));
    let _etcd = Process::start("etcd", command, lab.folder());
    let start = |name: &str, engines: std::net::SocketAddr| {
        let data = lab.folder().join(name);
        std::fs::create_dir_all(&data).expect("a folder");
        site::keep(&data.join("store.key"), &[7; 32]);
        let [api, controllers] = lab.addresses::<2>();
        let mut command = std::process::Command::new(bin::path("forebay-controller"));
        command.arg("--data-dir").arg(&data).arg("--listen").arg(api.to_string());
        command.arg("--listen-controllers").arg(controllers.to_string());
        command.arg("--listen-engines").arg(engines.to_string());
        command.args(["--store", "etcd", "--etcd-prefix", "/here/", "--etcd-endpoints"]);
        command.arg(format!("http://{clients}"));
        (Process::start(name, command, lab.folder()), Curl::at(api))
    };
    let (mut leads, one) = start("one", lab.address());
    eventually("it leads", secs(20), || one.get("/api/cluster/status").0 == 200);
    let said = std::fs::read_to_string(lab.folder().join("one.log")).expect("its output");
    let password = said.lines().find_map(|line| line.strip_prefix("password: ")?.split(' ').next());
    let admin = ["--user", &format!("admin:{}", password.expect("its first password"))];
    // The other one's door for engines is somebody else's: it follows.
    let taken = std::net::TcpListener::bind(lab.address()).expect("a free address");
    let (_two, two) = start("two", taken.local_addr().expect("its address"));
    eventually("it follows", secs(20), || two.get("/api/cluster/status").0 == 200);
    assert_eq!(two.clone().with(&admin).send("POST", "/api/pool", &json!({"name": "shared"})).0, 201);
    assert_eq!(one.with(&admin).get("/api/pool?name=shared").1["count"], 1);
    // It says why it does not lead, and leads when it can.
    leads.kill();
    eventually("it says why it cannot lead", secs(20), || {
        std::fs::read_to_string(lab.folder().join("two.log"))
            .is_ok_and(|said| said.contains("choose another by --listen-engines"))
    });
    assert_eq!(two.get("/api/cluster/status").0, 503);
    drop(taken);
    eventually("it leads", secs(20), || two.get("/api/cluster/status").0 == 200);
    assert_eq!(two.clone().with(&admin).get("/api/pool?name=shared").1["count"], 1);
}
