//! Simulated engines: each a client of the channel that takes what it is told and reports that it does it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use forebay_wire::call::{Calls, open};
use forebay_wire::proto::channel_client::ChannelClient;
use forebay_wire::proto::{
    Applied, Change, Enrolled, Enrollment, FromEngine, Hello, Interface, Machine, Network, Report, Server,
    Service, ToEngine, from_engine, to_engine,
};
use forebay_wire::{CONTROLLER_NAME, Collector, PROTOCOL, Sections, Token, digest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rcgen::{KeyPair, PublicKeyData};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsConnector;
use tonic::Streaming;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;

use crate::api::Api;

/// An engine whose Controller is away calls this often.
const CALL_EVERY: Duration = Duration::from_millis(100);
/// How often engines report; the Controller asks for 10 s, of which six may be missed.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// What is known of all of them.
#[derive(Default)]
struct Seen {
    /// A word, and which engines have been sent it since when it was put here.
    word: String,
    have: BTreeSet<usize>,
    /// How many services each has.
    services: Vec<usize>,
    /// Pieces of text that were sent to all, bytes.
    bytes: usize,
    /// Engines that have what they should have, as their Controller has said by its silence or by sending it.
    current: Vec<bool>,
    /// What went wrong; it ends the run.
    failed: Option<String>,
}

/// The engines.
pub struct Fleet {
    seen: Arc<Mutex<Seen>>,
    told: watch::Sender<u64>,
    count: usize,
}

/// One of them.
struct Engine {
    index: usize,
    at: SocketAddr,
    authority: Vec<u8>,
    pair: KeyPair,
    enrolled: Option<Enrolled>,
    version: u64,
    sections: Sections,
    seen: Arc<Mutex<Seen>>,
    told: watch::Sender<u64>,
}

impl Fleet {
    /// Lets so many join, by tokens from the API; they stay until the program ends.
    ///
    /// # Errors
    /// One of them is not let in.
    pub async fn join(api: &mut Api, at: SocketAddr, count: usize) -> anyhow::Result<Self> {
        let seen = Arc::new(Mutex::new(Seen {
            services: vec![0; count],
            current: vec![false; count],
            ..Seen::default()
        }));
        let told = watch::Sender::default();
        for index in 0..count {
            let (_, said) = api.send("POST", "/api/se-token", &json!({})).await?;
            let token = said["token"].as_str().and_then(|text| Token::read(text).ok()).context("no token")?;
            let pair = KeyPair::generate()?;
            let authority = token.authority;
            let mut client = call(at, &authority, None).await?;
            let asked = Enrollment {
                secret: token.secret,
                public_key: pair.der_bytes().to_vec(),
                name: format!("engine-{index:02}"),
                machine: Some(machine(index)),
            };
            let enrolled = Some(client.enroll(asked).await?.into_inner());
            let (seen, told) = (Arc::clone(&seen), told.clone());
            let engine = Engine {
                index,
                at,
                authority,
                pair,
                enrolled,
                version: 0,
                sections: Sections::new(),
                seen,
                told,
            };
            tokio::spawn(engine.live());
        }
        Ok(Fleet { seen, told, count })
    }

    fn look<T>(&self, with: impl FnOnce(&mut Seen) -> T) -> T {
        with(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on it is noted who is sent this word.
    pub fn expect(&self, word: &str) {
        self.look(|seen| {
            word.clone_into(&mut seen.word);
            seen.have.clear();
        });
    }

    /// Waits until so many engines have been sent the word.
    ///
    /// # Errors
    /// They have not within `patience`.
    pub async fn reached(&self, count: usize, patience: Duration) -> anyhow::Result<()> {
        self.until("engines with the change", patience, |seen| (seen.have.len(), count)).await
    }

    /// Waits until the engines have so many services between them.
    ///
    /// # Errors
    /// They have not within `patience`.
    pub async fn have_services(&self, count: usize, patience: Duration) -> anyhow::Result<()> {
        self.until("services on engines", patience, |seen| (seen.services.iter().sum(), count)).await
    }

    /// Waits until all of them have come back.
    ///
    /// # Errors
    /// They have not within `patience`.
    pub async fn are_back(&self, patience: Duration) -> anyhow::Result<()> {
        let count = self.count;
        self.until("engines that are back", patience, |seen| {
            (seen.current.iter().filter(|is_so| **is_so).count(), count)
        })
        .await
    }

    /// The Controller is away from now on.
    pub fn lost(&self) {
        self.look(|seen| seen.current.fill(false));
    }

    /// The fewest and the most services of an engine, and the bytes that were sent to all.
    pub fn spread(&self) -> (usize, usize, usize) {
        self.look(|seen| {
            let services = || seen.services.iter().copied();
            (services().min().unwrap_or(0), services().max().unwrap_or(0), seen.bytes)
        })
    }

    async fn until(
        &self,
        what: &str,
        patience: Duration,
        count: impl Fn(&Seen) -> (usize, usize),
    ) -> anyhow::Result<()> {
        let mut told = self.told.subscribe();
        let end = tokio::time::Instant::now() + patience;
        loop {
            let (failed, (is, wanted)) = self.look(|seen| (seen.failed.clone(), count(seen)));
            if let Some(failed) = failed {
                bail!("{failed}");
            }
            if is == wanted {
                return Ok(());
            }
            if tokio::time::timeout_at(end, told.changed()).await.is_err() {
                bail!("{what}: {is} after {patience:?}, and not {wanted}");
            }
        }
    }
}

async fn call(
    at: SocketAddr,
    authority: &[u8],
    own: Option<(&Enrolled, &KeyPair)>,
) -> anyhow::Result<ChannelClient<Calls>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(authority.to_vec()))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots);
    let config = match own {
        Some((enrolled, pair)) => {
            let chain = CertificateDer::from_pem_slice(enrolled.certificate.as_bytes())?;
            let key = PrivateKeyDer::try_from(pair.serialize_der()).map_err(anyhow::Error::msg)?;
            builder.with_client_auth_cert(vec![chain], key)?
        }
        None => builder.with_no_client_auth(),
    };
    let stream = TcpStream::connect(at).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from(CONTROLLER_NAME)?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    let (client, driven) = open(TokioIo::new(stream), TokioExecutor::new(), TokioTimer::new()).await?;
    tokio::spawn(driven);
    Ok(client)
}

/// Where others would reach an engine: in the network of all services' addresses.
fn own_address(index: usize) -> [u8; 4] {
    [10, 255, 255, u8::try_from(index + 1).unwrap_or(u8::MAX)]
}

/// What an engine runs on.
fn machine(index: usize) -> Machine {
    let networks = vec![Network { address: own_address(index).to_vec(), prefix_length: 8 }];
    let interface = Interface { name: "eth0".to_owned(), networks, is_up: true, ..Interface::default() };
    Machine { cores: 8, memory_bytes: 16 << 30, interfaces: vec![interface], ..Default::default() }
}

impl Engine {
    async fn live(mut self) {
        loop {
            if let Err(error) = self.hang().await {
                // The Controller is away, or refuses: the run ends by its deadline, with this.
                eprintln!("engine {}: {error:#}", self.index);
            }
            // Sleep: an engine that calls all the time is no engine.
            tokio::time::sleep(CALL_EVERY).await;
        }
    }

    fn look(&self, with: impl FnOnce(&mut Seen)) {
        with(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
        self.told.send_modify(|told| *told += 1);
    }

    /// One stream, to its end.
    async fn hang(&mut self) -> anyhow::Result<()> {
        let own = self.enrolled.as_ref().map(|enrolled| (enrolled, &self.pair));
        let Ok(mut client) = call(self.at, &self.authority, own).await else { return Ok(()) };
        let (send, sent) = mpsc::channel(16);
        let hello = Hello {
            protocol_min: PROTOCOL.0,
            protocol_max: PROTOCOL.1,
            version: self.version,
            digest: digest(&self.sections).to_vec(),
            machine: Some(machine(self.index)),
            sync_address: own_address(self.index).to_vec(),
            ..Hello::default()
        };
        send.send(said(from_engine::Said::Hello(hello))).await?;
        let mut came = client.attach(ReceiverStream::new(sent)).await?.into_inner();
        let first = came.message().await?.and_then(|first| first.said);
        if !matches!(first, Some(to_engine::Said::Welcome(_))) {
            bail!("it is not welcome");
        }
        send.send(said(from_engine::Said::Report(self.report()))).await?;
        let index = self.index;
        self.look(|seen| seen.current[index] = true);
        let ended = self.listen(&mut came, &send).await;
        // A Controller that goes away ends it in any of several ways.
        match self.seen.lock().unwrap_or_else(PoisonError::into_inner).current[index] {
            true => ended,
            false => Ok(()),
        }
    }

    async fn listen(
        &mut self,
        came: &mut Streaming<ToEngine>,
        send: &mpsc::Sender<FromEngine>,
    ) -> anyhow::Result<()> {
        let mut collector = Collector::default();
        loop {
            let message = match tokio::time::timeout(REPORT_EVERY, came.message()).await {
                Ok(message) => message?.context("the stream ended")?,
                Err(_) => {
                    let report = Report { has_tables: true, ..Report::default() };
                    send.send(said(from_engine::Said::Report(report))).await?;
                    continue;
                }
            };
            let Some(to_engine::Said::Part(part)) = message.said else { continue };
            let Some(whole) = collector.take(part).map_err(|misfit| anyhow::anyhow!("{misfit:?}"))? else {
                continue;
            };
            if whole.from != 0 && whole.from != self.version {
                let why = format!(
                    "engine {} has {} and is sent what builds on {}",
                    self.index, self.version, whole.from
                );
                self.look(|seen| seen.failed = Some(why));
            }
            if whole.from == 0 {
                self.sections.clear();
            }
            self.take(whole.change);
            self.version = whole.version;
            let applied = Applied { version: whole.version, applied: true, ..Applied::default() };
            send.send(said(from_engine::Said::Applied(applied))).await?;
            send.send(said(from_engine::Said::Report(self.report()))).await?;
        }
    }

    /// Works by a change from now on. The sum is not looked at each time: engines have processors of their own, these have not.
    fn take(&mut self, change: Change) {
        let bytes: usize = change.set.iter().map(|section| section.text.len()).sum();
        for key in change.gone {
            self.sections.remove(&key);
        }
        let index = self.index;
        let word = self.seen.lock().unwrap_or_else(PoisonError::into_inner).word.clone();
        let has = !word.is_empty() && change.set.iter().any(|section| section.text.contains(&word));
        self.sections.extend(change.set.into_iter().map(|section| (section.key, section.text)));
        let services = self.names("virtual_service/").count();
        self.look(|seen| {
            if has {
                seen.have.insert(index);
            }
            seen.bytes += bytes;
            seen.services[index] = services;
        });
    }

    fn names<'s>(&'s self, what: &'s str) -> impl Iterator<Item = (&'s str, &'s str)> {
        let all = self.sections.range(what.to_owned()..);
        all.map_while(move |(key, text)| Some((key.strip_prefix(what)?, text.as_str())))
    }

    /// All that it has is up.
    fn report(&self) -> Report {
        let service = |(name, _): (&str, &str)| Service {
            name: name.to_owned(),
            is_up: true,
            is_listening: true,
            connections: 10,
        };
        let servers = self.names("pool/").flat_map(|(pool, text)| {
            let lines = text.lines().filter_map(|line| line.trim_start().strip_prefix("address = \""));
            lines.map(move |rest| Server {
                pool: pool.to_owned(),
                address: rest.trim_end_matches('"').to_owned(),
                state: "up".to_owned(),
                why: String::new(),
            })
        });
        Report {
            whole: true,
            services: self.names("virtual_service/").map(service).collect(),
            servers: servers.collect(),
            has_tables: true,
            ..Report::default()
        }
    }
}

fn said(said: from_engine::Said) -> FromEngine {
    FromEngine { said: Some(said) }
}
