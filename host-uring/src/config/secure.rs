//! What a service's clients are served TLS with: as the document says, and as it was read from files.

use std::sync::{Arc, OnceLock};

use forebay_core::units::Seconds;
use forebay_snapshot::tls::{ClientCertificateMode, TicketKey};
use forebay_snapshot::{Certificate, PkiProfile, Protocol, TlsProfile, VirtualService};

use super::{Service, Tree, name_id};
use crate::fault::Fault;
use crate::limits::sizes::part_of;
use crate::tls::{Asked, Changed, Front, Wanted};

/// What a service's clients are served TLS with. Files can fail to be read, so they are read once the tree stands, and
/// before it is published.
#[derive(Debug)]
pub struct Secure {
    wanted: Wanted,
    front: OnceLock<Arc<Front>>,
}

impl Secure {
    pub(super) fn wants(wanted: Wanted) -> Self {
        Secure { wanted, front: OnceLock::new() }
    }

    /// How long a session lasts.
    pub fn session_lifetime(&self) -> Seconds {
        Seconds(self.wanted.profile.session_lifetime_s)
    }

    /// Who of its clients shows a certificate, and by which profile it is judged. What is in its lists by now is not asked
    /// of a connection that stands.
    fn clients(&self) -> Option<(ClientCertificateMode, &str)> {
        self.wanted.clients.as_ref().map(|asked| (asked.mode, asked.pki.name.as_str()))
    }

    /// What was read.
    ///
    /// # Panics
    /// Nothing was: a tree whose files were not read is never published.
    pub fn front(&self) -> &Arc<Front> {
        self.front.get().expect("read before the tree is published")
    }
}

/// What the document says of a service's TLS by one of its profiles; `None`: its clients speak none.
pub(super) fn wanted(
    service: &VirtualService,
    profile: &str,
    (certificates, profiles, trusted, ticket_keys): (
        &[Certificate],
        &[TlsProfile],
        &[PkiProfile],
        &[TicketKey],
    ),
    http2: bool,
) -> Option<Wanted> {
    let of = |name: &String| certificates.iter().find(|one| one.name == *name).cloned();
    let certificates: Vec<Certificate> = service.certificates.iter().filter_map(of).collect();
    if certificates.is_empty() {
        return None;
    }
    let asks = &service.client_certificate;
    let pki = trusted.iter().find(|profile| asks.pki_profile.as_ref() == Some(&profile.name));
    let profile = profiles.iter().find(|one| one.name == profile);
    Some(Wanted {
        certificates,
        profile: profile.cloned().unwrap_or_default(),
        service: name_id(&service.name),
        ticket_keys: ticket_keys.to_vec(),
        clients: pki
            .filter(|_| asks.mode != ClientCertificateMode::None)
            .map(|pki| Asked { mode: asks.mode, pki: pki.clone() }),
        alpn: match service.protocol {
            Protocol::Http if http2 => &["h2", "http/1.1", "http/1.0"],
            Protocol::Http => &["http/1.1", "http/1.0"],
            Protocol::Tcp | Protocol::Udp => &[],
        },
    })
}

impl Service {
    /// What its clients are served TLS with: by its own profile first, then by those of single hosts.
    fn secured(&self) -> impl Iterator<Item = &Secure> {
        self.tls.iter().chain(&self.hosts.fronts)
    }

    /// The same of a service and profile that it has had before: its own by whatever name, a host's by its name.
    fn secured_as(&self, place: usize, profile: &str) -> Option<&Secure> {
        match place {
            0 => self.tls.as_ref(),
            _ => self.hosts.fronts.iter().find(|secure| secure.wanted.profile.name == profile),
        }
    }

    /// Says whether a connection that the one has let in is one that the other would have let in: what it speaks, and
    /// who of its clients must show a certificate, is the same.
    //= TLS-CLIENT-01
    pub fn lets_in_as(&self, other: &Self) -> bool {
        let [own, others] = [self, other].map(|service| service.tls.as_ref().map(Secure::clients));
        self.protocol == other.protocol && own == others
    }
}

impl Tree {
    /// Reads the certificates and keys of all services, and those of pools; what `before` has read of the same files stays.
    ///
    /// # Errors
    /// All that is wrong with them.
    //= TLS-RELOAD-02
    pub fn read_certificates(&self, before: Option<&Tree>) -> Result<(), Vec<Fault>> {
        let mut problems = self.read_backs(before);
        for service in &self.services {
            for (place, secure) in service.secured().enumerate() {
                let old = before.and_then(|before| before.front_of(service.id.0, place, secure));
                let kept = old.clone().filter(|front| front.is_current(&secure.wanted));
                let load = || Front::load(&secure.wanted, old.as_deref()).map(Arc::new);
                match kept.map_or_else(load, Ok) {
                    Ok(front) => {
                        let _ = secure.front.set(front);
                    }
                    Err(why) => {
                        let name = &service.name;
                        let of = |why: Fault| {
                            why.or_of("virtual_service", name).within(&format!("virtual_service \"{name}\""))
                        };
                        problems.extend(why.into_iter().map(of));
                    }
                }
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// The fronts of all services whose clients speak TLS.
    pub fn fronts(&self) -> impl Iterator<Item = &Arc<Front>> {
        self.services.iter().flat_map(Service::secured).map(Secure::front)
    }

    /// Shares out the memory for sessions by ID: to each service what it may have, or its part of that if there is less.
    //= TLS-ID-03
    pub fn bound_sessions(&self, bytes: u64) {
        let wanted: u64 = self.fronts().map(|front| front.session_bytes()).sum();
        for front in self.fronts() {
            front.bound_sessions(part_of(bytes, front.session_bytes(), wanted));
        }
    }

    /// Takes over what `before` has read, for a tree of the same document: what its files hold by now does not count.
    pub fn keep_certificates(&self, before: &Tree) -> Result<(), Vec<Fault>> {
        for service in &self.services {
            for (place, secure) in service.secured().enumerate() {
                if let Some(front) = before.front_of(service.id.0, place, secure) {
                    let _ = secure.front.set(front);
                }
            }
        }
        let is_missing = |secure: &Secure| secure.front.get().is_none();
        let are_kept = self.keep_backs(before);
        match are_kept && !self.services.iter().flat_map(Service::secured).any(is_missing) {
            true => Ok(()),
            false => self.read_certificates(None),
        }
    }

    /// Files of certificates and keys that have changed since they were read, as they are now.
    pub fn changed_certificates(&self) -> Vec<Changed> {
        let secured = self.services.iter().flat_map(Service::secured);
        secured.flat_map(|secure| secure.front().changed()).chain(self.changed_backs()).collect()
    }

    /// What was read for a service, at the place among those that it has now.
    fn front_of(&self, service: u32, place: usize, secure: &Secure) -> Option<Arc<Front>> {
        let service = self.services.iter().find(|one| one.id.0 == service)?;
        service.secured_as(place, &secure.wanted.profile.name)?.front.get().cloned()
    }
}
