//! One connection with the Controller.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use forebay_wire::CONTROLLER_NAME;
use forebay_wire::call::{Calls, open};
use forebay_wire::limits::HANDSHAKE;
use forebay_wire::proto::channel_client::ChannelClient;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tonic::{Code, Status};

use super::Settings;
use crate::tls::{self, ClientFiles, ClientProfile};

/// Why there is no Controller.
#[derive(Debug)]
pub enum Trouble {
    /// It may be there the next time.
    Lost(String),
    /// It will not have this engine before somebody does something.
    Refused(String),
}

impl Trouble {
    /// Somebody has to do something.
    pub fn is_final(&self) -> bool {
        matches!(self, Trouble::Refused(_))
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Lost(why) | Trouble::Refused(why) => f.write_str(why),
        }
    }
}

impl From<Status> for Trouble {
    fn from(status: Status) -> Self {
        let why = status.message().to_owned();
        match status.code() {
            Code::PermissionDenied
            | Code::FailedPrecondition
            | Code::Unauthenticated
            | Code::InvalidArgument
            | Code::Unimplemented
            | Code::ResourceExhausted => Trouble::Refused(why),
            code if why.is_empty() => Trouble::Lost(format!("the connection ended ({code:?})")),
            _ => Trouble::Lost(why),
        }
    }
}

/// One of the Controller's addresses is given so long to take a connection: the next one is tried then.
const REACH: Duration = Duration::from_secs(2);

/// How long a handshake may take. Where there are several Controllers one that stands still is soon passed over: its machine
/// takes connections for it. `slow`: so often in a row none of them was quick enough; then they are given more time.
//= CHAN-SEVERAL-01
fn handshake(controllers: usize, slow: u32) -> Duration {
    match controllers {
        0 | 1 => HANDSHAKE,
        _ => REACH.saturating_mul(1 << (slow / 4).min(4)).min(HANDSHAKE),
    }
}

/// Connects with the first address of a name that takes it.
//= CHAN-SEVERAL-01
async fn reached(at: &str) -> Result<TcpStream, String> {
    let found = tokio::time::timeout(REACH, tokio::net::lookup_host(at)).await;
    let found = found.map_err(|_| "its name is not found in time".to_owned())?;
    let mut why = "its name has no address".to_owned();
    for address in found.map_err(|error| error.to_string())? {
        match tokio::time::timeout(REACH, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => why = error.to_string(),
            Err(_) => why = format!("no connection within {} s", REACH.as_secs()),
        }
    }
    Err(why)
}

/// A connection; it ends when this is dropped.
pub struct Link {
    /// What is called over it.
    pub client: ChannelClient<Calls>,
    /// Where it leads.
    pub at: String,
    driven: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.driven.abort();
    }
}

impl Link {
    /// Calls the Controllers, one after another, until one is there. `own`: the engine's certificate and key, which it shows.
    //= CHAN-TLS-02
    pub async fn call(settings: &Settings, own: Option<(PathBuf, PathBuf)>) -> Result<Self, Trouble> {
        let files = ClientFiles { authorities: Some(settings.folder.authority()), own };
        // It waits for the disk.
        let config = tokio::task::spawn_blocking(move || ClientProfile::new(files).config()).await;
        let config = config.map_err(|panic| Trouble::Lost(panic.to_string()))?;
        let config = config.map_err(|unfit| Trouble::Refused(unfit.to_string()))?;
        let (mut told, mut is_slow) = (Vec::new(), false);
        let all = settings.controllers();
        let patience = handshake(all.len(), settings.slow.load(Ordering::Relaxed));
        for at in all {
            let stream = match reached(&at).await {
                Ok(stream) => stream,
                Err(why) => {
                    told.push(format!("{at}: {why}"));
                    continue;
                }
            };
            let made = async {
                let name = tls::server_name(CONTROLLER_NAME)?;
                let stream = tls::connect(Arc::clone(&config), name, stream).await?;
                let opened = open(TokioIo::new(stream), TokioExecutor::new(), TokioTimer::new()).await;
                opened.map_err(|error| error.to_string())
            };
            let made = tokio::time::timeout(patience, made).await;
            is_slow |= made.is_err();
            match made.unwrap_or_else(|_| Err(format!("no handshake within {} s", patience.as_secs()))) {
                Ok((client, connection)) => {
                    settings.slow.store(0, Ordering::Relaxed);
                    let driven = tokio::spawn(async move {
                        // How it ended is told by the calls that were under way.
                        let _ = connection.await;
                    });
                    return Ok(Link { client, at, driven });
                }
                Err(why) => told.push(format!("{at}: {why}")),
            }
        }
        if is_slow {
            settings.slow.fetch_add(1, Ordering::Relaxed);
        }
        Err(Trouble::Lost(told.join("; ")))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::control::channel::{Folder, Local};

    //= test CHAN-SEVERAL-01
    #[tokio::test]
    async fn a_controller_that_stands_still_is_soon_passed_over_where_there_is_another_one() {
        let folder = std::env::temp_dir().join(format!("forebay-link-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("room");
        let made = rcgen::generate_simple_self_signed(vec!["x".to_owned()]).expect("a certificate");
        std::fs::write(Folder::new(folder.clone()).authority(), made.cert.pem()).expect("room");
        // Its machine takes connections, and nobody answers.
        let still = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let still = still.local_addr().map(|at| (still, at)).expect("its address");
        let gone = std::net::TcpListener::bind("127.0.0.1:0").and_then(|gone| gone.local_addr());
        let named = vec![still.1.to_string(), gone.expect("a port that is free again").to_string()];
        let settings = Settings::new(named, folder.clone(), Local::default());
        let began = Instant::now();
        let said = Link::call(&settings, None).await.map(drop).expect_err("nobody is there").to_string();
        assert!(said.contains("no handshake within 2 s; "), "{said}");
        assert!(began.elapsed() < HANDSHAKE / 2, "{:?}", began.elapsed());
        std::fs::remove_dir_all(&folder).expect("ours");
        // Who is never quick is given more time in the end, and a single one has it from the start.
        let times: Vec<u64> = [0, 3, 4, 8, 12, 1_000].map(|slow| handshake(2, slow).as_secs()).to_vec();
        assert_eq!(times, [2, 2, 4, 8, 10, 10]);
        assert_eq!(handshake(1, 0), HANDSHAKE);
    }
}
