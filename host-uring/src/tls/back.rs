//! What connections to a pool's servers are secured with.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use forebay_snapshot::{Certificate, TlsProfile};
use rustls::client::{Resumption, WebPkiServerVerifier, danger::ServerCertVerifier};
use rustls::pki_types::ServerName;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};

use super::files::{self, Changed, Signature};
use super::judge::{Unjudged, Unnamed};
use super::remembered::Remembered;
use super::server::{provider, versions};
use crate::fault::Fault;

/// What the document says of how a pool's servers are reached.
#[derive(Clone, Debug, PartialEq)]
pub struct BackWanted {
    /// Versions, cipher suites, groups, and how long a session goes on.
    pub profile: TlsProfile,
    /// Authorities that are believed; `None`: whoever answers is.
    pub authorities: Option<String>,
    /// The certificate has to be for the name that is asked for.
    pub is_name_checked: bool,
    /// The name is told to the server.
    pub is_name_told: bool,
    /// The name that is asked for, where it is always the same.
    pub name: Option<String>,
    /// Who we are, for servers that ask.
    pub certificate: Option<Certificate>,
}

/// What connections to a pool's servers are secured with: certificates and keys as they were read, and all that follows
/// from the document. Connections keep the one that they were made by.
pub struct Back {
    wanted: BackWanted,
    files: Vec<(PathBuf, Option<Signature>)>,
    config: ClientConfig,
    /// The name that is asked for, where it is always the same.
    name: Option<ServerName<'static>>,
    /// The certificate that servers are shown.
    own: Vec<Arc<CertifiedKey>>,
}

impl Back {
    /// Reads the files.
    ///
    /// # Errors
    /// All that is wrong with them.
    //= TLS-SERVER-VERIFY-01
    pub fn load(wanted: &BackWanted, before: Option<&Back>) -> Result<Self, Vec<Fault>> {
        let provider = Arc::new(provider(&wanted.profile));
        let mut problems: Vec<Fault> = Vec::new();
        // Before they are read: what changes meanwhile is seen to be new.
        let files = named(wanted).map(|file| (file.to_owned(), files::signature(file).ok())).collect();
        let verifier: Option<Arc<dyn ServerCertVerifier>> = match &wanted.authorities {
            None => Some(Arc::new(Unjudged(Arc::clone(&provider)))),
            Some(file) => match authorities(file) {
                Err(why) => {
                    problems.push(why.into());
                    None
                }
                Ok(roots) => {
                    let roots = Arc::new(roots);
                    let by_name = WebPkiServerVerifier::builder_with_provider(
                        Arc::clone(&roots),
                        Arc::clone(&provider),
                    )
                    .build();
                    match by_name {
                        Ok(by_name) if wanted.is_name_checked => Some(by_name),
                        Ok(by_name) => {
                            Some(Arc::new(Unnamed { roots, by_name, provider: Arc::clone(&provider) }))
                        }
                        Err(why) => {
                            problems.push(format!("ca_file {file}: {why}").into());
                            None
                        }
                    }
                }
            },
        };
        //= TLS-SERVER-CERT-01
        let own = wanted.certificate.as_ref().map(|Certificate { name, chain_file, key_file, .. }| {
            let shown = before.map(|before| before.own.as_slice());
            let loaded =
                files::load(chain_file, key_file).and_then(|one| match one.unfit(name, chain_file, shown) {
                    Some(why) => Err(vec![why]),
                    None => Ok(one),
                });
            loaded.map_err(|why| problems.extend(why.iter().map(|why| Fault::of_certificate(name, why))))
        });
        let name = wanted.name.as_deref().map(|name| {
            super::client::server_name(name)
                .map_err(|why| problems.push(format!("server_name: {why}").into()))
        });
        let (Some(verifier), true) = (verifier, problems.is_empty()) else { return Err(problems) };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions(&wanted.profile))
            .map_err(|why| vec![Fault::from(format!("tls_profile \"{}\": {why}", wanted.profile.name))])?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let keys = own.iter().flatten().map(|own| Arc::clone(&own.key)).collect();
        let mut config = match own {
            Some(Ok(own)) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own.key))),
            _ => builder.with_no_client_auth(),
        };
        config.enable_sni = wanted.is_name_told;
        config.resumption = Resumption::disabled();
        Ok(Back { wanted: wanted.clone(), files, config, name: name.and_then(Result::ok), own: keys })
    }

    /// Says whether this is what the document wants, and the files are what they were when they were read.
    pub fn is_current(&self, wanted: &BackWanted) -> bool {
        self.wanted == *wanted && self.changed().next().is_none()
    }

    /// Files that have changed since they were read, as they are now.
    //= TLS-SERVER-RELOAD-01
    pub fn changed(&self) -> impl Iterator<Item = Changed> {
        files::changed(&self.files)
    }

    /// Says whether connections by different names are not the same.
    fn minds_names(&self) -> bool {
        self.wanted.is_name_told || (self.wanted.authorities.is_some() && self.wanted.is_name_checked)
    }
}

impl fmt::Debug for Back {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Back").field("wanted", &self.wanted).finish_non_exhaustive()
    }
}

/// Every file that is read.
fn named(wanted: &BackWanted) -> impl Iterator<Item = &Path> {
    let own = wanted.certificate.iter().flat_map(|own| [&own.chain_file, &own.key_file]);
    wanted.authorities.iter().chain(own).map(Path::new)
}

/// Authorities of a file.
pub(super) fn authorities(file: &str) -> Result<RootCertStore, String> {
    super::client::authorities(Path::new(file)).map_err(|unfit| {
        format!("{unfit}; name a file with certificates of authorities (PEM) that the engine's user may read")
    })
}

/// What is wrong with a file of authorities, with the remedy.
pub fn examine_authorities(file: &str) -> Option<String> {
    authorities(file).err()
}

/// How one server of a pool is reached.
#[derive(Debug)]
pub struct Reach {
    back: Arc<Back>,
    pub(super) config: Arc<ClientConfig>,
    /// The name that is asked for, where the request gives none.
    own: ServerName<'static>,
}

impl Reach {
    /// How the server at `address` is reached, which the document may call by a host name; `within` says what is spoken
    /// inside, the best first.
    pub fn new(back: &Arc<Back>, address: IpAddr, name: Option<&str>, within: &[&str]) -> Self {
        let mut config = back.config.clone();
        config.alpn_protocols = within.iter().map(|word| word.as_bytes().to_vec()).collect();
        //= TLS-SERVER-SESSION-01
        let lifetime_s = back.wanted.profile.session_lifetime_s;
        if lifetime_s > 0 {
            config.resumption = Resumption::store(Arc::new(Remembered::new(lifetime_s)));
        }
        let named = name.and_then(|name| super::client::server_name(name).ok());
        let own = back.name.clone().or(named).unwrap_or_else(|| ServerName::from(address));
        Reach { back: Arc::clone(back), config: Arc::new(config), own }
    }

    /// Says whether it goes by these files and settings.
    pub fn is_by(&self, back: &Arc<Back>) -> bool {
        Arc::ptr_eq(&self.back, back)
    }

    /// The name that a request's host means here; `None`: it means none.
    //= TLS-SERVER-NAME-01
    pub fn asked<'h>(&self, host: Option<&'h [u8]>) -> Option<&'h [u8]> {
        let host = host.filter(|_| self.back.name.is_none() && self.back.minds_names())?;
        let host = host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]")).unwrap_or(host);
        let host = host.strip_suffix(b".").unwrap_or(host);
        (!host.is_empty()).then_some(host)
    }

    /// The name as TLS takes it; `None`: it takes no such name.
    pub(super) fn name(&self, asked: Option<&[u8]>) -> Option<ServerName<'static>> {
        match asked {
            None => Some(self.own.clone()),
            Some(host) => {
                let host = std::str::from_utf8(host).ok()?.to_ascii_lowercase();
                ServerName::try_from(host).ok()
            }
        }
    }

    /// What a connection that was just secured can prove.
    pub fn proof(&self, asked: Option<&[u8]>) -> Proof {
        Proof { back: Arc::clone(&self.back), asked: asked.map(Box::from) }
    }
}

/// By what rules a connection was secured, and for which name of a request.
pub struct Proof {
    back: Arc<Back>,
    asked: Option<Box<[u8]>>,
}

impl Proof {
    /// Says whether it is one for requests that want this.
    //= TLS-SERVER-REUSE-01
    pub fn is_for(&self, reach: &Reach, asked: Option<&[u8]>) -> bool {
        let is_same = match (&self.asked, asked) {
            (Some(one), Some(other)) => one.eq_ignore_ascii_case(other),
            (None, None) => true,
            _ => false,
        };
        is_same && Arc::ptr_eq(&self.back, &reach.back)
    }
}
