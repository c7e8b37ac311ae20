//! One lookup of a host name: the hosts file, then the name servers.

use std::net::IpAddr;
use std::time::Duration;

use forebay_snapshot::engine::{Dns, Family};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::RecordType;

use crate::limits::{NAME_ADDRESSES_MAX, NAME_ASK_MS, NAME_ASKS_MAX, NAME_LOOKUP_S};

/// Asks the name servers of the configuration or of the system.
pub(super) struct Resolver {
    inner: TokioResolver,
    family: Family,
}

/// What a lookup gave.
#[derive(Debug)]
pub(super) struct Answer {
    /// The addresses in order, without any twice.
    pub(super) addresses: Vec<IpAddr>,
    /// Addresses beyond the bound of one name.
    pub(super) left_out: usize,
    /// How long they are good for, as the name server says.
    pub(super) ttl: Duration,
}

/// Why an address of one family was not found.
enum Missing {
    /// There is none, or no such name.
    None(String),
    /// Nobody knows.
    Unknown(String),
}

impl Resolver {
    /// By the settings of the configuration, and the system's files as they are now.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub(super) fn new(dns: &Dns) -> Result<Self, String> {
        let provider = TokioRuntimeProvider::default;
        let mut builder = if dns.servers.is_empty() {
            TokioResolver::builder(provider()).unwrap_or_else(|error| {
                // The hosts file is there all the same.
                tracing::warn!(%error, "no name servers in /etc/resolv.conf; only the hosts file is read");
                let none = ResolverConfig::from_parts(None, Vec::new(), Vec::new());
                TokioResolver::builder_with_config(none, provider())
            })
        } else {
            let server = |address: &std::net::SocketAddr| {
                let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
                    connection.port = address.port();
                    connection
                });
                NameServerConfig::new(address.ip(), true, connections.into())
            };
            let servers = dns.servers.iter().map(server).collect();
            let config = ResolverConfig::from_parts(None, Vec::new(), servers);
            let mut options = ResolverOpts::default();
            options.timeout = Duration::from_millis(NAME_ASK_MS);
            options.attempts = NAME_ASKS_MAX;
            TokioResolver::builder_with_config(config, provider()).with_options(options)
        };
        let options = builder.options_mut();
        // When to ask again is decided by who asks.
        options.cache_size = 0;
        // The TTL of an alias counts as well.
        options.preserve_intermediates = true;
        let inner = builder.build().map_err(|error| error.to_string())?;
        Ok(Self { inner, family: dns.family })
    }

    /// Looks a name up.
    ///
    /// # Errors
    /// Why there is no address, in words for people.
    //= NAME-BOUND-01
    pub(super) async fn look_up(&self, name: &str) -> Result<Answer, String> {
        let limit = Duration::from_secs(NAME_LOOKUP_S);
        let (mut addresses, ttl) = tokio::time::timeout(limit, self.by_family(name))
            .await
            .map_err(|_| format!("no answer within {NAME_LOOKUP_S} s"))??;
        addresses.sort_unstable();
        addresses.dedup();
        let left_out = addresses.len().saturating_sub(NAME_ADDRESSES_MAX);
        addresses.truncate(NAME_ADDRESSES_MAX);
        Ok(Answer { addresses, left_out, ttl: Duration::from_secs(ttl.into()) })
    }

    async fn by_family(&self, name: &str) -> Result<(Vec<IpAddr>, u32), String> {
        let (first, second) = match self.family {
            Family::Ipv4First => (RecordType::A, RecordType::AAAA),
            Family::Ipv6First => (RecordType::AAAA, RecordType::A),
            Family::Both => {
                let both = tokio::join!(self.of(name, RecordType::A), self.of(name, RecordType::AAAA));
                return match both {
                    (Ok((mut v4, ttl)), Ok((v6, other))) => {
                        v4.extend(v6);
                        Ok((v4, ttl.min(other)))
                    }
                    // Half an answer would take servers out that may well be there.
                    (Err(Missing::Unknown(why)), _) | (_, Err(Missing::Unknown(why))) => Err(why),
                    (Ok(one), Err(Missing::None(_))) | (Err(Missing::None(_)), Ok(one)) => Ok(one),
                    (Err(Missing::None(why)), Err(Missing::None(_))) => Err(why),
                };
            }
        };
        match self.of(name, first).await {
            Ok(found) => Ok(found),
            Err(Missing::Unknown(why)) => Err(why),
            Err(Missing::None(why)) => self.of(name, second).await.map_err(|missing| match missing {
                Missing::None(_) => why,
                Missing::Unknown(other) => other,
            }),
        }
    }

    /// The addresses of one family, with the least TTL of all that led to them.
    async fn of(&self, name: &str, family: RecordType) -> Result<(Vec<IpAddr>, u32), Missing> {
        let found = self.inner.lookup(name, family).await.map_err(|error| missing(&error))?;
        let records = found.answers();
        let addresses: Vec<IpAddr> = records.iter().filter_map(|record| record.data.ip_addr()).collect();
        if addresses.is_empty() {
            return Err(Missing::None("the name has no address".to_owned()));
        }
        Ok((addresses, records.iter().map(|record| record.ttl).min().unwrap_or(0)))
    }
}

fn missing(error: &NetError) -> Missing {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
            ResponseCode::NXDomain => Missing::None("there is no such name (NXDOMAIN)".to_owned()),
            ResponseCode::NoError => Missing::None("the name has no address".to_owned()),
            code => Missing::Unknown(format!("the name server answered: {code}")),
        },
        NetError::Dns(DnsError::ResponseCode(code)) => {
            Missing::Unknown(format!("the name server answered: {code}"))
        }
        NetError::NoConnections => Missing::Unknown("no name server can be asked".to_owned()),
        NetError::Timeout => Missing::Unknown("no name server answered in time".to_owned()),
        other => Missing::Unknown(other.to_string()),
    }
}
