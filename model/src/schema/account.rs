//! Who may do what: tenants, users, roles, and where passwords are checked.
//!
//! Left out: the agent of PingAccess in `authprofile`, whose form nobody publishes any more.

use super::common::{KEY_VALUE, PORT, U32};
use super::permission::PERMISSIONS;
use super::rule::{self, once, problem};
use crate::Problem;
use crate::field::{Message, TEXT, Type};
use crate::field::{flag, int, keyed, list, long_text, message, one_of, refers, text};
use crate::kind::{Kind, MARKER, Object, Scope};

/// The longest document of an identity provider, bytes.
const METADATA_BYTES_MAX: usize = 1024 * 1024;

/// How deep a directory is searched.
const DEPTHS: &[&str] = &["AUTH_LDAP_SCOPE_BASE", "AUTH_LDAP_SCOPE_ONE", "AUTH_LDAP_SCOPE_SUBTREE"];

static APP_QUOTA: Message =
    Message { name: "AppQuotaConfig", fields: &[int("vs_limit", &[(-1, 65_535)]).or_int(-1)] };

/// What a tenant may use of the licence.
pub static QUOTA: Message = Message {
    name: "QuotaConfig",
    fields: &[
        int("limit", &[(-1, 9_223_372_036_854_775_806)]).or_int(-1),
        int("reservation", &[(0, i64::MAX)]),
    ],
};

/// How a tenant shares engines with others.
pub static TENANT_SETTINGS: Message = Message {
    name: "TenantConfiguration",
    fields: &[
        message("app_quota", &APP_QUOTA),
        flag("enable_tenant_binding"),
        message("license_quota", &QUOTA),
        flag("se_in_provider_context").or_true(),
        flag("tenant_access_to_provider_se").or_true(),
        flag("tenant_vrf").or_false(),
    ],
};

/// The kinds of this file.
pub(super) static KINDS: &[&Kind] = &[&TENANT, &USER, &ROLE, &ACCOUNT_PROFILE, &AUTH_PROFILE];

/// A part of the system with objects of its own.
static TENANT: Kind = Kind {
    path: "tenant",
    name: "Tenant",
    permission: "PERMISSION_TENANT",
    scope: Scope::System,
    dropped: &[],
    rules: &[],
    fields: &[
        text("name").required(),
        keyed("attrs", &Type::Message(&KEY_VALUE), 64, &["key"]),
        message("config_settings", &TENANT_SETTINGS),
        flag("enforce_label_group").or_false(),
        list("label_group_refs", &Type::Ref("labelgroup"), 64),
        flag("local").or_true(),
    ],
};

static USER_ROLE: Message = Message {
    name: "UserRole",
    fields: &[flag("all_tenants").or_false(), refers("role_ref", "role"), refers("tenant_ref", "tenant")],
};

/// A person, or a program that acts for one.
static USER: Kind = Kind {
    path: "user",
    name: "User",
    permission: "PERMISSION_USER",
    scope: Scope::System,
    dropped: &[],
    rules: &[],
    fields: &[
        text("name").required(),
        keyed("access", &Type::Message(&USER_ROLE), 1024, &["tenant_ref", "role_ref"]),
        flag("anonymous_user"),
        text("date_joined"),
        refers("default_tenant_ref", "tenant"),
        text("email"),
        flag("enable_config_warnings"),
        text("full_name"),
        flag("is_active").or_true(),
        flag("is_internal_user"),
        flag("is_staff"),
        flag("is_superuser").or_false(),
        flag("is_vcfa_user"),
        flag("local"),
        flag("logged_in"),
        text("password").secret(),
        flag("passwordless"),
        text("recovery_token").secret(),
        flag("service_user"),
        text("token_expiration_date"),
        long_text("ui_property", 65536),
        int("uid", U32),
        text("unix_crypt_password").secret(),
        refers("user_profile_ref", "useraccountprofile"),
        text("username"),
    ],
};

static SUBRESOURCE: Message = Message {
    name: "SubResource",
    fields: &[
        flag("exclude_subresources"),
        list(
            "subresources",
            &Type::Enum(&[
                "SUBRESOURCE_POOL_ENABLED",
                "SUBRESOURCE_POOL_SERVERS",
                "SUBRESOURCE_POOL_SERVER_ENABLED",
                "SUBRESOURCE_VIRTUALSERVICE_ENABLED",
                "SUBRESOURCE_VIRTUALSERVICE_AUTO_ALLOCATE_FLOATING_IP",
                "SUBRESOURCE_GSLBSERVICE_ENABLED",
                "SUBRESOURCE_GSLBSERVICE_GROUPS",
                "SUBRESOURCE_GSLBSERVICE_GROUP_ENABLED",
                "SUBRESOURCE_GSLBSERVICE_GROUP_MEMBERS",
                "SUBRESOURCE_GSLBSERVICE_GROUP_MEMBER_ENABLED",
            ]),
            10,
        ),
    ],
};

static PRIVILEGE: Message = Message {
    name: "Permission",
    fields: &[
        one_of("resource", PERMISSIONS).required(),
        message("subresource", &SUBRESOURCE),
        one_of("type", &["NO_ACCESS", "READ_ACCESS", "WRITE_ACCESS"]).required(),
    ],
};

static FILTER: Message = Message {
    name: "RoleFilter",
    fields: &[
        flag("enabled").or_true(),
        message("match_label", &MARKER).required(),
        one_of(
            "match_operation",
            &[
                "ROLE_FILTER_EQUALS",
                "ROLE_FILTER_DOES_NOT_EQUAL",
                "ROLE_FILTER_GLOB_MATCH",
                "ROLE_FILTER_GLOB_DOES_NOT_MATCH",
            ],
        )
        .or_text("ROLE_FILTER_EQUALS"),
        text("name"),
    ],
};

/// What its users may do.
static ROLE: Kind = Kind {
    path: "role",
    name: "Role",
    permission: "PERMISSION_ROLE",
    scope: Scope::Tenant,
    dropped: &[],
    rules: &[resources_stand_once],
    fields: &[
        text("name").required(),
        flag("allow_unlabelled_access").or_true(),
        list("filters", &Type::Message(&FILTER), 4),
        keyed("privileges", &Type::Message(&PRIVILEGE), 256, &["resource"]),
    ],
};

fn resources_stand_once(role: &Object, problems: &mut Vec<Problem>) {
    once(role, "", "privileges", "resource", problems);
}

static COMPLEXITY: Message = Message {
    name: "ComplexityConstraint",
    fields: &[
        int("min_length", &[(8, 64)]).or_int(15),
        int("min_lowercase", &[(0, 10)]),
        int("min_numeric", &[(0, 10)]),
        int("min_special", &[(0, 10)]),
        int("min_uppercase", &[(0, 10)]),
        int("password_history", &[(1, 10)]).or_int(5),
    ],
};

static EXPIRATION: Message = Message {
    name: "ExpirationConstraint",
    fields: &[int("password_expiration_days", &[(30, 730)]).or_int(365).unit("d")],
};

static LOCKOUT: Message = Message {
    name: "LockoutConstraint",
    fields: &[
        int("lockout_evaluation_period", &[(0, 0), (300, 1800)]).or_int(900).unit("s"),
        int("lockout_max_auth_failures", &[(0, 5)]).or_int(3),
        int("lockout_period", &[(600, 1800)]).or_int(900).unit("s"),
    ],
};

/// How passwords age, and when an account is locked.
static ACCOUNT_PROFILE: Kind = Kind {
    path: "useraccountprofile",
    name: "UserAccountProfile",
    permission: "PERMISSION_USER",
    scope: Scope::System,
    dropped: &[],
    rules: &[],
    fields: &[
        text("name").required(),
        int("account_lock_timeout", U32).or_int(30).unit("min"),
        message("complexity_constraint", &COMPLEXITY),
        int("credentials_timeout_threshold", U32).or_int(180).unit("d"),
        message("expiration_constraint", &EXPIRATION),
        message("lockout_constraint", &LOCKOUT),
        int("login_failure_count_expiry_window", U32).or_int(0).unit("min"),
        int("max_concurrent_sessions", U32).or_int(0),
        int("max_login_failure_count", &[(0, 0), (3, 20)]).or_int(3),
        int("max_password_history_count", U32).or_int(4),
    ],
};

static CLIENT_CERT: Message = Message {
    name: "ClientCertAuthSettings",
    fields: &[list("client_cert_refs", &Type::Ref("sslkeyandcertificate"), 64)],
};

static HTTP_CLIENT: Message = Message {
    name: "AuthProfileHTTPClientParams",
    fields: &[
        int("cache_expiration_time", &[(1, 30)]).or_int(5).unit("s"),
        text("request_header"),
        list("require_user_groups", &TEXT, 64),
    ],
};

static LDAP_DIRECTORY: Message = Message {
    name: "LdapDirectorySettings",
    fields: &[
        text("admin_bind_dn").required(),
        text("group_filter").or_text("(objectClass=*)"),
        text("group_member_attribute").or_text("member"),
        flag("group_member_is_full_dn").or_true(),
        text("group_search_dn"),
        one_of("group_search_scope", DEPTHS).or_text("AUTH_LDAP_SCOPE_SUBTREE"),
        flag("ignore_referrals").or_false(),
        text("password").required().secret(),
        list("user_attributes", &TEXT, 64),
        text("user_id_attribute").required(),
        text("user_search_dn"),
        one_of("user_search_scope", DEPTHS).or_text("AUTH_LDAP_SCOPE_ONE"),
    ],
};

static LDAP_BIND: Message = Message {
    name: "LdapUserBindSettings",
    fields: &[
        text("dn_template").required(),
        text("token").required().or_text("<user>"),
        list("user_attributes", &TEXT, 64),
        text("user_id_attribute").required(),
    ],
};

static LDAP: Message = Message {
    name: "LdapAuthSettings",
    fields: &[
        text("base_dn"),
        flag("bind_as_administrator").or_true(),
        text("email_attribute").or_text("email"),
        text("full_name_attribute").or_text("name"),
        int("port", PORT).or_int(389),
        one_of("security_mode", &["AUTH_LDAP_SECURE_NONE", "AUTH_LDAP_SECURE_USE_LDAPS"])
            .required()
            .or_text("AUTH_LDAP_SECURE_USE_LDAPS"),
        list("server", &TEXT, 16),
        message("settings", &LDAP_DIRECTORY),
        message("user_bind", &LDAP_BIND),
    ],
};

static OIDC: Message = Message {
    name: "OIDCConfig",
    fields: &[
        flag("oidc_enable").or_false(),
        flag("profile").or_true(),
        text("userid_claim_name"),
        flag("userinfo").or_false(),
    ],
};

/// How this system shows itself to a site that vouches for users.
pub static OAUTH_APP: Message = Message {
    name: "OAuthAppSettings",
    fields: &[
        text("client_id").required(),
        text("client_secret").secret(),
        message("oidc_config", &OIDC),
        list("scopes", &TEXT, 64),
    ],
};

static OAUTH: Message = Message {
    name: "OAuthProfile",
    fields: &[
        text("audience"),
        text("authorization_endpoint").required(),
        text("end_session_endpoint"),
        text("instance_id"),
        text("introspection_endpoint"),
        text("issuer"),
        int("jwks_timeout", &[(0, 1440)]).unit("min"),
        text("jwks_uri"),
        message("oauth_controller_settings", &OAUTH_APP),
        one_of("oauth_profile_type", &["CLIENT_OAUTH", "CONTROLLER_OAUTH"]).or_text("CLIENT_OAUTH"),
        one_of("oauth_provider", &["OAUTH_CSP", "OAUTH_VCF"]),
        int("oauth_resp_buffer_sz", &[(0, 32_768_000)]).or_int(102_400).unit("bytes"),
        text("org_id"),
        refers("pool_ref", "pool"),
        text("redirect_uri"),
        text("service_id"),
        text("service_name"),
        text("token_endpoint"),
        text("userinfo_endpoint"),
    ],
};

static SAML_IDP: Message = Message {
    name: "SamlIdentityProviderSettings",
    fields: &[
        int("meta_data_download_interval", &[(1, 10_080)]).or_int(60).unit("min"),
        long_text("metadata", METADATA_BYTES_MAX),
        text("metadata_url"),
        flag("periodic_download").or_false(),
    ],
};

static SAML_NODE: Message = Message {
    name: "SamlServiceProviderNode",
    fields: &[
        text("entity_id"),
        text("name").required(),
        refers("signing_ssl_key_and_certificate_ref", "sslkeyandcertificate"),
        text("single_signon_url"),
    ],
};

static SAML_SP: Message = Message {
    name: "SamlServiceProviderSettings",
    fields: &[
        text("fqdn"),
        text("org_display_name"),
        text("org_name"),
        text("org_url"),
        one_of("saml_entity_type", &["AUTH_SAML_CLUSTER_VIP", "AUTH_SAML_DNS_FQDN", "AUTH_SAML_APP_VS"]),
        keyed("sp_nodes", &Type::Message(&SAML_NODE), 16, &["name"]),
        text("tech_contact_email"),
        text("tech_contact_name"),
    ],
};

static SAML: Message = Message {
    name: "SamlSettings",
    fields: &[message("idp", &SAML_IDP).required(), message("sp", &SAML_SP).required()],
};

static TACACS_PAIR: Message = Message {
    name: "AuthTacacsPlusAttributeValuePair",
    fields: &[flag("mandatory").or_false(), text("name"), text("value")],
};

static TACACS: Message = Message {
    name: "TacacsPlusAuthSettings",
    fields: &[
        list("authorization_attrs", &Type::Message(&TACACS_PAIR), 64),
        text("password").secret(),
        int("port", PORT).or_int(49),
        list("server", &TEXT, 16),
        one_of(
            "service",
            &[
                "AUTH_TACACS_PLUS_SERVICE_NONE",
                "AUTH_TACACS_PLUS_SERVICE_LOGIN",
                "AUTH_TACACS_PLUS_SERVICE_ENABLE",
                "AUTH_TACACS_PLUS_SERVICE_PPP",
                "AUTH_TACACS_PLUS_SERVICE_ARAP",
                "AUTH_TACACS_PLUS_SERVICE_PT",
                "AUTH_TACACS_PLUS_SERVICE_RCMD",
                "AUTH_TACACS_PLUS_SERVICE_X25",
                "AUTH_TACACS_PLUS_SERVICE_NASI",
                "AUTH_TACACS_PLUS_SERVICE_FWPROXY",
            ],
        )
        .or_text("AUTH_TACACS_PLUS_SERVICE_LOGIN"),
    ],
};

/// Where passwords are checked.
static AUTH_PROFILE: Kind = Kind {
    path: "authprofile",
    name: "AuthProfile",
    permission: "PERMISSION_AUTHPROFILE",
    scope: Scope::Tenant,
    dropped: &[],
    rules: &[the_settings_are_of_its_type],
    fields: &[
        text("name").required(),
        message("client_cert", &CLIENT_CERT),
        message("http", &HTTP_CLIENT),
        refers("jwt_profile_ref", "jwtserverprofile"),
        message("ldap", &LDAP),
        message("oauth_profile", &OAUTH),
        message("saml", &SAML),
        message("tacacs_plus", &TACACS),
        one_of(
            "type",
            &[
                "AUTH_PROFILE_LDAP",
                "AUTH_PROFILE_TACACS_PLUS",
                "AUTH_PROFILE_SAML",
                "AUTH_PROFILE_PINGACCESS",
                "AUTH_PROFILE_JWT",
                "AUTH_PROFILE_OAUTH",
                "AUTH_PROFILE_CLIENT_CERT",
            ],
        )
        .required(),
    ],
};

fn the_settings_are_of_its_type(profile: &Object, problems: &mut Vec<Problem>) {
    let kind = rule::text(profile, "type");
    let wanted = match kind {
        "AUTH_PROFILE_LDAP" => "ldap",
        "AUTH_PROFILE_TACACS_PLUS" => "tacacs_plus",
        "AUTH_PROFILE_SAML" => "saml",
        "AUTH_PROFILE_JWT" => "jwt_profile_ref",
        "AUTH_PROFILE_OAUTH" => "oauth_profile",
        _ => return,
    };
    if !profile.contains_key(wanted) {
        problems.push(problem(
            wanted,
            format!("it is missing, and the type is {kind}"),
            "put the settings of the type there, or choose another type",
        ));
    }
}
