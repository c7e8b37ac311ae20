//! What a service's clients are served TLS with.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use forebay_snapshot::tls::{CipherSuite, KeyGroup, TicketKey, TlsVersion};
use forebay_snapshot::{Certificate, TlsProfile};
use rustls::crypto::aws_lc_rs::{self, cipher_suite as suites, kx_group as groups};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, NoClientAuth, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SupportedCipherSuite, SupportedProtocolVersion};

use super::authorities::{self, Asked};
use super::files::{self, Changed, Loaded, Signature};
use super::ids::{ById, Kept};
use super::suit;
use super::tickets::{HandedKey, Scope, Tickets};
use crate::fault::Fault;
use crate::limits::sizes::SESSION_BYTES;
use crate::limits::{EARLY_DATA_BYTES_MAX, EARLY_SESSIONS_MAX, SESSIONS_BY_ID_MAX};

/// What the document says of a service's TLS.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// Its certificates, the first of which stands in where no name fits.
    pub certificates: Vec<Certificate>,
    /// Versions, cipher suites and groups.
    pub profile: TlsProfile,
    /// The service's id, which its tickets are good for.
    pub service: u32,
    /// Keys of its tickets, the first of which seals; none: it makes its own.
    pub ticket_keys: Vec<TicketKey>,
    /// Who of its clients is asked for a certificate, and whom to trust; `None`: nobody.
    pub clients: Option<Asked>,
    /// What the service speaks within, the best first; empty: clients are not asked.
    pub alpn: &'static [&'static str],
}

/// What a service's clients are served TLS with: certificates and keys as they were read, and all that follows from the
/// document. Connections keep the one that they began with.
#[derive(Debug)]
pub struct Front {
    wanted: Wanted,
    files: Vec<(PathBuf, Option<Signature>)>,
    /// Until when what an authority says of each certificate is good, seconds since 1970.
    stapled: Vec<Option<i64>>,
    /// Until when the newest list of revocations of each authority is good, seconds since 1970, with its name.
    lists: Vec<(Box<str>, i64)>,
    pub(super) config: Arc<ServerConfig>,
    tickets: Option<Arc<Tickets>>,
    /// Sessions by ID; none without tickets.
    sessions: Option<Arc<Kept>>,
    /// How many of them there may be.
    sessions_max: usize,
    /// What it shows.
    keys: Vec<Arc<CertifiedKey>>,
    /// Microseconds for a handshake.
    pub handshake_us: u64,
}

impl Front {
    /// Reads the files. Tickets of `before` are good with it as well.
    ///
    /// # Errors
    /// All that is wrong with them, each with the certificate's name.
    //= TLS-RELOAD-02
    pub fn load(wanted: &Wanted, before: Option<&Front>) -> Result<Self, Vec<Fault>> {
        let provider = Arc::new(provider(&wanted.profile));
        let mut files = Vec::new();
        let mut loaded = Vec::new();
        let mut problems: Vec<Fault> = Vec::new();
        for certificate in &wanted.certificates {
            let Certificate { name, chain_file, key_file, ocsp_file } = certificate;
            // Before they are read: what changes meanwhile is seen to be new.
            files.extend(
                [chain_file, key_file]
                    .into_iter()
                    .chain(ocsp_file)
                    .map(|file| (PathBuf::from(file), files::signature(Path::new(file)).ok())),
            );
            let stapled = files::load(chain_file, key_file).and_then(|mut one| {
                if let Some(file) = ocsp_file {
                    one.staple(file).map_err(|why| vec![why])?;
                }
                let shown = before.map(|before| before.keys.as_slice());
                match one.unfit(name, chain_file, shown) {
                    Some(why) => Err(vec![why]),
                    None => Ok(one),
                }
            });
            match stapled {
                Ok(one) => loaded.push(one),
                Err(why) => problems.extend(why.iter().map(|why| Fault::of_certificate(name, why))),
            }
        }
        problems.extend(
            suit::problem(
                &wanted.profile,
                &loaded.iter().map(|one: &Loaded| one.is_cheap).collect::<Vec<_>>(),
            )
            .map(Fault::from),
        );
        let mut lists = Vec::new();
        let verifier: Option<Arc<dyn ClientCertVerifier>> = match &wanted.clients {
            None => Some(Arc::new(NoClientAuth)),
            Some(asked) => {
                files.extend(authorities::signatures(&asked.pki));
                match authorities::load(asked, &provider) {
                    Ok(authorities) => {
                        lists = authorities.next_updates();
                        Some(Arc::new(authorities))
                    }
                    Err(why) => {
                        let name = &asked.pki.name;
                        let of = |why: &String| {
                            Fault::of("pki_profile", name, format!("pki_profile \"{name}\": {why}"))
                        };
                        problems.extend(why.iter().map(of));
                        None
                    }
                }
            }
        };
        let (true, Some(verifier)) = (problems.is_empty(), verifier) else { return Err(problems) };
        let keys = loaded.iter().map(|one| Arc::clone(&one.key)).collect();
        let stapled = loaded.iter().map(|one| one.stapled.as_ref().map(|stapled| stapled.until)).collect();
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions(&wanted.profile))
            .map_err(|why| vec![Fault::from(format!("tls_profile \"{}\": {why}", wanted.profile.name))])?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(Shown::new(loaded, wanted.profile.max_version)));
        config.alpn_protocols = wanted.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config.ignore_client_order = true;
        let tickets = tickets(wanted, before)?;
        // One is enough: it may be used for several connections.
        config.send_tls13_tickets = usize::from(tickets.is_some());
        let (mut sessions, mut sessions_max) = (None, 0);
        match &tickets {
            Some(tickets) => {
                //= TLS-EARLY-03
                let most = if wanted.profile.early_data {
                    config.max_early_data_size = EARLY_DATA_BYTES_MAX;
                    // An answer would else wait for what the request did not wait for.
                    config.send_half_rtt_data = true;
                    EARLY_SESSIONS_MAX
                } else {
                    config.ticketer = Arc::clone(tickets) as _;
                    SESSIONS_BY_ID_MAX
                };
                // What does not open with the keys of now is as if it were not there.
                let same = |front: &&Front| front.wanted.service == wanted.service;
                let kept: Arc<Kept> =
                    before.filter(same).and_then(|front| front.sessions.clone()).unwrap_or_default();
                config.session_storage =
                    Arc::new(ById { kept: Arc::clone(&kept), tickets: Arc::clone(tickets), most });
                (sessions, sessions_max) = (Some(kept), most);
            }
            None => config.session_storage = Arc::new(NoServerSessionStorage {}),
        }
        Ok(Front {
            wanted: wanted.clone(),
            files,
            stapled,
            lists,
            config: Arc::new(config),
            tickets,
            sessions,
            sessions_max,
            keys,
            handshake_us: u64::from(wanted.profile.handshake_timeout_ms) * 1000,
        })
    }

    /// The keys of tickets that this process has made.
    pub fn ticket_keys(&self) -> Vec<HandedKey> {
        self.tickets.as_ref().map_or_else(Vec::new, |tickets| tickets.handed())
    }

    /// Goes on with those that another process has made for this service.
    pub fn inherit_ticket_keys(&self, handed: &[HandedKey]) {
        if let Some(tickets) = &self.tickets {
            tickets.inherit(handed);
        }
    }

    /// Sessions by ID that are kept, and how many of them went before their time.
    pub fn sessions_by_id(&self) -> (u64, u64) {
        self.sessions.as_ref().map_or((0, 0), |kept| kept.counts())
    }

    /// Bytes that its sessions by ID take where there is room for all that it may have.
    pub fn session_bytes(&self) -> u64 {
        self.sessions_max as u64 * SESSION_BYTES
    }

    /// Lets them take so much at most.
    pub fn bound_sessions(&self, bytes_max: u64) {
        if let Some(kept) = &self.sessions {
            kept.bound(usize::try_from(bytes_max).unwrap_or(usize::MAX));
        }
    }

    /// Until when what authorities say of its certificates is good, seconds since 1970, with the certificate's name.
    pub fn stapled(&self) -> impl Iterator<Item = (&str, i64)> {
        let names = self.wanted.certificates.iter().map(|certificate| certificate.name.as_str());
        names.zip(&self.stapled).filter_map(|(name, until)| Some((name, (*until)?)))
    }

    /// Until when the newest list of revocations of each authority is good, seconds since 1970, with the name of the
    /// `[[pki_profile]]` and the authority's.
    pub fn revocation_lists(&self) -> impl Iterator<Item = (&str, &str, i64)> {
        let profile = self.wanted.clients.as_ref().map_or("", |asked| asked.pki.name.as_str());
        self.lists.iter().map(move |(authority, until)| (profile, &**authority, *until))
    }

    /// Says whether this is what the document wants, and the files are what they were when they were read.
    pub fn is_current(&self, wanted: &Wanted) -> bool {
        self.wanted == *wanted && self.changed().next().is_none()
    }

    /// Files that have changed since they were read, as they are now.
    //= TLS-RELOAD-01
    pub fn changed(&self) -> impl Iterator<Item = Changed> {
        files::changed(&self.files)
    }
}

/// What makes a service's tickets; `None`: it has none.
//= TLS-TICKET-04
fn tickets(wanted: &Wanted, before: Option<&Front>) -> Result<Option<Arc<Tickets>>, Vec<Fault>> {
    let lifetime_s = wanted.profile.session_lifetime_s;
    //= TLS-CLIENT-06
    if lifetime_s == 0 || wanted.clients.is_some() {
        return Ok(None);
    }
    let same = |front: &&Front| {
        let was = &front.wanted;
        (was.service, was.profile.session_lifetime_s) == (wanted.service, lifetime_s)
            && was.ticket_keys == wanted.ticket_keys
    };
    if let Some(kept) = before.filter(same).and_then(|front| front.tickets.clone()) {
        return Ok(Some(kept));
    }
    let scope = Scope { service: wanted.service, policy: 0 };
    match Tickets::new(scope, lifetime_s, &wanted.ticket_keys) {
        Some(tickets) => Ok(Some(Arc::new(tickets))),
        None => Err(vec!["the system gives no random numbers for keys of session tickets".to_owned().into()]),
    }
}

/// Which certificate a client is shown.
#[derive(Debug)]
struct Shown {
    certificates: Vec<Loaded>,
    /// By name, and by what follows the star of a wildcard.
    exact: BTreeMap<String, Vec<usize>>,
    wildcard: BTreeMap<String, Vec<usize>>,
    /// Where no name fits.
    others: Vec<usize>,
    /// The newest version that is spoken.
    newest: TlsVersion,
}

impl Shown {
    /// The first certificate, and those with the same names, stand in where no name fits.
    fn new(certificates: Vec<Loaded>, newest: TlsVersion) -> Self {
        let (mut exact, mut wildcard) =
            (BTreeMap::<String, Vec<usize>>::new(), BTreeMap::<String, Vec<usize>>::new());
        for (at, one) in certificates.iter().enumerate() {
            for name in &one.facts.names {
                let (map, name) = match name.strip_prefix("*.") {
                    Some(rest) => (&mut wildcard, rest),
                    None => (&mut exact, name.as_str()),
                };
                let places = map.entry(name.to_owned()).or_default();
                if !places.contains(&at) {
                    places.push(at);
                }
            }
        }
        let same = |one: &Loaded| one.facts.names == certificates[0].facts.names;
        let mut others: Vec<usize> = (0..certificates.len()).filter(|at| same(&certificates[*at])).collect();
        // A signature by RSA costs four times a whole handshake without one.
        let dear = |at: &usize| !certificates[*at].is_cheap;
        for places in exact.values_mut().chain(wildcard.values_mut()).chain([&mut others]) {
            places.sort_by_key(dear);
        }
        Shown { certificates, exact, wildcard, others, newest }
    }

    /// Those that are for a name, the best first: of its own, of a wildcard one label above, of no fitting name.
    //= TLS-SNI-01
    fn of<'s>(&'s self, name: Option<&str>) -> impl Iterator<Item = &'s Loaded> {
        let own = name.and_then(|name| self.exact.get(name));
        let above = name.and_then(|name| self.wildcard.get(name.split_once('.')?.1));
        let places = own.into_iter().chain(above).next().unwrap_or(&self.others);
        places.iter().chain(&self.others).map(|at| &self.certificates[*at])
    }
}

impl ResolvesServerCert for Shown {
    //= TLS-SNI-02
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let schemes = hello.signature_schemes();
        // A suite of TLS 1.3 says nothing of the key's kind.
        let is_new = self.newest == TlsVersion::V13
            && hello.cipher_suites().iter().any(|suite| u16::from(*suite) >> 8 == 0x13);
        let suits = |one: &&Loaded| {
            let of_kind =
                |suite: &rustls::CipherSuite| is_of_rsa(*suite).is_some_and(|rsa| rsa != one.is_cheap);
            one.key.key.choose_scheme(schemes).is_some()
                && (is_new || hello.cipher_suites().iter().any(of_kind))
        };
        let mut fit = self.of(hello.server_name());
        // With one that does not suit, the library finds out itself, and says so in its own words.
        let one = fit.find(suits).or_else(|| self.of(hello.server_name()).next());
        one.map(|one| Arc::clone(one.shown()))
    }
}

/// Whether a suite of TLS 1.2 is for keys of RSA; `None` of one that is not spoken.
fn is_of_rsa(suite: rustls::CipherSuite) -> Option<bool> {
    let (word, _) = SUITES.iter().find(|(_, ours)| ours.suite() == suite)?;
    Some(word.word().contains("_RSA_"))
}

/// Every suite, the best first, by its word in the document.
static SUITES: [(CipherSuite, &SupportedCipherSuite); 9] = [
    (CipherSuite::Aes256GcmSha384, &suites::TLS13_AES_256_GCM_SHA384),
    (CipherSuite::Aes128GcmSha256, &suites::TLS13_AES_128_GCM_SHA256),
    (CipherSuite::Chacha20Poly1305Sha256, &suites::TLS13_CHACHA20_POLY1305_SHA256),
    (CipherSuite::EcdheEcdsaAes256GcmSha384, &suites::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    (CipherSuite::EcdheEcdsaAes128GcmSha256, &suites::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    (CipherSuite::EcdheEcdsaChacha20Poly1305Sha256, &suites::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
    (CipherSuite::EcdheRsaAes256GcmSha384, &suites::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    (CipherSuite::EcdheRsaAes128GcmSha256, &suites::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    (CipherSuite::EcdheRsaChacha20Poly1305Sha256, &suites::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
];

/// The registered name of a suite.
pub(super) fn suite_name(suite: rustls::CipherSuite) -> Option<&'static str> {
    SUITES.iter().find(|(_, ours)| ours.suite() == suite).map(|(word, _)| word.word())
}

fn group(group: KeyGroup) -> &'static dyn SupportedKxGroup {
    match group {
        KeyGroup::X25519MlKem768 => groups::X25519MLKEM768,
        KeyGroup::X25519 => groups::X25519,
        KeyGroup::Secp256r1 => groups::SECP256R1,
        KeyGroup::Secp384r1 => groups::SECP384R1,
    }
}

/// The versions that a profile speaks, the newest first.
pub(super) fn versions(profile: &TlsProfile) -> Vec<&'static SupportedProtocolVersion> {
    let spoken = profile.min_version..=profile.max_version;
    [(TlsVersion::V13, &rustls::version::TLS13), (TlsVersion::V12, &rustls::version::TLS12)]
        .into_iter()
        .filter(|(version, _)| spoken.contains(version))
        .map(|(_, version)| version)
        .collect()
}

/// The library's cryptography, as much of it as a profile allows.
//= TLS-PROFILE-01
pub(super) fn provider(profile: &TlsProfile) -> CryptoProvider {
    let spoken = profile.min_version..=profile.max_version;
    let every = || SUITES.iter().map(|(word, _)| *word).collect();
    let words: Vec<CipherSuite> =
        if profile.cipher_suites.is_empty() { every() } else { profile.cipher_suites.clone() };
    let suite = |word: &CipherSuite| SUITES.iter().find(|(ours, _)| ours == word).map(|(_, suite)| **suite);
    let kinds: Vec<KeyGroup> = match profile.groups.is_empty() {
        true => KeyGroup::ALL.iter().map(|(group, _)| *group).collect(),
        false => profile.groups.clone(),
    };
    CryptoProvider {
        cipher_suites: words
            .iter()
            .filter(|word| spoken.contains(&word.version()))
            .filter_map(suite)
            .collect(),
        kx_groups: kinds.into_iter().map(group).collect(),
        ..aws_lc_rs::default_provider()
    }
}
