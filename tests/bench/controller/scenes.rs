//! What is measured, one after the other.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::Arguments;
use crate::api::Api;
use crate::figures::{Figures, Times, milliseconds};
use crate::fleet::Fleet;
use crate::process::Process;

/// Servers of a service.
const SERVERS: u32 = 10;
/// What is to happen happens within this, or the run ends.
const PATIENCE: Duration = Duration::from_secs(120);

/// The bars, in milliseconds and MiB: those of ten thousand services with ten servers each and of 64 engines.
mod bar {
    pub const LIST: f64 = 100.0;
    pub const CREATE: f64 = 20.0;
    pub const CHANGE: f64 = 1000.0;
    pub const START: f64 = 5000.0;
    pub const MEMORY: f64 = 1024.0;
    /// With the few objects of a demonstration.
    pub const SMALL_START: f64 = 1000.0;
    pub const SMALL_MEMORY: f64 = 200.0;
}

/// Runs all scenes.
///
/// # Errors
/// One of them does not come to its end.
pub async fn run(arguments: &Arguments) -> anyhow::Result<Figures> {
    let program = match &arguments.program {
        Some(program) => program.clone(),
        None => std::env::current_exe()?.with_file_name("forebay-controller"),
    };
    let own = std::env::temp_dir().join(format!("forebay-figures-{}", std::process::id()));
    let folder = arguments.folder.clone().unwrap_or(own);
    std::fs::create_dir_all(&folder)?;
    let mut figures = Figures::default();
    let done = async {
        small(&mut figures, &program, &folder.join("small")).await?;
        large(&mut figures, arguments, &program, &folder.join("large")).await
    };
    let done = done.await;
    if !arguments.keep && done.is_ok() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("{}", folder.display()))?;
    }
    done.with_context(|| format!("what the Controllers said is in {}", folder.display()))?;
    Ok(figures)
}

/// A Controller as a demonstration has it: two engines, one service with three servers.
async fn small(figures: &mut Figures, program: &Path, data: &Path) -> anyhow::Result<()> {
    let (mut process, first) = Process::start(program, data).await?;
    figures.put("small: first start to ready", milliseconds(first), "ms", Some(bar::SMALL_START));
    let mut api = Api::open(process.api, data).await?;
    api.log_in(&process.password()?).await?;
    let fleet = Fleet::join(&mut api, process.engines, 2).await?;
    let monitor = monitor(&mut api).await?;
    make(&mut api, 0, 3, &monitor, &mut Times::default()).await?;
    fleet.have_services(1, PATIENCE).await?;
    fleet.lost();
    let took = process.again(false).await?;
    figures.put("small: start to ready", milliseconds(took), "ms", Some(bar::SMALL_START));
    fleet.are_back(PATIENCE).await?;
    figures.put("small: memory at most", process.memory()?.1, "MiB", Some(bar::SMALL_MEMORY));
    fleet.lost();
    Ok(())
}

async fn large(
    figures: &mut Figures,
    arguments: &Arguments,
    program: &Path,
    data: &Path,
) -> anyhow::Result<()> {
    let (mut process, _) = Process::start(program, data).await?;
    let mut api = Api::open(process.api, data).await?;
    api.log_in(&process.password()?).await?;
    let engines = usize::try_from(arguments.engines)?;
    let services = usize::try_from(arguments.services)?;
    room(&mut api, arguments).await?;
    let monitor = monitor(&mut api).await?;
    let fleet = Fleet::join(&mut api, process.engines, engines).await?;
    fill(figures, &mut api, &process, arguments.services, &monitor).await?;
    let began = Instant::now();
    fleet.have_services(services, PATIENCE).await?;
    figures.put("the last service on its engine", milliseconds(began.elapsed()), "ms", None);
    let (fewest, most, bytes) = fleet.spread();
    figures.put("services of an engine, at least", precise(fewest)?, "", None);
    figures.put("services of an engine, at most", precise(most)?, "", None);
    figures.put("sent to all engines while services came", precise(bytes)? / f64::from(1 << 20), "MiB", None);

    pages(figures, &mut api, &process, arguments.services, arguments.rounds).await?;
    creations(figures, &mut api, &process, arguments, &monitor).await?;
    fleet.have_services(services + usize::try_from(arguments.rounds)?, PATIENCE).await?;
    changes(figures, &mut api, &process, &fleet, arguments, &monitor).await?;

    let (now, most) = process.memory()?;
    figures.put("memory at the end", now, "MiB", None);
    figures.put("memory at most", most, "MiB", Some(bar::MEMORY));
    for (name, is_killed) in [("start to ready", false), ("start to ready, after kill -9", true)] {
        fleet.lost();
        let took = process.again(is_killed).await?;
        figures.put(name, milliseconds(took), "ms", Some(bar::START));
        spent(figures, &process, 0.0, 1)?;
        let began = Instant::now();
        fleet.are_back(PATIENCE).await?;
        figures.put(&format!("{name}: all engines are back"), milliseconds(began.elapsed()), "ms", None);
    }
    let mut again = Api::open(process.api, data).await?;
    again.log_in(&process.password()?).await?;
    // They are compared with what they should have while they serve.
    let (took, _) = changed(&mut again, &fleet, &monitor, 9_999, engines).await?;
    figures.put("the first change after it reaches all engines", milliseconds(took), "ms", None);
    figures.put("memory at most, after a start", process.memory()?.1, "MiB", Some(bar::MEMORY));
    fleet.lost();
    Ok(())
}

/// What the Controller's process took of a processor for each: other programs of the machine do not change it.
fn spent(figures: &mut Figures, process: &Process, before: f64, rounds: u32) -> anyhow::Result<()> {
    let each = (process.on_core()? - before) / f64::from(rounds);
    figures.put("    of a processor, for each", each, "ms", None);
    Ok(())
}

fn precise(number: usize) -> anyhow::Result<f64> {
    Ok(f64::from(u32::try_from(number)?))
}

/// Engines enough for all services, of which each has its share.
async fn room(api: &mut Api, arguments: &Arguments) -> anyhow::Result<()> {
    let group = api.uuid("serviceenginegroup", "Default-Group").await?;
    // One engine's share is a buffer for another one that fails.
    let share = arguments.services.div_ceil(arguments.engines) * 5 / 4 + arguments.rounds;
    let change = json!({"replace": {
        "max_vs_per_se": share.min(1000),
        "max_se": 64,
        "algo": "PLACEMENT_ALGO_DISTRIBUTED",
    }});
    api.send("PATCH", &format!("/api/serviceenginegroup/{group}"), &change).await?;
    Ok(())
}

fn monitor_document(round: u32) -> Value {
    json!({
        "name": "figures",
        "type": "HEALTH_MONITOR_HTTP",
        "http_monitor": {"http_request": format!("GET /round-{round}- HTTP/1.0"), "http_response_code": ["HTTP_2XX"]},
    })
}

/// A monitor that all pools have.
async fn monitor(api: &mut Api) -> anyhow::Result<String> {
    let (_, made) = api.send("POST", "/api/healthmonitor", &monitor_document(0)).await?;
    Ok(made["uuid"].as_str().context("a uuid")?.to_owned())
}

fn server(service: u32, number: u32) -> Value {
    let all = service * SERVERS + number;
    let addr = format!("172.{}.{}.{}", 16 + all / 62_500, all / 250 % 250, 1 + all % 250);
    json!({"ip": {"addr": addr, "type": "V4"}, "port": 8080})
}

fn pool(service: u32, servers: u32, monitor: &str) -> Value {
    json!({
        "name": format!("pool-{service}"),
        "health_monitor_refs": [format!("/api/healthmonitor/{monitor}")],
        "servers": (0..servers).map(|number| server(service, number)).collect::<Vec<_>>(),
    })
}

/// Makes a service with an address and a pool of its own; notes how long each object took.
async fn make(
    api: &mut Api,
    service: u32,
    servers: u32,
    monitor: &str,
    times: &mut Times,
) -> anyhow::Result<()> {
    let addr = format!("10.{}.{}.{}", service / 62_500, service / 250 % 250, 1 + service % 250);
    let vip = json!({
        "name": format!("vsvip-{service}"),
        "vip": [{"vip_id": "1", "ip_address": {"addr": addr, "type": "V4"}}],
    });
    let (took, _) = api.send("POST", "/api/vsvip", &vip).await?;
    times.put(took);
    let (took, _) = api.send("POST", "/api/pool", &pool(service, servers, monitor)).await?;
    times.put(took);
    let object = json!({
        "name": format!("service-{service}"),
        "vsvip_ref": format!("/api/vsvip?name=vsvip-{service}"),
        "pool_ref": format!("/api/pool?name=pool-{service}"),
        "services": [{"port": 80}],
    });
    let (took, _) = api.send("POST", "/api/virtualservice", &object).await?;
    times.put(took);
    Ok(())
}

async fn fill(
    figures: &mut Figures,
    api: &mut Api,
    process: &Process,
    services: u32,
    monitor: &str,
) -> anyhow::Result<()> {
    let mut times = Times::default();
    let (began, cpu) = (Instant::now(), process.on_core()?);
    for service in 0..services {
        make(api, service, SERVERS, monitor, &mut times).await?;
        if service % 1000 == 999 {
            let seconds = began.elapsed().as_secs();
            eprintln!("{} services after {seconds} s, {:.0} MiB", service + 1, process.memory()?.0);
        }
    }
    figures.put("services made", f64::from(services), "", None);
    figures.put("making them took", began.elapsed().as_secs_f64(), "s", None);
    figures.put("the Controller's processor time for that", (process.on_core()? - cpu) / 1000.0, "s", None);
    figures.times("create while they are made", &times, None);
    Ok(())
}

async fn pages(
    figures: &mut Figures,
    api: &mut Api,
    process: &Process,
    services: u32,
    rounds: u32,
) -> anyhow::Result<()> {
    let last = services.div_ceil(200).max(1);
    let all = [
        ("page of 25 services", "/api/virtualservice".to_owned()),
        ("page of 200 services, names included", "/api/virtualservice?page_size=200&include_name".to_owned()),
        ("last page of services", format!("/api/virtualservice?page_size=200&page={last}")),
        ("page of 200 pools", "/api/pool?page_size=200".to_owned()),
        ("services by a part of their name", "/api/virtualservice?name.contains=77&page_size=200".to_owned()),
        ("services sorted by change", "/api/virtualservice?sort=-_last_modified&page_size=200".to_owned()),
        ("search in all services", "/api/virtualservice?search=service-77&page_size=200".to_owned()),
        ("inventory of 25 services", "/api/virtualservice-inventory".to_owned()),
        ("inventory of 200 services", "/api/virtualservice-inventory?page_size=200".to_owned()),
        ("inventory of 200 pools", "/api/pool-inventory?page_size=200".to_owned()),
    ];
    for (name, path) in all {
        let (mut times, cpu) = (Times::default(), process.on_core()?);
        let rounds = rounds.min(50);
        for _ in 0..rounds {
            let (took, said) = api.read(&path).await?;
            if said["results"].as_array().is_none_or(Vec::is_empty) {
                bail!("GET {path}: nothing is there");
            }
            times.put(took);
        }
        figures.times(name, &times, Some(bar::LIST));
        spent(figures, process, cpu, rounds)?;
    }
    Ok(())
}

async fn creations(
    figures: &mut Figures,
    api: &mut Api,
    process: &Process,
    arguments: &Arguments,
    monitor: &str,
) -> anyhow::Result<()> {
    let (mut times, cpu) = (Times::default(), process.on_core()?);
    for service in arguments.services..arguments.services + arguments.rounds {
        make(api, service, SERVERS, monitor, &mut times).await?;
    }
    figures.times("create", &times, Some(bar::CREATE));
    spent(figures, process, cpu, arguments.rounds * 3)
}

/// Changes the monitor, and gives how long it took until so many engines had it, and how long the API took.
async fn changed(
    api: &mut Api,
    fleet: &Fleet,
    monitor: &str,
    round: u32,
    engines: usize,
) -> anyhow::Result<(Duration, Duration)> {
    fleet.expect(&format!("round-{round}-"));
    let began = Instant::now();
    let path = format!("/api/healthmonitor/{monitor}");
    let (answered, _) = api.send("PUT", &path, &monitor_document(round)).await?;
    fleet.reached(engines, PATIENCE).await?;
    Ok((began.elapsed(), answered))
}

async fn changes(
    figures: &mut Figures,
    api: &mut Api,
    process: &Process,
    fleet: &Fleet,
    arguments: &Arguments,
    monitor: &str,
) -> anyhow::Result<()> {
    let engines = usize::try_from(arguments.engines)?;
    let (mut all, mut one, mut answers) = (Times::default(), Times::default(), Times::default());
    let rounds = arguments.rounds.div_ceil(10);
    let cpu = process.on_core()?;
    for round in 1..=rounds {
        let (took, answered) = changed(api, fleet, monitor, round, engines).await?;
        all.put(took);
        answers.put(answered);
    }
    figures.times("a monitor of all services reaches all engines", &all, Some(bar::CHANGE));
    spent(figures, process, cpu, rounds)?;
    figures.times("the API's answer to that", &answers, None);
    let cpu = process.on_core()?;
    for round in 1..=arguments.rounds {
        let service = round * 7 % arguments.services;
        let uuid = api.uuid("pool", &format!("pool-{service}")).await?;
        let mut object = pool(service, SERVERS, monitor);
        let addr = format!("192.168.{}.{}", round / 250, 1 + round % 250);
        object["servers"][0] = json!({"ip": {"addr": addr, "type": "V4"}, "port": 8080});
        fleet.expect(&format!("{addr}:"));
        let began = Instant::now();
        api.send("PUT", &format!("/api/pool/{uuid}"), &object).await?;
        fleet.reached(1, PATIENCE).await?;
        one.put(began.elapsed());
    }
    figures.times("a pool of one service reaches its engine", &one, Some(bar::CHANGE));
    spent(figures, process, cpu, arguments.rounds)
}
