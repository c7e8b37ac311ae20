//! What alerts do beside being there: whom they are told to.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use forebay_model::Object;
use serde_json::Value;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::rule::Rule;
use super::syslog::{self, Format, Server};
use crate::objects::{ADMIN, Catalogue, Held};
use crate::reach::Trust;

/// Messages that wait for one server; what is more is lost, and counted.
const WAITING_MAX: usize = 100;
/// Servers for which messages wait.
const LINES_MAX: usize = 1_000;
/// A server that took nothing is left alone for so long.
const REST: Duration = Duration::from_secs(10);
/// Servers of one alert.
const SERVERS_MAX: usize = 16;

/// What is done when a rule's alert is raised.
pub struct Actions {
    /// Its level.
    pub level: String,
    /// It is told to others only, and not kept.
    pub is_external: bool,
    /// Syslog servers.
    pub servers: Vec<Server>,
}

impl Actions {
    /// Those of a rule; `nodes` are the addresses of the Controllers.
    pub fn of(objects: &Catalogue, rule: &Rule, nodes: &[IpAddr]) -> Self {
        let group = rule.actions.as_deref().and_then(|uuid| objects.get("actiongroupconfig", uuid));
        let group = group.map(|held| held.object()).unwrap_or_default();
        let level = group.get("level").and_then(Value::as_str).unwrap_or("ALERT_LOW").to_owned();
        let servers =
            behind(&group, "syslog_config_ref").and_then(|uuid| objects.get("alertsyslogconfig", &uuid));
        let servers = servers.map(|held| servers_of(objects, held, nodes)).unwrap_or_default();
        let is_external = group.get("external_only") == Some(&Value::Bool(true)) && !servers.is_empty();
        Actions { level, is_external, servers }
    }
}

fn behind(object: &Object, name: &str) -> Option<String> {
    let text = object.get(name)?.as_str()?;
    text.rsplit('/').next().filter(|uuid| !uuid.is_empty()).map(str::to_owned)
}

/// The servers of an object `alertsyslogconfig`.
//= ALERT-SYSLOG-01
fn servers_of(objects: &Catalogue, held: &Held, nodes: &[IpAddr]) -> Vec<Server> {
    let config = held.object();
    //= ALERT-SYSLOG-02
    let avoids = (held.tenant != ADMIN).then(|| nodes.to_vec());
    let sender = match config.get("sender_hostname").and_then(Value::as_str).filter(|name| !name.is_empty()) {
        Some(name) => name.to_owned(),
        None => std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned(),
    };
    let server = |entry: &Value| {
        let entry = entry.as_object()?;
        let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
        let is_on = |name: &str| entry.get(name) == Some(&Value::Bool(true));
        let authorities = behind(entry, "pkiprofile_ref").and_then(|uuid| objects.get("pkiprofile", &uuid));
        let trust = authorities.map_or(Trust::System, |held| {
            let object = held.object();
            let certificates = object.get("ca_certs").and_then(Value::as_array).into_iter().flatten();
            let certificates = certificates.filter_map(|one| one["certificate"].as_str());
            Trust::Authorities(certificates.collect::<Vec<_>>().join("\n"))
        });
        let port = entry.get("syslog_server_port").and_then(Value::as_u64);
        Some(Server {
            host: text("syslog_server").to_owned(),
            port: port.and_then(|port| u16::try_from(port).ok()).unwrap_or(514),
            // TLS is spoken over connections.
            is_udp: entry.get("udp") != Some(&Value::Bool(false)) && !is_on("tls_enable"),
            tls: is_on("tls_enable").then_some(trust),
            format: Format::of(text("format")),
            sender: sender.clone(),
            avoids: avoids.clone(),
        })
    };
    let all = config.get("syslog_servers").and_then(Value::as_array).into_iter().flatten();
    all.filter_map(server).take(SERVERS_MAX).collect()
}

/// What waits for one server: one message is on its way at a time, so that it holds up no other server's.
#[derive(Default)]
struct Line {
    waiting: VecDeque<(Server, String)>,
    is_busy: bool,
    rests_until: Option<Instant>,
}

/// By host and port.
type Lines = BTreeMap<(String, u16), Line>;

/// Messages that are to be sent.
#[derive(Default)]
pub struct Outbox {
    lines: Mutex<Lines>,
    news: Notify,
    lost: AtomicU64,
}

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has an alert told to these servers, soon; nobody waits for that.
    pub fn put(&self, alert: &Value, servers: Vec<Server>, moment: &str) {
        let mut lines = self.lock();
        for server in servers {
            let at = (server.host.clone(), server.port);
            let is_full = match lines.get(&at) {
                Some(line) => line.waiting.len() >= WAITING_MAX,
                None => lines.len() >= LINES_MAX,
            };
            if is_full {
                let lost = self.lost.fetch_add(1, Ordering::Relaxed) + 1;
                if lost.is_power_of_two() {
                    tracing::warn!(
                        event = "ALERT_NOT_TOLD",
                        server = server.host,
                        lost,
                        "too many alerts wait for a syslog server"
                    );
                }
                continue;
            }
            let message = syslog::message(alert, server.format, &server.sender, moment);
            lines.entry(at).or_default().waiting.push_back((server, message));
        }
        self.news.notify_one();
    }

    /// What may be sent now, and when the next server has rested.
    fn ready(&self, now: Instant) -> (Vec<(Server, String)>, Option<Instant>) {
        let (mut ready, mut next) = (Vec::new(), None::<Instant>);
        let mut lines = self.lock();
        lines.retain(|_, line| line.is_busy || !line.waiting.is_empty());
        for line in lines.values_mut().filter(|line| !line.is_busy) {
            match line.rests_until.filter(|until| *until > now) {
                Some(until) => next = Some(next.map_or(until, |next| next.min(until))),
                None => {
                    ready.extend(line.waiting.pop_front());
                    line.is_busy = true;
                }
            }
        }
        (ready, next)
    }

    fn is_done(&self, server: &Server, is_taken: bool) {
        if let Some(line) = self.lock().get_mut(&(server.host.clone(), server.port)) {
            line.is_busy = false;
            line.rests_until = (!is_taken).then(|| Instant::now() + REST);
        }
    }

    /// Sends for ever.
    pub async fn drive(&self) {
        self.drive_by(|server, message| async move { syslog::send(&server, &message).await }).await;
    }

    /// The same by whatever sends.
    //= ALERT-SYSLOG-01
    async fn drive_by<F>(&self, send: impl Fn(Server, String) -> F)
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let (mut on_their_way, mut of) = (JoinSet::new(), HashMap::new());
        loop {
            let (ready, next) = self.ready(Instant::now());
            for (server, message) in ready {
                let task = on_their_way.spawn(send(server.clone(), message));
                of.insert(task.id(), server);
            }
            tokio::select! {
                Some(done) = on_their_way.join_next_with_id() => {
                    let (id, sent) = match done {
                        Ok((id, sent)) => (id, sent),
                        // A mistake of ours with one message is no reason to hold up the next ones.
                        Err(error) => (error.id(), Err(error.to_string())),
                    };
                    let Some(server) = of.remove(&id) else { continue };
                    if let Err(why) = &sent {
                        tracing::warn!(
                            event = "ALERT_NOT_TOLD",
                            server = server.host,
                            port = server.port,
                            why,
                            "an alert did not reach a syslog server"
                        );
                    }
                    self.is_done(&server, sent.is_ok());
                }
                () = self.news.notified() => {}
                () = async {
                    match next {
                        Some(next) => tokio::time::sleep_until(next.into()).await,
                        None => std::future::pending().await,
                    }
                } => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn server(host: &str) -> Server {
        Server {
            host: host.to_owned(),
            port: 514,
            is_udp: true,
            tls: None,
            format: Format::Legacy,
            sender: "ctl".to_owned(),
            avoids: None,
        }
    }

    //= test ALERT-SYSLOG-01
    #[test]
    fn a_server_that_takes_nothing_holds_up_no_other_one() {
        let outbox = Outbox::default();
        for _ in 0..3 * WAITING_MAX {
            outbox.put(&json!({"name": "a"}), vec![server("dead")], "2026-11-02T13:48:22Z");
        }
        outbox.put(&json!({"name": "b"}), vec![server("well")], "2026-11-02T13:48:22Z");
        let hosts = |ready: &[(Server, String)]| {
            ready.iter().map(|(server, _)| server.host.clone()).collect::<Vec<_>>()
        };
        let now = Instant::now();
        let (ready, next) = outbox.ready(now);
        assert_eq!((hosts(&ready), next), (vec!["dead".to_owned(), "well".to_owned()], None));
        assert_eq!(outbox.lost.load(Ordering::Relaxed), 2 * WAITING_MAX as u64);
        assert!(outbox.ready(now).0.is_empty(), "one at a time");
        outbox.put(&json!({"name": "c"}), vec![server("well")], "2026-11-02T13:48:22Z");
        outbox.is_done(&server("dead"), false);
        outbox.is_done(&server("well"), true);
        let (ready, next) = outbox.ready(now);
        assert_eq!(hosts(&ready), ["well"], "the other one rests");
        let rested = next.expect("until then");
        assert!(rested > now && rested <= Instant::now() + REST);
        assert_eq!(hosts(&outbox.ready(rested).0), ["dead"]);
    }
    //= test ALERT-SYSLOG-01
    #[tokio::test]
    async fn a_message_that_brings_its_task_down_holds_up_none_behind_it() {
        /// Pause between two looks.
        const LOOK_EVERY: Duration = Duration::from_millis(5);
        let outbox = Outbox::default();
        for name in ["bad", "good"] {
            outbox.put(&json!({"name": name}), vec![server("one")], "2026-11-02T13:48:22Z");
        }
        let sent = |_: Server, message: String| async move {
            assert!(message.is_empty(), "a mistake of ours");
            Ok(())
        };
        // When it has rested the next one may go.
        let next = async {
            loop {
                if let Some((_, message)) = outbox.ready(Instant::now() + REST).0.pop() {
                    return message;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        // The first message is on its way before it is looked for another one.
        let message = tokio::select! {
            biased;
            () = outbox.drive_by(sent) => String::new(),
            message = tokio::time::timeout(3 * REST, next) => message.expect("in time"),
        };
        assert!(message.contains("good"), "{message}");
    }
}
