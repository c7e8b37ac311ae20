//! The units under a systemd of their own, which is the first process of its namespaces.

use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Output};

use forebay_e2e::controller::Curl;
use forebay_e2e::led;
use forebay_e2e::lively::{echoes, websocket};
use forebay_e2e::wait::secs;
use forebay_e2e::{Client, Lab, Led, Process, bin, config, eventually, eventually_some, skip};
use serde_json::json;

/// Makes the namespaces look like a machine on which a unit was installed, then becomes systemd. Nothing outside changes
/// but for one control group: what is written to `/etc`, `/run`, `/tmp` and `/var` goes into memory of its own.
const MACHINE: &str = r#"
set -e
mount -t tmpfs tmpfs /var/tmp
mkdir /var/tmp/etc /var/tmp/work /var/tmp/bin
cp "$LAB"/bin/* /var/tmp/bin/
mount -t overlay overlay -o lowerdir=/etc,upperdir=/var/tmp/etc,workdir=/var/tmp/work /etc
mount -t overlay overlay -o lowerdir=/var/tmp/bin:/usr/bin /usr/bin
mount -t proc proc /proc
mount --bind /proc/sys /proc/sys
mount -o remount,ro,bind /proc/sys
mount -t tmpfs tmpfs /run
mkdir /run/lab
mount --bind "$LAB" /run/lab
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /var/log
mount -t tmpfs tmpfs /var/lib
umount -l /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
echo 'forebay:x:987:987::/nonexistent:/usr/sbin/nologin' >> /etc/passwd
echo 'forebay:x:987:' >> /etc/group
echo 'forebay-controller:x:986:986::/nonexistent:/usr/sbin/nologin' >> /etc/passwd
echo 'forebay-controller:x:986:' >> /etc/group
cp -r /run/lab/etc/. /etc/
export container=test SYSTEMD_UNIT_PATH=/run/lab/units
echo the machine is made
exec /lib/systemd/systemd --system --unit=default.target --show-status=0
"#;

/// The control group that systemd has for itself, made by a mount of one's own: where the machine has none.
fn in_groups(script: &str) -> Vec<String> {
    let mount = "umount -l /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup && cd /sys/fs/cgroup";
    ["--mount", "sh", "-c", &format!("{mount} && {script}")].map(str::to_owned).to_vec()
}

fn unshare() -> Command {
    Command::new(bin::foreign("unshare", "util-linux"))
}

/// A systemd with a unit.
struct Systemd {
    /// The unit, which has the name of its program.
    unit: &'static str,
    /// Ends before the group is removed.
    process: Option<Process>,
    group: String,
    /// The number of systemd's process.
    pid: u32,
}

impl Systemd {
    /// Starts one, with a file in `/etc`; `None`, and [`skip`] told why, where this machine lets nobody.
    fn start(lab: &Lab, unit: &'static str, (file, text): (&str, &str)) -> Option<Self> {
        // SAFETY: the call takes nothing and cannot fail.
        if unsafe { libc::geteuid() } != 0 {
            skip("only root can make the namespaces for a systemd");
            return None;
        }
        let folder = lab.folder();
        let (programs, settings) = (folder.join("bin"), folder.join("etc").join(file));
        fs::create_dir(&programs).expect("the lab's folder");
        fs::copy(bin::path(unit), programs.join(unit)).expect("the program can be copied");
        fs::create_dir_all(settings.parent().expect("a folder")).expect("the lab's folder");
        fs::write(settings, text).expect("the lab's folder");
        fs::write(folder.join("machine.sh"), MACHINE).expect("the lab's folder");
        let units = folder.join("units");
        fs::create_dir(&units).expect("the lab's folder");
        for target in ["default", "basic", "sysinit", "shutdown", "network-online"] {
            let text = "[Unit]\nDescription=What a machine has\n";
            fs::write(units.join(format!("{target}.target")), text).expect("the lab's folder");
        }
        let unit_file = match unit {
            "forebay-se" => include_str!("../../../packaging/forebay-se.service"),
            _ => include_str!("../../../packaging/forebay-controller.service"),
        };
        fs::write(units.join(format!("{unit}.service")), unit_file).expect("the lab's folder");

        let group = folder.file_name().and_then(|name| name.to_str()).expect("the lab's folder").to_owned();
        let mut command = unshare();
        let inner = "--pid --mount --cgroup --uts --ipc --fork --kill-child";
        let machine = folder.join("machine.sh");
        let script = format!(
            "mkdir {group} && echo $$ > {group}/cgroup.procs && exec unshare {inner} sh {}",
            machine.display()
        );
        command.args(in_groups(&script)).env("LAB", folder);
        let mut process = Process::start("systemd", command, folder);
        let mut ended = false;
        eventually("the machine is made, or cannot be", secs(20), || {
            ended = process.ended().is_some();
            ended || process.printed().contains("the machine is made")
        });
        if ended {
            skip(&format!("no machine for a systemd can be made: {}", process.printed().trim()));
            return None;
        }
        let unshare = process.pid();
        let children = format!("/proc/{unshare}/task/{unshare}/children");
        let pid = eventually_some("its first process", secs(10), || {
            fs::read_to_string(&children).ok()?.split_whitespace().next()?.parse().ok()
        });
        let systemd = Self { unit, process: Some(process), group, pid };
        let began = std::time::Instant::now();
        while !matches!(systemd.says(&["systemctl", "is-system-running"]).trim(), "running" | "degraded") {
            if began.elapsed() > secs(30) {
                skip("systemd does not come up in namespaces of this machine");
                return None;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Some(systemd)
    }

    /// Runs a command on its machine.
    fn run(&self, words: &[&str]) -> Output {
        let mut command = Command::new(bin::foreign("nsenter", "util-linux"));
        // All but the network, which is the test's own.
        command.args(["-t", &self.pid.to_string(), "-m", "-u", "-i", "-p", "-C"]).args(words);
        command.output().expect("the program starts")
    }

    fn says(&self, words: &[&str]) -> String {
        String::from_utf8_lossy(&self.run(words).stdout).into_owned()
    }

    /// Runs a command that must do what it is for.
    #[track_caller]
    fn does(&self, words: &[&str]) -> String {
        let done = self.run(words);
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let status = || self.says(&["systemctl", "status", "--no-pager", "--full", self.unit]);
        assert!(done.status.success(), "{words:?}: {}{}", said(&done.stderr), status());
        said(&done.stdout)
    }

    /// What systemd knows of the unit.
    fn shows(&self, property: &str) -> String {
        self.says(&["systemctl", "show", self.unit, "--value", "-p", property]).trim().to_owned()
    }

    fn is_there(&self, pid: &str) -> bool {
        self.run(&["test", "-e", &format!("/proc/{pid}")]).status.success()
    }

    #[track_caller]
    fn is_up(&self, restarts: &str) {
        let is = ["ActiveState", "SubState", "NRestarts"].map(|property| self.shows(property));
        assert_eq!(is, ["active", "running", restarts]);
    }
}

/// Between two looks.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(50);

impl Drop for Systemd {
    fn drop(&mut self) {
        drop(self.process.take());
        let remove = format!("find {} -depth -type d -exec rmdir {{}} + 2>/dev/null", self.group);
        for _ in 0..100 {
            // The kernel lets go of the last process some time after it was waited for.
            if unshare().args(in_groups(&remove)).output().is_ok_and(|done| done.status.success()) {
                return;
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

//= test OBS-UNIT-01
//= test OBS-NOTIFY-01
//= test UPG-NOTIFY-01
//= test UPG-COMMAND-01
#[test]
fn a_running_systemd_starts_reloads_upgrades_restarts_and_stops_the_unit() {
    let lab = Lab::new();
    let [a, b] = lab.demos(["a", "b"]);
    // A port that the unit's user has only by the unit.
    let at = (lab.ip(), 80).into();
    let header = format!(
        "version = 1\n[engine]\nworkers = 2\nmemory_gib = 1\nadmin_socket = \"/run/forebay/se.sock\"\n\
         metrics_listen = \"{}\"\naccess_log = {{ path = \"/var/log/forebay/access.log\" }}\n",
        lab.address()
    );
    let text = |server| header.clone() + &config::service("web", at) + &config::pool("web", "", &[server]);
    let first_text = text(a.address);
    let Some(systemd) = Systemd::start(&lab, "forebay-se", ("forebay/se.toml", &first_text)) else { return };
    let served = || Client::new(at).patience(secs(5)).get_once("/").expect("served").server().to_owned();
    let main = || systemd.shows("MainPID");

    // It is started when it serves.
    systemd.does(&["systemctl", "start", "forebay-se"]);
    assert_eq!(served(), "a");
    systemd.is_up("0");
    let first = main();
    let user = systemd.does(&["grep", "^Uid:", &format!("/proc/{first}/status")]);
    assert!(user.split_whitespace().skip(1).eq(["987"; 4]), "{user}");
    assert_eq!(systemd.does(&["stat", "-c", "%U", "/run/forebay/se.sock"]), "forebay\n");

    fs::write(lab.folder().join("se.toml"), text(b.address)).expect("the lab's folder");
    systemd.does(&["cp", "/run/lab/se.toml", "/etc/forebay/se.toml"]);
    systemd.does(&["systemctl", "reload", "forebay-se"]);
    eventually("it goes by the new file", secs(10), || served() == "b");
    assert_eq!(main(), first);

    // By the command, with a client that stays; then by a signal.
    let mut chat = websocket(at);
    let as_its_user = ["setpriv", "--reuid=forebay", "--regid=forebay", "--clear-groups", "forebay-se"];
    let words = [&as_its_user[..], &["upgrade", "--config", "/etc/forebay/se.toml"]].concat();
    let said = systemd.does(&words);
    let second = main();
    assert!(second != first && said.contains(&second), "{second} after {first}: {said}");
    assert!(systemd.is_there(&first) && echoes(&mut chat), "the first one serves who is there");
    assert_eq!(served(), "b");
    drop(chat);
    eventually("the first one ends", secs(20), || !systemd.is_there(&first));
    systemd.does(&["systemctl", "kill", "--signal=SIGUSR2", "--kill-who=main", "forebay-se"]);
    eventually("a third one is the unit's", secs(20), || main() != second);
    let third = main();
    eventually("the second one ends", secs(20), || !systemd.is_there(&second));
    // Sleep: the watchdog's 10 s are the subject. It is fed by a process that systemd has not started.
    std::thread::sleep(secs(12));
    systemd.is_up("0");
    assert_eq!((main(), served()), (third, "b".to_owned()));

    // A crash is repaired; a stop is none.
    systemd.does(&["systemctl", "kill", "--signal=SIGKILL", "--kill-who=main", "forebay-se"]);
    eventually("it is started anew", secs(20), || {
        systemd.shows("NRestarts") == "1" && systemd.shows("SubState") == "running"
    });
    assert_eq!(served(), "b");
    systemd.does(&["systemctl", "stop", "forebay-se"]);
    assert_eq!(["ActiveState", "Result"].map(|property| systemd.shows(property)), ["inactive", "success"]);
    assert!(std::net::TcpStream::connect(at).is_err(), "nobody listens");
}

//= test API-UNIT-01
#[test]
fn a_running_systemd_starts_the_controller_repairs_its_crash_and_keeps_what_it_has() {
    let lab = Lab::new();
    // A port that the unit's user has only by the unit.
    let (api, engines) = (SocketAddr::from((lab.ip(), 443)), lab.address());
    let text = format!("FOREBAY_CONTROLLER_OPTIONS=--listen {api} --listen-engines {engines}\n");
    let settings = ("default/forebay-controller", text.as_str());
    let Some(systemd) = Systemd::start(&lab, "forebay-controller", settings) else { return };
    let answers = || Curl::at(api).get("/api/cluster/status").0 == 200;
    let main = || systemd.shows("MainPID");

    // It is started when it answers.
    systemd.does(&["systemctl", "start", "forebay-controller"]);
    assert!(answers(), "at once");
    systemd.is_up("0");
    let first = main();
    let user = systemd.does(&["grep", "^Uid:", &format!("/proc/{first}/status")]);
    assert!(user.split_whitespace().skip(1).eq(["986"; 4]), "{user}");
    let kept = systemd.does(&["stat", "-c", "%U %a", "/var/lib/forebay/controller"]);
    assert_eq!(kept, "forebay-controller 700\n");

    // As its unit says: no log has the first password.
    let name = "forebay-controller";
    let as_its_user =
        ["setpriv", &format!("--reuid={name}"), &format!("--regid={name}"), "--clear-groups", name];
    let said = systemd.does(&[&as_its_user[..], &["password", "reset", "--local"]].concat());
    let password = said.lines().find_map(|line| line.strip_prefix("password: ")).expect("one");
    let password = password.split(' ').next().expect("a word").to_owned();
    let admin = || Curl::at(api).with(&["--user", &format!("admin:{password}")]);
    let (status, made) = admin().send("POST", "/api/pool", &json!({"name": "kept"}));
    assert_eq!(status, 201, "{made}");
    let has_pool = || admin().get("/api/pool?name=kept").1["count"] == 1;

    // An engine joins through the unit's walls.
    let (status, made) = admin().send("POST", "/api/se-token", &json!({}));
    assert_eq!(status, 201, "{made}");
    let token = made["token"].as_str().expect("a text");
    let mut engine = Led::start(&lab, engines, token, &led::Options::default());
    engine.says("CONTROLLER_REACHED");

    // A crash is repaired; a stop is none.
    systemd.does(&["systemctl", "kill", "--signal=SIGKILL", "--kill-who=main", "forebay-controller"]);
    eventually("it is started anew", secs(20), || {
        systemd.shows("NRestarts") == "1" && systemd.shows("SubState") == "running"
    });
    assert!(main() != first && has_pool());
    eventually("the engine is back", secs(20), || engine.said("CONTROLLER_REACHED") > 1);
    systemd.does(&["systemctl", "stop", "forebay-controller"]);
    assert_eq!(["ActiveState", "Result"].map(|property| systemd.shows(property)), ["inactive", "success"]);
    assert!(std::net::TcpStream::connect(api).is_err(), "nobody listens");
    systemd.does(&["systemctl", "start", "forebay-controller"]);
    assert!(has_pool(), "it is all there");
}
