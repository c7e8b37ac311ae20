//! `forebay-se top`: a running engine as it is now, on a terminal with keys, elsewhere once as text.

mod terminal;
mod view;

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use forebay_host_uring::control::admin::Request;
use terminal::Terminal;
use view::{Sample, View};

use super::args::{Ask, Output};
use super::ask::{exchange, socket};
use super::{Failure, exit};

/// Shows until somebody has seen enough; what is not a terminal gets one look of an interval's length.
//= OBS-TOP-01
//= OBS-TOP-02
pub fn run(ask: &Ask, interval_s: u64) -> Result<(), Failure> {
    if ask.output == Output::Json {
        let fix = "programs ask forebay-se status --output json and forebay-se servers --output json";
        return Err(Failure::new(exit::USAGE, "top is for people", fix));
    }
    let socket = socket(ask)?;
    let patience = Duration::from_secs(ask.timeout_s);
    let interval = Duration::from_secs(interval_s);
    let look = || look(&socket, patience);
    if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        live(look, interval)
    } else {
        once(look, interval)
    }
}

fn look(socket: &Path, patience: Duration) -> Result<Sample, Failure> {
    let status = exchange(socket, &Request::Status {}, patience)?;
    let servers = exchange(socket, &Request::Servers { pool: None }, patience)?;
    Ok(Sample { at: Instant::now(), status, servers })
}

fn once(look: impl Fn() -> Result<Sample, Failure>, interval: Duration) -> Result<(), Failure> {
    let before = look()?;
    std::thread::sleep(interval);
    let now = look()?;
    let mut out = std::io::stdout();
    match out.write_all(view::plain(&before, &now).as_bytes()) {
        // Whoever reads has read enough (`| head`).
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

fn live(look: impl Fn() -> Result<Sample, Failure>, interval: Duration) -> Result<(), Failure> {
    // An engine that is not there is said before the terminal is touched.
    let mut now = look()?;
    let mut before = None;
    let mut terminal = Terminal::take()?;
    let mut view = View::default();
    let mut trouble = None;
    let mut next = Instant::now() + interval;
    loop {
        let (height, width) = terminal.size();
        terminal.draw(&view.draw(before.as_ref(), &now, trouble.as_deref(), height, width))?;
        for key in terminal.keys(next.saturating_duration_since(Instant::now()))? {
            if view.press(key) {
                return Ok(());
            }
        }
        if terminal.is_asked_to_end() {
            return Ok(());
        }
        if Instant::now() < next {
            continue;
        }
        next = Instant::now() + interval;
        match look() {
            Ok(sample) => {
                before = Some(std::mem::replace(&mut now, sample));
                trouble = None;
            }
            // It may be starting anew: the last look stays, with the reason.
            Err(failure) => trouble = Some(failure.reason),
        }
    }
}
