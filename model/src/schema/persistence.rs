//! How a client comes back to its server.

use super::rule::{belongs, is_on, part, problem, text as read};
use crate::Problem;
use crate::field::{Message, Type};
use crate::field::{count, flag, int, keyed, message, one_of, text};
use crate::kind::{Kind, Object, Scope};

/// The kinds of this file.
pub(super) static KINDS: &[&Kind] = &[&PERSISTENCE];

static BY_ADDRESS: Message = Message {
    name: "IPPersistenceProfile",
    fields: &[
        int("ip_persistent_timeout", &[(1, 720)]).unit("min").or_int(5),
        // 0: the whole address.
        int("ip_mask", &[(0, 128)]),
    ],
};

static BY_COOKIE: Message = Message {
    name: "HttpCookiePersistenceProfile",
    fields: &[
        text("cookie_name"),
        flag("always_send_cookie").or_false(),
        // 0: for as long as the browser runs.
        int("timeout", &[(0, 0), (1, 14_400)]).unit("min"),
        flag("http_only").or_false(),
        flag("is_persistent_cookie").or_false(),
        text("encryption_key").secret(),
        keyed("key", &Type::Message(&COOKIE_KEY), 8, &["name"]),
        one_of("samesite", super::common::SAMESITE),
    ],
};

/// A key that cookies are sealed with.
pub(super) static COOKIE_KEY: Message = Message {
    name: "HttpCookiePersistenceKey",
    fields: &[text("name"), text("aes_key").secret(), text("hmac_key").secret()],
};

static BY_APP_COOKIE: Message = Message {
    name: "AppCookiePersistenceProfile",
    fields: &[
        text("prst_hdr_name").required(),
        int("timeout", &[(1, 720)]).unit("min").or_int(20),
        text("encryption_key").secret(),
    ],
};

static BY_HEADER: Message = Message { name: "HdrPersistenceProfile", fields: &[text("prst_hdr_name")] };

static BY_DIAMETER: Message = Message {
    name: "DiameterAVPPersistenceProfile",
    fields: &[
        one_of(
            "avp_key_type",
            &[
                "SESSION_ID",
                "ORIGIN_HOST",
                "ORIGIN_REALM",
                "DESTINATION_HOST",
                "DESTINATION_REALM",
                "APPLICATION_ID",
            ],
        )
        .or_text("SESSION_ID"),
        count("timeout").unit("s"),
    ],
};

/// How a client comes back to its server.
static PERSISTENCE: Kind = Kind {
    path: "applicationpersistenceprofile",
    name: "ApplicationPersistenceProfile",
    permission: "PERMISSION_APPLICATIONPERSISTENCEPROFILE",
    scope: Scope::Tenant,
    dropped: &[],
    rules: &[part_fits_type, type_has_its_part],
    fields: &[
        text("name").required(),
        one_of(
            "persistence_type",
            &[
                "PERSISTENCE_TYPE_CLIENT_IP_ADDRESS",
                "PERSISTENCE_TYPE_HTTP_COOKIE",
                "PERSISTENCE_TYPE_TLS",
                "PERSISTENCE_TYPE_CLIENT_IPV6_ADDRESS",
                "PERSISTENCE_TYPE_CUSTOM_HTTP_HEADER",
                "PERSISTENCE_TYPE_APP_COOKIE",
                "PERSISTENCE_TYPE_GSLB_SITE",
                "PERSISTENCE_TYPE_APP_DIAMETER",
            ],
        )
        .required()
        .or_text("PERSISTENCE_TYPE_CLIENT_IP_ADDRESS"),
        one_of(
            "server_hm_down_recovery",
            &["HM_DOWN_PICK_NEW_SERVER", "HM_DOWN_ABORT_CONNECTION", "HM_DOWN_CONTINUE_PERSISTENT_SERVER"],
        )
        .or_text("HM_DOWN_PICK_NEW_SERVER"),
        message("ip_persistence_profile", &BY_ADDRESS),
        message("http_cookie_persistence_profile", &BY_COOKIE),
        message("app_cookie_persistence_profile", &BY_APP_COOKIE),
        message("hdr_persistence_profile", &BY_HEADER),
        message("diameter_app_persistence_profile", &BY_DIAMETER),
        int("persistence_update_interval", &[(1, 30)]).unit("min"),
        flag("is_federated").or_false(),
    ],
};

fn part_fits_type(profile: &Object, problems: &mut Vec<Problem>) {
    let parts: &[(&str, &[&str])] = &[
        (
            "ip_persistence_profile",
            &["PERSISTENCE_TYPE_CLIENT_IP_ADDRESS", "PERSISTENCE_TYPE_CLIENT_IPV6_ADDRESS"],
        ),
        ("http_cookie_persistence_profile", &["PERSISTENCE_TYPE_HTTP_COOKIE", "PERSISTENCE_TYPE_GSLB_SITE"]),
        ("app_cookie_persistence_profile", &["PERSISTENCE_TYPE_APP_COOKIE"]),
        ("hdr_persistence_profile", &["PERSISTENCE_TYPE_CUSTOM_HTTP_HEADER"]),
        ("diameter_app_persistence_profile", &["PERSISTENCE_TYPE_APP_DIAMETER"]),
    ];
    belongs(profile, "", "persistence_type", parts, problems);
}

fn type_has_its_part(profile: &Object, problems: &mut Vec<Problem>) {
    let lacks = |name: &str| !profile.contains_key(name);
    match read(profile, "persistence_type") {
        "PERSISTENCE_TYPE_APP_COOKIE" if lacks("app_cookie_persistence_profile") => problems.push(problem(
            "app_cookie_persistence_profile",
            "it is missing, and clients are known by a cookie of their application",
            "name the cookie: {\"prst_hdr_name\": …}",
        )),
        "PERSISTENCE_TYPE_CUSTOM_HTTP_HEADER"
            if part(profile, "hdr_persistence_profile")
                .is_none_or(|by| read(by, "prst_hdr_name").is_empty()) =>
        {
            problems.push(problem(
                "hdr_persistence_profile.prst_hdr_name",
                "it is missing, and clients are known by a header",
                "name the header",
            ));
        }
        "PERSISTENCE_TYPE_GSLB_SITE" if !is_on(profile, "is_federated") => problems.push(problem(
            "is_federated",
            "clients come back to their site only where all sites know the profile",
            "set it to true",
        )),
        _ => {}
    }
}
