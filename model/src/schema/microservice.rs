//! Applications that are many containers, and groups of them.

use super::common::{IP_ADDR, PORT_OR_0};
use super::rule::addresses;
use crate::field::{Message, Type};
use crate::field::{flag, int, list, message, text};
use crate::kind::{Kind, Scope};

static CONTAINER: Message = Message {
    name: "MicroServiceContainer",
    fields: &[
        text("container_id"),
        text("host"),
        message("ip", &IP_ADDR).required(),
        int("port", PORT_OR_0),
        text("task_id"),
    ],
};

/// The kinds of this file.
pub(super) static KINDS: &[&Kind] = &[&SERVICE, &GROUP];

/// An application.
static SERVICE: Kind = Kind {
    path: "microservice",
    name: "MicroService",
    permission: "PERMISSION_MICROSERVICE",
    scope: Scope::Tenant,
    dropped: &[],
    rules: &[addresses],
    fields: &[
        text("name").required(),
        text("application_name").required(),
        text("cloud_config_cksum"),
        list("containers", &Type::Message(&CONTAINER), 1024),
        flag("ip_list"),
        text("orchestrator_name").required(),
    ],
};

/// Applications that a policy names together.
static GROUP: Kind = Kind {
    path: "microservicegroup",
    name: "MicroServiceGroup",
    permission: "PERMISSION_MICROSERVICEGROUP",
    scope: Scope::Tenant,
    dropped: &[],
    rules: &[],
    fields: &[text("name").required(), list("service_refs", &Type::Ref("microservice"), 1024)],
};
