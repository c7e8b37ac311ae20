//! What the access logs tell: which server answered, because servers that are not ours do not say it themselves, and which
//! engine a connection was with.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::client::numbered_name;
use super::engines::Engine;
use super::verdict::History;

/// How long the log may lag behind.
const LAG_MAX: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// An access log, and how much of it is of earlier runs, in bytes.
pub type Log = (PathBuf, u64);

/// The log of an engine.
pub fn of(engine: &Engine) -> Log {
    (engine.access_log(), engine.log_before)
}

/// Fills in the servers of all answered requests, from the logs of all engines. Each client must have an address of its own.
pub fn name_servers(logs: &[Log], from: &[Ipv4Addr], histories: &mut [History]) -> Result<()> {
    let wanted: usize = histories.iter().map(|h| h.samples.len()).sum();
    let give_up = Instant::now() + LAG_MAX;
    let mut servers = servers_of(logs, from)?;
    while servers.values().map(Vec::len).sum::<usize>() < wanted && Instant::now() < give_up {
        std::thread::sleep(LOOK_EVERY);
        servers = servers_of(logs, from)?;
    }
    for (ip, history) in from.iter().zip(histories) {
        let logged = servers.remove(ip).unwrap_or_default();
        if logged.len() != history.samples.len() {
            bail!(
                "{} requests of {ip} are in {}, not {}",
                logged.len(),
                logs.iter().map(|(log, _)| log.display().to_string()).collect::<Vec<_>>().join(" and "),
                history.samples.len()
            );
        }
        for (sample, (_, server)) in history.samples.iter_mut().zip(logged) {
            if sample.got.is_ok() {
                sample.got = Ok(server);
            }
        }
    }
    Ok(())
}

/// The connections that an engine has had requests over, by the number of the client and the port at its end.
pub fn connections(log: &Log, clients: usize) -> Result<BTreeSet<(usize, u16)>> {
    let numbers: BTreeMap<String, usize> = (0..clients).map(|n| (numbered_name(n), n)).collect();
    let of = |line: &Value| {
        let client = *numbers.get(line["user_agent"].as_str()?)?;
        Some((client, u16::try_from(line["client_src_port"].as_u64()?).ok()?))
    };
    Ok(lines(log)?.iter().filter_map(of).collect())
}

/// The lines of this run.
fn lines((log, skip): &Log) -> Result<Vec<Value>> {
    let mut text = String::new();
    let mut file = open(log)?;
    file.seek(SeekFrom::Start(*skip)).and_then(|_| file.read_to_string(&mut text))?;
    Ok(text.lines().filter_map(|l| serde_json::from_str(l).ok()).collect())
}

fn open(log: &Path) -> Result<File> {
    File::open(log).with_context(|| log.display().to_string())
}

/// Time and server of each request of these clients, in order.
fn servers_of(logs: &[Log], from: &[Ipv4Addr]) -> Result<BTreeMap<Ipv4Addr, Vec<(String, String)>>> {
    let mut found: BTreeMap<Ipv4Addr, Vec<(String, String)>> =
        from.iter().map(|ip| (*ip, Vec::new())).collect();
    for log in logs {
        for line in lines(log)? {
            let client = line["client_ip"].as_str().and_then(|ip| ip.parse().ok());
            let Some(requests) = client.and_then(|ip: Ipv4Addr| found.get_mut(&ip)) else { continue };
            let server = match (&line["server_ip"], &line["server_dest_port"]) {
                (Value::String(ip), Value::Number(port)) => format!("{ip}:{port}"),
                _ => "nobody".to_owned(),
            };
            requests.push((line["report_timestamp"].as_str().unwrap_or_default().to_owned(), server));
        }
    }
    for requests in found.values_mut() {
        requests.sort();
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::up::client::Used;
    use crate::up::config::Stick;
    use crate::up::verdict::{Failed, Sample};

    fn log(name: &str, earlier: &str, lines: &[String]) -> Log {
        let log = std::env::temp_dir().join(format!("forebay-log-{name}-{}", std::process::id()));
        std::fs::write(&log, format!("{earlier}{}\n{{}}\n", lines.join("\n"))).unwrap();
        (log, earlier.len() as u64)
    }

    #[test]
    fn servers_are_taken_from_the_logs_in_order_of_time() {
        let line = |time: &str, port: u16| {
            format!(
                r#"{{"client_ip":"127.1.0.1","report_timestamp":"{time}","server_ip":"10.0.0.1","server_dest_port":{port}}}"#
            )
        };
        let earlier = format!("{}\n", line("T0", 9));
        let logs =
            [log("one", &earlier, &[line("T3", 3), line("T1", 1)]), log("two", &earlier, &[line("T2", 2)])];
        let sample = |got| Sample {
            sent: Duration::ZERO,
            took: Duration::ZERO,
            got,
            used: Used::default(),
            connected: Duration::ZERO,
        };
        let ip = Ipv4Addr::new(127, 1, 0, 1);
        let reset = Failed { why: "reset".into(), broke_off: true };
        let samples = vec![sample(Ok("?".into())), sample(Err(reset.clone())), sample(Ok("?".into()))];
        let mut histories = [History { stick: Stick::Cookie, known: true, samples }];
        name_servers(&logs, &[ip], &mut histories).unwrap();
        let got: Vec<_> = histories[0].samples.iter().map(|s| s.got.clone()).collect();
        assert_eq!(got, [Ok("10.0.0.1:1".into()), Err(reset), Ok("10.0.0.1:3".into())]);
        logs.iter().for_each(|(log, _)| std::fs::remove_file(log).unwrap());
    }

    #[test]
    fn connections_are_known_by_client_and_port() {
        let line = |agent: &str, port: u16| format!(r#"{{"user_agent":"{agent}","client_src_port":{port}}}"#);
        let earlier = format!("{}\n", line("forebay-up/1", 9));
        let log = log(
            "connections",
            &earlier,
            &[line("forebay-up/1", 40_000), line("forebay-up/3", 40_001), line("curl/8", 40_002)],
        );
        assert_eq!(connections(&log, 3).unwrap(), BTreeSet::from([(1, 40_000)]));
        std::fs::remove_file(log.0).unwrap();
    }
}
