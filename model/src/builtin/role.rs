//! The roles of the first start.
//!
//! Their names are those that clients know; what each may do is this product's choice, as nobody publishes it resource by
//! resource. Each role names every resource, so that a new one is granted to nobody by being forgotten.

use serde_json::{Value, json};

use super::BuiltIn;
use crate::schema::PERMISSIONS;

/// What a service is made of, and what watches it.
const APPLICATION: &[&str] = &[
    "VIRTUALSERVICE",
    "VIRTUALSERVICE_MAINTENANCE",
    "POOL",
    "POOL_MAINTENANCE",
    "POOLGROUP",
    "POOLGROUPDEPLOYMENTPOLICY",
    "PRIORITYLABELS",
    "HEALTHMONITOR",
    "NETWORKPROFILE",
    "APPLICATIONPROFILE",
    "APPLICATIONPERSISTENCEPROFILE",
    "HTTPPOLICYSET",
    "L4POLICYSET",
    "DNSPOLICY",
    "IPADDRGROUP",
    "STRINGGROUP",
    "VSDATASCRIPTSET",
    "PROTOCOLPARSER",
    "ANALYTICSPROFILE",
    "AUTOSCALE",
    "TRAFFICCLONEPROFILE",
    "ERRORPAGEPROFILE",
    "ERRORPAGEBODY",
    "MICROSERVICE",
    "MICROSERVICEGROUP",
    "GSLBSERVICE",
    "GSLBSERVICE_GROUP",
    "ICAP",
    "FILE_OBJECT",
    "TRAFFIC_CAPTURE",
];

/// Certificates, and who gets through.
const SECURITY: &[&str] = &[
    "SSLPROFILE",
    "SSLKEYANDCERTIFICATE",
    "PKIPROFILE",
    "CERTIFICATEMANAGEMENTPROFILE",
    "HARDWARESECURITYMODULEGROUP",
    "NETWORKSECURITYPOLICY",
    "SECURITYPOLICY",
    "AUTHPROFILE",
    "SSOPOLICY",
    "PINGACCESSAGENT",
    "JWTSERVERPROFILE",
    "JWTPROFILE",
    "CSRFPOLICY",
];

/// What looks for attacks within requests.
const WAF: &[&str] = &[
    "WAFPOLICY",
    "WAFPROFILE",
    "WAFPOLICYPSMGROUP",
    "WAFCRS",
    "BOTDETECTIONPOLICY",
    "IPREPUTATIONDB",
    "GEODB",
];

/// What services stand on.
const PLACES: &[&str] = &[
    "CLOUD",
    "SERVICEENGINE",
    "SERVICEENGINEGROUP",
    "NETWORK",
    "NETWORKSERVICE",
    "NATPOLICY",
    "VRFCONTEXT",
    "IPAMDNSPROVIDERPROFILE",
    "CUSTOMIPAMDNSPROFILE",
    "GSLB",
    "GSLBGEODBPROFILE",
];

/// What tells people.
const ALERTS: &[&str] = &[
    "ALERT",
    "ALERTCONFIG",
    "ALERTEMAILCONFIG",
    "ALERTSYSLOGCONFIG",
    "ACTIONGROUPCONFIG",
    "SNMPTRAPPROFILE",
];

/// Who may do what within a tenant.
const PEOPLE: &[&str] = &["USER", "ROLE", "LABELGROUP"];

/// A role: its name, what it may change, and what it may see besides.
struct Grant {
    name: &'static str,
    writes: &'static [&'static [&'static str]],
    reads: &'static [&'static [&'static str]],
}

/// The roles that may not do everything.
const GRANTS: [Grant; 5] = [
    Grant {
        name: "Tenant-Admin",
        writes: &[APPLICATION, SECURITY, WAF, ALERTS, PEOPLE],
        reads: &[PLACES, &["TENANT"]],
    },
    Grant { name: "Application-Admin", writes: &[APPLICATION], reads: &[SECURITY, WAF, ALERTS, PLACES] },
    Grant { name: "Application-Operator", writes: &[], reads: &[APPLICATION, ALERTS, PLACES] },
    Grant { name: "Security-Admin", writes: &[SECURITY], reads: &[APPLICATION, WAF, ALERTS] },
    Grant { name: "WAF-Admin", writes: &[WAF], reads: &[APPLICATION, SECURITY, ALERTS] },
];

pub(super) fn objects() -> Vec<BuiltIn> {
    let all = role("System-Admin", |_| "WRITE_ACCESS");
    let some = GRANTS.iter().map(|grant| {
        let stands = |among: &[&[&str]], resource: &str| among.iter().any(|group| group.contains(&resource));
        role(grant.name, |resource| {
            if stands(grant.writes, resource) {
                "WRITE_ACCESS"
            } else if stands(grant.reads, resource) {
                "READ_ACCESS"
            } else {
                "NO_ACCESS"
            }
        })
    });
    std::iter::once(all).chain(some).collect()
}

/// A role with what `access` says for each resource, which is named without its front.
fn role(name: &str, access: impl Fn(&str) -> &'static str) -> BuiltIn {
    let privileges: Vec<Value> = PERMISSIONS
        .iter()
        .map(|resource| {
            let bare = resource.strip_prefix("PERMISSION_").unwrap_or(resource);
            json!({"resource": resource, "type": access(bare)})
        })
        .collect();
    BuiltIn::new("role", json!({"name": name, "privileges": privileges}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_names_resources_that_there_are_and_each_once() {
        let mut seen = std::collections::BTreeSet::new();
        for name in [APPLICATION, SECURITY, WAF, PLACES, ALERTS, PEOPLE].concat() {
            assert!(PERMISSIONS.contains(&format!("PERMISSION_{name}").as_str()), "{name}");
            assert!(seen.insert(name), "{name} stands twice");
        }
    }
}
