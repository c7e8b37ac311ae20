//! Controllers and engines that are upgraded one after the other, from one version of their protocol to the next.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use forebay_e2e::led::{Options, member, seen};
use forebay_e2e::wait::{eventually, secs};
use forebay_e2e::{Client, Controller, Lab, Process, bin};
use serde_json::{Value, json};

/// What is said of the protocol, for a program as an earlier or a later release is.
fn speaking(versions: &str) -> Vec<String> {
    ["--channel-protocol", versions].map(str::to_owned).to_vec()
}

/// A Controller that speaks these versions takes the place of the one that is there.
fn upgrade(lab: &Lab, controller: &mut Controller, versions: &str) {
    controller.process.kill();
    let (address, engines) = (controller.address.to_string(), controller.engines.to_string());
    let mut command = Command::new(bin::path("forebay-controller"));
    command.arg("--data-dir").arg(&controller.data).args([
        "--listen",
        &address,
        "--listen-engines",
        &engines,
    ]);
    let name = format!("controller-{}", controller.address.port());
    controller.process = Process::start(&name, command_with(command, versions), lab.folder()).brief();
    eventually("the Controller answers", secs(20), || {
        controller.nobody().get("/api/cluster/status").0 == 200
    });
}

fn command_with(mut command: Command, versions: &str) -> Command {
    command.args(speaking(versions));
    command
}

fn options(versions: &str) -> Options {
    let mut arguments = speaking(versions);
    arguments.push("--share-addresses".to_owned());
    Options { arguments, ..Options::default() }
}

/// Clients that ask all the while, one request after another, each by a connection of its own.
struct Asking {
    stop: Arc<AtomicBool>,
    failed: Arc<AtomicUsize>,
    thread: JoinHandle<usize>,
}

impl Asking {
    fn new(at: SocketAddr) -> Self {
        let (stop, failed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (ends, fails) = (Arc::clone(&stop), Arc::clone(&failed));
        let thread = std::thread::spawn(move || {
            let mut asked = 0;
            while !ends.load(Ordering::SeqCst) {
                asked += 1;
                if !Client::new(at).get_once("/").is_ok_and(|answer| answer.status == 200) {
                    fails.fetch_add(1, Ordering::SeqCst);
                }
            }
            asked
        });
        Asking { stop, failed, thread }
    }

    fn end(self) -> (usize, usize) {
        self.stop.store(true, Ordering::SeqCst);
        let asked = self.thread.join().expect("it ends");
        (asked, self.failed.load(Ordering::SeqCst))
    }
}

/// The Controller leads an engine by this version.
fn leads(lab: &Lab, controller: &Controller, engine: &str, version: u32) {
    let by = format!("\"protocol\":{version}");
    eventually(&format!("{engine} is led by version {version}"), secs(20), || {
        let said = controller.said(lab);
        let mut lines =
            said.lines().filter(|line| line.contains("ENGINE_CONNECTED") && line.contains(engine));
        lines.any(|line| line.contains(&by)) && seen(controller, engine)["configuration"]["current"] == true
    });
}

//= test CHAN-VERSION-01
#[test]
fn controllers_and_engines_of_two_protocols_work_together_while_one_after_the_other_is_upgraded() {
    let lab = Lab::new();
    let [a, b] = lab.demos(["a", "b"]);
    let mut controller = Controller::start_with(&lab, &["--channel-protocol", "1-1"]);
    let mut first = member(&lab, &controller, &options("1-1"));
    let mut second = member(&lab, &controller, &options("1-1"));
    let (one, other) = (first.uuid(), second.uuid());
    let admin = controller.admin();
    let made = |path: &str, object: &Value| {
        let (status, made) = admin.send("POST", &format!("/api/{path}"), object);
        assert_eq!(status, 201, "{made}");
        made["uuid"].as_str().expect("a uuid").to_owned()
    };
    let (_, groups) = admin.get("/api/serviceenginegroup?name=Default-Group");
    let group = format!("/api/serviceenginegroup/{}", groups["results"][0]["uuid"].as_str().expect("a uuid"));
    let (status, said) = admin.send("PATCH", &group, &json!({"replace": {"min_scaleout_per_vs": 2}}));
    assert_eq!(status, 200, "{said}");
    let ip = |of: SocketAddr| json!({"addr": of.ip().to_string(), "type": "V4"});
    let pool = |to: SocketAddr| json!({"name": "p", "servers": [{"ip": ip(to), "port": to.port()}]});
    let uuid = made("pool", &pool(a.address));
    let vip = lab.address();
    let addresses = made("vsvip", &json!({"name": "v", "vip": [{"vip_id": "1", "ip_address": ip(vip)}]}));
    let service = json!({
        "name": "s",
        "vsvip_ref": format!("/api/vsvip/{addresses}"),
        "pool_ref": format!("/api/pool/{uuid}"),
        "services": [{"port": vip.port()}],
    });
    made("virtualservice", &service);
    // Of twenty connections the kernel gives some to each.
    let served_by = |name: &str| {
        let one = || Client::new(vip).get_once("/").is_ok_and(|answer| answer.server() == name);
        (0..20).all(|_| one())
    };
    let serve = |controller: &Controller, engine: &str| seen(controller, engine)["services_up"] == 1;
    eventually("both serve", secs(30), || {
        serve(&controller, &one) && serve(&controller, &other) && served_by("a")
    });
    let change = |controller: &Controller, to: SocketAddr, name: &str| {
        let (status, said) = controller.admin().send("PUT", &format!("/api/pool/{uuid}"), &pool(to));
        assert_eq!(status, 200, "{said}");
        eventually(&format!("what was changed is there, {name}"), secs(20), || served_by(name));
    };

    // The Controller first, which knows the next version as well: engines of the one before are led as they were.
    let asking = Asking::new(vip);
    upgrade(&lab, &mut controller, "1-2");
    leads(&lab, &controller, &one, 1);
    leads(&lab, &controller, &other, 1);
    change(&controller, b.address, "b");
    let (asked, failed) = asking.end();
    assert!(asked > 0 && failed == 0, "{failed} of {asked} requests failed");

    // Then one engine; each is led by what it knows.
    assert!(first.process.end(secs(20)).success());
    first.again(&lab, controller.engines, &options("1-2"));
    leads(&lab, &controller, &one, 2);
    eventually("it serves again", secs(20), || serve(&controller, &one));
    change(&controller, a.address, "a");

    // The Controller is taken back: the engine that knows more goes on by the version before.
    let asking = Asking::new(vip);
    upgrade(&lab, &mut controller, "1-1");
    leads(&lab, &controller, &one, 1);
    leads(&lab, &controller, &other, 1);
    change(&controller, b.address, "b");

    // A Controller that does not know the first version any more: the engine that knows no other one goes on by what it has,
    // and says what is to be done; so it does.
    upgrade(&lab, &mut controller, "2-2");
    leads(&lab, &controller, &one, 2);
    second.says("upgrade the engine");
    let (asked, failed) = asking.end();
    assert!(asked > 0 && failed == 0, "{failed} of {asked} requests failed");
    assert!(second.process.end(secs(20)).success());
    second.again(&lab, controller.engines, &options("1-2"));
    leads(&lab, &controller, &other, 2);
    eventually("it serves again", secs(20), || serve(&controller, &other));
    change(&controller, a.address, "a");
}
