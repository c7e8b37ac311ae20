//! Writes what rules change: the target of the request, the address of a redirect.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use super::compile::Step;
use super::config::Redirect;
use super::evaluate::Outcome;
use super::path::{self, Slash};
use crate::request::RequestView;

/// Where a rewritten target goes.
pub type RewriteTarget = Vec<u8>;

/// Whether the target was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rewritten {
    /// No rule rewrites it: send the request's own.
    No,
    /// The new path and query were written.
    Yes,
}

impl Outcome<'_> {
    /// Writes the path and query for the server, if a rule changes them.
    ///
    /// Rewriting begins from the path without dot segments; a prefix is found as rules compare, so what was matched is
    /// what is replaced.
    //= POL-REWRITE-01
    pub fn rewrite<R: RequestView>(&self, request: &R, out: &mut RewriteTarget) -> Rewritten {
        let touches = |s: &Step| matches!(s, Step::SetPath(_) | Step::ReplacePrefix(..) | Step::SetQuery(_));
        if !self.steps().any(touches) {
            return Rewritten::No;
        }
        path::resolved(request.path(), out);
        let mut query = request.query();
        for step in self.steps() {
            match step {
                Step::SetPath(path) => {
                    out.clear();
                    out.extend_from_slice(path.as_bytes());
                }
                Step::ReplacePrefix(from, to) => {
                    replace_prefix(out, from.as_bytes(), to.as_bytes(), self.policy.widest());
                }
                Step::SetQuery(q) => query = Some(q.as_bytes()).filter(|q| !q.is_empty()),
                _ => {}
            }
        }
        if let Some(q) = query {
            out.push(b'?');
            out.extend_from_slice(q);
        }
        Rewritten::Yes
    }
}

/// Replaces `from` at the beginning of a path, whole segments only: `/api` is a prefix of `/api/x`, not of
/// `/apix`. A doubled slash at the seam becomes one.
fn replace_prefix(path: &mut Vec<u8>, from: &[u8], to: &[u8], slash: Slash) {
    let Some(mut keep) = path::prefix_len(path, from, slash) else { return };
    if to.ends_with(b"/") {
        // Parameters of a segment that is gone, with more behind it, would be an empty segment's.
        let parameters = path.get(keep) == Some(&b';');
        let slash = path[keep..].iter().position(|b| *b == b'/');
        keep += slash.filter(|at| parameters || *at == 0).map_or(0, |at| at + 1);
    }
    let separated =
        path.get(keep).is_none_or(|b| matches!(b, b'/' | b';')) || is_escaped_slash(&path[keep..], slash);
    let needs_slash = !to.ends_with(b"/") && !separated;
    path.splice(..keep, to.iter().copied().chain(needs_slash.then_some(b'/')));
}

fn is_escaped_slash(path: &[u8], slash: Slash) -> bool {
    slash == Slash::Separator && path.starts_with(b"%2F")
}

impl Redirect {
    /// Writes the value of the `Location` field; `tls`: the request came encrypted; `local`: the address that the client
    /// connected to, for a request that names no host (HTTP/1.0).
    //= POL-REDIRECT-01
    //= POL-REDIRECT-02
    pub fn write_location<R: RequestView>(
        &self,
        request: &R,
        tls: bool,
        local: SocketAddr,
        out: &mut Vec<u8>,
    ) {
        let own = if tls { "https" } else { "http" };
        let scheme = self.scheme.as_deref().unwrap_or(own);
        out.extend_from_slice(scheme.as_bytes());
        out.extend_from_slice(b"://");
        // Another scheme is another port: the request's port belongs to its own scheme.
        let with_port = scheme == own;
        let asked = request.host();
        match &self.host {
            Some(host) => out.extend_from_slice(host.as_bytes()),
            // Rare enough to pay for the text each time.
            None if asked.is_empty() && with_port => out.extend_from_slice(local.to_string().as_bytes()),
            None if asked.is_empty() => match local.ip() {
                IpAddr::V4(ip) => out.extend_from_slice(ip.to_string().as_bytes()),
                IpAddr::V6(ip) => out.extend_from_slice(format!("[{ip}]").as_bytes()),
            },
            None if with_port => {
                // The field has the port; a host in the target takes the field's place.
                let field = request.header("host").filter(|field| field.starts_with(asked));
                out.extend_from_slice(field.unwrap_or(asked));
            }
            None => out.extend_from_slice(asked),
        }
        match &self.path {
            Some(path) => out.extend_from_slice(path.as_bytes()),
            None => out.extend_from_slice(request.path()),
        }
        if let Some(query) = request.query().filter(|_| self.keep_query) {
            out.push(b'?');
            out.extend_from_slice(query);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= test POL-REWRITE-01
    #[test]
    fn a_prefix_is_replaced_by_whole_segments() {
        for (path, from, to, result) in [
            ("/api/x", "/api", "/v2", "/v2/x"),
            ("/apix", "/api", "/v2", "/apix"),
            ("/api", "/api", "/", "/"),
            ("/api/x", "/api", "/", "/x"),
            ("/api/x", "/api/", "/v2", "/v2/x"),
            ("/api/x", "/", "/in", "/in/api/x"),
            ("/api;v=1/x", "/api", "/v2", "/v2;v=1/x"),
            ("/api;v=1/x", "/api", "/", "/x"),
            ("/api;v=1", "/api", "/", "/;v=1"),
        ] {
            let mut p = path.as_bytes().to_vec();
            replace_prefix(&mut p, from.as_bytes(), to.as_bytes(), Slash::Refused);
            assert_eq!(core::str::from_utf8(&p), Ok(result), "{path} {from} {to}");
        }
    }
}
