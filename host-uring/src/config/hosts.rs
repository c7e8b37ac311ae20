//! Hosts of a service that are served otherwise than its others.

use std::collections::BTreeMap;

use forebay_snapshot::{HttpProfile, VirtualService};

use super::Secure;

/// The longest name that is looked up.
const NAME_BYTES_MAX: usize = 255;

/// Which hosts have profiles of their own.
#[derive(Debug, Default)]
pub struct Hosts {
    /// By the whole name, in lower case: the place in `of`.
    exact: BTreeMap<Box<[u8]>, usize>,
    /// By what follows the star, the longest first.
    ends: Vec<(Box<[u8]>, usize)>,
    /// What they have.
    pub of: Vec<Own>,
    /// What clients are served TLS with who ask for one of them: one for each profile.
    pub fronts: Vec<Secure>,
}

/// What some hosts of a service have.
#[derive(Debug)]
pub struct Own {
    /// Time-outs, limits, header habits; `None`: the service's.
    pub http: Option<HttpProfile>,
    /// The place in [`Hosts::fronts`]; `None`: what the service has.
    pub front: Option<usize>,
}

impl Hosts {
    /// Those of a service; `secure` makes what a profile of TLS wants.
    pub(super) fn of(
        service: &VirtualService,
        profiles: &[HttpProfile],
        secure: impl Fn(&str) -> Option<Secure>,
    ) -> Self {
        let mut hosts = Hosts::default();
        let mut by_profile: BTreeMap<&str, usize> = BTreeMap::new();
        for own in &service.hosts {
            let front = own.tls_profile.as_deref().filter(|name| *name != service.tls_profile);
            let front = front.and_then(|name| {
                if let Some(at) = by_profile.get(name) {
                    return Some(*at);
                }
                hosts.fronts.push(secure(name)?);
                by_profile.insert(name, hosts.fronts.len() - 1);
                Some(hosts.fronts.len() - 1)
            });
            let http = own.http_profile.as_ref().map(|name| {
                profiles.iter().find(|profile| profile.name == *name).cloned().unwrap_or_default()
            });
            let at = hosts.of.len();
            for name in own.names.iter().map(|name| name.to_ascii_lowercase().into_bytes()) {
                match name.strip_prefix(b"*") {
                    Some(end) => hosts.ends.push((end.into(), at)),
                    None => {
                        hosts.exact.insert(name.into(), at);
                    }
                }
            }
            hosts.of.push(Own { http, front });
        }
        hosts.ends.sort_by(|(a, _), (b, _)| b.len().cmp(&a.len()).then(a.cmp(b)));
        hosts
    }

    /// The place in [`Hosts::of`] of a host, without its port; `None`: it has nothing of its own.
    //= SE-HOST-01
    pub fn find(&self, host: &[u8]) -> Option<usize> {
        if self.of.is_empty() {
            return None;
        }
        let host = host.strip_suffix(b".").unwrap_or(host);
        let mut lower = [0; NAME_BYTES_MAX];
        let name = lower.get_mut(..host.len())?;
        name.copy_from_slice(host);
        name.make_ascii_lowercase();
        let name = &*name;
        let above = || self.ends.iter().find(|(end, _)| name.len() > end.len() && name.ends_with(end));
        self.exact.get(name).copied().or_else(|| above().map(|(_, at)| *at))
    }

    /// The place in [`Hosts::fronts`] for who asks for this host; `None`: that of the service.
    pub fn front(&self, host: &[u8]) -> Option<usize> {
        self.of.get(self.find(host)?)?.front
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forebay_snapshot::hosts::OwnHosts;

    //= test SE-HOST-01
    #[test]
    fn a_whole_name_goes_before_a_star_and_a_longer_one_of_those_before_a_shorter_one() {
        let own = |names: &[&str]| OwnHosts {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            http_profile: Some("p".to_owned()),
            tls_profile: None,
        };
        let service = VirtualService {
            hosts: vec![own(&["*.test", "b.test"]), own(&["*.A.test"]), own(&["www.a.test"])],
            ..VirtualService::default()
        };
        let hosts = Hosts::of(&service, &[], |_| None);
        for (host, at) in [
            ("www.a.test", Some(2)),
            ("WWW.a.test.", Some(2)),
            ("x.www.a.test", Some(1)),
            ("b.A.test", Some(1)),
            ("a.test", Some(0)),
            ("b.test", Some(0)),
            ("test", None),
            (".test", None),
            ("", None),
            (&"x".repeat(300), None),
        ] {
            assert_eq!(hosts.find(host.as_bytes()), at, "{host}");
        }
    }
}
