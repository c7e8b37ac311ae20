//! The load of `up --once`, and its report.
//!
//! After a tenth of the requests the services are scaled out to the second engine, after a third a demo server is killed,
//! after two thirds an engine, the primary: each client has its entry in the tables of both by then.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::client::{Answer, Client};
use super::config::{Plan, SESSION_COOKIE, Service, Stick};
use super::verdict::{Failed, History, Killed, Sample, Stopped, Verdict};
use super::{Running, from_log, metrics};
use crate::args::Up;
use crate::sys;

/// Threads of the load, each with its share of the clients.
const THREADS: usize = 16;
/// A client keeps a connection for this many requests, then takes a new one.
const REQUESTS_PER_CONNECTION: u32 = 4;
/// Pause between looks at how far the load is.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// Pause of a client between two requests while the services are scaled out: that takes seconds, and there is to be load
/// before, meanwhile and after.
const PACE: Duration = Duration::from_millis(200);
/// Pause between looks at the system's list of sockets, which is long after so many connections.
const LOOK_AT_SOCKETS_EVERY: Duration = Duration::from_millis(10);
/// How long the system may take to close the sockets of an engine that was killed.
const CLOSE_WAIT: Duration = Duration::from_secs(20);

/// Sends the load, stops a demo server and an engine on the way, prints the report.
pub fn run(options: &Up, running: &mut Running) -> Result<ExitCode> {
    let progress = Progress::default();
    let began = Instant::now();
    let ours = !running.demo.is_empty();
    let plans = clients(options, &running.plan.services, ours);
    let (steered, mut histories) = std::thread::scope(|scope| {
        let per_thread = plans.len().div_ceil(THREADS);
        let progress = &progress;
        let load = |(number, share)| {
            scope.spawn(move || drive(share, number * per_thread, options.requests, ours, began, progress))
        };
        let threads: Vec<_> = plans.chunks(per_thread).enumerate().map(load).collect();
        let all = u64::from(options.clients) * u64::from(options.requests);
        let steered = steer(running, began, progress, all, || threads.iter().all(|t| t.is_finished()));
        progress.stopped.store(true, Ordering::Relaxed);
        let joined: Vec<_> = threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        let histories: Vec<History> =
            joined.into_iter().flat_map(|h| h.expect("the load does not panic")).collect();
        (steered, histories)
    });
    let Stops { server: stopped, engine: mut killed, mut workers_used, scaled } = steered?;
    let seconds = began.elapsed().as_secs_f64();
    if sys::stop_asked() {
        bail!("stopped before the load was done");
    }
    if !ours {
        let from: Vec<Ipv4Addr> = plans.iter().map(|(_, from)| *from).collect();
        let logs: Vec<_> = running.engines.iter().map(from_log::of).collect();
        from_log::name_servers(&logs, &from, &mut histories)?;
    }
    for engine in &running.engines {
        workers_used += metrics::workers_used(engine.seat.metrics)?;
    }
    if let Some(killed) = &mut killed {
        let other = running.engines.first_mut().expect("one is left");
        // Its log is whole then.
        other.process.end();
        killed.elsewhere = from_log::connections(&from_log::of(other), plans.len())?;
    }
    let verdict = Verdict::of(&histories, stopped.as_ref(), killed.as_ref());
    let figures = Figures {
        errors: verdict.errors,
        sticky_violations: verdict.sticky_violations,
        workers: usize::from(options.workers),
        workers_used,
        server_stopped: stopped.is_some(),
        engine_killed: killed.is_some(),
        scaled_out: scaled.is_some() || running.controller.is_none(),
        servers_are_ours: ours,
    };
    let ok = figures.good();
    let report = json!({
        "ok": ok,
        "requests": verdict.requests,
        "clients": histories.len(),
        "errors": verdict.errors,
        "cut": verdict.cut,
        "error_examples": verdict.error_examples,
        "sticky_violations": verdict.sticky_violations,
        "moved_after_stop": verdict.moved_after_stop,
        "scaled_out_to": scaled,
        "stopped": stopped.as_ref().map(|s| s.server.as_str()),
        "killed": killed.as_ref().map(|k| k.engine.as_str()),
        "spread": verdict.spread,
        "p50_ms": verdict.percentile_ms(50),
        "p99_ms": verdict.percentile_ms(99),
        "first_byte_ms": running.first_byte.as_millis() as u64,
        "workers": options.workers,
        "workers_used": workers_used,
        "seconds": (seconds * 1000.0).round() / 1000.0,
        "data": running.folder.path(),
    });
    println!("{report}");
    eprintln!(
        "{}: {} requests of {} clients in {seconds:.1} s, {} failed, {} cut when {} was killed, {} broke the stickiness, {} moved when {} stopped, p99 {:.1} ms, {workers_used} workers; see {}",
        if ok { "good" } else { "BAD" },
        verdict.requests,
        histories.len(),
        verdict.errors,
        verdict.cut,
        killed.as_ref().map_or("nothing", |k| k.engine.as_str()),
        verdict.sticky_violations,
        verdict.moved_after_stop,
        stopped.as_ref().map_or("nothing", |s| s.server.as_str()),
        verdict.percentile_ms(99),
        running.folder.path().display(),
    );
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// How far the load is.
#[derive(Default)]
struct Progress {
    /// Requests that are through.
    done: AtomicU64,
    /// Whether all that is to be stopped has been: each client's last request waits for it.
    stopped: AtomicBool,
    /// Whether the services are being scaled out: clients take their time meanwhile.
    scaling: AtomicBool,
}

/// What was stopped.
#[derive(Default)]
struct Stops {
    server: Option<Stopped>,
    engine: Option<Killed>,
    /// Workers of that engine that had answered requests.
    workers_used: usize,
    /// The engine that the services were scaled out to.
    scaled: Option<String>,
}

/// Stops a demo server and an engine, if they are ours, when the load is so far, and watches over the rest until it is
/// through; `all` is how many requests there will be.
fn steer(
    running: &mut Running,
    began: Instant,
    progress: &Progress,
    all: u64,
    is_through: impl Fn() -> bool,
) -> Result<Stops> {
    let mut stops = Stops::default();
    let ours = !running.demo.is_empty();
    let is_led = running.controller.is_some();
    progress.scaling.store(is_led, Ordering::Relaxed);
    let mut listening_before = listening(&running.plan)?;
    while !is_through() {
        let done = progress.done.load(Ordering::Relaxed);
        if is_led && stops.scaled.is_none() && done >= all / 10 {
            stops.scaled = Some(scale_out(running)?);
            progress.scaling.store(false, Ordering::Relaxed);
            listening_before = listening(&running.plan)?;
        }
        if ours && stops.server.is_none() && done >= all / 3 {
            stops.server = stop_one(running, began)?;
        }
        if ours && stops.workers_used == 0 && done >= all / 2 {
            let last = &running.engines.last().expect("there are two").seat;
            stops.workers_used = metrics::workers_used(last.metrics)?;
        }
        if ours && stops.engine.is_none() && done >= all / 3 * 2 {
            stops.engine = Some(kill_an_engine(running, began, listening_before)?);
        }
        if !ours && (stops.scaled.is_some() || !is_led) || stops.engine.is_some() {
            progress.stopped.store(true, Ordering::Relaxed);
        }
        running.check()?;
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(stops)
}

/// Has the services served by the second engine too; the one that is their primary comes last among the engines, which is
/// the one that is killed.
fn scale_out(running: &mut Running) -> Result<String> {
    let controller = running.controller.as_ref().context("there is a Controller")?;
    let primary = controller.primary()?;
    let to = controller.scale_out()?;
    running.engines.sort_by_key(|engine| engine.seat.name() == primary);
    Ok(to)
}

/// What decides about the exit code.
#[derive(Clone, Copy)]
struct Figures {
    errors: u64,
    sticky_violations: u64,
    workers: usize,
    workers_used: usize,
    server_stopped: bool,
    engine_killed: bool,
    scaled_out: bool,
    servers_are_ours: bool,
}

impl Figures {
    /// Whether no request failed, every client stuck, and the run was one that shows it: two workers answered where
    /// there are two, and a server of ours and an engine were stopped.
    fn good(self) -> bool {
        self.errors == 0
            && self.scaled_out
            && self.sticky_violations == 0
            && self.workers_used >= self.workers.min(2)
            && ((self.server_stopped && self.engine_killed) || !self.servers_are_ours)
    }
}

/// The clients, shared out evenly over the services. Those of the service that knows clients by
/// address have one each; the others share one, so that nothing but the cookie tells them apart.
/// In front of servers that are not ours all have one each, because the log has to tell them apart.
fn clients(options: &Up, services: &[Service], ours: bool) -> Vec<(Service, Ipv4Addr)> {
    let services = services.iter().cycle();
    (0..options.clients)
        .zip(services)
        .map(|(n, service)| {
            let own = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 1, 0, 1)) + n);
            let from =
                if service.stick == Stick::Address || !ours { own } else { Ipv4Addr::new(127, 0, 0, 2) };
            (*service, from)
        })
        .collect()
}

/// The load of one thread: the clients of `share`, of whom the first has this number.
fn drive(
    share: &[(Service, Ipv4Addr)],
    first: usize,
    requests: u32,
    ours: bool,
    began: Instant,
    progress: &Progress,
) -> Vec<History> {
    let mut clients: Vec<(Client, History)> = share
        .iter()
        .zip(first..)
        .map(|((service, from), number)| {
            let history =
                History { stick: service.stick, known: true, samples: Vec::with_capacity(requests as usize) };
            (Client::new(*from, service.address).numbered(number), history)
        })
        .collect();
    for n in 0..requests {
        while n + 1 == requests && !progress.stopped.load(Ordering::Relaxed) && !sys::stop_asked() {
            std::thread::sleep(LOOK_EVERY);
        }
        if n > 1 && progress.scaling.load(Ordering::Relaxed) {
            std::thread::sleep(PACE);
        }
        for (client, history) in &mut clients {
            if sys::stop_asked() {
                break;
            }
            let logs_in = ours && history.stick == Stick::Session && !client.has_cookie(SESSION_COOKIE);
            let path = if logs_in { "/login" } else { "/" };
            let last = (n + 1) % REQUESTS_PER_CONNECTION == 0;
            let sent = began.elapsed();
            let answer = client.get(path, last);
            let took = began.elapsed() - sent;
            let used = client.used();
            let connected = used.since.map_or(sent, |since| since.saturating_duration_since(began));
            history.samples.push(Sample { sent, took, got: got(answer, ours), used, connected });
            progress.done.fetch_add(1, Ordering::Relaxed);
        }
    }
    for (client, history) in &mut clients {
        history.known = ours || history.stick != Stick::Session || client.has_cookie(SESSION_COOKIE);
    }
    clients.into_iter().map(|(_, history)| history).collect()
}

/// The server that answered a request well, or what went wrong.
fn got(answer: io::Result<Answer>, ours: bool) -> Result<String, Failed> {
    let wrong = |why: String| Failed { why, broke_off: false };
    match answer {
        Ok(a) if ours && a.status == 200 => {
            a.server.ok_or_else(|| wrong("the answer names no server".to_owned()))
        }
        // Servers that are not ours may answer what they like; the log will name them.
        Ok(a) if !ours && a.status < 500 => Ok(String::new()),
        Ok(a) => Err(wrong(format!("status {}", a.status))),
        Err(e) => Err(Failed { why: e.to_string(), broke_off: broke_off(e.kind()) }),
    }
}

/// Whether this is what becomes of a connection whose other end dies: an answer that makes no sense or never comes is
/// something else.
fn broke_off(kind: io::ErrorKind) -> bool {
    use io::ErrorKind as Kind;
    matches!(kind, Kind::ConnectionReset | Kind::ConnectionRefused | Kind::BrokenPipe | Kind::UnexpectedEof)
}

/// Kills the second demo server, as a crash would.
fn stop_one(running: &mut Running, began: Instant) -> Result<Option<Stopped>> {
    let Some((name, process)) = running.demo.get_mut(1) else { return Ok(None) };
    let from = began.elapsed();
    process.kill()?;
    Ok(Some(Stopped { server: name.clone(), from, to: began.elapsed() }))
}

/// Kills the last engine, as a crash would; `before` is how many sockets listened for both.
fn kill_an_engine(running: &mut Running, began: Instant, before: usize) -> Result<Killed> {
    let mut engine = running.engines.pop().expect("there are two");
    let name = engine.seat.name();
    let from = began.elapsed();
    engine.process.kill()?;
    // The kernel takes back a ring's sockets some time after the process is gone.
    let give_up = Instant::now() + CLOSE_WAIT;
    while listening(&running.plan)? > before / 2 {
        if Instant::now() > give_up {
            bail!("the sockets of {name} are there {} s after it was killed", CLOSE_WAIT.as_secs());
        }
        std::thread::sleep(LOOK_AT_SOCKETS_EVERY);
    }
    Ok(Killed { engine: name, from, to: began.elapsed(), elsewhere: BTreeSet::new() })
}

/// How many sockets listen at the addresses of the services, all engines' together.
fn listening(plan: &Plan) -> Result<usize> {
    let table = std::fs::read_to_string("/proc/net/tcp").context("/proc/net/tcp")?;
    let at: Vec<SocketAddr> = plan.services.iter().map(|service| service.address).collect();
    Ok(listening_in(&table, &at))
}

/// How many lines of the system's list of sockets are of listeners at one of these addresses of IPv4; the same port of
/// another address is somebody else's.
fn listening_in(table: &str, at: &[SocketAddr]) -> usize {
    let written = |address: &SocketAddr| match address.ip() {
        // Four bytes as they lie in memory, printed as one number.
        IpAddr::V4(ip) => Some(format!("{:08X}:{:04X}", u32::from_ne_bytes(ip.octets()), address.port())),
        IpAddr::V6(_) => None,
    };
    let ours: Vec<String> = at.iter().filter_map(written).collect();
    let is_listening = |line: &&str| {
        let mut words = line.split_whitespace().skip(1);
        let local = words.next();
        local.is_some_and(|local| ours.iter().any(|own| own == local)) && words.nth(1) == Some("0A")
    };
    table.lines().filter(is_listening).count()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_run_is_good_only_if_nothing_failed_and_it_could_have_shown_it() {
        let good = Figures {
            errors: 0,
            sticky_violations: 0,
            workers: 4,
            workers_used: 2,
            server_stopped: true,
            engine_killed: true,
            scaled_out: true,
            servers_are_ours: true,
        };
        assert!(good.good());
        assert!(!Figures { errors: 1, ..good }.good());
        assert!(!Figures { sticky_violations: 1, ..good }.good());
        assert!(!Figures { workers_used: 1, ..good }.good(), "one of several workers answered everything");
        assert!(!Figures { server_stopped: false, ..good }.good(), "no server was stopped");
        assert!(!Figures { engine_killed: false, ..good }.good(), "no engine was killed");
        assert!(!Figures { scaled_out: false, ..good }.good(), "it was not scaled out");
        assert!(Figures { workers: 1, workers_used: 1, ..good }.good(), "there is but one");
        assert!(!Figures { workers: 1, workers_used: 0, ..good }.good());
        let theirs = Figures { server_stopped: false, engine_killed: false, servers_are_ours: false, ..good };
        assert!(theirs.good(), "nobody stops servers that are not ours");
        assert!(!Figures { errors: 1, ..theirs }.good());
    }

    #[test]
    fn only_listeners_at_the_very_address_of_a_service_are_counted() {
        // Addresses that nobody else has: another's socket must not be counted.
        let own = TcpListener::bind("127.251.0.1:0").unwrap();
        let at = own.local_addr().unwrap();
        let other = SocketAddr::from(([127, 251, 0, 9], at.port()));
        let _elsewhere = TcpListener::bind(other).unwrap();
        // An open connection has the same address, and does not listen.
        let _client = TcpStream::connect(at).unwrap();
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        assert_eq!(listening_in(&table, &[at]), 1, "that one has its port, not its address");
        assert_eq!(listening_in(&table, &[at, other]), 2);
    }

    #[test]
    fn an_answer_is_good_by_its_status_and_by_whose_server_it_is() {
        let answer = |status, server: Option<&str>| Ok(Answer { status, server: server.map(str::to_owned) });
        assert_eq!(got(answer(200, Some("demo-1")), true), Ok("demo-1".into()));
        let wrong = |why: &str| Err(Failed { why: why.into(), broke_off: false });
        assert_eq!(got(answer(404, Some("demo-1")), true), wrong("status 404"));
        assert_eq!(got(answer(502, None), true), wrong("status 502"));
        assert_eq!(got(answer(200, None), true), wrong("the answer names no server"));
        assert_eq!(got(answer(404, None), false), Ok(String::new()));
        assert_eq!(got(answer(500, None), false), wrong("status 500"));
        for ours in [true, false] {
            let broken = |kind: io::ErrorKind| got(Err(kind.into()), ours).unwrap_err().broke_off;
            assert!(broken(io::ErrorKind::ConnectionReset) && broken(io::ErrorKind::UnexpectedEof));
            assert!(!broken(io::ErrorKind::InvalidData), "an answer that makes no sense");
            assert!(!broken(io::ErrorKind::WouldBlock), "one that does not come");
        }
    }
}
