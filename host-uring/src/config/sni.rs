//! Where a service that passes TLS on sends its clients.

use std::collections::BTreeMap;

use forebay_snapshot::VirtualService;

use super::Target;

/// Where clients go by the name that they ask for.
#[derive(Debug)]
pub struct Sni {
    /// By the whole name, in lower case.
    exact: BTreeMap<String, Target>,
    /// By what follows the star and its dot.
    wildcard: BTreeMap<String, Target>,
    /// Who asks for another name, or for none.
    others: Option<Target>,
    /// Microseconds for a client's first message.
    pub hello_us: u64,
}

impl Sni {
    /// The routes of a service, `resolve` finding the pool or group of each; `None`: it has none.
    pub(super) fn of(
        service: &VirtualService,
        others: Option<Target>,
        hello_us: u64,
        resolve: impl Fn(Option<&str>, Option<&str>) -> Option<Target>,
    ) -> Option<Self> {
        if service.sni_routes.is_empty() {
            return None;
        }
        let (mut exact, mut wildcard) = (BTreeMap::new(), BTreeMap::new());
        for route in &service.sni_routes {
            let Some(target) = resolve(route.pool.as_deref(), route.pool_group.as_deref()) else { continue };
            for name in &route.names {
                let name = name.to_ascii_lowercase();
                match name.strip_prefix("*.") {
                    Some(rest) => wildcard.insert(rest.to_owned(), target),
                    None => exact.insert(name, target),
                };
            }
        }
        Some(Sni { exact, wildcard, others, hello_us })
    }

    /// Everywhere that it leads.
    pub(super) fn targets(&self) -> impl Iterator<Item = Target> {
        self.exact.values().chain(self.wildcard.values()).chain(&self.others).copied()
    }

    /// Where a client goes that asks for `name`, in lower case, and whether a route has that name: the whole name first,
    /// then a wildcard for exactly its first label. `None`: it is refused.
    //= TLS-PASS-01
    pub fn lead(&self, name: Option<&str>) -> Option<(Target, bool)> {
        let own = name.and_then(|name| self.exact.get(name));
        let above = || name.and_then(|name| self.wildcard.get(name.split_once('.')?.1));
        match own.or_else(above) {
            Some(target) => Some((*target, true)),
            None => self.others.map(|target| (target, false)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::PoolIndex;
    use super::*;
    use forebay_snapshot::sni::SniRoute;

    //= test TLS-PASS-01
    #[test]
    fn a_whole_name_goes_before_a_wildcard_and_that_stands_for_one_label() {
        let route = |name: &str, pool: &str| SniRoute {
            names: vec![name.to_owned()],
            pool: Some(pool.to_owned()),
            pool_group: None,
        };
        let service = VirtualService {
            sni_routes: vec![route("*.App.test", "1"), route("www.app.test", "2"), route("app.test", "3")],
            ..VirtualService::default()
        };
        let resolve =
            |pool: Option<&str>, _: Option<&str>| pool?.parse().ok().map(PoolIndex).map(Target::Pool);
        let to = |others: Option<usize>, name: Option<&str>| {
            let others = others.map(PoolIndex).map(Target::Pool);
            let sni = Sni::of(&service, others, 1, resolve).expect("it has routes");
            sni.lead(name).map(|(target, is_named)| match target {
                Target::Pool(pool) => (pool.0, is_named),
                Target::Group(_) => unreachable!("there is none"),
            })
        };
        assert_eq!(to(None, Some("www.app.test")), Some((2, true)));
        assert_eq!(to(None, Some("api.app.test")), Some((1, true)));
        assert_eq!(to(None, Some("app.test")), Some((3, true)));
        assert_eq!(to(None, Some("a.b.app.test")), None);
        assert_eq!(to(Some(9), Some("a.b.app.test")), Some((9, false)));
        assert_eq!((to(None, None), to(Some(9), None)), (None, Some((9, false))));
        assert_eq!(to(None, Some("test")), None);
    }
}
