//! What the tests share: pools, requests, a table.
#![allow(dead_code)] // each test program uses its own part

use std::net::{IpAddr, Ipv4Addr};

use forebay_core::id::{Endpoint, PoolId, ServerId, ServerIndex, VsId};
use forebay_core::lb::{Algorithm, Pool, PoolConfig, ServerConfig};
use forebay_core::persist::tls::TlsId;
use forebay_core::persist::{self, Found, Kind, Profile, ServerDown, Stored, TableKey};
use forebay_core::request::{ClientAddr, RequestView};
use forebay_core::units::Minutes;
use forebay_core::{Decision, Effect, Input, Verdict, decide};

pub const VS: VsId = VsId(7);
pub const POOL: PoolId = PoolId(3);

pub fn client(n: u32) -> ClientAddr {
    ClientAddr::new(IpAddr::V4(Ipv4Addr::from(0x0a00_0000 | n)), 40_000)
}

pub fn endpoint(n: u16) -> Endpoint {
    Endpoint { ip: IpAddr::V4(Ipv4Addr::new(192, 0, (n >> 8) as u8, n as u8)), port: 8080 }
}

pub fn config(servers: u16, algorithm: Algorithm) -> PoolConfig {
    PoolConfig {
        algorithm,
        ramp: Minutes(0),
        servers: (0..servers).map(|i| ServerConfig::new(endpoint(i))).collect(),
        ..PoolConfig::new(VS, POOL)
    }
}

pub fn weighted(ratios: &[u8], algorithm: Algorithm) -> PoolConfig {
    let mut c = config(ratios.len() as u16, algorithm);
    for (s, r) in c.servers.iter_mut().zip(ratios) {
        s.ratio = *r;
    }
    c
}

pub fn pool(servers: u16, algorithm: Algorithm) -> Pool {
    Pool::new(config(servers, algorithm)).expect("a good configuration")
}

pub fn sticky(servers: u16, kind: Kind, server_down: ServerDown) -> Pool {
    let persistence = Some(Profile { kind, server_down });
    Pool::new(PoolConfig { persistence, ..config(servers, Algorithm::LeastConnections) })
        .expect("a good configuration")
}

pub fn served(decision: &Decision) -> ServerIndex {
    match decision.verdict {
        Verdict::Server(at) => at,
        other => panic!("no server: {other:?}, {}", decision.reason),
    }
}

/// A request in pieces.
#[derive(Clone, Default)]
pub struct Request {
    pub path: Vec<u8>,
    pub query: Option<Vec<u8>>,
    pub uri: Vec<u8>,
    pub method: Vec<u8>,
    pub host: Vec<u8>,
    pub fields: Vec<(String, Vec<u8>)>,
    pub client: u32,
    pub session: Vec<u8>,
    pub ticket: Option<persist::tls::Ticket>,
}

impl Request {
    pub fn get(target: &str) -> Self {
        let (path, query) = match target.split_once('?') {
            Some((p, q)) => (p, Some(q.as_bytes().to_vec())),
            None => (target, None),
        };
        Self {
            path: path.as_bytes().to_vec(),
            query,
            uri: target.as_bytes().to_vec(),
            method: b"GET".to_vec(),
            host: b"www.example.com".to_vec(),
            client: 1,
            ..Self::default()
        }
    }
    pub fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.fields.push((name.into(), value.as_ref().to_vec()));
        self
    }
    pub fn from(mut self, client: u32) -> Self {
        self.client = client;
        self
    }
}

impl RequestView for Request {
    fn client(&self) -> ClientAddr {
        client(self.client)
    }
    fn method(&self) -> &[u8] {
        &self.method
    }
    fn host(&self) -> &[u8] {
        &self.host
    }
    fn uri(&self) -> &[u8] {
        &self.uri
    }
    fn path(&self) -> &[u8] {
        &self.path
    }
    fn query(&self) -> Option<&[u8]> {
        self.query.as_deref()
    }
    fn headers(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.fields.iter().filter(move |(n, _)| n == name).map(|(_, v)| &v[..])
    }
    fn tls_id(&self) -> Option<TlsId<'_>> {
        match (&self.ticket, self.session.is_empty()) {
            (Some(t), _) => Some(TlsId::Ticket(*t)),
            (None, false) => Some(TlsId::Session(&self.session)),
            (None, true) => None,
        }
    }
}

/// What a host is to the core: a table, and cookies that are "sealed" as hexadecimal digits.
#[derive(Default)]
pub struct Host {
    pub table: std::collections::BTreeMap<TableKey, (ServerId, u32)>,
    pub cookie: Option<String>,
}

pub fn seal(payload: &persist::http_cookie::Payload) -> String {
    let mut bytes = [0; persist::http_cookie::PAYLOAD_MAX];
    let n = payload.encode(&mut bytes);
    bytes[..n].iter().map(|b| format!("{b:02x}")).collect()
}

pub fn open(sealed: &[u8]) -> Option<persist::http_cookie::Payload> {
    let text = std::str::from_utf8(sealed).ok()?;
    let bytes: Option<Vec<u8>> =
        (0..text.len()).step_by(2).map(|i| u8::from_str_radix(text.get(i..i + 2)?, 16).ok()).collect();
    persist::http_cookie::Payload::decode(&bytes?)
}

pub fn key_of(found: &Found<'_>) -> Option<TableKey> {
    use forebay_core::persist::ClientKey;
    found.client_key().map(|k| match k {
        ClientKey::Plain(b) => forebay_core::table::KeyBytes(b),
        ClientKey::Opaque(v) => {
            forebay_core::table::KeyBytes(forebay_core::hash::keyed128(b"0123456789abcdef", v))
        }
    })
}

impl Host {
    pub fn stored(&self, found: &Found<'_>) -> Stored {
        match found {
            Found::Sealed(cookies) => cookies.iter().find_map(open).map_or(Stored::Nothing, Stored::Cookie),
            _ => match key_of(found).and_then(|k| self.table.get(&k)) {
                Some((server, generation)) => Stored::Entry { server: *server, generation: *generation },
                None => Stored::Nothing,
            },
        }
    }

    /// One request: find, look up, decide, carry out.
    pub fn ask(&mut self, pool: &mut Pool, request: &Request, input: &Input<'_>) -> Decision {
        let profile = pool.profile().cloned();
        let found = profile.as_ref().map_or(Found::Off, |p| persist::find(p, request));
        let input = Input { found, key: key_of(&found), stored: self.stored(&found), ..*input };
        let decision = decide(pool, &input);
        self.carry_out(&decision);
        decision
    }

    pub fn carry_out(&mut self, decision: &Decision) {
        for effect in decision.effects.iter() {
            match effect {
                Effect::SetCookie(payload) => self.cookie = Some(seal(payload)),
                Effect::Write { key, server, generation, .. } => {
                    self.table.insert(*key, (*server, *generation));
                }
                Effect::Touch { .. } | Effect::SetSiteCookie(_) | Effect::SealTicket { .. } => {}
            }
        }
    }
}
