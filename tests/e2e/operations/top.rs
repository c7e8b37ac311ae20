//! The live view, on a terminal and elsewhere.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use forebay_e2e::wait::{ms, secs};
use forebay_e2e::{Client, Engine, Lab, Origin, Terminal, bin, config, origin};

/// Two services, each with a pool of its own, and requests to one of them while this lives.
struct Stage {
    _lab: Lab,
    _origins: [Origin; 2],
    engine: Engine,
    stop: Arc<AtomicBool>,
    load: Option<std::thread::JoinHandle<()>>,
}

impl Stage {
    fn new() -> Self {
        let lab = Lab::new();
        let origins = ["a", "b"].map(|name| Origin::fixed(lab.address(), origin::ok(name)));
        let [busy, quiet] = lab.addresses();
        let text = config::service("busy", busy)
            + &config::service("quiet", quiet)
            + &config::pool("busy", "", &[origins[0].address])
            + &config::pool("quiet", "", &[origins[1].address]);
        let engine = lab.engine(&text);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let load = std::thread::spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                // The engine may be stopped in the middle of it.
                let _ = Client::new(busy).get_once("/");
                // Sleep: the pace of the load.
                std::thread::sleep(ms(10));
            }
        });
        Self { _lab: lab, _origins: origins, engine, stop, load: Some(load) }
    }

    fn top(&self) -> Command {
        let mut command = Command::new(bin::path("forebay-se"));
        command.arg("top").arg("--config").arg(&self.engine.config);
        command
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(load) = self.load.take() {
            let _ = load.join();
        }
    }
}

/// The cells of the row that begins with this name, selected or not.
fn row(shown: &str, name: &str) -> Option<Vec<String>> {
    let cells = |line: &str| line.trim_start_matches("> ").split_whitespace().map(str::to_owned).collect();
    shown.lines().map(cells).find(|cells: &Vec<String>| cells.first().is_some_and(|cell| cell == name))
}

//= test OBS-TOP-01
#[test]
fn top_shows_rates_and_keys_lead_to_pools_and_servers() {
    let mut stage = Stage::new();
    let server = stage._origins[0].address.to_string();
    let mut terminal = Terminal::start(stage.top(), 20, 120);
    let settings = terminal.before.clone();
    let has = |text: &'static str| move |shown: &str| shown.contains(text).then_some(());
    terminal.wait_for("a rate of the busy service and none of the other", secs(15), |shown| {
        let rate = |name| row(shown, name)?.get(2)?.parse::<f64>().ok();
        (rate("busy")? > 1.0 && rate("quiet")? == 0.0).then_some(())
    });
    terminal.wait_for("the selected row", secs(5), has("> busy"));
    terminal.press("j");
    terminal.wait_for("the next row selected", secs(5), has("> quiet"));
    terminal.press("k\r");
    terminal.wait_for("the pools of the service", secs(5), |shown| {
        (shown.contains("[pools of busy]") && row(shown, "quiet").is_none()).then_some(())
    });
    terminal.press("\r");
    terminal.wait_for("the servers of the pool", secs(10), |shown| {
        let rate = row(shown, &server)?.get(2)?.parse::<f64>().ok()?;
        (shown.contains("[servers of busy]") && rate > 1.0).then_some(())
    });
    terminal.press("\x1b");
    terminal.wait_for("the pools again", secs(5), has("[pools of busy]"));
    terminal.press("1/qui\r");
    terminal.wait_for("what fits the filter", secs(5), |shown| {
        (shown.contains("[services]  /qui") && row(shown, "busy").is_none() && row(shown, "quiet").is_some())
            .then_some(())
    });
    stage.engine.process.end(secs(10));
    terminal.wait_for("that the engine is gone", secs(10), has("no answer: "));
    terminal.press("q");
    assert!(terminal.ends(secs(5)).success());
    assert_eq!(terminal.settings(), settings, "the terminal is as it was");
}

//= test OBS-TOP-02
#[test]
fn top_prints_once_where_there_is_no_terminal() {
    let stage = Stage::new();
    let done = stage.top().output().expect("the program starts");
    assert!(done.status.success());
    let text = String::from_utf8(done.stdout).expect("text");
    assert!(!text.contains('\x1b'), "{text}");
    for name in ["SERVICE", "POOL", "SERVER"] {
        assert!(text.lines().any(|line| line.trim_start().starts_with(name)), "{name}: {text}");
    }
    let rate = row(&text, "busy").and_then(|cells| cells[2].parse::<f64>().ok());
    assert!(rate.is_some_and(|rate| rate > 1.0), "{text}");
    let json = stage.top().args(["--output", "json"]).output().expect("the program starts");
    assert_eq!(json.status.code(), Some(2));
}
