//! The table of persistence kinds: API, documents and tests read it.

use crate::reason::names;

/// A persistence kind's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum KindName {
    /// A cookie that we insert.
    HttpCookie,
    /// A cookie that the server sets.
    AppCookie,
    /// A header with values assigned to servers.
    CustomHeader,
    /// The client's address.
    ClientIp,
    /// The TLS session.
    Tls,
    /// The site cookie of a global service.
    GslbSite,
    /// A key that a script or a rule computes.
    KeyValue,
}

names!(KindName {
    HttpCookie => "http_cookie", AppCookie => "app_cookie", CustomHeader => "custom_header",
    ClientIp => "client_ip", Tls => "tls", GslbSite => "gslb_site", KeyValue => "key_value",
});

/// Where a kind remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// The client carries it; no memory of ours.
    Client,
    /// The service engine's table.
    Table,
    /// The ticket where the choice needs no request, else the table.
    TicketOrTable,
    /// The configuration.
    Configuration,
}

/// One kind.
#[derive(Clone, Copy, Debug)]
pub struct KindEntry {
    /// Its name.
    pub name: KindName,
    /// Its names in the API; the first one is written.
    pub api_names: &'static [&'static str],
    /// Where it remembers.
    pub memory: Memory,
    /// What it does, in one sentence.
    pub doc: &'static str,
}

/// All kinds. Consistent hash, which is algorithm and persistence at once, stands among the algorithms.
pub const KINDS: [KindEntry; 7] = [
    KindEntry {
        name: KindName::HttpCookie,
        api_names: &["PERSISTENCE_TYPE_HTTP_COOKIE"],
        memory: Memory::Client,
        doc: "A sealed cookie that we insert names the server.",
    },
    KindEntry {
        name: KindName::AppCookie,
        api_names: &["PERSISTENCE_TYPE_APP_COOKIE"],
        memory: Memory::Table,
        doc: "The application's own session cookie, learned from its responses.",
    },
    KindEntry {
        name: KindName::CustomHeader,
        api_names: &["PERSISTENCE_TYPE_CUSTOM_HTTP_HEADER"],
        memory: Memory::Configuration,
        doc: "A header's value names the server that it is assigned to.",
    },
    KindEntry {
        name: KindName::ClientIp,
        api_names: &["PERSISTENCE_TYPE_CLIENT_IP_ADDRESS", "PERSISTENCE_TYPE_CLIENT_IPV6_ADDRESS"],
        memory: Memory::Table,
        doc: "The client's address; the countdown starts when its last connection has closed.",
    },
    KindEntry {
        name: KindName::Tls,
        api_names: &["PERSISTENCE_TYPE_TLS"],
        memory: Memory::TicketOrTable,
        doc: "The TLS ticket carries the server or a client id; session ids stand in for tickets.",
    },
    KindEntry {
        name: KindName::GslbSite,
        api_names: &["PERSISTENCE_TYPE_GSLB_SITE"],
        memory: Memory::Client,
        doc: "A sealed cookie names the site; another site proxies the request there.",
    },
    KindEntry {
        name: KindName::KeyValue,
        api_names: &[],
        memory: Memory::Table,
        doc: "A script or a rule computes the key: persist(key, lifetime, pool).",
    },
];

impl KindName {
    /// The kind's line of the table.
    pub fn entry(self) -> &'static KindEntry {
        &KINDS[self as usize]
    }

    /// Finds a kind by its short name or its API name.
    pub fn parse(name: &str) -> Option<Self> {
        KINDS.iter().find(|k| k.name.as_str() == name || k.api_names.contains(&name)).map(|k| k.name)
    }
}
