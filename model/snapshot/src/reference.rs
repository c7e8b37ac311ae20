//! The reference of all keys, from the same declarations that read them.

use std::fmt::Write as _;

use crate::read::{FieldDoc, Section};
use crate::{engine, health, hosts, objsync, persistence, pool, pool_tls, profile, service, sni, tls};

/// Renders every section of the document as Markdown tables: key, what to write, default, range, meaning.
pub fn reference() -> String {
    let mut out = String::new();
    let mut part = |title: &str, fields: Vec<FieldDoc>| section(&mut out, title, &fields);
    part("the document", crate::Snapshot::docs());
    part("[engine]", engine::Engine::docs());
    part("engine.dns", engine::Dns::docs());
    part("engine.access_log", engine::AccessLog::docs());
    part("engine.process_log", engine::ProcessLog::docs());
    part("[objsync]", objsync::Objsync::docs());
    part("[[objsync.members]]", objsync::ObjsyncMember::docs());
    part("[[virtual_service]]", service::VirtualService::docs());
    part("virtual_service.sni_routes", sni::SniRoute::docs());
    part("virtual_service.hosts", hosts::OwnHosts::docs());
    part("virtual_service.proxy_protocol", service::ProxyProtocol::docs());
    part("virtual_service.client_logs", service::ClientLogs::docs());
    part("virtual_service.client_certificate", tls::ClientCertificate::docs());
    part("virtual_service.client_certificate.headers", tls::ClientCertificateHeaders::docs());
    part("[[pool]]", pool::Pool::docs());
    part("[[pool.server]]", pool::Server::docs());
    part("pool.request_queue", pool::RequestQueue::docs());
    part("pool.server_reselect", pool::ServerReselect::docs());
    part("pool.connection_pool", pool::ConnectionPool::docs());
    part("pool.tls", pool_tls::PoolTls::docs());
    part("pool.fail_action, pool_group.fail_action", pool::FailAction::docs());
    part("[[pool_group]]", pool::PoolGroup::docs());
    part("[[pool_group.member]]", pool::PoolGroupMember::docs());
    for (word, fields) in persistence::Persistence::docs() {
        part(&format!("[[persistence]] type = \"{word}\""), fields);
    }
    part("[[cookie_key]]", persistence::CookieKey::docs());
    for (word, fields) in health::HealthMonitor::docs() {
        part(&format!("[[health_monitor]] type = \"{word}\""), fields);
    }
    part("[[http_profile]]", profile::HttpProfile::docs());
    part("[[tcp_profile]]", profile::TcpProfile::docs());
    part("[[udp_profile]]", profile::UdpProfile::docs());
    part("[[certificate]]", tls::Certificate::docs());
    part("[[ticket_key]]", tls::TicketKey::docs());
    part("[[tls_profile]]", tls::TlsProfile::docs());
    part("[[pki_profile]]", tls::PkiProfile::docs());
    part("[[file]]", crate::InlineFile::docs());
    out
}

fn section(out: &mut String, title: &str, fields: &[FieldDoc]) {
    // Writing to a text cannot fail.
    let _ =
        writeln!(out, "\n### {title}\n\n| key | write | default | range | meaning |\n|---|---|---|---|---|");
    for field in fields {
        let default = match field.default.as_str() {
            "" => "–".to_owned(),
            "required" => "**required**".to_owned(),
            other => format!("`{}`", other.replace('\n', " ")),
        };
        let range = if field.range.is_empty() { "–" } else { &field.range };
        let form = if field.form == "a table" { "a table (below)" } else { field.form };
        let _ = writeln!(out, "| `{}` | {form} | {default} | {range} | {} |", field.name, field.doc);
    }
}
