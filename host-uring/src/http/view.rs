//! The request as the decision core reads it.

use std::net::{IpAddr, SocketAddr};

use forebay_core::persist::tls::TlsId;
use forebay_core::request::{ClientAddr, RequestView};
use forebay_http::Known;
use forebay_http::h1::RequestHead;
use forebay_snapshot::profile::Network;

/// A parsed request in its buffer.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The bytes that were parsed.
    pub bytes: &'a [u8],
    /// The request.
    pub head: &'a RequestHead,
    /// Who asks.
    pub client: ClientAddr,
    /// What TLS knows of the client.
    pub tls: Option<TlsId<'static>>,
}

impl RequestView for View<'_> {
    fn client(&self) -> ClientAddr {
        self.client
    }

    fn method(&self) -> &[u8] {
        self.head.method_bytes(self.bytes)
    }

    fn host(&self) -> &[u8] {
        self.head.host(self.bytes).unwrap_or(b"")
    }

    fn uri(&self) -> &[u8] {
        let path = self.head.path;
        match self.head.query {
            Some(query) if !path.is_empty() => {
                // The query follows its path, with the question mark between them.
                self.bytes.get(path.start as usize..query.end as usize).unwrap_or(b"/")
            }
            _ => self.head.path(self.bytes),
        }
    }

    fn path(&self) -> &[u8] {
        self.head.path(self.bytes)
    }

    fn query(&self) -> Option<&[u8]> {
        self.head.query(self.bytes)
    }

    fn headers(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let known = Known::of(name.as_bytes());
        self.head.fields.iter().filter_map(move |field| {
            let same = if known == Known::Other {
                field.known == known && field.name.of(self.bytes).eq_ignore_ascii_case(name.as_bytes())
            } else {
                field.known == known
            };
            same.then(|| field.value.of(self.bytes))
        })
    }

    fn tls_id(&self) -> Option<TlsId<'_>> {
        self.tls
    }

    fn cookie_lines(&self) -> impl Iterator<Item = &[u8]> {
        self.head.fields.known(self.bytes, Known::Cookie)
    }
}

/// Who asks: the peer, or, if the peer is a trusted proxy, the last address in `X-Forwarded-For` that is not.
//= SE-CLIENT-01
pub fn client_of(peer: SocketAddr, trusted: &[Network], bytes: &[u8], head: &RequestHead) -> ClientAddr {
    let is_trusted = |ip: IpAddr| trusted.iter().any(|network| network.contains(ip));
    let mut client = ClientAddr::new(peer.ip().to_canonical(), peer.port());
    if trusted.is_empty() || !is_trusted(client.ip) {
        return client;
    }
    let lines = head.fields.iter().rev().filter(|field| field.known == Known::XForwardedFor);
    for line in lines {
        for item in line.value.of(bytes).rsplit(|b| *b == b',') {
            let Some(ip) = address(item.trim_ascii()) else { return client };
            client = ClientAddr::new(ip.to_canonical(), 0);
            if !is_trusted(client.ip) {
                return client;
            }
        }
    }
    client
}

/// An address as proxies write it: bare, in brackets, or with a port.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    if let Ok(ip) = text.parse() {
        return Some(ip);
    }
    if let Ok(with_port) = text.parse::<SocketAddr>() {
        return Some(with_port.ip());
    }
    text.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use forebay_http::Limits;
    use forebay_http::h1::parse_request;

    fn parsed(text: &str) -> RequestHead {
        let mut head = RequestHead::default();
        parse_request(text.as_bytes(), &Limits::default(), &mut head).expect("a request");
        head
    }

    //= test SE-CLIENT-01
    #[test]
    fn only_a_trusted_proxy_names_the_client() {
        let trusted: Vec<Network> = vec!["10.0.0.0/8".parse().expect("a network")];
        let text = "GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 6.6.6.6, 192.0.2.7\r\n\
                    X-Forwarded-For: [2001:db8::1], 10.1.1.1\r\n\r\n";
        let head = parsed(text);
        let who =
            |peer: &str| client_of(peer.parse().expect("an address"), &trusted, text.as_bytes(), &head).ip;
        assert_eq!(who("10.0.0.9:5"), "2001:db8::1".parse::<IpAddr>().expect("an address"));
        assert_eq!(who("[::ffff:10.0.0.9]:5"), "2001:db8::1".parse::<IpAddr>().expect("an address"));
        assert_eq!(who("192.0.2.1:5"), "192.0.2.1".parse::<IpAddr>().expect("an address"));
        let forged = "GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 6.6.6.6, what\r\n\r\n";
        let head = parsed(forged);
        let ip = client_of("10.0.0.9:5".parse().expect("an address"), &trusted, forged.as_bytes(), &head).ip;
        assert_eq!(
            ip,
            "10.0.0.9".parse::<IpAddr>().expect("an address"),
            "what cannot be read ends the search"
        );
    }

    #[test]
    fn path_and_query_are_read_as_they_came() {
        let text = "GET http://h/a/b?c=d HTTP/1.1\r\nHost: h\r\nX-Tenant: one\r\nx-tenant: two\r\n\r\n";
        let head = parsed(text);
        let view = View {
            bytes: text.as_bytes(),
            head: &head,
            client: ClientAddr::new("192.0.2.1".parse().expect("an address"), 1),
            tls: None,
        };
        assert_eq!(view.uri(), b"/a/b?c=d");
        assert_eq!(view.headers("x-tenant").collect::<Vec<_>>(), [b"one", b"two"]);
        assert_eq!(view.header("host"), Some(b"h".as_slice()));
    }
}
