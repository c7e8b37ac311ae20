//! Parts of virtual services that have little to do with where traffic goes: logs, rewriting, who may come in.

use super::account::OAUTH_APP;
use super::common::{IP_ADDR, PORT};
use super::matching::{IP_ADDR_MATCH, MATCH_TARGET, PATH_MATCH, STRING_MATCH};
use super::persistence::COOKIE_KEY;
use crate::field::{Message, Type};
use crate::field::{count, flag, int, keyed, list, long_text, message, one_of, refers, text};

/// What is logged of a service.
pub static ANALYTICS_POLICY: Message = Message {
    name: "AnalyticsPolicy",
    fields: &[
        flag("all_headers").or_false(),
        one_of("client_insights", &["NO_INSIGHTS", "PASSIVE", "ACTIVE"]).or_text("NO_INSIGHTS"),
        message("client_insights_sampling", &SAMPLING),
        keyed("client_log_filters", &Type::Message(&LOG_FILTER), 128, &["index"]),
        message("full_client_logs", &FULL_LOGS),
        message("learning_log_policy", &LEARNING),
        message("metrics_realtime_update", &REALTIME),
        // 0: no limit, for both.
        count("significant_log_throttle").or_int(10),
        count("udf_log_throttle").or_int(10),
    ],
};

static SAMPLING: Message = Message {
    name: "ClientInsightsSampling",
    fields: &[
        message("client_ip", &IP_ADDR_MATCH),
        message("sample_uris", &STRING_MATCH),
        message("skip_uris", &STRING_MATCH),
    ],
};

static LOG_FILTER: Message = Message {
    name: "ClientLogFilter",
    fields: &[
        count("index").required(),
        text("name").required(),
        flag("enabled").required(),
        // 0: for ever.
        count("duration").unit("min").or_int(30),
        flag("all_headers").or_false(),
        message("client_ip", &IP_ADDR_MATCH),
        message("uri", &STRING_MATCH),
    ],
};

static FULL_LOGS: Message = Message {
    name: "FullClientLogs",
    fields: &[
        flag("enabled").required(),
        count("duration").unit("min").or_int(30),
        count("throttle").or_int(10),
    ],
};

static LEARNING: Message = Message {
    name: "LearningLogPolicy",
    fields: &[flag("enabled").or_false(), text("host"), int("port", PORT)],
};

/// Figures of every few seconds, for a while.
pub static REALTIME: Message = Message {
    name: "MetricsRealTimeUpdate",
    fields: &[flag("enabled").required(), count("duration").unit("min").or_int(30)],
};

/// Texts in answers that are replaced.
pub static CONTENT_REWRITE: Message = Message {
    name: "ContentRewriteProfile",
    fields: &[
        refers("rewritable_content_ref", "stringgroup"),
        list("rsp_rewrite_rules", &Type::Message(&REWRITE_RULE), 1),
    ],
};

static REWRITE_RULE: Message = Message {
    name: "RspContentRewriteRule",
    fields: &[
        count("index"),
        text("name"),
        flag("enable").or_false(),
        list("pairs", &Type::Message(&PAIR), 128),
    ],
};

static PAIR: Message = Message {
    name: "SearchReplacePair",
    fields: &[message("search_string", &SEARCH).required(), message("replacement_string", &REPLACEMENT)],
};

static SEARCH: Message = Message {
    name: "SearchStringVar",
    fields: &[
        one_of("type", &["SEARCH_DATASCRIPT_VAR", "SEARCH_AVI_VAR", "SEARCH_LITERAL_STRING", "SEARCH_REGEX"])
            .or_text("SEARCH_LITERAL_STRING"),
        text("val").required(),
    ],
};

static REPLACEMENT: Message = Message {
    name: "ReplaceStringVar",
    fields: &[
        one_of("type", &["DATASCRIPT_VAR", "AVI_VAR", "LITERAL_STRING", "COMBINATION_STRING"])
            .or_text("LITERAL_STRING"),
        text("val"),
    ],
};

/// A name of a virtual host, and the requests to it that a child serves.
pub static VH_MATCH: Message = Message {
    name: "VHMatch",
    fields: &[
        text("host").required(),
        list("rules", &Type::Message(&VH_RULE), 1024),
        // Clients of releases before 22.1.3 have the paths here.
        list("path", &Type::Message(&PATH_MATCH), 1024),
    ],
};

static VH_RULE: Message = Message {
    name: "VHMatchRule",
    fields: &[text("name").required(), message("matches", &MATCH_TARGET).required()],
};

/// Where requests go for inspection.
pub static SIDEBAND: Message = Message {
    name: "SidebandProfile",
    fields: &[
        list("ip", &Type::Message(&IP_ADDR), 64),
        int("sideband_max_request_body_size", &[(0, 16_384)]).unit("bytes").or_int(1024),
    ],
};

/// Tokens that requests carry.
pub static JWT_CONFIG: Message = Message {
    name: "JWTValidationVsConfig",
    fields: &[
        text("audience").required(),
        one_of("jwt_location", &["JWT_LOCATION_AUTHORIZATION_HEADER", "JWT_LOCATION_QUERY_PARAM"])
            .required()
            .or_text("JWT_LOCATION_AUTHORIZATION_HEADER"),
        text("jwt_name"),
    ],
};

/// Users that a directory knows.
pub static LDAP_CONFIG: Message = Message {
    name: "LDAPVSConfig",
    fields: &[
        text("realm"),
        count("se_auth_ldap_bind_timeout").unit("ms").or_int(5000),
        count("se_auth_ldap_cache_size").unit("bytes").or_int(100_000),
        count("se_auth_ldap_connect_timeout").unit("ms").or_int(10_000),
        count("se_auth_ldap_conns_per_server").or_int(1),
        count("se_auth_ldap_reconnect_timeout").unit("ms").or_int(10_000),
        count("se_auth_ldap_request_timeout").unit("ms").or_int(10_000),
        flag("se_auth_ldap_servers_failover_only").or_false(),
    ],
};

/// Users that another site vouches for, by SAML.
pub static SAML_CONFIG: Message = Message {
    name: "SAMLSPConfig",
    fields: &[
        text("entity_id").required(),
        text("single_signon_url").required(),
        one_of(
            "authn_req_acs_type",
            &["SAML_AUTHN_REQ_ACS_TYPE_URL", "SAML_AUTHN_REQ_ACS_TYPE_INDEX", "SAML_AUTHN_REQ_ACS_TYPE_NONE"],
        )
        .required()
        .or_text("SAML_AUTHN_REQ_ACS_TYPE_NONE"),
        int("acs_index", &[(0, 64)]),
        text("cookie_name"),
        int("cookie_timeout", &[(1, 1440)]).unit("min").or_int(60),
        keyed("key", &Type::Message(&COOKIE_KEY), 8, &["name"]),
        refers("signing_ssl_key_and_certificate_ref", "sslkeyandcertificate"),
        flag("use_idp_session_timeout").or_false(),
        long_text("sp_metadata", 65_536).read_only(),
    ],
};

/// Users that another site vouches for, by OAuth.
pub static OAUTH_CONFIG: Message = Message {
    name: "OAuthVSConfig",
    fields: &[
        text("cookie_name"),
        int("cookie_timeout", &[(1, 1440)]).unit("min").or_int(60),
        keyed("key", &Type::Message(&COOKIE_KEY), 8, &["name"]),
        text("redirect_uri"),
        text("logout_uri"),
        text("post_logout_redirect_uri"),
        list("oauth_settings", &Type::Message(&OAUTH_SETTINGS), 1),
    ],
};

static OAUTH_SETTINGS: Message = Message {
    name: "OAuthSettings",
    fields: &[
        refers("auth_profile_ref", "authprofile").required(),
        message("app_settings", &OAUTH_APP),
        message("resource_server", &OAUTH_SERVER),
    ],
};

static OAUTH_SERVER: Message = Message {
    name: "OAuthResourceServer",
    fields: &[
        one_of("access_type", &["ACCESS_TOKEN_TYPE_JWT", "ACCESS_TOKEN_TYPE_OPAQUE"])
            .required()
            .or_text("ACCESS_TOKEN_TYPE_JWT"),
        int("introspection_data_timeout", &[(0, 1440)]).unit("min"),
        message("jwt_params", &JWT_PARAMS),
        message("opaque_token_params", &OPAQUE_PARAMS),
    ],
};

static JWT_PARAMS: Message = Message { name: "JWTValidationParams", fields: &[text("audience").required()] };

static OPAQUE_PARAMS: Message = Message {
    name: "OpaqueTokenValidationParams",
    fields: &[text("server_id").required(), text("server_secret").required().secret()],
};
