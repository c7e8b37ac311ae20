//! Who answers requests at this node: the Controller itself while it leads, the one that leads otherwise.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, RETRY_AFTER, TRANSFER_ENCODING, UPGRADE,
};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, Uri, uri};
use http_body_util::Full;
use rustls::ClientConfig;
use tokio::sync::watch;

use super::guests::{Guest, Guests, OF_ONE_MAX};
use super::identity::NAME;
use super::relay::{Failed, Relay};
use crate::api::{self, App, Peer, Wrote};
use crate::store::Etcd;

/// By which one Controller tells another where a request came from. Clients cannot: theirs is taken away.
const CLIENT: &str = "x-forebay-client";

/// What this node is at the moment.
pub enum Role {
    /// It leads, while `store` does.
    Leads(Arc<App<Etcd>>),
    /// The one at this address does.
    Follows(SocketAddr),
    /// Nobody that it knows of does, and why.
    Nobody(String),
}

/// The node as its clients see it.
pub struct Front {
    role: RwLock<Arc<Role>>,
    relay: Relay,
    /// Whom it followed last; `None`: it led itself.
    followed: watch::Sender<Option<SocketAddr>>,
    guests: Guests,
}

impl Front {
    /// One that nobody answers at yet.
    pub fn new(tls: Arc<ClientConfig>) -> Self {
        let role = Role::Nobody("this Controller is starting".to_owned());
        Front {
            role: RwLock::new(Arc::new(role)),
            relay: Relay::new(tls),
            followed: watch::Sender::new(None),
            guests: Guests::default(),
        }
    }

    /// What this node is now.
    pub fn role(&self) -> Arc<Role> {
        Arc::clone(&self.role.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on it is this.
    pub fn set(&self, role: Role) {
        match &role {
            Role::Follows(at) => drop(self.followed.send_replace(Some(*at))),
            Role::Leads(_) => drop(self.followed.send_replace(None)),
            // Whoever led may answer yet.
            Role::Nobody(_) => {}
        }
        *self.role.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(role);
    }

    /// The Controller itself, if it leads.
    ///
    /// # Errors
    /// Another one does, or nobody.
    pub fn app(&self) -> Result<Arc<App<Etcd>>, String> {
        match &*self.role() {
            Role::Leads(app) if app.store.is_led() => Ok(Arc::clone(app)),
            Role::Leads(_) => Err("this Controller leads no more: try again".to_owned()),
            Role::Follows(at) => {
                Err(format!("the Controller at {at} leads: run this there, in the folder of that one"))
            }
            Role::Nobody(why) => Err(format!("no Controller leads at the moment: {why}")),
        }
    }

    /// Answers a client.
    //= CLUSTER-ANY-01
    //= CLUSTER-ANY-02
    pub async fn client(&self, mut request: Request) -> Response<Body> {
        request.headers_mut().remove(CLIENT);
        if let Role::Nobody(why) = &*self.role() {
            return nobody(why);
        }
        // All of it is here before anything is passed on: who is slow holds a place of its own, and none of the leader's.
        let (head, content, guest) = match received(&self.guests, request).await {
            Ok(received) => received,
            Err(answer) => return answer,
        };
        match &*self.role() {
            Role::Leads(app) if app.store.is_led() => {
                own(app, Request::from_parts(head, Body::from(content))).await
            }
            Role::Leads(_) => nobody("this Controller leads no more"),
            Role::Nobody(why) => nobody(why),
            Role::Follows(at) => self.pass_on(*at, (head, content), guest).await,
        }
    }

    /// Answers another Controller, on behalf of a client of it. It is passed on once, and no further.
    pub async fn controller(&self, mut request: Request) -> Response<Body> {
        let from = request.headers_mut().remove(CLIENT);
        // Its target is this Controller; the client's host is in the field.
        let target = std::mem::take(request.uri_mut()).into_parts();
        *request.uri_mut() = target.path_and_query.map(Uri::from).unwrap_or_default();
        if let Some(from) = from.and_then(|from| from.to_str().ok()?.parse::<IpAddr>().ok()) {
            request.extensions_mut().insert(Peer(from));
        }
        match &*self.role() {
            Role::Leads(app) if app.store.is_led() => own(app, request).await,
            _ => nobody("the Controller that was asked leads no more"),
        }
    }

    async fn pass_on(&self, at: SocketAddr, (head, content): (Parts, Bytes), guest: Guest) -> Response<Body> {
        let is_safe = head.method.is_safe();
        let request = match passed(head, content) {
            Ok(request) => request,
            Err(text) => return nobody(&text),
        };
        let mut followed = self.followed.subscribe();
        let done = tokio::select! {
            done = self.relay.pass(at, request, guest) => done,
            // It will hear no more of that one.
            _ = followed.wait_for(|now| *now != Some(at)) => {
                Err(Failed::After("another one leads now".to_owned()))
            }
        };
        match done {
            Ok(response) => response,
            Err(Failed::Before(text)) => {
                nobody(&format!("the Controller that leads, at {at}, is not reached: {text}"))
            }
            Err(Failed::After(text)) if is_safe => {
                nobody(&format!("the Controller that leads, at {at}, did not answer: {text}"))
            }
            Err(Failed::After(text)) => unknown(&format!(
                "the Controller that leads, at {at}, did not answer: {text}; whether this was done is not known: look \
                 before you repeat it"
            )),
        }
    }
}

/// A whole request, and the room that it takes.
///
/// # Errors
/// The answer: its client has too many under way, or it is too long, does not come in time, or finds no room.
pub async fn received(guests: &Guests, request: Request) -> Result<(Parts, Bytes, Guest), Response<Body>> {
    let from = request.extensions().get::<Peer>();
    let from = from.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |peer| peer.0);
    let Some(mut guest) = guests.enter(from) else {
        return Err(later(&format!("{OF_ONE_MAX} requests of this client are under way")));
    };
    let (head, body) = request.into_parts();
    match api::whole(body, |bytes| guest.takes(bytes)).await {
        Ok(content) => Ok((head, Bytes::from(content), guest)),
        Err(mut answer) => {
            if answer.status() == StatusCode::SERVICE_UNAVAILABLE {
                answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Err(answer)
        }
    }
}

/// The answer of this Controller, which leads. One that stood still meanwhile says nothing of what it knew before: another one
/// may have led and written since. What it wrote itself it wrote while it led, or not at all.
//= CLUSTER-STILL-01
async fn own(app: &Arc<App<Etcd>>, request: Request) -> Response<Body> {
    // Neither of the two writes anything by which somebody else would notice that this one leads no more.
    let steps: Vec<&str> = request.uri().path().split('/').filter(|step| !step.is_empty()).collect();
    let only_reads = request.method().is_safe()
        || matches!(&steps[..], ["login"] | ["api", "analytics", "metrics", "collection"]);
    let answer = api::serve(Arc::clone(app), request).await;
    match is_from_memory(only_reads, &answer) && !app.store.is_led() {
        true => nobody("this Controller leads no more"),
        false => answer,
    }
}

/// Says whether all that an answer says was known here before: what wrote nothing did no more than read. Where something went
/// wrong here, that is what it says.
fn is_from_memory(only_reads: bool, answer: &Response<Body>) -> bool {
    let has_written = answer.extensions().get::<Wrote>().is_some();
    only_reads || !(has_written || answer.status().is_server_error())
}

/// A request as the leader takes it: by HTTP/2, by whatever version the client came.
pub(super) fn passed(mut head: Parts, content: Bytes) -> Result<Request<Full<Bytes>>, String> {
    let from = head.extensions.get::<Peer>().map(|peer| peer.0.to_string());
    let host = api::host_of(&head.uri);
    // What concerns one connection ends here; the content is whole, and has its length.
    let hop = [
        CONNECTION,
        TRANSFER_ENCODING,
        UPGRADE,
        EXPECT,
        CONTENT_LENGTH,
        HeaderName::from_static("keep-alive"),
    ];
    for name in hop {
        head.headers.remove(name);
    }
    if let Some(host) = host {
        head.headers.insert(HOST, host);
    }
    if let Some(from) = from.and_then(|from| HeaderValue::from_str(&from).ok()) {
        head.headers.insert(CLIENT, from);
    }
    let mut parts = std::mem::take(&mut head.uri).into_parts();
    parts.scheme = Some(uri::Scheme::HTTPS);
    parts.authority = NAME.parse().ok();
    parts.path_and_query.get_or_insert(uri::PathAndQuery::from_static("/"));
    head.uri = Uri::from_parts(parts).map_err(|error| error.to_string())?;
    head.version = axum::http::Version::HTTP_2;
    Ok(Request::from_parts(head, Full::new(content)))
}

/// Nobody answers at the moment: clients try again.
fn nobody(why: &str) -> Response<Body> {
    later(&format!("no Controller leads at the moment: {why}"))
}

/// Nothing was done: clients try again.
fn later(why: &str) -> Response<Body> {
    let mut response = unknown(why);
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// It may have been done.
fn unknown(why: &str) -> Response<Body> {
    let text = serde_json::json!({"error": why});
    let mut response = Response::new(Body::from(text.to_string()));
    *response.status_mut() = StatusCode::GATEWAY_TIMEOUT;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
#[path = "front_tests.rs"]
mod tests;
