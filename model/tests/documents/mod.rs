//! One document of each kind, much as its clients send it.

use forebay_model::{Object, Problem, check, kind};
use serde_json::{Value, json};

pub fn object(value: &Value) -> Object {
    value.as_object().expect("an object").clone()
}

pub fn checked(path: &str, value: &Value) -> Result<Object, Vec<Problem>> {
    check(kind(path).unwrap_or_else(|| panic!("{path} is a kind")), &object(value))
}

pub fn v4(addr: &str) -> Value {
    json!({"addr": addr, "type": "V4"})
}

pub fn net(addr: &str, mask: u8) -> Value {
    json!({"ip_addr": v4(addr), "mask": mask})
}

/// One document of each kind, much as a provider for Terraform, a playbook or an SDK sends it.
pub fn documents() -> Vec<(&'static str, Value)> {
    let mut all = secure();
    all.extend(accounts());
    all.extend(places());
    all.extend(engines());
    all.extend(whole());
    all
}

fn secure() -> Vec<(&'static str, Value)> {
    vec![
        (
            "sslprofile",
            json!({
                "name": "modern", "type": "SSL_PROFILE_TYPE_APPLICATION", "accepted_ciphers": "ECDHE+AESGCM",
                "accepted_versions": [{"type": "SSL_VERSION_TLS1_2"}, {"type": "SSL_VERSION_TLS1_3"}],
                "cipher_enums": ["TLS_AES_256_GCM_SHA384"], "enable_ssl_session_reuse": true,
                "ssl_session_timeout": 86400, "tags": [{"type": "USER_DEFINED", "value": "edge"}],
                "tenant_ref": "/api/tenant/?name=admin", "markers": [{"key": "app", "values": ["shop"]}]
            }),
        ),
        (
            "sslkeyandcertificate",
            json!({
                "name": "shop", "type": "SSL_CERTIFICATE_TYPE_VIRTUALSERVICE", "certificate_base64": false,
                "certificate": {"certificate": "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"},
                "key": "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n", "key_passphrase": "x",
                "key_params": {"algorithm": "SSL_KEY_ALGORITHM_RSA", "rsa_params": {"key_size": "SSL_KEY_2048_BITS"}},
                "ca_certs": [{"name": "ca", "ca_ref": "/api/sslkeyandcertificate?name=ca"}],
                "created_by": "ako-one", "enable_ocsp_stapling": true, "ocsp_config": {"ocsp_req_interval": 600}
            }),
        ),
        (
            "pkiprofile",
            json!({
                "name": "clients", "crl_check": false, "ignore_peer_chain": true, "created_by": "ako-one",
                "ca_certs": [{"certificate": "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"}],
                "crls": [{"server_url": "http://ca.example/list.crl", "update_interval": 60}]
            }),
        ),
        (
            "certificatemanagementprofile",
            json!({
                "name": "acme", "run_script_ref": "/api/alertscriptconfig/?name=acme",
                "script_params": [{"name": "user", "value": "x", "is_sensitive": true, "is_dynamic": false}]
            }),
        ),
        (
            "hardwaresecuritymodulegroup",
            json!({
                "name": "vault",
                "hsm": {
                    "type": "HSM_TYPE_SAFENET_LUNA",
                    "sluna": {"is_ha": false, "server": [{"index": 1, "remote_ip": "192.0.2.9", "server_cert": "x"}]}
                }
            }),
        ),
    ]
}

fn accounts() -> Vec<(&'static str, Value)> {
    vec![
        (
            "tenant",
            json!({
                "name": "shop", "local": true, "attrs": [{"key": "path", "value": "/shop"}],
                "config_settings": {"tenant_vrf": false, "se_in_provider_context": true}
            }),
        ),
        (
            "user",
            json!({
                "name": "ada", "username": "ada", "full_name": "Ada", "password": "x", "is_superuser": false,
                "default_tenant_ref": "/api/tenant/admin",
                "access": [{"role_ref": "/api/role?name=Tenant-Admin", "tenant_ref": "/api/tenant/admin"}]
            }),
        ),
        (
            "role",
            json!({
                "name": "operators", "allow_unlabelled_access": false,
                "privileges": [
                    {"resource": "PERMISSION_POOL", "type": "WRITE_ACCESS",
                     "subresource": {"subresources": ["SUBRESOURCE_POOL_ENABLED"]}},
                    {"resource": "PERMISSION_VIRTUALSERVICE", "type": "READ_ACCESS"}
                ],
                "filters": [{"name": "shop", "match_operation": "ROLE_FILTER_EQUALS",
                             "match_label": {"key": "app", "values": ["shop"]}}]
            }),
        ),
        (
            "useraccountprofile",
            json!({"name": "strict", "max_login_failure_count": 5, "account_lock_timeout": 10,
                   "credentials_timeout_threshold": 90, "complexity_constraint": {"min_length": 12}}),
        ),
        (
            "authprofile",
            json!({
                "name": "directory", "type": "AUTH_PROFILE_LDAP",
                "ldap": {
                    "server": ["192.0.2.30"], "base_dn": "dc=example", "security_mode": "AUTH_LDAP_SECURE_USE_LDAPS",
                    "port": 636, "bind_as_administrator": true,
                    "settings": {"admin_bind_dn": "cn=admin", "password": "x", "user_id_attribute": "uid"}
                }
            }),
        ),
    ]
}

fn places() -> Vec<(&'static str, Value)> {
    vec![
        (
            "cloud",
            json!({
                "name": "lab", "vtype": "CLOUD_LINUXSERVER", "license_type": "LIC_CORES", "mtu": 1500,
                "dns_resolvers": [{"resolver_name": "r", "nameserver_ips": [v4("192.0.2.53")], "min_ttl": 5}],
                "dns_provider_ref": "/api/ipamdnsproviderprofile?name=names",
                "ipam_provider_ref": "/api/ipamdnsproviderprofile?name=addresses",
                "linuxserver_configuration": {
                    "hosts": [{"host_ip": v4("192.0.2.2"), "host_attr": [{"attr_key": "CPU", "attr_val": "4"}]}],
                    "ssh_user_ref": "/api/cloudconnectoruser?name=root", "se_sys_disk_size_GB": 20
                },
                "custom_tags": [{"tag_key": "team", "tag_val": "edge"}]
            }),
        ),
        (
            "cloudconnectoruser",
            json!({"name": "root", "private_key": "x", "public_key": "y",
                   "azure_serviceprincipal": {"application_id": "a", "authentication_token": "b", "tenant_id": "c"}}),
        ),
        (
            "network",
            json!({
                "name": "front", "cloud_ref": "/api/cloud?name=Default-Cloud", "dhcp_enabled": false,
                "vrf_context_ref": "/api/vrfcontext?name=global",
                "configured_subnets": [{
                    "prefix": net("192.0.2.0", 24),
                    "static_ip_ranges": [{"range": {"begin": v4("192.0.2.100"), "end": v4("192.0.2.200")},
                                          "type": "STATIC_IPS_FOR_VIP_AND_SE"}]
                }]
            }),
        ),
        (
            "vrfcontext",
            json!({
                "name": "global", "system_default": true, "cloud_ref": "/api/cloud?name=Default-Cloud",
                "static_routes": [{"route_id": "1", "prefix": net("0.0.0.0", 0), "next_hop": v4("192.0.2.1")}],
                "bgp_profile": {
                    "local_as": 65_000, "ibgp": false, "send_community": true, "hold_time": 30,
                    "keepalive_interval": 10,
                    "peers": [{"remote_as": 65_001, "peer_ip": v4("192.0.2.254"), "subnet": net("192.0.2.0", 24),
                               "md5_secret": "x", "bfd": true, "label": "tor"}],
                    "routing_options": [{"label": "tor", "learn_routes": true, "max_learn_limit": 250}]
                },
                "bfd_profile": {"mintx": 500, "minrx": 500, "multi": 5},
                "gateway_mon": [{"gateway_ip": v4("192.0.2.1")}]
            }),
        ),
        (
            "ipamdnsproviderprofile",
            json!({
                "name": "addresses", "type": "IPAMDNS_TYPE_INTERNAL", "allocate_ip_in_vrf": false,
                "internal_profile": {
                    "ttl": 30, "dns_service_domain": [{"domain_name": "example.com", "pass_through": true}],
                    "usable_networks": [{"nw_ref": "/api/network?name=front"}]
                }
            }),
        ),
    ]
}

fn engines() -> Vec<(&'static str, Value)> {
    vec![
        (
            "serviceenginegroup",
            json!({
                "name": "Default-Group", "cloud_ref": "/api/cloud?name=Default-Cloud", "ha_mode": "HA_MODE_SHARED",
                "algo": "PLACEMENT_ALGO_DISTRIBUTED", "max_se": 4, "min_scaleout_per_vs": 2,
                "max_scaleout_per_vs": 4, "se_deprovision_delay": 0, "objsync_port": 4001,
                "objsync_config": {"objsync_cpu_limit": 20}, "labels": [{"key": "clustername", "value": "one"}],
                "vcenter_hosts": {"include": true, "host_refs": ["/api/vimgrhostruntime/host-1"]},
                "realtime_se_metrics": {"enabled": true, "duration": 30}, "num_dispatcher_cores": 8
            }),
        ),
        (
            "serviceengine",
            json!({
                "name": "se-1", "enable_state": "SE_STATE_DISABLED_FOR_PLACEMENT",
                "se_group_ref": "/api/serviceenginegroup?name=Default-Group",
                "resources": {"num_vcpus": 2, "memory": 4096, "disk": 15},
                "data_vnics": [{
                    "mac_address": "02:00:00:00:00:01", "if_name": "eth1", "dhcp_enabled": false,
                    "vnic_networks": [{"ip": net("192.0.2.3", 24), "mode": "STATIC"}],
                    "vlan_interfaces": [{"if_name": "eth1.7", "vlan_id": 7, "dhcp_enabled": false}]
                }]
            }),
        ),
        (
            "seproperties",
            json!({"se_runtime_properties": {"persistence_mem_max": 1024, "dupip_frequency": 100},
                   "se_bootup_properties": {"geo_db_granularity": 5}, "se_agent_properties": {"cpustats_interval": 5}}),
        ),
        (
            "controllerproperties",
            json!({"api_idle_timeout": 60, "shared_ssl_certificates": true,
                   "ssl_certificate_expiry_warning_days": [30, 7, 1]}),
        ),
        (
            "serverautoscalepolicy",
            json!({"name": "grow", "min_size": 1, "max_size": 4, "intelligent_autoscale": true,
                   "scheduled_scalings": [{"cron_expression": "0 8 * * *", "autoscaling_duration": 10,
                                           "desired_capacity": 4, "enable": true}]}),
        ),
        ("autoscalelaunchconfig", json!({"name": "image", "image_id": "i-1", "use_external_asg": false})),
    ]
}

fn whole() -> Vec<(&'static str, Value)> {
    vec![
        (
            "alertconfig",
            json!({
                "name": "down", "category": "REALTIME", "source": "EVENT_LOGS", "summary": "a service is down",
                "object_type": "VIRTUALSERVICE", "action_group_ref": "/api/actiongroupconfig?name=tell",
                "alert_rule": {"operator": "OPERATOR_OR", "sys_event_rule": [{"event_id": "VS_DOWN", "not_cond": false}]}
            }),
        ),
        (
            "actiongroupconfig",
            json!({"name": "tell", "external_only": false, "level": "ALERT_HIGH",
                   "email_config_ref": "/api/alertemailconfig?name=people",
                   "syslog_config_ref": "/api/alertsyslogconfig?name=log"}),
        ),
        (
            "alertemailconfig",
            json!({"name": "people", "to_emails": "a@example.com", "cc_emails": "b@example.com"}),
        ),
        ("alertscriptconfig", json!({"name": "acme", "action_script": "#!/usr/bin/python3\n"})),
        (
            "alertsyslogconfig",
            json!({"name": "log", "syslog_servers": [{"syslog_server": "192.0.2.40", "syslog_server_port": 6514,
                   "udp": false, "tls_enable": true, "tls_config": {"tls_mode": "TLS_MODE_TLS"}, "format": "SYSLOG_RFC5424"}]}),
        ),
        (
            "systemconfiguration",
            json!({
                "default_license_tier": "ENTERPRISE", "welcome_workflow_complete": true,
                "dns_configuration": {"server_list": [v4("192.0.2.53")], "search_domain": "example.com"},
                "ntp_configuration": {"ntp_servers": [{"server": {"addr": "ntp.example", "type": "DNS"}}]},
                "email_configuration": {"smtp_type": "SMTP_SERVER", "auth_username": "x", "auth_password": "y"},
                "certificate_security_policy": {"blocked_ocsp_request_hash_algorithms": ["OCSP_HASH_SHA1"]},
                "syslog_server_settings": [{"server": v4("192.0.2.41"), "port": 514}],
                "portal_configuration": {"sslkeyandcertificate_refs": ["/api/sslkeyandcertificate?name=shop"],
                                         "allow_basic_authentication": true},
                "global_tenant_config": {"se_in_provider_context": true},
                "mgmt_ip_access_control": {"api_access": {"match_criteria": "IS_IN", "prefixes": [net("192.0.2.0", 24)]}},
                "admin_auth_configuration": {"allow_local_user_login": true}
            }),
        ),
        (
            "cluster",
            json!({"name": "cluster-0-1", "virtual_ip": v4("192.0.2.10"), "rejoin_nodes_automatically": true,
                   "nodes": [{"name": "a", "ip": v4("192.0.2.11")}, {"name": "b", "ip": v4("192.0.2.12")}]}),
        ),
        (
            "gslb",
            json!({
                "name": "world", "leader_cluster_uuid": "cluster-1", "dns_configs": [{"domain_name": "gslb.example"}],
                "sites": [
                    {"name": "east", "cluster_uuid": "cluster-1", "username": "admin", "password": "x",
                     "ip_addresses": [v4("192.0.2.10")], "member_type": "GSLB_ACTIVE_MEMBER",
                     "dns_vses": [{"dns_vs_uuid": "virtualservice-1", "domain_names": ["gslb.example"]}]}
                ],
                "third_party_sites": [{"name": "other", "location": {"source": "GSLB_LOCATION_SRC_FROM_GEODB"}}]
            }),
        ),
        (
            "gslbservice",
            json!({
                "name": "shop", "domain_names": ["shop.gslb.example"], "created_by": "amko-one", "ttl": 30,
                "health_monitor_refs": ["/api/healthmonitor?name=System-GSLB-Ping"],
                "groups": [{
                    "name": "east", "priority": 10, "algorithm": "GSLB_ALGORITHM_ROUND_ROBIN",
                    "members": [{"ip": v4("192.0.2.100"), "vs_uuid": "virtualservice-1", "cluster_uuid": "cluster-1"}]
                }]
            }),
        ),
        (
            "backupconfiguration",
            json!({"name": "Backup-Configuration", "save_local": true, "maximum_backups_stored": 4,
                   "backup_passphrase": "x", "ssh_user_ref": "/api/cloudconnectoruser?name=root"}),
        ),
        (
            "backup",
            json!({"file_name": "backup_1.json", "backup_config_ref": "/api/backupconfiguration/b-1"}),
        ),
    ]
}
