//! The load of `up --once`, and its report.

use std::io;
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::json;

use super::client::{Answer, Client};
use super::config::{SESSION_COOKIE, Service, Stick};
use super::verdict::{History, Sample, Stopped, Verdict};
use super::{Running, from_log, metrics};
use crate::args::Up;
use crate::sys;

/// Threads of the load, each with its share of the clients.
const THREADS: usize = 16;
/// A client keeps a connection for this many requests, then takes a new one.
const REQUESTS_PER_CONNECTION: u32 = 4;
/// Pause between looks at how far the load is.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Sends the load, stops a demo server half-way, prints the report.
pub fn run(options: &Up, running: &mut Running) -> Result<ExitCode> {
    let began = Instant::now();
    let done = AtomicU64::new(0);
    let all = u64::from(options.clients) * u64::from(options.requests);
    let ours = !running.demo.is_empty();
    let plans = clients(options, &running.plan.services, ours);
    let mut stopped = None;
    let mut histories = std::thread::scope(|scope| -> Result<Vec<History>> {
        let per_thread = plans.len().div_ceil(THREADS);
        let threads: Vec<_> = plans
            .chunks(per_thread)
            .map(|share| scope.spawn(|| drive(share, options.requests, ours, began, &done)))
            .collect();
        while !threads.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            if stopped.is_none() && done.load(Ordering::Relaxed) >= all / 2 {
                stopped = stop_one(running, began)?;
            }
            running.engine.check()?;
            std::thread::sleep(LOOK_EVERY);
        }
        let joined: Vec<_> = threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        Ok(joined.into_iter().flat_map(|h| h.expect("the load does not panic")).collect())
    })?;
    let seconds = began.elapsed().as_secs_f64();
    if sys::stop_asked() {
        bail!("stopped before the load was done");
    }
    if !ours {
        let from: Vec<Ipv4Addr> = plans.iter().map(|(_, from)| *from).collect();
        from_log::name_servers(&running.access_log(), running.log_before, &from, &mut histories)?;
    }
    let verdict = Verdict::of(&histories, stopped.as_ref());
    let workers_used = metrics::workers_used(running.plan.metrics)?;
    let figures = Figures {
        errors: verdict.errors,
        sticky_violations: verdict.sticky_violations,
        workers: usize::from(options.workers),
        workers_used,
        server_stopped: stopped.is_some(),
        servers_are_ours: ours,
    };
    let ok = figures.good();
    let report = json!({
        "ok": ok,
        "requests": verdict.requests,
        "clients": histories.len(),
        "errors": verdict.errors,
        "error_examples": verdict.error_examples,
        "sticky_violations": verdict.sticky_violations,
        "moved_after_stop": verdict.moved_after_stop,
        "stopped": stopped.as_ref().map(|s| s.server.as_str()),
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
        "{}: {} requests of {} clients in {seconds:.1} s, {} failed, {} broke the stickiness, {} moved when {} stopped, p99 {:.1} ms, {workers_used} workers; see {}",
        if ok { "good" } else { "BAD" },
        verdict.requests,
        histories.len(),
        verdict.errors,
        verdict.sticky_violations,
        verdict.moved_after_stop,
        stopped.as_ref().map_or("nothing", |s| s.server.as_str()),
        verdict.percentile_ms(99),
        running.folder.path().display(),
    );
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What decides about the exit code.
#[derive(Clone, Copy)]
struct Figures {
    errors: u64,
    sticky_violations: u64,
    workers: usize,
    workers_used: usize,
    server_stopped: bool,
    servers_are_ours: bool,
}

impl Figures {
    /// Whether no request failed, every client stuck, and the run was one that shows it: two workers answered where
    /// there are two, and a server of ours was stopped.
    fn good(self) -> bool {
        self.errors == 0
            && self.sticky_violations == 0
            && self.workers_used >= self.workers.min(2)
            && (self.server_stopped || !self.servers_are_ours)
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

fn drive(
    share: &[(Service, Ipv4Addr)],
    requests: u32,
    ours: bool,
    began: Instant,
    done: &AtomicU64,
) -> Vec<History> {
    let mut clients: Vec<(Client, History)> = share
        .iter()
        .map(|(service, from)| {
            let history =
                History { stick: service.stick, known: true, samples: Vec::with_capacity(requests as usize) };
            (Client::new(*from, service.address), history)
        })
        .collect();
    for n in 0..requests {
        for (client, history) in &mut clients {
            if sys::stop_asked() {
                break;
            }
            let path = if n == 0 && ours && history.stick == Stick::Session { "/login" } else { "/" };
            let last = (n + 1) % REQUESTS_PER_CONNECTION == 0;
            let sent = began.elapsed();
            let answer = client.get(path, last);
            let took = began.elapsed() - sent;
            history.samples.push(Sample { sent, took, got: got(answer, ours) });
            done.fetch_add(1, Ordering::Relaxed);
        }
    }
    for (client, history) in &mut clients {
        history.known = ours || history.stick != Stick::Session || client.has_cookie(SESSION_COOKIE);
    }
    clients.into_iter().map(|(_, history)| history).collect()
}

/// The server that answered a request well, or what went wrong.
fn got(answer: io::Result<Answer>, ours: bool) -> Result<String, String> {
    match answer {
        Ok(a) if ours && a.status == 200 => a.server.ok_or_else(|| "the answer names no server".to_owned()),
        // Servers that are not ours may answer what they like; the log will name them.
        Ok(a) if !ours && a.status < 500 => Ok(String::new()),
        Ok(a) => Err(format!("status {}", a.status)),
        Err(e) => Err(e.to_string()),
    }
}

/// Kills the second demo server, as a crash would.
fn stop_one(running: &mut Running, began: Instant) -> Result<Option<Stopped>> {
    let Some((name, process)) = running.demo.get_mut(1) else { return Ok(None) };
    let from = began.elapsed();
    process.kill()?;
    Ok(Some(Stopped { server: name.clone(), from, to: began.elapsed() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_good_only_if_nothing_failed_and_it_could_have_shown_it() {
        let good = Figures {
            errors: 0,
            sticky_violations: 0,
            workers: 4,
            workers_used: 2,
            server_stopped: true,
            servers_are_ours: true,
        };
        assert!(good.good());
        assert!(!Figures { errors: 1, ..good }.good());
        assert!(!Figures { sticky_violations: 1, ..good }.good());
        assert!(!Figures { workers_used: 1, ..good }.good(), "one of several workers answered everything");
        assert!(!Figures { server_stopped: false, ..good }.good(), "no server was stopped");
        assert!(Figures { workers: 1, workers_used: 1, ..good }.good(), "there is but one");
        assert!(!Figures { workers: 1, workers_used: 0, ..good }.good());
        let theirs = Figures { server_stopped: false, servers_are_ours: false, ..good };
        assert!(theirs.good(), "nobody stops servers that are not ours");
        assert!(!Figures { errors: 1, ..theirs }.good());
    }

    #[test]
    fn an_answer_is_good_by_its_status_and_by_whose_server_it_is() {
        let answer = |status, server: Option<&str>| Ok(Answer { status, server: server.map(str::to_owned) });
        assert_eq!(got(answer(200, Some("demo-1")), true), Ok("demo-1".into()));
        assert_eq!(got(answer(404, Some("demo-1")), true), Err("status 404".into()));
        assert_eq!(got(answer(502, None), true), Err("status 502".into()));
        assert_eq!(got(answer(200, None), true), Err("the answer names no server".into()));
        assert_eq!(got(answer(404, None), false), Ok(String::new()));
        assert_eq!(got(answer(500, None), false), Err("status 500".into()));
        for ours in [true, false] {
            assert!(got(Err(io::ErrorKind::ConnectionReset.into()), ours).is_err());
        }
    }
}
