//! A group of engines, each with its Redis, and a distributor.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use forebay_e2e::wait::{eventually, secs};
use forebay_e2e::{Engine, Options, Process, bin};

use crate::group::{Group, ready};

/// What each Redis wants to hear.
const PASSWORD: &str = "a-long-enough-secret";

/// Engines with their Redises.
pub struct Legacy {
    pub group: Group,
    pub redises: Vec<Process>,
    pub distributor: Process,
}

impl Legacy {
    /// Redises and a distributor for so many engines; none of these runs yet.
    pub fn new(engines: usize) -> Self {
        let group = Group::new(engines);
        let file = group.lab.folder().join("password");
        std::fs::write(&file, PASSWORD).expect("the folder");
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).expect("it is ours");
        let redises = (0..engines).map(|slot| redis(&group, slot)).collect();
        let distributor = distributor(&group, "shop", &[]);
        Self { group, redises, distributor }
    }

    /// What an engine's file says of its Redis.
    pub fn section(slot: usize) -> String {
        format!(
            "[objsync]\nuse_objsync = false\ngroup = \"shop\"\nslot = {slot}\nsecret_file = \"pki/shop.secret\"\n\
             redis_address = \"./{slot}.redis\"\nredis_password_file = \"password\"\n"
        )
    }

    /// The file of an engine.
    pub fn config(&self, slot: usize) -> String {
        self.group.config_with(slot, &Self::section(slot))
    }

    /// Starts an engine without waiting.
    pub fn spawn(&self, slot: usize) -> Engine {
        Engine::spawn(&self.group.lab, &self.config(slot), &Options::default())
    }

    /// Starts all engines, and waits until they serve and know of one another.
    pub fn start(&self) -> Vec<Engine> {
        self.start_with(&[])
    }

    /// As [`Legacy::start`], with further arguments.
    pub fn start_with(&self, arguments: &[&str]) -> Vec<Engine> {
        let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
        let options = || Options { arguments: arguments.clone(), ..Options::default() };
        let start = |slot| Engine::spawn(&self.group.lab, &self.config(slot), &options());
        let engines: Vec<Engine> = (0..self.redises.len()).map(start).collect();
        engines.iter().for_each(ready);
        for engine in &engines {
            connected(engine, true);
            others(engine, engines.len() - 1);
        }
        engines
    }

    /// Starts a Redis anew, empty.
    pub fn restart_redis(&mut self, slot: usize) {
        self.redises[slot] = redis(&self.group, slot);
    }

    /// Starts the distributor anew.
    pub fn restart_distributor(&mut self) {
        self.restart_distributor_as("shop", &[]);
    }

    /// As [`Legacy::restart_distributor`], of another group, or with each engine's Redis, where that is not its own.
    pub fn restart_distributor_as(&mut self, name: &str, redises: &[usize]) {
        self.distributor.kill();
        self.distributor = distributor(&self.group, name, redises);
    }

    /// Asks an engine's Redis.
    #[track_caller]
    pub fn ask(&self, slot: usize, words: &[&str]) -> String {
        let mut command = Command::new(bin::foreign("redis-cli", "redis-tools"));
        command.arg("-s").arg(socket(&self.group, slot)).env("REDISCLI_AUTH", PASSWORD).args(words);
        let done = command.output().expect("redis-cli starts");
        assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).trim().to_owned()
    }

    /// Keys of entries in an engine's Redis.
    pub fn entries(&self, slot: usize) -> usize {
        let count = "return #redis.call('KEYS', 'forebay:shop:entry:*')";
        self.ask(slot, &["EVAL", count, "0"]).parse().expect("a number")
    }

    /// The life in seconds that entries in an engine's Redis have left; `None`: open.
    pub fn lives(&self, slot: usize) -> Vec<Option<u64>> {
        let lives = "local l = {} for i, k in ipairs(redis.call('KEYS', 'forebay:shop:entry:*')) do \
                     l[i] = redis.call('TTL', k) end return l";
        let said = self.ask(slot, &["EVAL", lives, "0"]);
        said.lines().map(|life| life.parse().ok()).collect()
    }
}

fn socket(group: &Group, slot: usize) -> PathBuf {
    group.lab.folder().join(format!("{slot}.redis"))
}

fn redis(group: &Group, slot: usize) -> Process {
    let mut command = Command::new(bin::foreign("redis-server", "redis-server"));
    command.args(["--port", "0", "--unixsocket", &format!("{slot}.redis"), "--requirepass", PASSWORD]);
    command.args(["--save", "", "--appendonly", "no"]);
    let redis = Process::start(&format!("redis-{slot}"), command, group.lab.folder());
    eventually("redis listens", secs(10), || {
        std::os::unix::net::UnixStream::connect(socket(group, slot)).is_ok()
    });
    redis
}

fn distributor(group: &Group, name: &str, redises: &[usize]) -> Process {
    let mut command = Command::new(bin::path("forebay-se"));
    command.args(["distribute", "--group", name, "--password-file", "password"]);
    for slot in 0..group.vips.len() {
        let redis = redises.get(slot).copied().unwrap_or(slot);
        command.args(["--engine", &format!("{slot}=./{redis}.redis")]);
    }
    Process::start("distributor", command, group.lab.folder())
}

/// Waits until an engine has a connection with its Redis, or none.
#[track_caller]
pub fn connected(engine: &Engine, is: bool) {
    eventually("its connection with Redis", secs(20), || {
        (engine.metric("forebay_objsync_redis_connected", &[]) == 1.0) == is
    });
}

/// Waits until an engine has heard of so many others lately.
#[track_caller]
pub fn others(engine: &Engine, count: usize) {
    eventually("it knows of the others", secs(40), || {
        engine.metric("forebay_objsync_redis_others", &[]) as usize == count
    });
}
