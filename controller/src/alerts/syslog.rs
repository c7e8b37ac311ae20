//! Alerts for syslog servers: how a message looks, and how it gets there.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket};

use crate::reach::{self, Trust};

/// A server has so long to take a message.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of a message: what fits into a datagram of IPv6 that nobody has to cut.
const MESSAGE_MAX: usize = 1_200;
/// The facility: local0.
const FACILITY: u8 = 16;

/// A server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// By datagrams; else by connections.
    pub is_udp: bool,
    /// Over TLS: whom to trust.
    pub tls: Option<Trust>,
    /// How a message looks.
    pub format: Format,
    /// Whom messages are from.
    pub sender: String,
    /// The addresses of Controllers, if it may be at none of them and not on this machine.
    pub avoids: Option<Vec<IpAddr>>,
}

impl Server {
    /// Where it is, as far as it may be there.
    //= ALERT-SYSLOG-02
    async fn places(&self) -> Result<Vec<SocketAddr>, String> {
        let all = tokio::net::lookup_host((self.host.as_str(), self.port)).await;
        let all: Vec<SocketAddr> = all.map_err(|error| error.to_string())?.collect();
        if all.is_empty() {
            return Err("its name has no address".to_owned());
        }
        let Some(nodes) = &self.avoids else { return Ok(all) };
        let is_apart = |at: &SocketAddr| {
            let ip = at.ip().to_canonical();
            !nodes.contains(&ip) && !reach::is_here(ip)
        };
        let may: Vec<SocketAddr> = all.iter().copied().filter(is_apart).collect();
        match may.is_empty() {
            true => Err(format!(
                "{} is an address of a Controller: only what stands in the tenant admin may name it",
                all[0].ip()
            )),
            false => Ok(may),
        }
    }
}

/// How a message looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// As of old (RFC 3164).
    Legacy,
    /// RFC 5424, with words.
    Plain,
    /// RFC 5424, with a JSON object.
    Json,
    /// RFC 5424, with words and structured data.
    Structured,
}

impl Format {
    /// By its name in the model.
    pub fn of(name: &str) -> Self {
        match name {
            "SYSLOG_RFC5424" => Format::Plain,
            "SYSLOG_JSON" => Format::Json,
            "SYSLOG_RFC5425_ENHANCED" => Format::Structured,
            _ => Format::Legacy,
        }
    }
}

/// A message about an alert; `moment` is as RFC 3339 has it.
//= ALERT-SYSLOG-01
pub fn message(alert: &Value, format: Format, sender: &str, moment: &str) -> String {
    let text = |name: &str| plain(alert[name].as_str().unwrap_or_default());
    let severity = match alert["level"].as_str() {
        Some("ALERT_HIGH") => 2,
        Some("ALERT_MEDIUM") => 4,
        _ => 5,
    };
    let priority = FACILITY * 8 + severity;
    let sender = match plain(sender).replace(' ', "-") {
        none if none.is_empty() => "-".to_owned(),
        sender => sender,
    };
    let words = format!("[{}: {}] {}", text("level"), text("name"), text("description"));
    let head = format!("<{priority}>1 {moment} {sender} forebay - ALERT");
    let mut message = match format {
        Format::Legacy => format!("<{priority}>{} {sender} forebay: {words}", legacy(moment)),
        Format::Plain => format!("{head} - {words}"),
        Format::Json => {
            let fields =
                ["name", "level", "obj_uuid", "obj_name", "obj_type", "tenant", "description", "uuid"];
            let object: serde_json::Map<String, Value> =
                fields.iter().map(|name| ((*name).to_owned(), json!(text(name)))).collect();
            let object = Value::Object(object).to_string();
            // Half an object is none.
            match head.len() + object.len() < MESSAGE_MAX {
                true => format!("{head} - {object}"),
                false => format!(
                    "{head} - {}",
                    json!({"name": text("name"), "level": text("level"), "uuid": text("uuid")})
                ),
            }
        }
        Format::Structured => {
            let quoted =
                |name: &str| text(name).replace('\\', "\\\\").replace('"', "\\\"").replace(']', "\\]");
            let fields = ["name", "level", "obj_uuid", "obj_name", "obj_type", "tenant"];
            let fields: Vec<String> =
                fields.iter().map(|name| format!("{name}=\"{}\"", quoted(name))).collect();
            // The number is the one for examples and private use.
            format!("{head} [alert@32473 {}] {words}", fields.join(" "))
        }
    };
    if message.len() > MESSAGE_MAX {
        let end = (0..=MESSAGE_MAX).rev().find(|at| message.is_char_boundary(*at)).unwrap_or(0);
        message.truncate(end);
    }
    message
}

/// One line without characters that terminals act on.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// `2026-11-22T13:48:22Z` as `Nov 22 13:48:22`.
fn legacy(moment: &str) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let part = |range: std::ops::Range<usize>| moment.get(range).unwrap_or_default();
    let month = part(5..7).parse::<usize>().ok().and_then(|month| MONTHS.get(month.wrapping_sub(1)));
    let day: u8 = part(8..10).parse().unwrap_or(1);
    format!("{} {day:>2} {}", month.copied().unwrap_or(MONTHS[0]), part(11..19))
}

/// Sends one.
///
/// # Errors
/// Why it did not get there, as far as that can be known.
pub async fn send(server: &Server, message: &str) -> Result<(), String> {
    let sent = async {
        match server.is_udp {
            true => datagram(server, message).await,
            false => stream(server, message).await,
        }
    };
    let late = || Err(format!("it took nothing within {} s", PATIENCE.as_secs()));
    tokio::time::timeout(PATIENCE, sent).await.unwrap_or_else(|_| late())
}

async fn datagram(server: &Server, message: &str) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    let at = server.places().await?[0];
    let own = if at.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(own).await.map_err(text)?;
    socket.send_to(message.as_bytes(), at).await.map_err(text)?;
    Ok(())
}

async fn stream(server: &Server, message: &str) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    // Servers tell messages apart by their lengths, those of old by lines.
    let framed = match server.format {
        Format::Legacy => format!("{message}\n"),
        Format::Plain | Format::Json | Format::Structured => format!("{} {message}", message.len()),
    };
    let plain = TcpStream::connect(&*server.places().await?).await.map_err(text)?;
    match &server.tls {
        None => {
            let mut plain = plain;
            plain.write_all(framed.as_bytes()).await.map_err(text)?;
            plain.shutdown().await.map_err(text)
        }
        Some(trust) => {
            let mut tls = reach::secured(plain, &server.host, trust.client()?).await?;
            tls.write_all(framed.as_bytes()).await.map_err(text)?;
            tls.shutdown().await.map_err(text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= test ALERT-SYSLOG-02
    #[tokio::test]
    async fn a_server_of_a_tenant_is_no_controller() {
        let here = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
        here.set_read_timeout(Some(PATIENCE)).expect("it can be set");
        let port = here.local_addr().expect("its address").port();
        let mut server = Server {
            host: "localhost".to_owned(),
            port,
            is_udp: true,
            tls: None,
            format: Format::Legacy,
            sender: "ctl".to_owned(),
            avoids: Some(vec![IpAddr::from([192, 0, 2, 7])]),
        };
        for (host, is_udp) in
            [("localhost", true), ("127.0.0.1", false), ("::ffff:127.0.0.1", true), ("192.0.2.7", false)]
        {
            (server.host, server.is_udp) = (host.to_owned(), is_udp);
            let why = send(&server, "no").await.expect_err(host);
            assert!(why.contains("is an address of a Controller"), "{host}: {why}");
        }
        server.host = "192.0.2.8".to_owned();
        assert_eq!(server.places().await, Ok(vec![SocketAddr::from(([192, 0, 2, 8], port))]));
        // The administrator's may be beside the Controller.
        (server.host, server.is_udp, server.avoids) = ("127.0.0.1".to_owned(), true, None);
        send(&server, "yes").await.expect("sent");
        let mut came = [0; 8];
        let (length, _) = here.recv_from(&mut came).expect("it comes");
        assert_eq!(&came[..length], b"yes", "and nothing of those before");
    }

    //= test ALERT-SYSLOG-01
    #[test]
    fn a_message_looks_as_its_server_wants_it() {
        let alert = json!({
            "name": "down", "level": "ALERT_HIGH", "description": "a\nb", "obj_uuid": "pool-1", "obj_name": "x\"]y",
            "obj_type": "POOL", "tenant": "admin", "uuid": "alert-1",
        });
        let of = |format| message(&alert, format, "ctl 1", "2026-11-02T13:48:22Z");
        assert_eq!(of(Format::Legacy), "<130>Nov  2 13:48:22 ctl-1 forebay: [ALERT_HIGH: down] a b");
        let head = "<130>1 2026-11-02T13:48:22Z ctl-1 forebay - ALERT";
        assert_eq!(of(Format::Plain), format!("{head} - [ALERT_HIGH: down] a b"));
        let json = of(Format::Json);
        let object: Value = serde_json::from_str(&json[head.len() + 3..]).expect("an object");
        assert_eq!((&object["description"], &object["obj_uuid"]), (&json!("a b"), &json!("pool-1")));
        assert!(
            of(Format::Structured).contains(
                r#"[alert@32473 name="down" level="ALERT_HIGH" obj_uuid="pool-1" obj_name="x\"\]y" "#
            )
        );
        let long = json!({"name": "n", "level": "ALERT_LOW", "description": "ä".repeat(5_000)});
        for format in [Format::Legacy, Format::Plain, Format::Json, Format::Structured] {
            let text = message(&long, format, "", "2026-11-02T13:48:22Z");
            assert!(text.len() <= MESSAGE_MAX && text.starts_with("<133>"), "{text}");
        }
        let text = message(&long, Format::Json, "", "2026-11-02T13:48:22Z");
        assert!(text.ends_with('}'), "half an object is none: {text}");
    }
}
