//! `micro logs`: a day of request logs in the Controller's store, how fast they come in and how long searches take, alone and
//! while 20,000 a second come in.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use forebay_logs::{Filter, Found, Micros, Op, Refused, Search, Settings, Store};

use crate::figure::{Report, median};
use crate::random::{below, mix};

const DAY: Micros = 24 * 3_600_000_000;

/// Records that come in a second while searches are timed.
const LIVE_RATE: u64 = 20_000;

/// For so long they come into a full store.
const FULL_LIVE: Duration = Duration::from_secs(10);

/// What the records are like: 100 services of which few have most, 60,000 clients, 1,000 paths with ids behind them.
fn line(at: Micros, nth: u64, out: &mut String) {
    use std::fmt::Write as _;
    let random = mix(nth);
    let pick = |salt: u64, n: u64| below(mix(random ^ salt), n);
    // The square of an even choice: the first services have most.
    let service = pick(1, 100) * pick(2, 100) / 100;
    let code = [200, 200, 200, 200, 200, 200, 200, 200, 304, 404, 200, 200, 200, 500, 200, 302]
        [pick(3, 16) as usize];
    let client = pick(4, 60_000);
    let seconds = at / 1_000_000;
    let stamp = clock(seconds, at % 1_000_000);
    let _ = writeln!(
        out,
        r#"{{"report_timestamp":"{stamp}","service_engine":"se-{}","vcpu_id":{},"request_id":{nth},"virtualservice":"vs-{service}","client_ip":"10.{}.{}.{}","client_src_port":{},"client_dest_ip":"192.0.2.{service}","client_dest_port":443,"method":"GET","host":"shop-{service}.example.com","uri_path":"/app/page-{}/item/{}","uri_query":"session={:x}&lang=en","user_agent":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/{}.0 Safari/537.36","http_version":"HTTP/2","ssl_version":"TLSv1.3","ssl_cipher":"TLS_AES_128_GCM_SHA256","sni_hostname":"shop-{service}.example.com","request_length":{},"response_code":{code},"response_length":{},"pool_name":"pool-{service}","server_ip":"10.200.{}.{}","server_dest_port":8080,"server_response_code":{code},"server_connection_reused":true,"server_conn_src_ip":"10.200.0.1","server_src_port":{},"servers_tried":1,"persistence_used":true,"client_rtt":{}.125,"server_rtt":0.211,"app_response_time":{}.5,"data_transfer_time":0.75,"queue_time":0.0,"response_time_first_byte":1.5,"total_time":{}.586,"request_state":"complete","significant":{},"reason":{{"kind":"persistence","table":"cookie"}}}}"#,
        pick(5, 8),
        pick(6, 8),
        client >> 16,
        (client >> 8) & 255,
        client & 255,
        1024 + pick(7, 60_000),
        pick(8, 1_000),
        pick(9, 1_000_000),
        random,
        90 + pick(10, 30),
        300 + pick(11, 900),
        200 + pick(12, 60_000),
        service,
        1 + pick(13, 20),
        1024 + pick(14, 60_000),
        pick(15, 80),
        pick(16, 200),
        pick(16, 200) + pick(15, 80),
        code >= 400,
    );
}

/// RFC 3339 of a moment of the day's seconds; the date by the system.
fn clock(seconds: i64, us: i64) -> String {
    use std::cell::RefCell;
    thread_local!(static DATE: RefCell<(i64, String)> = const { RefCell::new((i64::MIN, String::new())) });
    let (day, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    DATE.with_borrow_mut(|(held, text)| {
        if *held != day {
            let out = std::process::Command::new("date")
                .args(["-u", "+%F", &format!("--date=@{seconds}")])
                .output();
            (*held, *text) =
                (day, out.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned()).unwrap_or_default());
        }
        format!("{text}T{:02}:{:02}:{:02}.{us:06}Z", second / 3_600, second / 60 % 60, second % 60)
    })
}

fn now() -> Micros {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as Micros)
}

fn search(filters: &[(&str, Op, &str)], from: Micros, within: Duration) -> Search {
    let filters = filters.iter().map(|(field, op, value)| Filter {
        field: (*field).into(),
        op: *op,
        values: vec![(*value).into()],
    });
    Search { kind: None, filters: filters.collect(), from, to: now() + 1, before: None, limit: 100, within }
}

/// Offers lines until they are taken: what is timed is the store.
fn offer(store: &Store, lines: &str) -> anyhow::Result<()> {
    loop {
        match store.offer(lines.as_bytes().to_vec()) {
            Ok(()) => return Ok(()),
            // Sleep: the writer is behind, which is what is measured.
            Err(Refused::Busy) => std::thread::sleep(Duration::from_millis(1)),
            Err(Refused::TooLong) => bail!("a batch is too long"),
        }
    }
}

/// Runs the scene in a folder that is made for it and removed.
///
/// # Errors
///
/// Fails if the folder cannot be used, or a search fails.
pub fn run(records: u64, folder: &Path) -> anyhow::Result<()> {
    let folder = folder.join(format!("forebay-logs-{}", std::process::id()));
    let done = measure(records, &folder);
    std::fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    done
}

fn measure(records: u64, folder: &Path) -> anyhow::Result<()> {
    let report = Report::new("logs");
    let store = Store::open(folder, Settings { hours_max: 30, bytes_max: 1 << 40 })?;
    let (begin, step) = (now() - DAY, (DAY / records as Micros).max(1));
    let (mut lines, mut made, began) = (String::new(), Duration::ZERO, Instant::now());
    for first in (0..records).step_by(500) {
        let making = Instant::now();
        lines.clear();
        (first..(first + 500).min(records))
            .for_each(|nth| line(begin + nth as Micros * step, nth, &mut lines));
        made += making.elapsed();
        offer(&store, &lines)?;
    }
    store.flush();
    let took = began.elapsed().saturating_sub(made);
    let counts = store.counts();
    let bytes: u64 =
        std::fs::read_dir(folder)?.filter_map(|e| e.ok()?.metadata().ok()).map(|about| about.len()).sum();
    report.put("records", counts.written as f64, "records");
    report.put("taken_a_second", counts.written as f64 / took.as_secs_f64(), "records/s");
    report.put("bytes_a_record", bytes as f64 / counts.written.max(1) as f64, "bytes");
    searches(&report, "alone", &store)?;
    let is_over = std::sync::atomic::AtomicBool::new(false);
    let lost_before = store.counts();
    let rate = std::thread::scope(|scope| {
        let live = scope.spawn(|| {
            let (began, mut sent, mut lines) = (Instant::now(), 0, String::new());
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                let due = (began.elapsed().as_secs_f64() * LIVE_RATE as f64) as u64;
                lines.clear();
                (sent..due.min(sent + 500)).for_each(|nth| line(now(), records + nth, &mut lines));
                let _ = store.offer(lines.as_bytes().to_vec());
                sent = due.min(sent + 500);
                if sent == due {
                    // Sleep: records come in as a rate, in pieces.
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
            sent as f64 / began.elapsed().as_secs_f64()
        });
        let done = searches(&report, "live", &store);
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        done.map(|()| live.join().unwrap_or(f64::NAN))
    })?;
    let lost = store.counts();
    report.put("live_rate", rate, "records/s");
    report.put("live_lost", (lost.lost_busy - lost_before.lost_busy) as f64, "records");
    drop(store);
    full(&report, records, folder, bytes / 2)?;
    let eldest = Instant::now();
    let store = Store::open(folder, Settings { hours_max: 1, bytes_max: 1 << 40 })?;
    store.flush();
    report.put("drop_23_hours", eldest.elapsed().as_secs_f64() * 1e3, "ms");
    Ok(())
}

/// The same in half of the room: as many go as come, of whom there are the most. First as fast as it can be, then at a rate.
fn full(report: &Report, records: u64, folder: &Path, bytes_max: u64) -> anyhow::Result<()> {
    let began = Instant::now();
    let store = Store::open(folder, Settings { hours_max: 30, bytes_max })?;
    store.flush();
    report.put("full_open", began.elapsed().as_secs_f64() * 1e3, "ms");
    let (mut lines, mut made, mut longest) = (String::new(), Duration::ZERO, Duration::ZERO);
    let began = Instant::now();
    for first in (0..records / 2).step_by(500) {
        let making = Instant::now();
        lines.clear();
        (first..first + 500).for_each(|nth| line(now(), records * 2 + nth, &mut lines));
        made += making.elapsed();
        offer(&store, &lines)?;
    }
    store.flush();
    let took = began.elapsed().saturating_sub(made);
    let counts = store.counts();
    report.put("full_taken_a_second", counts.written as f64 / took.as_secs_f64(), "records/s");
    report.put("full_gone", counts.trimmed as f64, "records");
    let (began, mut sent) = (Instant::now(), 0);
    while began.elapsed() < FULL_LIVE {
        let due = (began.elapsed().as_secs_f64() * LIVE_RATE as f64) as u64;
        lines.clear();
        (sent..due.min(sent + 500)).for_each(|nth| line(now(), records * 3 + nth, &mut lines));
        let _ = store.offer(lines.as_bytes().to_vec());
        sent = due.min(sent + 500);
        if sent == due {
            // How long what is offered waits.
            let waits = Instant::now();
            store.flush();
            longest = longest.max(waits.elapsed());
            // Sleep: records come in as a rate, in pieces.
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    report.put("full_live_rate", sent as f64 / began.elapsed().as_secs_f64(), "records/s");
    report.put("full_live_waits_at_most", longest.as_secs_f64() * 1e3, "ms");
    let counts = store.counts();
    drop(store);
    let bytes: u64 =
        std::fs::read_dir(folder)?.filter_map(|e| e.ok()?.metadata().ok()).map(|about| about.len()).sum();
    report.put("full_lost", (counts.lost_busy + counts.lost_full) as f64, "records");
    report.put("full_of_the_room", bytes as f64 * 100.0 / bytes_max as f64, "%");
    Ok(())
}

/// A condition: field, how, and with what it is compared.
type Condition = (&'static str, Op, &'static str);

fn searches(report: &Report, when: &str, store: &Store) -> anyhow::Result<()> {
    let second = Duration::from_millis(800);
    let hour = now() - 3_600_000_000;
    let cases: [(&str, Vec<Condition>, Micros); 5] = [
        (
            "typical",
            vec![
                ("virtualservice", Op::Eq, "vs-7"),
                ("response_code", Op::Eq, "500"),
                ("client_ip", Op::Eq, "10.0.0.0/12"),
                ("uri_path", Op::Contains, "page-7"),
            ],
            0,
        ),
        ("newest_of_a_service", vec![("virtualservice", Op::Eq, "vs-40")], 0),
        ("one_client", vec![("client_ip", Op::Eq, "10.0.77.7")], 0),
        (
            "path_that_never_occurs",
            vec![("virtualservice", Op::Eq, "vs-7"), ("uri_path", Op::Contains, "nowhere")],
            0,
        ),
        ("rest_that_never_occurs", vec![("user_agent", Op::Contains, "nobody")], 0),
    ];
    for (name, filters, from) in cases {
        let (mut times, mut back) = (Vec::new(), Vec::new());
        for _ in 0..7 {
            let asked = search(&filters, from, second);
            let began = Instant::now();
            let Found { next, .. } = store.search(&asked)?;
            times.push(began.elapsed().as_secs_f64() * 1e3);
            back.push(next.map_or(24.0, |next| (now() - next.at) as f64 / 3.6e9));
        }
        let slowest = times.iter().copied().fold(0.0, f64::max);
        report.put(&format!("{when}_{name}"), median(&mut times), "ms");
        report.put(&format!("{when}_{name}_slowest"), slowest, "ms");
        report.put(&format!("{when}_{name}_back"), median(&mut back), "hours");
    }
    let began = Instant::now();
    let top = store.top(&search(&[], hour, second), "uri_path")?;
    report.put(&format!("{when}_top_paths_of_an_hour"), began.elapsed().as_secs_f64() * 1e3, "ms");
    report.put(&format!("{when}_top_paths_counted"), top.records as f64, "records");
    Ok(())
}
