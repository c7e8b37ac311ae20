//! Certificates, keys, and how engines speak TLS.

use super::common::{CUSTOM_PARAMS, IP_ADDR, TAG, U32};
use super::rule::{addresses, is_on, once, problem};
use crate::Problem;
use crate::field::{Message, TEXT, Type};
use crate::field::{flag, int, keyed, list, long_text, message, one_of, refers, text};
use crate::kind::{Kind, Object, Scope};

/// The longest certificate, key or list of revoked certificates in one field, bytes.
const PEM_BYTES_MAX: usize = 64 * 1024;

static KEY_EC: Message = Message {
    name: "SSLKeyECParams",
    fields: &[one_of(
        "curve",
        &["SSL_KEY_EC_CURVE_SECP256R1", "SSL_KEY_EC_CURVE_SECP384R1", "SSL_KEY_EC_CURVE_SECP521R1"],
    )
    .or_text("SSL_KEY_EC_CURVE_SECP256R1")],
};

static KEY_MLDSA: Message = Message {
    name: "SSLKeyMldsaParams",
    fields: &[one_of("algorithm", &["SSL_KEY_MLDSA44", "SSL_KEY_MLDSA65", "SSL_KEY_MLDSA87"])
        .or_text("SSL_KEY_MLDSA44")],
};

static KEY_RSA: Message = Message {
    name: "SSLKeyRSAParams",
    fields: &[
        int("exponent", U32).or_int(65_537),
        one_of(
            "key_size",
            &[
                "SSL_KEY_1024_BITS",
                "SSL_KEY_2048_BITS",
                "SSL_KEY_3072_BITS",
                "SSL_KEY_4096_BITS",
                "SSL_KEY_8192_BITS",
            ],
        )
        .or_text("SSL_KEY_2048_BITS"),
    ],
};

static KEY_PARAMS: Message = Message {
    name: "SSLKeyParams",
    fields: &[
        one_of("algorithm", &["SSL_KEY_ALGORITHM_RSA", "SSL_KEY_ALGORITHM_EC", "SSL_KEY_ALGORITHM_MLDSA"])
            .required()
            .or_text("SSL_KEY_ALGORITHM_RSA"),
        message("ec_params", &KEY_EC),
        message("mldsa_params", &KEY_MLDSA),
        message("rsa_params", &KEY_RSA),
    ],
};

static DISTINGUISHED_NAME: Message = Message {
    name: "SSLCertificateDescription",
    fields: &[
        text("common_name"),
        text("country"),
        text("distinguished_name"),
        text("email_address"),
        text("locality"),
        text("organization"),
        text("organization_unit"),
        text("state"),
    ],
};

static CERTIFICATE: Message = Message {
    name: "SSLCertificate",
    fields: &[
        long_text("certificate", PEM_BYTES_MAX),
        long_text("certificate_signing_request", PEM_BYTES_MAX),
        flag("chain_verified"),
        int("days_until_expire", &[(1, 3650)]).unit("d").or_int(365),
        one_of(
            "expiry_status",
            &["SSL_CERTIFICATE_GOOD", "SSL_CERTIFICATE_EXPIRY_WARNING", "SSL_CERTIFICATE_EXPIRED"],
        )
        .or_text("SSL_CERTIFICATE_GOOD"),
        text("fingerprint"),
        message("issuer", &DISTINGUISHED_NAME),
        message("key_params", &KEY_PARAMS),
        text("not_after"),
        text("not_before"),
        long_text("public_key", PEM_BYTES_MAX),
        flag("self_signed"),
        text("serial_number"),
        long_text("signature", PEM_BYTES_MAX),
        text("signature_algorithm"),
        message("subject", &DISTINGUISHED_NAME),
        list("subject_alt_names", &TEXT, 1024),
        long_text("text", PEM_BYTES_MAX),
        text("version"),
    ],
};

static AUTHORITY: Message = Message {
    name: "CertificateAuthority",
    fields: &[
        refers("ca_ref", "sslkeyandcertificate"),
        text("issuer").read_only(),
        text("name"),
        text("not_after").read_only(),
        text("subject").read_only(),
    ],
};

/// By which hash an authority is asked about a certificate.
pub static OCSP_HASHES: Type =
    Type::Enum(&["OCSP_HASH_SHA1", "OCSP_HASH_SHA256", "OCSP_HASH_SHA384", "OCSP_HASH_SHA512"]);

static OCSP: Message = Message {
    name: "OCSPConfig",
    fields: &[
        int("failed_ocsp_jobs_retry_interval", &[(60, 86_400)]).unit("s").or_int(3600),
        int("max_tries", U32).or_int(10),
        int("ocsp_req_interval", &[(60, 31_536_000)]).unit("s").or_int(86_400),
        list("ocsp_request_hash_algorithms", &OCSP_HASHES, 4),
        int("ocsp_resp_timeout", U32).unit("s"),
        list("responder_url_lists", &TEXT, 64),
        one_of("url_action", &["OCSP_RESPONDER_URL_FAILOVER", "OCSP_RESPONDER_URL_OVERRIDE"])
            .or_text("OCSP_RESPONDER_URL_FAILOVER"),
    ],
};

static OCSP_RESPONSE: Message = Message {
    name: "OCSPResponseInfo",
    fields: &[
        text("cert_status").read_only(),
        text("next_update").read_only(),
        text("ocsp_resp_from_responder_url").read_only(),
        long_text("ocsp_response", PEM_BYTES_MAX).read_only(),
        text("revocation_reason").read_only(),
        text("revocation_time").read_only(),
        text("this_update").read_only(),
    ],
};

static REVOKED: Message = Message {
    name: "CRL",
    fields: &[
        long_text("body", REVOKED_BYTES_MAX),
        text("common_name"),
        text("distinguished_name"),
        text("etag"),
        text("fingerprint"),
        text("last_refreshed"),
        text("last_update"),
        text("next_update"),
        text("server_url"),
        long_text("text", REVOKED_BYTES_MAX),
        int("update_interval", &[(30, 525_600)]).unit("min").or_int(1440),
    ],
};

/// The longest list of revoked certificates, bytes: an authority that revokes much has tens of thousands of them.
const REVOKED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The cipher suites that a profile may name one by one.
static SUITES: Type = Type::Enum(&[
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_256_CBC_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_AES_128_GCM_SHA256",
    "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384",
]);

static VERSION: Message = Message {
    name: "SSLVersion",
    fields: &[one_of(
        "type",
        &[
            "SSL_VERSION_SSLV3",
            "SSL_VERSION_TLS1",
            "SSL_VERSION_TLS1_1",
            "SSL_VERSION_TLS1_2",
            "SSL_VERSION_TLS1_3",
        ],
    )
    .required()
    .or_text("SSL_VERSION_TLS1_1")],
};

const SCORES: &[&str] = &[
    "SSL_SCORE_NOT_SECURE",
    "SSL_SCORE_VERY_BAD",
    "SSL_SCORE_BAD",
    "SSL_SCORE_AVERAGE",
    "SSL_SCORE_GOOD",
    "SSL_SCORE_EXCELLENT",
    "SSL_SCORE_UNKNOWN",
];

static RATING: Message = Message {
    name: "SSLRating",
    fields: &[
        one_of("compatibility_rating", SCORES),
        one_of("performance_rating", SCORES),
        text("security_score"),
    ],
};

/// The kinds of this file.
pub(super) static KINDS: &[&Kind] =
    &[&SSL_PROFILE, &SSL_KEY_AND_CERTIFICATE, &PKI_PROFILE, &CERTIFICATE_MANAGEMENT, &HSM_GROUP];

/// Versions and ciphers of a TLS connection.
static SSL_PROFILE: Kind = Kind {
    path: "sslprofile",
    name: "SSLProfile",
    permission: "PERMISSION_SSLPROFILE",
    scope: Scope::Tenant,
    dropped: &[],
    rules: &[versions_stand_once],
    fields: &[
        text("name").required(),
        text("accepted_ciphers").or_text("AES:3DES:RC4"),
        keyed("accepted_versions", &Type::Message(&VERSION), 5, &["type"]),
        flag("allow_legacy_renegotiation"),
        list("cipher_enums", &SUITES, 24),
        text("ciphersuites")
            .or_text("TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256"),
        long_text("dhparam", PEM_BYTES_MAX),
        text("ec_named_curve").or_text("auto"),
        flag("enable_early_data").or_false(),
        flag("enable_ssl_session_reuse").or_true(),
        flag("is_federated").or_false(),
        flag("prefer_client_cipher_ordering").or_false(),
        flag("send_close_notify").or_true(),
        text("signature_algorithm").or_text("auto"),
        message("ssl_rating", &RATING),
        int("ssl_session_timeout", U32).unit("s").or_int(86_400),
        list("tags", &Type::Message(&TAG), 64),
        one_of("type", &["SSL_PROFILE_TYPE_APPLICATION", "SSL_PROFILE_TYPE_SYSTEM"])
            .or_text("SSL_PROFILE_TYPE_APPLICATION"),
    ],
};

fn versions_stand_once(profile: &Object, problems: &mut Vec<Problem>) {
    once(profile, "", "accepted_versions", "type", problems);
}

/// A certificate and, mostly, its key.
static SSL_KEY_AND_CERTIFICATE: Kind = Kind {
    path: "sslkeyandcertificate",
    name: "SSLKeyAndCertificate",
    permission: "PERMISSION_SSLKEYANDCERTIFICATE",
    scope: Scope::Tenant,
    dropped: &[],
    rules: &[a_key_of_a_module_has_its_module],
    fields: &[
        text("name").required(),
        keyed("ca_certs", &Type::Message(&AUTHORITY), 32, &["name", "ca_ref"]),
        message("certificate", &CERTIFICATE).required(),
        flag("certificate_base64"),
        refers("certificate_management_profile_ref", "certificatemanagementprofile"),
        keyed("dynamic_params", &Type::Message(&CUSTOM_PARAMS), 64, &["name"]),
        flag("enable_ocsp_stapling").or_false(),
        long_text("enckey_base64", PEM_BYTES_MAX).secret(),
        text("enckey_name"),
        one_of("format", &["SSL_PEM", "SSL_PKCS12"]).or_text("SSL_PEM"),
        refers("hardwaresecuritymodulegroup_ref", "hardwaresecuritymodulegroup"),
        flag("import_key_to_hsm"),
        flag("is_federated").or_false(),
        long_text("key", PEM_BYTES_MAX).secret(),
        flag("key_base64"),
        message("key_params", &KEY_PARAMS),
        text("key_passphrase").secret(),
        message("ocsp_config", &OCSP),
        text("ocsp_error_status").read_only(),
        list("ocsp_responder_url_list_from_certs", &TEXT, 64).read_only(),
        message("ocsp_response_info", &OCSP_RESPONSE).read_only(),
        flag("skip_auto_chain"),
        one_of("status", &["SSL_CERTIFICATE_FINISHED", "SSL_CERTIFICATE_PENDING"])
            .or_text("SSL_CERTIFICATE_FINISHED"),
        one_of(
            "type",
            &[
                "SSL_CERTIFICATE_TYPE_VIRTUALSERVICE",
                "SSL_CERTIFICATE_TYPE_SYSTEM",
                "SSL_CERTIFICATE_TYPE_CA",
                "SSL_CERTIFICATE_TYPE_CLIENT",
                "SSL_CERTIFICATE_TYPE_SECURE_CHANNEL",
            ],
        ),
    ],
};

fn a_key_of_a_module_has_its_module(certificate: &Object, problems: &mut Vec<Problem>) {
    if is_on(certificate, "import_key_to_hsm") && !certificate.contains_key("hardwaresecuritymodulegroup_ref")
    {
        problems.push(problem(
            "hardwaresecuritymodulegroup_ref",
            "it is missing, and the key is to go to a security module",
            "name the group of modules, or switch import_key_to_hsm off",
        ));
    }
}

/// Whom to trust, and what was revoked.
static PKI_PROFILE: Kind = Kind {
    path: "pkiprofile",
    name: "PKIProfile",
    permission: "PERMISSION_PKIPROFILE",
    scope: Scope::Tenant,
    dropped: &[],
    rules: &[],
    fields: &[
        text("name").required(),
        list("allow_pki_errors", &Type::Enum(&["ALLOW_EXPIRED_CRL", "ALLOW_ALL_ERRORS"]), 1),
        list("ca_certs", &Type::Message(&CERTIFICATE), 256),
        flag("crl_check").or_true(),
        list("crl_file_refs", &Type::Ref("fileobject"), 64),
        list("crls", &Type::Message(&REVOKED), 64),
        flag("ignore_peer_chain").or_false(),
        flag("is_federated").or_false(),
        flag("validate_only_leaf_crl").or_true(),
    ],
};

/// A script that has certificates made and renewed.
static CERTIFICATE_MANAGEMENT: Kind = Kind {
    path: "certificatemanagementprofile",
    name: "CertificateManagementProfile",
    permission: "PERMISSION_CERTIFICATEMANAGEMENTPROFILE",
    scope: Scope::Tenant,
    dropped: &[],
    rules: &[],
    fields: &[
        text("name").required(),
        refers("run_script_ref", "alertscriptconfig").required(),
        keyed("script_params", &Type::Message(&CUSTOM_PARAMS), 64, &["name"]),
    ],
};

static CLOUD_HSM: Message = Message {
    name: "HSMAwsCloudHsm",
    fields: &[
        long_text("client_config", PEM_BYTES_MAX).read_only(),
        long_text("cluster_cert", PEM_BYTES_MAX),
        text("crypto_user_name"),
        text("crypto_user_password").secret(),
        list("hsm_ip", &TEXT, 64),
        long_text("mgmt_config", PEM_BYTES_MAX).read_only(),
    ],
};

static LUNA_CLIENT: Message = Message {
    name: "HSMSafenetClientInfo",
    fields: &[
        long_text("chrystoki_conf", PEM_BYTES_MAX),
        long_text("client_cert", PEM_BYTES_MAX),
        text("client_ip").required(),
        long_text("client_priv_key", PEM_BYTES_MAX).secret(),
        int("session_major_number", U32),
        int("session_minor_number", U32),
    ],
};

static LUNA_SERVER: Message = Message {
    name: "HSMSafenetLunaServer",
    fields: &[
        int("index", U32).required(),
        text("partition_passwd").secret(),
        text("partition_serial_number"),
        text("remote_ip").required(),
        long_text("server_cert", PEM_BYTES_MAX).required(),
    ],
};

static LUNA: Message = Message {
    name: "HSMSafenetLuna",
    fields: &[
        int("ha_group_num", &[(0, i64::MAX)]),
        flag("is_ha").required(),
        keyed("node_info", &Type::Message(&LUNA_CLIENT), 256, &["client_ip"]),
        keyed("server", &Type::Message(&LUNA_SERVER), 16, &["index"]),
        long_text("server_pem", PEM_BYTES_MAX),
        flag("use_dedicated_network"),
    ],
};

static NET_HSM: Message = Message {
    name: "HSMThalesNetHsm",
    fields: &[
        text("esn").required(),
        text("keyhash").required(),
        int("module_id", U32),
        int("priority", &[(1, 100)]).required().or_int(100),
        message("remote_ip", &IP_ADDR).required(),
        int("remote_port", super::common::PORT).or_int(9004),
    ],
};

static NET_HSM_FILES: Message = Message {
    name: "HSMThalesRFS",
    fields: &[message("ip", &IP_ADDR).required(), int("port", super::common::PORT).or_int(9004)],
};

static HSM: Message = Message {
    name: "HardwareSecurityModule",
    fields: &[
        message("cloudhsm", &CLOUD_HSM),
        keyed("nethsm", &Type::Message(&NET_HSM), 16, &["esn"]),
        message("rfs", &NET_HSM_FILES),
        message("sluna", &LUNA),
        one_of("type", &["HSM_TYPE_THALES_NETHSM", "HSM_TYPE_SAFENET_LUNA", "HSM_TYPE_AWS_CLOUDHSM"])
            .required()
            .or_text("HSM_TYPE_SAFENET_LUNA"),
    ],
};

/// Modules that keep keys.
static HSM_GROUP: Kind = Kind {
    path: "hardwaresecuritymodulegroup",
    name: "HardwareSecurityModuleGroup",
    permission: "PERMISSION_HARDWARESECURITYMODULEGROUP",
    scope: Scope::Tenant,
    dropped: &[],
    rules: &[addresses],
    fields: &[
        text("name").required(),
        list("ca_certs", &Type::Message(&CERTIFICATE), 32),
        message("hsm", &HSM).required(),
    ],
};
