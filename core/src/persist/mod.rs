//! By what a client is known, and which server that binds it to. One file per kind.
//!
//! [`find`] reads the request, the host opens or looks up what was found, [`crate::decide`] judges the result.
//! The table of kinds is [`KINDS`].

pub mod app_cookie;
pub mod client_ip;
pub mod cookie_date;
pub mod cookie_line;
pub mod custom_header;
mod down;
pub mod gslb_site;
pub mod http_cookie;
pub mod key_value;
mod kinds;
pub mod tls;

use alloc::vec::Vec;

pub use down::ServerDown;
pub use kinds::{KINDS, KindEntry, KindName, Memory};

use crate::decide::Input;
use crate::effect::{Effect, Effects};
use crate::id::{ServerId, ServerIndex, SiteId};
use crate::lb::Pool;
use crate::limits::SEALED_CANDIDATES_MAX;
use crate::problem::Problem;
use crate::reason::KeyOutcome;
use crate::request::RequestView;
use crate::table::{Catalog, KeyBytes};
use crate::units::{Seconds, UnixSeconds};

/// A key of a persistence table, before the table is known.
pub use crate::table::KeyBytes as TableKey;

/// A persistence profile: how clients are known, and what happens when their server is down.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Profile {
    /// How clients are known.
    pub kind: Kind,
    /// What happens when a client's server is down.
    pub server_down: ServerDown,
}

/// How clients are known. What a kind means stands in its own file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Kind {
    /// A cookie that we insert.
    HttpCookie(http_cookie::HttpCookie),
    /// A cookie that the server sets.
    AppCookie(app_cookie::AppCookie),
    /// A header with values assigned to servers.
    CustomHeader(custom_header::CustomHeader),
    /// The client's address.
    ClientIp(client_ip::ClientIp),
    /// The TLS session.
    Tls(tls::Tls),
    /// The site cookie of a global service.
    GslbSite(gslb_site::GslbSite),
}

impl Kind {
    /// The kind's name.
    pub const fn name(&self) -> KindName {
        match self {
            Self::HttpCookie(_) => KindName::HttpCookie,
            Self::AppCookie(_) => KindName::AppCookie,
            Self::CustomHeader(_) => KindName::CustomHeader,
            Self::ClientIp(_) => KindName::ClientIp,
            Self::Tls(_) => KindName::Tls,
            Self::GslbSite(_) => KindName::GslbSite,
        }
    }
}

impl Profile {
    /// Returns all problems of the profile; paths are relative to it.
    //= PERS-CHECK-01
    pub fn check(&self) -> Vec<Problem> {
        let mut out = Vec::new();
        match &self.kind {
            Kind::HttpCookie(c) => c.check(&mut out),
            Kind::AppCookie(c) => c.check(&mut out),
            Kind::CustomHeader(c) => c.check(&mut out),
            Kind::ClientIp(c) => c.check(&mut out),
            Kind::Tls(c) => c.check(&mut out),
            Kind::GslbSite(c) => c.check(&mut out),
        }
        out
    }
}

/// What a request carries for a profile, borrowed from the request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Found<'r> {
    /// No persistence, or switched off.
    #[default]
    Off,
    /// The request carries no key.
    Absent,
    /// The key is longer than we remember.
    TooLong,
    /// Cookies of our name: the host opens them in order; the first that opens counts.
    Sealed(SealedCookies<'r>),
    /// A key of the profile's table.
    Key(ClientKey<'r>),
    /// The value of the profile's header.
    Header(&'r [u8]),
    /// A server that the client carries in its ticket.
    Carried(ServerId),
    /// A key that a script or rule computed; it goes into the key-value table.
    Script {
        /// The key.
        key: ClientKey<'r>,
        /// How long the entry lives.
        lifetime: Seconds,
    },
}

/// Values of the cookies of our name, in the order of the request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SealedCookies<'r> {
    values: [Option<&'r [u8]>; SEALED_CANDIDATES_MAX],
}

impl<'r> SealedCookies<'r> {
    /// The values to open, in order.
    pub fn iter(&self) -> impl Iterator<Item = &'r [u8]> + use<'r> {
        let values = self.values;
        values.into_iter().flatten()
    }
    /// Makes a list of one value, as recorded inputs need it.
    pub const fn one(value: &'r [u8]) -> Self {
        Self { values: [Some(value), None, None] }
    }
    fn push(&mut self, value: &'r [u8]) -> bool {
        match self.values.iter_mut().find(|v| v.is_none()) {
            Some(free) => {
                *free = Some(value);
                true
            }
            None => false,
        }
    }
}

/// The bytes by which a table knows a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientKey<'r> {
    /// 16 bytes that need no hash: an address, a client id of a ticket.
    Plain([u8; 16]),
    /// A value that the client chose, 1 to 256 bytes.
    Opaque(&'r [u8]),
}

impl ClientKey<'_> {
    /// Returns the 16 bytes of the key under the table's secret, which the service engines of a virtual
    /// service share: short values stand for themselves, longer ones are hashed with the secret, so that a
    /// client cannot choose a value that meets another client's key.
    //= PERS-KEY-01
    pub fn bytes(&self, catalog: &Catalog) -> TableKey {
        match *self {
            Self::Plain(bytes) => KeyBytes(bytes),
            Self::Opaque(value) => catalog.text_bytes(value),
        }
    }
}

impl<'r> Found<'r> {
    /// Returns what is to be looked up in a table; `None` if nothing is.
    pub const fn client_key(&self) -> Option<ClientKey<'r>> {
        match self {
            Self::Key(key) | Self::Script { key, .. } => Some(*key),
            _ => None,
        }
    }

    /// Returns the table key of what was found: for [`Catalog::key`] and [`Input::key`].
    pub fn table_key(&self, catalog: &Catalog) -> Option<TableKey> {
        self.client_key().map(|key| key.bytes(catalog))
    }
}

/// What the host knows of what was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Stored {
    /// Not in the table; no cookie opened; nothing to look up.
    #[default]
    Nothing,
    /// What the persistence cookie holds.
    Cookie(http_cookie::Payload),
    /// What the site cookie holds.
    Site(gslb_site::Payload),
    /// The table's entry.
    Entry {
        /// The server that the key means.
        server: ServerId,
        /// How often it has changed.
        generation: u32,
    },
}

/// Reads by what `request` may be known under `profile`.
///
/// Nothing is allocated; the result borrows from the request.
//= PERS-FIND-01
pub fn find<'r, R: RequestView>(profile: &Profile, request: &'r R) -> Found<'r> {
    match &profile.kind {
        Kind::HttpCookie(c) => sealed(request, &c.name),
        Kind::AppCookie(c) => c.find(request),
        Kind::CustomHeader(c) => c.find(request),
        Kind::ClientIp(c) => c.find(request.client().ip),
        Kind::Tls(c) => c.find(request.tls_id()),
        Kind::GslbSite(c) => sealed(request, &c.cookie_name),
    }
}

/// What a response teaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learned<'r> {
    /// Nothing.
    Nothing,
    /// From now on this key means the server that answered: write it with the profile's timeout.
    Key {
        /// The key.
        key: ClientKey<'r>,
        /// How long the entry lives.
        lifetime: Seconds,
    },
    /// The server ended the session that this key names: its entry may go.
    Ended(ClientKey<'r>),
}

/// Reads what one `Set-Cookie` value of a response teaches under `profile`, at `now` by the wall clock.
pub fn learn_from_response<'r>(profile: &Profile, set_cookie: &'r [u8], now: UnixSeconds) -> Learned<'r> {
    match &profile.kind {
        Kind::AppCookie(c) => c.learn(set_cookie, now),
        _ => Learned::Nothing,
    }
}

//= PERS-COOKIE-02
fn sealed<'r, R: RequestView>(request: &'r R, name: &str) -> Found<'r> {
    let mut cookies = SealedCookies::default();
    for line in request.cookie_lines() {
        for value in cookie_line::values(line, name.as_bytes()) {
            if !cookies.push(value) {
                return Found::Sealed(cookies);
            }
        }
    }
    if cookies.values[0].is_none() { Found::Absent } else { Found::Sealed(cookies) }
}

/// What the client's key means for this pool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bond {
    pub kind: Option<KindName>,
    pub outcome: KeyOutcome,
    pub server: Option<ServerIndex>,
    pub generation: Option<u32>,
    pub site: Option<SiteId>,
}

impl Bond {
    const fn none(kind: Option<KindName>, outcome: KeyOutcome) -> Self {
        Self { kind, outcome, server: None, generation: None, site: None }
    }

    const fn to(kind: KindName, server: Option<ServerIndex>) -> Self {
        let outcome = if server.is_some() { KeyOutcome::Hit } else { KeyOutcome::NotAMember };
        Self { kind: Some(kind), outcome, server, generation: None, site: None }
    }
}

/// Judges what was found and stored.
pub(crate) fn resolve(pool: &Pool, input: &Input<'_>) -> Bond {
    let kind = pool.profile().map(|p| p.kind.name());
    match input.found {
        Found::Off => Bond::none(kind, KeyOutcome::Off),
        Found::Absent => Bond::none(kind, KeyOutcome::Absent),
        Found::TooLong => Bond::none(kind, KeyOutcome::TooLong),
        Found::Sealed(_) => match (pool.profile().map(|p| &p.kind), input.stored) {
            (Some(Kind::HttpCookie(c)), Stored::Cookie(payload)) => c.resolve(pool, input.wall, payload),
            (Some(Kind::GslbSite(c)), Stored::Site(payload)) => c.resolve(pool, payload),
            _ => Bond::none(kind, KeyOutcome::Invalid),
        },
        Found::Key(_) => entry(pool, kind, input.stored),
        Found::Script { .. } => entry(pool, Some(KindName::KeyValue), input.stored),
        Found::Header(value) => Bond {
            outcome: if pool.server_of_header(value).is_some() { KeyOutcome::Hit } else { KeyOutcome::Miss },
            ..Bond::to(KindName::CustomHeader, pool.server_of_header(value))
        },
        Found::Carried(id) => Bond::to(KindName::Tls, pool.index_of(id)),
    }
}

//= PERS-GONE-01
fn entry(pool: &Pool, kind: Option<KindName>, stored: Stored) -> Bond {
    match stored {
        Stored::Entry { server, generation } => {
            let server = pool.index_of(server);
            let outcome = if server.is_some() { KeyOutcome::Hit } else { KeyOutcome::NotAMember };
            Bond { kind, outcome, server, generation: Some(generation), site: None }
        }
        _ => Bond::none(kind, KeyOutcome::Miss),
    }
}

/// How long the table's entry of this input lives; `None` for kinds without a table.
fn lifetime(pool: &Pool, input: &Input<'_>) -> Option<Seconds> {
    if let Found::Script { lifetime, .. } = input.found {
        return Some(lifetime);
    }
    match &pool.profile()?.kind {
        Kind::AppCookie(c) => Some(c.timeout.seconds()),
        Kind::ClientIp(c) => Some(c.timeout.seconds()),
        Kind::Tls(c) => Some(c.lifetime),
        Kind::HttpCookie(_) | Kind::CustomHeader(_) | Kind::GslbSite(_) => None,
    }
}

/// The effects when the client's own server serves it.
//= PERS-IP-03
pub(crate) fn renew(pool: &Pool, input: &Input<'_>, bond: &Bond, server: ServerIndex) -> Effects {
    let mut effects = Effects::NONE;
    if let (Some(key), Some(lifetime), Some(_)) = (input.key, lifetime(pool, input), bond.generation) {
        effects.push(Effect::Touch { key, lifetime });
    }
    match pool.profile().map(|p| &p.kind) {
        Some(Kind::HttpCookie(c)) if c.always_send && bond.kind == Some(KindName::HttpCookie) => {
            effects.push(Effect::SetCookie(http_cookie::Payload::of(pool, server, input.wall)));
        }
        _ => {}
    }
    effects
}

/// The effects when the algorithm has chosen `server`.
pub(crate) fn bind(pool: &Pool, input: &Input<'_>, bond: &Bond, server: ServerIndex, moved: bool) -> Effects {
    let mut effects = Effects::NONE;
    let id = pool.id_of(server);
    if let Found::Script { lifetime, .. } = input.found {
        if let Some(key) = input.key {
            effects.push(Effect::Write { key, server: id, generation: next(bond.generation), lifetime });
        }
        return effects;
    }
    match pool.profile().map(|p| &p.kind) {
        Some(Kind::HttpCookie(_)) => {
            effects.push(Effect::SetCookie(http_cookie::Payload::of(pool, server, input.wall)));
        }
        // A value that no server has issued must not occupy the table: only an entry that exists moves.
        Some(Kind::AppCookie(c)) => {
            if let (Some(key), Some(generation)) = (input.key, bond.generation) {
                let lifetime = c.timeout.seconds();
                effects.push(Effect::Write { key, server: id, generation: next(Some(generation)), lifetime });
            }
        }
        Some(Kind::ClientIp(c)) => {
            if let (Some(key), Found::Key(_)) = (input.key, input.found) {
                let lifetime = c.timeout.seconds();
                effects.push(Effect::Write { key, server: id, generation: next(bond.generation), lifetime });
            }
        }
        Some(Kind::Tls(c)) => {
            if c.carry_server {
                effects.push(Effect::SealTicket { server: id });
            } else if let (Some(key), Found::Key(_)) = (input.key, input.found) {
                effects.push(Effect::Write {
                    key,
                    server: id,
                    generation: next(bond.generation),
                    lifetime: c.lifetime,
                });
            }
        }
        Some(Kind::GslbSite(c)) => {
            if let Some(payload) = c.bind(pool, bond.outcome) {
                effects.push(Effect::SetSiteCookie(payload));
            }
        }
        Some(Kind::CustomHeader(_)) | None => {}
    }
    debug_assert!(!moved || bond.server.is_some());
    effects
}

fn next(generation: Option<u32>) -> u32 {
    // A generation at its maximum stays there: the table's own version still orders the writes.
    generation.map_or(0, |g| g.saturating_add(1))
}
