//! Field names that mean something to a proxy, recognised once while parsing.

macro_rules! known {
    ($($variant:ident = $name:literal,)*) => {
        /// A field name that this crate or the engine acts upon; everything else is [`Known::Other`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Known {
            /// Any other name.
            Other,
            $(#[doc = concat!("`", $name, "`")] $variant,)*
        }

        impl Known {
            /// All names but [`Known::Other`].
            pub const ALL: &[Known] = &[$(Known::$variant),*];

            /// Returns the name in its usual spelling; empty for [`Known::Other`].
            pub const fn name(self) -> &'static str {
                match self {
                    Known::Other => "",
                    $(Known::$variant => $name,)*
                }
            }
        }
    };
}

known! {
    Accept = "Accept",
    Age = "Age",
    Authorization = "Authorization",
    CacheControl = "Cache-Control",
    Connection = "Connection",
    ContentEncoding = "Content-Encoding",
    ContentLength = "Content-Length",
    ContentRange = "Content-Range",
    ContentType = "Content-Type",
    Cookie = "Cookie",
    Date = "Date",
    Expect = "Expect",
    Forwarded = "Forwarded",
    Host = "Host",
    Http2Settings = "HTTP2-Settings",
    KeepAlive = "Keep-Alive",
    Location = "Location",
    MaxForwards = "Max-Forwards",
    Origin = "Origin",
    Proxy = "Proxy",
    ProxyAuthenticate = "Proxy-Authenticate",
    ProxyAuthorization = "Proxy-Authorization",
    ProxyConnection = "Proxy-Connection",
    Range = "Range",
    RetryAfter = "Retry-After",
    Server = "Server",
    SetCookie = "Set-Cookie",
    Te = "TE",
    Trailer = "Trailer",
    TransferEncoding = "Transfer-Encoding",
    Upgrade = "Upgrade",
    UserAgent = "User-Agent",
    Via = "Via",
    XForwardedFor = "X-Forwarded-For",
    XForwardedHost = "X-Forwarded-Host",
    XForwardedPort = "X-Forwarded-Port",
    XForwardedProto = "X-Forwarded-Proto",
}

/// The longest name in the table.
const LONGEST: usize = 19;

/// `BY_LENGTH[n]`: the names of `n` bytes, so that most names are told apart by length and first letter.
static BY_LENGTH: [[Known; 5]; LONGEST + 1] = by_length();

const fn by_length() -> [[Known; 5]; LONGEST + 1] {
    let mut table = [[Known::Other; 5]; LONGEST + 1];
    let mut i = 0;
    while i < Known::ALL.len() {
        let known = Known::ALL[i];
        let n = known.name().len();
        let mut slot = 0;
        while !matches!(table[n][slot], Known::Other) {
            slot += 1; // more than five of one length: a compile error here
        }
        table[n][slot] = known;
        i += 1;
    }
    table
}

impl Known {
    /// Recognises a field name, in any case.
    #[inline]
    pub fn of(name: &[u8]) -> Known {
        let (Some(candidates), Some(first)) = (BY_LENGTH.get(name.len()), name.first()) else {
            return Known::Other;
        };
        for &known in candidates {
            if known == Known::Other {
                break;
            }
            let text = known.name().as_bytes();
            if text[0] | 0x20 == first | 0x20 && name.eq_ignore_ascii_case(text) {
                return known;
            }
        }
        Known::Other
    }

    /// Recognises a name that becomes a known one when `_` is read as `-`, as CGI-like servers do.
    pub(crate) fn lookalike(name: &[u8]) -> Known {
        if name.len() > LONGEST {
            return Known::Other;
        }
        let mut copy = [0; LONGEST];
        for (to, from) in copy.iter_mut().zip(name) {
            *to = if *from == b'_' { b'-' } else { *from };
        }
        Known::of(&copy[..name.len()])
    }

    /// Fields that concern one connection only and are never forwarded (RFC 9110 7.6.1, RFC 7540 3.2.1).
    ///
    /// `Proxy` is no field at all, but CGI servers turn it into `HTTP_PROXY`.
    pub(crate) fn is_hop_by_hop(self) -> bool {
        use Known::*;
        matches!(
            self,
            Connection
                | Http2Settings
                | KeepAlive
                | Proxy
                | ProxyAuthenticate
                | ProxyAuthorization
                | ProxyConnection
                | Te
                | TransferEncoding
                | Upgrade
        )
    }

    /// Fields that `Connection` cannot remove: the sender would decide for the server who asks, for what, how long.
    pub(crate) fn is_protected(self) -> bool {
        use Known::*;
        matches!(
            self,
            Authorization
                | CacheControl
                | ContentEncoding
                | ContentLength
                | ContentRange
                | ContentType
                | Cookie
                | Date
                | Expect
                | Forwarded
                | Host
                | Location
                | MaxForwards
                | Origin
                | Range
                | SetCookie
                | Trailer
                | TransferEncoding
                | Via
                | XForwardedFor
                | XForwardedHost
                | XForwardedPort
                | XForwardedProto
        )
    }

    /// Fields that must not come as trailers (RFC 9110 6.5.1): framing, routing, authentication, content and
    /// control of the response.
    pub(crate) fn is_forbidden_trailer(self) -> bool {
        use Known::*;
        self.is_hop_by_hop() || self.is_protected() || matches!(self, Age | RetryAfter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_name_is_recognised_in_any_case() {
        for &known in Known::ALL {
            let name = known.name();
            assert_eq!(Known::of(name.as_bytes()), known);
            assert_eq!(Known::of(name.to_ascii_lowercase().as_bytes()), known);
            assert_eq!(Known::of(name.to_ascii_uppercase().as_bytes()), known);
            assert_eq!(Known::lookalike(name.replace('-', "_").as_bytes()), known);
        }
        assert_eq!(Known::of(b""), Known::Other);
        assert_eq!(Known::of(b"x-unheard-of"), Known::Other);
        assert_eq!(Known::of(b"\x08ost"), Known::Other);
    }
}
