//! The TLS session: a ticket, or a session id for clients without tickets.
//!
//! A ticket leaves before the first request is read. Where the choice needs no request (L4 with TLS), the
//! ticket carries the server. Elsewhere it carries a 16-byte client id, kept through every renewal, whose
//! server stands in the table. There is no renegotiation. A ticket is good for the virtual service and the
//! client-authentication policy that it was issued under, and for no other.

use alloc::vec::Vec;

use super::{ClientKey, Found};
use crate::id::{ServerId, VsId};
use crate::limits::TLS_SESSION_ID_MAX;
use crate::problem::Problem;
use crate::units::Seconds;

/// The settings of TLS persistence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct Tls {
    /// The ticket carries the server itself: for services whose choice needs no request.
    pub carry_server: bool,
    /// How long an entry lives: the TLS profile's session timeout.
    pub lifetime: Seconds,
}

impl Default for Tls {
    fn default() -> Self {
        Self { carry_server: false, lifetime: Seconds(86_400) }
    }
}

/// A digest of the client-authentication policy: a session that was made without a client certificate must
/// not be resumed where one is demanded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct AuthPolicy(pub u32);

/// What the TLS layer knows of a returning client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsId<'r> {
    /// The ticket that the client presented, opened and accepted by
    /// [`accept`], or the one that this handshake issues.
    Ticket(Ticket),
    /// The session id of a client without tickets, 1 to 32 bytes.
    Session(&'r [u8]),
}

/// What a ticket holds of ours, inside what the TLS library seals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Ticket {
    /// The virtual service that issued it.
    pub vs: VsId,
    /// The client-authentication policy that it was issued under.
    pub auth: AuthPolicy,
    /// Who the client is: random at first, then kept.
    pub client: [u8; 16],
    /// The server, where the ticket carries it.
    pub server: Option<ServerId>,
}

/// Length of an encoded ticket, in bytes.
pub const TICKET_LEN: usize = 34;

impl Ticket {
    /// Returns the ticket's bytes.
    pub fn encode(&self) -> [u8; TICKET_LEN] {
        let mut out = [0u8; TICKET_LEN];
        out[0] = 1;
        out[1..5].copy_from_slice(&self.vs.0.to_le_bytes());
        out[5..9].copy_from_slice(&self.auth.0.to_le_bytes());
        out[9..25].copy_from_slice(&self.client);
        out[25] = u8::from(self.server.is_some());
        out[26..].copy_from_slice(&self.server.map_or(0, |s| s.0).to_le_bytes());
        out
    }

    /// Reads a ticket; `None` if the bytes are not exactly one of a version we know.
    //= PERS-TLS-05
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; TICKET_LEN] = bytes.try_into().ok()?;
        let (head, rest) = bytes.split_first_chunk::<9>()?;
        let (client, rest) = rest.split_first_chunk::<16>()?;
        let (carries, rest) = rest.split_first()?;
        let server = u64::from_le_bytes(rest.try_into().ok()?);
        let [1, v0, v1, v2, v3, a0, a1, a2, a3] = *head else { return None };
        let server = match (*carries, server) {
            (0, 0) => None,
            (1, id) => Some(ServerId(id)),
            _ => return None,
        };
        Some(Self {
            vs: VsId(u32::from_le_bytes([v0, v1, v2, v3])),
            auth: AuthPolicy(u32::from_le_bytes([a0, a1, a2, a3])),
            client: *client,
            server,
        })
    }
}

/// Why a ticket that opened is not accepted: the handshake goes on in full, as for a new client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Issued by another virtual service.
    OtherService,
    /// Issued under another client-authentication policy.
    OtherAuthPolicy,
}

/// Judges an opened ticket for the virtual service `vs`.
///
/// # Errors
/// [`Refused`] if the session must not be resumed here.
//= PERS-TLS-04
pub fn accept(ticket: Ticket, vs: VsId, auth: AuthPolicy) -> Result<Ticket, Refused> {
    if ticket.vs != vs {
        Err(Refused::OtherService)
    } else if ticket.auth != auth {
        Err(Refused::OtherAuthPolicy)
    } else {
        Ok(ticket)
    }
}

/// Returns the ticket that a handshake issues: the accepted one's client id lives on, a new client gets
/// `fresh` (16 random bytes of the host).
//= PERS-TLS-02
pub fn issue(accepted: Option<Ticket>, vs: VsId, auth: AuthPolicy, fresh: [u8; 16]) -> Ticket {
    match accepted {
        Some(ticket) => Ticket { vs, auth, ..ticket },
        None => Ticket { vs, auth, client: fresh, server: None },
    }
}

impl Tls {
    pub(super) fn check(&self, out: &mut Vec<Problem>) {
        if self.lifetime.0 == 0 {
            out.push(Problem::new(
                "lifetime_s",
                "entries would expire at once",
                "write 1 or more, usual is 86400",
            ));
        }
    }

    //= PERS-TLS-01
    //= PERS-TLS-03
    pub(super) fn find<'r>(&self, id: Option<TlsId<'r>>) -> Found<'r> {
        match id {
            Some(TlsId::Ticket(Ticket { server: Some(server), .. })) if self.carry_server => {
                Found::Carried(server)
            }
            Some(TlsId::Ticket(_)) if self.carry_server => Found::Absent,
            Some(TlsId::Ticket(ticket)) => Found::Key(ClientKey::Plain(ticket.client)),
            Some(TlsId::Session([])) => Found::Absent,
            Some(TlsId::Session(id)) if id.len() > TLS_SESSION_ID_MAX => Found::TooLong,
            Some(TlsId::Session(id)) => Found::Key(ClientKey::Opaque(id)),
            None => Found::Absent,
        }
    }
}
