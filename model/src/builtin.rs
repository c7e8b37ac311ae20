//! Objects that a system has from its first start, which clients look up by their names.
//!
//! They are documents like those of clients: checked, stored and shown in the same way, in the tenant `admin`, and seen
//! from every tenant. They can be changed and not deleted. What each host makes for itself is not in them: the key and
//! the certificate of `System-Default-Cert`, the addresses of the cluster's nodes, the password of the first user.

mod profile;
mod role;

use serde_json::{Value, json};

/// An object that a system has from its first start.
#[derive(Clone, Debug)]
pub struct BuiltIn {
    /// The path of its kind, as in `pool`.
    pub kind: &'static str,
    /// What a client would have sent to make it.
    pub document: Value,
}

impl BuiltIn {
    fn new(kind: &'static str, document: Value) -> Self {
        BuiltIn { kind, document }
    }

    /// Its name; empty for one that needs none, as there is just one of its kind.
    pub fn name(&self) -> &str {
        self.document.get("name").and_then(Value::as_str).unwrap_or_default()
    }
}

/// Every object of the first start, in an order in which each refers only to those before it.
pub fn objects() -> Vec<BuiltIn> {
    let mut all = vec![
        // Requests name this tenant by its uuid.
        BuiltIn::new(
            "tenant",
            json!({"name": "admin", "uuid": "admin", "local": true, "config_settings": {}}),
        ),
        BuiltIn::new("cloud", json!({"name": "Default-Cloud", "vtype": "CLOUD_NONE"})),
        BuiltIn::new(
            "vrfcontext",
            json!({"name": "global", "system_default": true, "cloud_ref": "/api/cloud?name=Default-Cloud"}),
        ),
        BuiltIn::new(
            "serviceenginegroup",
            json!({"name": "Default-Group", "cloud_ref": "/api/cloud?name=Default-Cloud"}),
        ),
    ];
    all.extend(profile::objects());
    all.extend(role::objects());
    all.extend([
        BuiltIn::new(
            "user",
            json!({
                "name": "admin", "username": "admin", "full_name": "System Administrator", "local": true,
                "is_superuser": true, "is_active": true, "default_tenant_ref": "/api/tenant/admin",
                "access": [{"role_ref": "/api/role?name=System-Admin", "all_tenants": true}]
            }),
        ),
        BuiltIn::new("systemconfiguration", json!({"portal_configuration": {}, "global_tenant_config": {}})),
        BuiltIn::new(
            "seproperties",
            json!({"se_agent_properties": {}, "se_bootup_properties": {}, "se_runtime_properties": {}}),
        ),
        BuiltIn::new("controllerproperties", json!({})),
        BuiltIn::new("cloudproperties", json!({"cc_props": {}})),
        BuiltIn::new("cluster", json!({"name": "cluster-0-1"})),
    ]);
    all
}

/// Says whether an object of this kind and name is one of the first start, which must not be deleted.
pub fn is_built_in(kind: &str, name: &str) -> bool {
    objects().iter().any(|object| object.kind == kind && object.name() == name)
}
