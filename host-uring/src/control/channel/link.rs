//! One connection with the Controller.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
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
        let mut told = Vec::new();
        for at in settings.controllers() {
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
            let made = tokio::time::timeout(HANDSHAKE, made).await;
            match made.unwrap_or_else(|_| Err(format!("no handshake within {} s", HANDSHAKE.as_secs()))) {
                Ok((client, connection)) => {
                    let driven = tokio::spawn(async move {
                        // How it ended is told by the calls that were under way.
                        let _ = connection.await;
                    });
                    return Ok(Link { client, at, driven });
                }
                Err(why) => told.push(format!("{at}: {why}")),
            }
        }
        Err(Trouble::Lost(told.join("; ")))
    }
}
