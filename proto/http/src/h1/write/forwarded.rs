//! `X-Forwarded-*`, `Forwarded` and `Via`: who asked, on which port, by which hops.

use alloc::vec::Vec;
use core::fmt::Write as _;
use core::net::{IpAddr, Ipv4Addr};

use super::edit::{self, FieldEdit};
use super::{elements, line};
use crate::Known;
use crate::h1::fields::Fields;

/// What happens to a forwarding field that the client sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Policy {
    /// Goes on as it came.
    Keep,
    /// Our part is added behind what came: the sender is believed. `X-Forwarded-Proto` and `-Port` have room for
    /// one value only: there ours is written if none came.
    Append,
    /// As [`Policy::Append`] if the field came and can be read, else nothing is written.
    Extend,
    /// Only our part is written: the sender is not believed.
    Replace,
    /// Neither what came nor ours is written.
    Remove,
}

/// Policies for all forwarding fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Forwarding {
    /// `X-Forwarded-For`: the client's address.
    pub x_forwarded_for: Policy,
    /// `X-Forwarded-Proto`: `http` or `https`.
    pub x_forwarded_proto: Policy,
    /// `X-Forwarded-Port`: the port that the client connected to.
    pub x_forwarded_port: Policy,
    /// `Forwarded` (RFC 7239).
    pub forwarded: Policy,
}

impl Default for Forwarding {
    /// The chain of addresses grows; what the client claims about scheme and port is replaced.
    fn default() -> Forwarding {
        Forwarding {
            x_forwarded_for: Policy::Append,
            x_forwarded_proto: Policy::Replace,
            x_forwarded_port: Policy::Replace,
            forwarded: Policy::Extend,
        }
    }
}

/// The connection that a request came on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The client's address.
    pub client: IpAddr,
    /// The port that it connected to.
    pub port: u16,
    /// The connection is TLS.
    pub tls: bool,
}

impl Hop {
    fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }
}

/// The fields that are written here and not taken over as they are.
pub(super) struct Plan {
    policies: [(Known, Policy); 4],
}

impl Plan {
    /// Without a hop everything stays as it came. An edit that sets or removes a field has the last word.
    pub(super) fn new(how: Forwarding, hop: Option<&Hop>, edits: &[FieldEdit<'_>]) -> Plan {
        let mut policies = [
            (Known::XForwardedFor, how.x_forwarded_for),
            (Known::XForwardedProto, how.x_forwarded_proto),
            (Known::XForwardedPort, how.x_forwarded_port),
            (Known::Forwarded, how.forwarded),
        ];
        for (known, policy) in &mut policies {
            if hop.is_none() || (!edits.is_empty() && edit::decides(edits, *known)) {
                *policy = Policy::Keep;
            }
        }
        Plan { policies }
    }

    /// Says whether a line goes on as it came.
    #[inline]
    pub(super) fn keeps(&self, known: Known) -> bool {
        let mut policies = self.policies.iter();
        policies.find(|(k, _)| *k == known).is_none_or(|(_, policy)| *policy == Policy::Keep)
    }

    /// Writes our lines.
    //= H1-FWD-01
    //= H1-FWD-02
    //= H1-FWD-03
    pub(super) fn write(&self, buf: &[u8], fields: &Fields, hop: &Hop, out: &mut Vec<u8>) {
        for &(known, policy) in &self.policies {
            if matches!(policy, Policy::Keep | Policy::Remove) {
                continue;
            }
            let mut came = fields.iter().filter(|f| f.known == known && !f.drop).map(|f| f.value.of(buf));
            let believed = policy != Policy::Replace;
            let mut first = came.next().filter(|_| believed);
            if known == Known::Forwarded
                && first
                    .is_some_and(|value| !elements::is_list(value) || !came.clone().all(elements::is_list))
            {
                first = None;
            }
            if policy == Policy::Extend && first.is_none() {
                continue;
            }
            out.extend_from_slice(known.name().as_bytes());
            out.extend_from_slice(b": ");
            if first.is_some() && matches!(known, Known::XForwardedProto | Known::XForwardedPort) {
                out.extend_from_slice(first.unwrap_or(b""));
            } else {
                while let Some(value) = first {
                    if !value.is_empty() {
                        out.extend_from_slice(value);
                        out.extend_from_slice(b", ");
                    }
                    first = came.next();
                }
                own(known, hop, out);
            }
            out.extend_from_slice(b"\r\n");
        }
    }
}

fn own(known: Known, hop: &Hop, out: &mut Vec<u8>) {
    match known {
        Known::XForwardedFor => match hop.client {
            // With every request of almost every service: without the machinery of formatting.
            IpAddr::V4(client) => dotted(client, out),
            IpAddr::V6(client) => text(out, format_args!("{client}")),
        },
        Known::XForwardedProto => out.extend_from_slice(hop.scheme().as_bytes()),
        Known::XForwardedPort => super::number(out, u64::from(hop.port)),
        _ => match hop.client {
            IpAddr::V4(client) => text(out, format_args!("for={client};proto={}", hop.scheme())),
            // RFC 7239 4: a colon needs quotes.
            IpAddr::V6(client) => text(out, format_args!("for=\"[{client}]\";proto={}", hop.scheme())),
        },
    }
}

fn dotted(client: Ipv4Addr, out: &mut Vec<u8>) {
    for (at, part) in client.octets().into_iter().enumerate() {
        if at > 0 {
            out.push(b'.');
        }
        super::number(out, u64::from(part));
    }
}

/// Writes `Via` with our hop behind those that came.
//= H1-VIA-01
pub(super) fn via(buf: &[u8], fields: &Fields, version: &str, name: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"Via: ");
    for value in fields.known(buf, Known::Via).filter(|v| !v.is_empty()) {
        out.extend_from_slice(value);
        out.extend_from_slice(b", ");
    }
    out.extend_from_slice(version.as_bytes());
    out.push(b' ');
    out.extend_from_slice(name);
    out.extend_from_slice(b"\r\n");
}

fn text(out: &mut Vec<u8>, args: core::fmt::Arguments<'_>) {
    struct Bytes<'a>(&'a mut Vec<u8>);
    impl core::fmt::Write for Bytes<'_> {
        fn write_str(&mut self, s: &str) -> core::fmt::Result {
            self.0.extend_from_slice(s.as_bytes());
            Ok(())
        }
    }
    // Writing to a vector does not fail.
    let _ = Bytes(out).write_fmt(args);
}

/// Writes a line whose value is made by the caller; used for names that are constants.
pub(super) fn constant(out: &mut Vec<u8>, known: Known, value: &[u8]) {
    line(out, known.name().as_bytes(), value);
}
