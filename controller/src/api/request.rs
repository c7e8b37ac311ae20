//! What a request says, within limits.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use axum::body::Body;
use axum::http::header::HOST;
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, Uri};
use forebay_model::reference::unescaped;
use http_body_util::BodyExt;
use serde_json::Value;

use super::answer::{Answer, bad};

/// The longest content of a request, bytes: an object of the longest kind (1 MiB in the store), and white space.
pub const CONTENT_BYTES_MAX: usize = 4 << 20;
/// What is read of content at all, bytes.
const CONTENT_READ_MAX: usize = 16 << 20;
/// How long a client may take to send it.
const CONTENT_TIME: Duration = Duration::from_secs(30);
/// The most items of a query.
const ITEMS_MAX: usize = 100;

/// A request whose content is there.
pub struct Asked {
    /// Its method.
    pub method: Method,
    /// Its path, in steps: slashes that stand twice or at the end mean nothing.
    pub steps: Vec<String>,
    /// Its query, unescaped.
    pub query: Vec<(String, String)>,
    /// Its header fields.
    pub headers: HeaderMap,
    /// Its content.
    pub content: Vec<u8>,
    /// The address that it came from.
    pub from: IpAddr,
}

/// The address of a connection's other end, as the socket puts it beside each request.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// Reads a request to its end.
//= API-PATH-01
pub async fn read(request: Request<Body>) -> Result<Asked, Answer> {
    let (head, body) = request.into_parts();
    let steps = head.uri.path().split('/').filter(|step| !step.is_empty()).map(str::to_owned).collect();
    let query = items(head.uri.query().unwrap_or_default())
        .ok_or_else(|| bad(400, "the query is not well-formed"))?;
    // A request that came by no socket is the product's own.
    let from = head.extensions.get::<Peer>().map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |peer| peer.0);
    let content = within(body, |_| true).await?;
    let mut headers = head.headers;
    if let Some(host) = host_of(&head.uri) {
        headers.insert(HOST, host);
    }
    Ok(Asked { method: head.method, steps, query, headers, content, from })
}

/// The content of a request, all of it; `takes` says of each part whether there is room for so many bytes more.
///
/// # Errors
/// The answer: it is too long, does not come in time, or finds no room.
pub async fn whole(body: Body, takes: impl FnMut(usize) -> bool + Send) -> Result<Vec<u8>, Response<Body>> {
    within(body, takes).await.map_err(Answer::finish)
}

async fn within(body: Body, takes: impl FnMut(usize) -> bool) -> Result<Vec<u8>, Answer> {
    match tokio::time::timeout(CONTENT_TIME, content(body, takes)).await {
        Ok(Ok(Some(content))) => Ok(content),
        Ok(Ok(None)) => {
            Err(bad(413, &format!("the content is too long: {CONTENT_BYTES_MAX} bytes are the most")))
        }
        Ok(Err(NoRoom)) => Err(bad(503, "too much is sent at this moment: try again")),
        Err(_) => Err(bad(408, "the content did not come in time")),
    }
}

/// Others have sent too much at this moment.
struct NoRoom;

/// The host that a target names: HTTP/2 has it there and in no field, and by HTTP/1.1 it goes before the field.
//= API-HOST-01
pub fn host_of(uri: &Uri) -> Option<HeaderValue> {
    let host = uri.authority().and_then(|authority| authority.as_str().rsplit('@').next());
    host.and_then(|host| HeaderValue::from_str(host).ok())
}

/// The content, if it is not too long. Of what is too long some more is read and forgotten: many a client sends all that
/// it has before it looks for an answer.
async fn content(mut body: Body, mut takes: impl FnMut(usize) -> bool) -> Result<Option<Vec<u8>>, NoRoom> {
    let mut content = Vec::new();
    let mut came = 0_usize;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Ok(None) };
        let data = frame.into_data().unwrap_or_default();
        came += data.len();
        if came <= CONTENT_BYTES_MAX {
            if !takes(data.len()) {
                return Err(NoRoom);
            }
            content.extend_from_slice(&data);
        } else if came > CONTENT_READ_MAX {
            return Ok(None);
        }
    }
    Ok((came <= CONTENT_BYTES_MAX).then_some(content))
}

impl Asked {
    /// A header field as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The value of a cookie.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        let all = self.headers.get_all("cookie").iter().filter_map(|value| value.to_str().ok());
        all.flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(held, _)| *held == name)
            .map(|(_, value)| value)
    }

    /// Its content as an object.
    pub fn object(&self) -> Result<serde_json::Map<String, Value>, Answer> {
        match serde_json::from_slice(&self.content) {
            Ok(Value::Object(object)) => Ok(object),
            Ok(_) => Err(bad(400, "the content must be a JSON object: {…}")),
            Err(error) => Err(bad(400, &format!("the content is no JSON: {error}"))),
        }
    }

    /// Says whether what is asked for is to be tried only. What could be meant so is never taken for no.
    pub fn is_dry_run(&self) -> Result<bool, Answer> {
        let letters = |name: &str| name.to_lowercase().replace(['-', '_', '.'], "");
        let mut is_so = false;
        for (name, value) in self.query.iter().filter(|(name, _)| letters(name) == "dryrun") {
            match (name.as_str(), value.as_str()) {
                ("dry_run", "false" | "False" | "0") => {}
                ("dry_run", "" | "true" | "True" | "1") => is_so = true,
                _ => return Err(bad(400, "dry_run: write dry_run=true or dry_run=false; nothing was done")),
            }
        }
        Ok(is_so)
    }

    /// The front of the addresses in answers: that by which the client reached us.
    pub fn base(&self) -> String {
        let host = self.header(HOST.as_str()).filter(|host| is_host(host)).unwrap_or("localhost");
        format!("https://{host}")
    }
}

/// A name or an address with a port, and nothing that could be read otherwise.
fn is_host(text: &str) -> bool {
    (1..=255).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte))
}

/// For how many hours something is to be good; clients send the number as a text as well. `None`: nothing is said.
pub fn hours(said: &serde_json::Map<String, Value>) -> Result<Option<u64>, Answer> {
    match said.get("hours") {
        None | Some(Value::Null) => Some(None),
        Some(Value::Number(hours)) => hours.as_u64().map(Some),
        Some(Value::String(hours)) => hours.parse().ok().map(Some),
        Some(_) => None,
    }
    .ok_or_else(|| bad(400, "hours: put a whole number there"))
}

/// The items of a query or a form, unescaped; `None` if there are too many, or one is no text.
pub fn items(text: &str) -> Option<Vec<(String, String)>> {
    let items: Vec<&str> = text.split('&').filter(|item| !item.is_empty()).collect();
    if items.len() > ITEMS_MAX {
        return None;
    }
    items
        .into_iter()
        .map(|item| {
            let (name, value) = item.split_once('=').unwrap_or((item, ""));
            Some((unescaped(name)?, unescaped(value)?))
        })
        .collect()
}
