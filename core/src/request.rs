//! What the core may read of a request.

use core::net::IpAddr;

use crate::persist::tls::TlsId;

/// The client as the decision sees it: the peer, or what a trusted PROXY header or X-Forwarded-For names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ClientAddr {
    /// Source address.
    pub ip: IpAddr,
    /// Source port; 0 where it is not known.
    pub port: u16,
}

impl ClientAddr {
    /// Makes an address from its parts.
    pub const fn new(ip: IpAddr, port: u16) -> Self {
        Self { ip, port }
    }
}

/// A read view of one request. Names of fields are lower case; values are bytes, without surrounding white
/// space. For connections without HTTP, [`NoHttp`] is the view.
pub trait RequestView {
    /// The client's address and port.
    fn client(&self) -> ClientAddr;
    /// Request method, as it was sent.
    fn method(&self) -> &[u8];
    /// Host the request is for, without the port.
    fn host(&self) -> &[u8];
    /// Path and query of the target as they were sent: what a hash by URI reads.
    fn uri(&self) -> &[u8];
    /// Path of the target, from the first slash up to `?`.
    fn path(&self) -> &[u8];
    /// Query of the target without `?`; `None` if there is no `?`.
    fn query(&self) -> Option<&[u8]>;
    /// Values of all fields called `name` (lower case), in order.
    fn headers(&self, name: &str) -> impl Iterator<Item = &[u8]>;
    /// Value of the first field called `name` (lower case).
    fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers(name).next()
    }
    /// All `Cookie` field values. A host that knows where they are overrides this.
    fn cookie_lines(&self) -> impl Iterator<Item = &[u8]> {
        self.headers("cookie")
    }
    /// What TLS knows of the client.
    fn tls_id(&self) -> Option<TlsId<'_>> {
        None
    }
}

/// The view of a connection that carries no HTTP.
#[derive(Clone, Copy, Debug)]
pub struct NoHttp<'r> {
    /// The client.
    pub client: ClientAddr,
    /// What TLS knows of it.
    pub tls: Option<TlsId<'r>>,
}

impl RequestView for NoHttp<'_> {
    fn client(&self) -> ClientAddr {
        self.client
    }
    fn method(&self) -> &[u8] {
        b""
    }
    fn host(&self) -> &[u8] {
        b""
    }
    fn uri(&self) -> &[u8] {
        b""
    }
    fn path(&self) -> &[u8] {
        b""
    }
    fn query(&self) -> Option<&[u8]> {
        None
    }
    fn headers(&self, _name: &str) -> impl Iterator<Item = &[u8]> {
        core::iter::empty()
    }
    fn tls_id(&self) -> Option<TlsId<'_>> {
        self.tls
    }
}
