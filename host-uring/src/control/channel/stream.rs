//! The stream on which the engine hangs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay_wire::limits::PATIENCE;
use forebay_wire::proto::{
    Applied, FromEngine, Hello, Logs, Part, Report, ToEngine, Welcome, from_engine, to_engine,
};
use forebay_wire::{Collector, Sections, Whole, change, digest};
use tokio::sync::mpsc;
use tonic::Streaming;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;

use super::completing::Completing;
use super::document::{Own, made, own};
use super::link::{Link, Trouble};
use super::metering::Metering;
use super::reporting::Reporting;
use super::{Kept, Settings, answering, beside, enroll, machine};
use crate::control::admin::Hall;
use crate::log::Telling;

/// Messages that wait to be sent.
const WAITING_MAX: usize = 64;
/// How often the engine looks whether there is something to report.
const LOOK: Duration = Duration::from_secs(1);

/// A stream that stands.
struct Stream {
    link: Link,
    send: mpsc::Sender<FromEngine>,
    came: Streaming<ToEngine>,
    welcome: Welcome,
}

async fn open(settings: &Settings, kept: &Kept) -> Result<Stream, Trouble> {
    let mut link = Link::call(settings, Some(settings.folder.own())).await?;
    if enroll::renew(settings, &mut link).await? {
        link = Link::call(settings, Some(settings.folder.own())).await?;
    }
    let hello = Hello {
        protocol_min: settings.protocol.0,
        protocol_max: settings.protocol.1,
        features: Vec::new(),
        software: env!("CARGO_PKG_VERSION").to_owned(),
        version: kept.version,
        digest: kept.digest().to_vec(),
        machine: Some(machine::look()),
        sync_address: settings.sync_address.map(machine::bytes).unwrap_or_default(),
        sync_port: settings.sync_port.unwrap_or(0).into(),
        shares_addresses: settings.shares_addresses,
        takes_mirror: true,
        redis_address: settings.local.redis_address().unwrap_or_default(),
    };
    let (send, sent) = mpsc::channel(WAITING_MAX);
    // The queue is new and empty.
    let _ = send.try_send(said(from_engine::Said::Hello(hello)));
    let silent = || Trouble::Lost("the Controller does not answer".to_owned());
    let attached = tokio::time::timeout(PATIENCE, link.client.attach(ReceiverStream::new(sent))).await;
    let mut came = attached.map_err(|_| silent())??.into_inner();
    let first = tokio::time::timeout(PATIENCE, came.message()).await.map_err(|_| silent())??;
    let Some(to_engine::Said::Welcome(welcome)) = first.and_then(|first| first.said) else {
        return Err(Trouble::Lost("the Controller began without a Welcome".to_owned()));
    };
    if let Err(error) = settings.folder.keep_controllers(&link.at, &welcome.controllers) {
        tracing::warn!(event = "CONTROLLERS_NOT_KEPT", %error, "where Controllers are is not kept for the next start");
    }
    Ok(Stream { link, send, came, welcome })
}

fn said(said: from_engine::Said) -> FromEngine {
    FromEngine { said: Some(said) }
}

/// Waits for the first configuration by which the engine can start: one that it cannot is refused as any other is. `unfit`:
/// what it has kept, by which nothing can start.
//= CHAN-START-01
//= CHAN-START-03
pub async fn first(settings: &Settings, unfit: &Kept, judge: super::Judge<'_>) -> Result<Kept, Trouble> {
    let mut stream = open(settings, &Kept::default()).await?;
    let heartbeat = Duration::from_millis(stream.welcome.heartbeat_ms.clamp(100, 60_000).into());
    let mut beats = tokio::time::interval(heartbeat);
    let mut collector = Collector::default();
    let mut told = super::problems(unfit, settings, judge);
    loop {
        let message = tokio::select! {
            message = stream.came.message() => message?,
            _ = beats.tick() => {
                tell(&stream.send, from_engine::Said::Report(Report::default())).await?;
                continue;
            }
        };
        let Some(message) = message else { break };
        let Some(to_engine::Said::Part(part)) = message.said else { continue };
        let Some(whole) = taken(&mut collector, part)? else { continue };
        let version = whole.version;
        let kept = fits(&Kept::default(), whole);
        let Ok(kept) = kept else {
            let answer = Applied { version, needs_all: true, ..Applied::default() };
            tell(&stream.send, from_engine::Said::Applied(answer)).await?;
            continue;
        };
        let problems = super::problems(&kept, settings, judge);
        if !problems.is_empty() {
            if problems != told {
                super::unfit(&problems);
                told.clone_from(&problems);
            }
            let answer = Applied { version, problems, ..Applied::default() };
            tell(&stream.send, from_engine::Said::Applied(answer)).await?;
            continue;
        }
        settings.folder.keep(&kept).map_err(|error| Trouble::Lost(format!("it cannot be kept: {error}")))?;
        return Ok(kept);
    }
    Err(Trouble::Lost("the Controller has ended the connection".to_owned()))
}

fn taken(collector: &mut Collector, part: Part) -> Result<Option<Whole>, Trouble> {
    collector.take(part).map_err(|misfit| Trouble::Lost(misfit.to_string()))
}

/// What is left when a change does not build on what is there.
struct NeedsAll;

/// The configuration after what came; its sum says whether it is what was meant.
//= CHAN-CONFIG-02
fn fits(kept: &Kept, whole: Whole) -> Result<Kept, NeedsAll> {
    let none = Sections::new();
    let from = match whole.from {
        0 => &none,
        from if from == kept.version => &kept.sections,
        _ => return Err(NeedsAll),
    };
    let sections = change(from, whole.change);
    match digest(&sections)[..] == whole.digest[..] {
        true => Ok(Kept { version: whole.version, sections }),
        false => Err(NeedsAll),
    }
}

/// Hangs on the Controller until that ends, and gives why.
pub async fn hang(
    settings: &Settings,
    hall: &Arc<Hall>,
    metering: &Metering,
    completing: &mut Completing,
) -> Trouble {
    let done = talk(settings, hall, metering, completing).await;
    metering.begin();
    if let Some(telling) = &hall.state.telling {
        telling.pause();
    }
    match done {
        Ok(()) => Trouble::Lost("the Controller has ended the connection".to_owned()),
        Err(trouble) => trouble,
    }
}

async fn talk(
    settings: &Settings,
    hall: &Arc<Hall>,
    metering: &Metering,
    completing: &mut Completing,
) -> Result<(), Trouble> {
    let kept = settings.folder.kept().map_err(|error| Trouble::Lost(format!("{error:#}")))?;
    let mut here =
        Here { settings, hall, kept: kept.unwrap_or_default(), runs: own(&settings.folder.document()) };
    let mut stream = open(settings, &here.kept).await?;
    tracing::info!(
        event = "CONTROLLER_REACHED",
        controller = stream.link.at,
        version = here.kept.version,
        "the engine hangs on its Controller"
    );
    let heartbeat = Duration::from_millis(stream.welcome.heartbeat_ms.clamp(100, 60_000).into());
    let mut reporting = Reporting::new(heartbeat);
    let mut looks = tokio::time::interval(LOOK.min(heartbeat));
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut collector = Collector::default();
    let telling = hall.state.telling.as_deref().filter(|_| stream.welcome.takes_logs);
    if let Some(telling) = telling {
        telling.begin();
    }
    let mut cut = metering.follow();
    // They end with the stream.
    let _link = &stream.link;
    let _ways = beside::open(&stream.link.client, &hall.state);
    loop {
        tokio::select! {
            message = stream.came.message() => match message?.map(|message| message.said) {
                None => return Ok(()),
                Some(Some(to_engine::Said::Part(part))) => {
                    if let Some(whole) = taken(&mut collector, part)? {
                        let applied = here.apply(whole).await;
                        completing.look(&hall.state);
                        // What it has now is told before it counts.
                        for report in reporting.due(&hall.state, completing.is_complete()) {
                            tell(&stream.send, from_engine::Said::Report(report)).await?;
                        }
                        tell(&stream.send, from_engine::Said::Applied(applied)).await?;
                    }
                }
                Some(Some(to_engine::Said::Question(question))) => {
                    answering::answer(Arc::clone(hall), question, stream.send.clone());
                }
                Some(Some(to_engine::Said::LogsTaken(taken))) => {
                    if let Some(telling) = telling {
                        telling.answered(taken.number, !taken.again, Instant::now());
                    }
                }
                Some(Some(to_engine::Said::Welcome(_))) => {
                    return Err(Trouble::Lost("the Controller said Welcome twice".to_owned()));
                }
                Some(Some(to_engine::Said::Sampling(sampling))) => {
                    metering.heard(&sampling);
                    sample(metering, &stream.send).await?;
                }
                // A newer Controller says something that this version does not know.
                Some(None) => {}
            },
            logs = next(telling) => tell(&stream.send, from_engine::Said::Logs(logs)).await?,
            Ok(()) = cut.changed() => sample(metering, &stream.send).await?,
            _ = looks.tick() => {
                for report in reporting.due(&hall.state, completing.is_complete()) {
                    tell(&stream.send, from_engine::Said::Report(report)).await?;
                }
            }
        }
    }
}

/// Sends what was counted, as far as the Controller takes more.
async fn sample(metering: &Metering, send: &mpsc::Sender<FromEngine>) -> Result<(), Trouble> {
    while let Some(sample) = metering.next() {
        tell(send, from_engine::Said::Sample(sample)).await?;
    }
    Ok(())
}

/// Records for a Controller that takes them.
async fn next(telling: Option<&Telling>) -> Logs {
    match telling {
        Some(telling) => telling.next().await,
        None => std::future::pending().await,
    }
}

async fn tell(send: &mpsc::Sender<FromEngine>, what: from_engine::Said) -> Result<(), Trouble> {
    send.send(said(what))
        .await
        .map_err(|_| Trouble::Lost("the connection with the Controller ended".to_owned()))
}

/// What the engine works by.
struct Here<'s> {
    settings: &'s Settings,
    hall: &'s Arc<Hall>,
    kept: Kept,
    runs: Own,
}

impl Here<'_> {
    /// Works by what came, or says why it cannot; then nothing has changed.
    //= CHAN-CONFIG-03
    async fn apply(&mut self, whole: Whole) -> Applied {
        let version = whole.version;
        let Ok(kept) = fits(&self.kept, whole) else {
            return Applied { version, needs_all: true, ..Applied::default() };
        };
        match self.load(&kept).await {
            Ok(pending) => {
                self.kept = kept;
                Applied { version, applied: true, pending, ..Applied::default() }
            }
            Err(problems) => Applied { version, problems, ..Applied::default() },
        }
    }

    async fn load(&mut self, kept: &Kept) -> Result<Vec<String>, Vec<String>> {
        let folder = &self.settings.folder;
        let (document, runs) =
            made(&kept.sections, &self.settings.local, Some(&self.runs)).map_err(|why| vec![why])?;
        let tried = folder.tried();
        let unwritten = |error: std::io::Error| vec![format!("{}: {error}", tried.display())];
        folder.write(&tried, document.text.as_bytes()).map_err(unwritten)?;
        if let Err(refused) = self.hall.reloader.load_from(&tried, "the Controller").await {
            let problems = self.hall.state.reloads.problems();
            return Err(if problems.is_empty() { vec![refused.reason] } else { problems });
        }
        self.runs = runs;
        // Works by it from here on. That it is also kept, for a start without a Controller, is told apart.
        let put = std::fs::rename(&tried, folder.document()).and_then(|()| folder.keep(kept));
        let mut pending = document.pending;
        if let Err(error) = put {
            tracing::error!(event = "CONFIG_NOT_KEPT", %error, "the configuration is loaded, and a new start would begin with the one before");
            pending.push(format!("it could not be kept on the disk: {error}"));
        }
        Ok(pending)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forebay_wire::{between, parts};

    //= test CHAN-CONFIG-02
    #[test]
    fn a_change_that_builds_on_something_else_is_not_taken() {
        let sections = |text: &str| Sections::from([("pool/p".to_owned(), text.to_owned())]);
        let has = Kept { version: 4, sections: sections("a") };
        let to = sections("b");
        let whole = |from: u64, by: &Sections, sum: [u8; 32]| {
            let mut parts = parts(&between(by, &to), 5, from, sum);
            Collector::default().take(parts.remove(0)).expect("it fits").expect("it is short")
        };
        let sum = digest(&to);
        let taken = fits(&has, whole(4, &has.sections, sum)).ok().expect("it fits");
        assert_eq!(taken, Kept { version: 5, sections: to.clone() });
        assert!(fits(&has, whole(3, &has.sections, sum)).is_err(), "it builds on another one");
        assert!(fits(&has, whole(4, &has.sections, [0; 32])).is_err(), "it leads elsewhere");
        assert!(fits(&has, whole(0, &Sections::new(), sum)).is_ok(), "all of it is here");
        assert!(
            fits(&Kept::default(), whole(4, &has.sections, sum)).is_err(),
            "there is nothing to build on"
        );
    }
}
