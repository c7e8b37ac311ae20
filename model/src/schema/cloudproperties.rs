//! What holds for clouds as a whole, and where the Controllers themselves stand.
//!
//! Left out: `controller_props` of a kind of clouds, which repeats `controllerproperties`.

use super::cloud::CLOUDS;
use super::common::U32;
use super::engine_group::FLAVOR;
use super::infra::{HYPERVISORS, I31};
use crate::field::{Message, Type};
use crate::field::{int, keyed, list, message, one_of, refers, text};
use crate::kind::{Kind, Scope};

static CONNECTOR: Message = Message {
    name: "CC_Properties",
    fields: &[int("rpc_poll_interval", U32).or_int(60).unit("s"), int("rpc_queue_size", U32).or_int(100)],
};

static AGENT: Message = Message {
    name: "CC_AgentProperties",
    fields: &[
        int("async_retries", U32).or_int(5),
        int("async_retries_delay", U32).or_int(10).unit("s"),
        int("poll_duration_target", U32).or_int(10).unit("s"),
        int("poll_fast_target", U32).or_int(60).unit("s"),
        int("poll_slow_target", U32).or_int(240).unit("s"),
        int("vcenter_host_ping_interval", U32).or_int(300).unit("s"),
        int("vcenter_inventory_max_object_updates", U32).or_int(100),
        int("vcenter_max_datastore_go_routines", U32).or_int(20),
        int("vcenter_reconcile_interval", U32).or_int(3600).unit("s"),
        int("vnic_retries", U32).or_int(60),
        int("vnic_retries_delay", U32).or_int(5).unit("s"),
    ],
};

static HYPERVISOR: Message = Message {
    name: "Hypervisor_Properties",
    fields: &[one_of("htype", HYPERVISORS).required(), int("max_ips_per_nic", I31), int("max_nics", I31)],
};

static CLOUD: Message = Message {
    name: "CloudInfo",
    fields: &[
        message("cca_props", &AGENT),
        keyed("flavor_props", &Type::Message(&FLAVOR), 1024, &["id"]),
        text("flavor_regex_filter"),
        list("htypes", &Type::Enum(HYPERVISORS), HYPERVISORS.len()),
        one_of("vtype", CLOUDS).required(),
    ],
};

static AZURE: Message = Message {
    name: "AzureClusterInfo",
    fields: &[
        refers("cloud_credential_ref", "cloudconnectoruser").required(),
        text("subscription_id").required(),
    ],
};

/// The kinds of this file.
pub(super) static KINDS: &[&Kind] = &[&PROPERTIES, &DETAILS];

/// What holds for every cloud.
static PROPERTIES: Kind = Kind {
    path: "cloudproperties",
    name: "CloudProperties",
    permission: "PERMISSION_CLOUD",
    scope: Scope::Single,
    dropped: &[],
    rules: &[],
    fields: &[
        message("cc_props", &CONNECTOR),
        list("cc_vtypes", &Type::Enum(CLOUDS), CLOUDS.len()),
        keyed("hyp_props", &Type::Message(&HYPERVISOR), HYPERVISORS.len(), &["htype"]),
        keyed("info", &Type::Message(&CLOUD), CLOUDS.len(), &["vtype"]),
    ],
};

/// How the Controllers' own address is set in a cloud.
static DETAILS: Kind = Kind {
    path: "clusterclouddetails",
    name: "ClusterCloudDetails",
    permission: "PERMISSION_CONTROLLER",
    scope: Scope::Tenant,
    dropped: &[],
    rules: &[],
    fields: &[text("name").required(), message("azure_info", &AZURE)],
};
