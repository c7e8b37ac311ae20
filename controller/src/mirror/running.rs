//! One mirror that runs.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand;
use forebay_core::table::{EngineSlot, GroupMillis, Hasher};
use forebay_model::reader_name;
use forebay_objsync::{Bounds, Engine as Sync, Settings as SyncSettings};
use forebay_objsync_tokio::{Command, Driver, Handle, Identity, Member, Secrets, Settings, Status, View};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing::Instrument;

use super::SLOT;
use super::host::{Had, Here, Holds};
use crate::api::App;
use crate::aside::Aside;
use crate::engines::{group_name, secret};
use crate::hex::sha256_of;
use crate::store::Store;

/// A mirror shows another certificate after so long.
const RENEW: Duration = Duration::from_secs(86_400);
/// Milliseconds from one comparison with an engine to the next.
const COMPARE_MS: u64 = 10_000;
/// How long reading all that a mirror has may take: half a million entries take a second, and others may go first.
const READ: Duration = Duration::from_secs(30);

/// How long it is waited for a mirror that is told of its members.
const ANSWER: Duration = Duration::from_secs(2);

/// A mirror that runs.
pub struct Mirror {
    handle: Handle<Here>,
    task: JoinHandle<()>,
    members: Vec<Member>,
    percent: u8,
    pub holds: Arc<Mutex<Holds>>,
    identified: Instant,
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Who the mirror is: a certificate of the engines' authority by a name that no engine has.
//= SYNC-MIRROR-01
fn identity<S: Store>(app: &App<S>, group: &str) -> Result<Identity, String> {
    let name = reader_name(&group_name(group), SLOT);
    let files = app.authority.issue_reader(&name)?;
    Identity::read(&name, files.authority.as_bytes(), files.certificate.as_bytes(), files.key.as_bytes())
        .map_err(|unfit| unfit.to_string())
}

fn settings(group: &str, members: &[Member], identity: Identity, me: EngineSlot, percent: u8) -> Settings {
    Settings {
        me,
        reads: true,
        tables_of_its_own: true,
        group: group_name(group),
        // It listens nowhere.
        listen: SocketAddr::from(([0, 0, 0, 0], 0)),
        members: members.to_vec(),
        identity: Arc::new(identity),
        cpu_percent: percent,
        compare_ms: COMPARE_MS,
    }
}

impl Mirror {
    /// One of this group, with what another one had.
    ///
    /// # Errors
    /// As a text: the group's secret cannot be had, or the system gives no random numbers.
    pub async fn begin<S: Store>(
        app: &App<S>,
        aside: &Aside,
        group: &str,
        members: &[Member],
        had: Option<Had>,
    ) -> Result<Self, String> {
        let secret =
            secret(&app.store, app.objects.seal(), group).await.map_err(|refusal| refusal.to_string())?;
        let secrets = Secrets::of(secret.as_bytes(), &group_name(group), sha256_of);
        let me = EngineSlot::new(SLOT).ok_or("there is no such place")?;
        let settings = settings(group, members, identity(app, group)?, me, 1);
        let mut boot = [0; 8];
        rand::fill(&mut boot).map_err(|_| "the system gives no random numbers")?;
        let (here, holds) = Here::new(secrets.table, me, aside.budget(), had)?;
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let engine = Sync::new(
            SyncSettings {
                me,
                boot: u64::from_le_bytes(boot),
                group: secrets.proof,
                sums: Hasher::new(secrets.sums),
                members: settings.mask(),
                readers: settings.readers(),
                wall: GroupMillis(u64::try_from(wall).unwrap_or(u64::MAX)),
                floor: GroupMillis(0),
                bounds: Bounds::default(),
            },
            here.clock(),
        );
        let (driver, handle) = Driver::new(settings, engine, here).map_err(|error| error.to_string())?;
        let span = tracing::info_span!("mirror", group);
        let task = aside.spawn(driver.run().instrument(span));
        let members = members.to_vec();
        Ok(Mirror { handle, task, members, percent: 1, holds, identified: Instant::now() })
    }

    /// What it holds.
    pub fn holds(&self) -> Holds {
        *self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of its engines.
    pub fn view(&self) -> View {
        self.handle.view.clone()
    }

    /// It has ended by itself.
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// All that it has, for another one that takes its place; `None`: it cannot be had.
    //= SYNC-MIRROR-06
    pub async fn had(&self) -> Option<Had> {
        let (answer, answered) = oneshot::channel();
        let work = move |_: &mut Sync, here: &mut Here, _| {
            // Who asked may have gone.
            let _ = answer.send(here.had());
            Vec::new()
        };
        self.handle.commands.send(Command::Work(Box::new(work))).await.ok()?;
        let had = tokio::time::timeout(READ, answered).await.ok()?.ok()?;
        had.inspect_err(|why| tracing::warn!(why, "what a mirror has cannot be kept")).ok()
    }

    /// These are its members now, and comparing may take so much of a processor.
    pub async fn follow<S: Store>(&mut self, app: &App<S>, group: &str, members: Vec<Member>, percent: u8) {
        let is_old = self.identified.elapsed() >= RENEW;
        if (self.members != members || self.percent != percent || is_old)
            && let (Ok(identity), Some(me)) = (identity(app, group), EngineSlot::new(SLOT))
        {
            let (answer, answered) = oneshot::channel();
            let settings = Box::new(settings(group, &members, identity, me, percent));
            let told = self.handle.commands.try_send(Command::Settings(settings, answer));
            let answered = async { tokio::time::timeout(ANSWER, answered).await.is_ok_and(|it| it.is_ok()) };
            // Where it has not, it is told anew with the next look.
            if told.is_ok() && answered.await {
                (self.members, self.percent, self.identified) = (members, percent, Instant::now());
            }
        }
        let up = connected(&self.handle.view.status());
        let work = move |_: &mut Sync, here: &mut Here, _| {
            here.present(up);
            Vec::new()
        };
        // Where it has ended it is begun anew with the next look; where it has much to do it is told with the next one.
        let _ = self.handle.commands.try_send(Command::Work(Box::new(work)));
    }
}

/// The engines that it hears, one bit a slot.
fn connected(status: &Status) -> u64 {
    let up = status.peers.iter().filter(|peer| peer.figures.is_some_and(|figures| figures.connected));
    up.fold(0, |bits, peer| bits | 1 << peer.slot.get())
}
