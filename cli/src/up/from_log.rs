//! Which server answered, told by the access log: servers that are not ours do not say it themselves.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::verdict::History;

/// How long the log may lag behind.
const LAG_MAX: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Fills in the servers of all answered requests, from what stands behind the first `skip` bytes of
/// the log: the rest is of earlier runs. Each client must have an address of its own.
pub fn name_servers(log: &Path, skip: u64, from: &[Ipv4Addr], histories: &mut [History]) -> Result<()> {
    let wanted: usize = histories.iter().map(|h| h.samples.len()).sum();
    let give_up = Instant::now() + LAG_MAX;
    let mut servers = read(log, skip, from)?;
    while servers.values().map(Vec::len).sum::<usize>() < wanted && Instant::now() < give_up {
        std::thread::sleep(LOOK_EVERY);
        servers = read(log, skip, from)?;
    }
    for (ip, history) in from.iter().zip(histories) {
        let logged = servers.remove(ip).unwrap_or_default();
        if logged.len() != history.samples.len() {
            bail!(
                "{} requests of {ip} are in {}, not {}",
                logged.len(),
                log.display(),
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

/// Time and server of each request of these clients, in order.
fn read(log: &Path, skip: u64, from: &[Ipv4Addr]) -> Result<BTreeMap<Ipv4Addr, Vec<(String, String)>>> {
    let mut text = String::new();
    let mut file = File::open(log).with_context(|| log.display().to_string())?;
    file.seek(SeekFrom::Start(skip)).and_then(|_| file.read_to_string(&mut text))?;
    let mut found: BTreeMap<Ipv4Addr, Vec<(String, String)>> =
        from.iter().map(|ip| (*ip, Vec::new())).collect();
    for line in text.lines().filter_map(|l| serde_json::from_str::<Value>(l).ok()) {
        let client = line["client_ip"].as_str().and_then(|ip| ip.parse().ok());
        let Some(requests) = client.and_then(|ip: Ipv4Addr| found.get_mut(&ip)) else { continue };
        let server = match (&line["server_ip"], &line["server_dest_port"]) {
            (Value::String(ip), Value::Number(port)) => format!("{ip}:{port}"),
            _ => "nobody".to_owned(),
        };
        requests.push((line["report_timestamp"].as_str().unwrap_or_default().to_owned(), server));
    }
    for requests in found.values_mut() {
        requests.sort();
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::up::config::Stick;
    use crate::up::verdict::Sample;

    #[test]
    fn servers_are_taken_from_the_log_in_order_of_time() {
        let log = std::env::temp_dir().join(format!("forebay-log-{}", std::process::id()));
        let line = |time: &str, port: u16| {
            format!(
                r#"{{"client_ip":"127.1.0.1","report_timestamp":"{time}","server_ip":"10.0.0.1","server_dest_port":{port}}}"#
            )
        };
        let earlier = format!("{}\n", line("T0", 9));
        std::fs::write(&log, format!("{earlier}{}\n{}\n{{}}\n", line("T2", 2), line("T1", 1))).unwrap();
        let sample = |got| Sample { sent: Duration::ZERO, took: Duration::ZERO, got };
        let ip = Ipv4Addr::new(127, 1, 0, 1);
        let samples = vec![sample(Ok("?".into())), sample(Err("reset".into()))];
        let mut histories = [History { stick: Stick::Cookie, known: true, samples }];
        name_servers(&log, earlier.len() as u64, &[ip], &mut histories).unwrap();
        let got: Vec<_> = histories[0].samples.iter().map(|s| s.got.clone()).collect();
        assert_eq!(got, [Ok("10.0.0.1:1".into()), Err("reset".into())]);
        std::fs::remove_file(&log).unwrap();
    }
}
