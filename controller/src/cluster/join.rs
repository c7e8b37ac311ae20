//! A Controller joins others: for a token that is good once it gets the key that all of them share.
//!
//! It calls where engines are let in, and trusts whoever the token's authority has signed for, and nobody else.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay_wire::limits::{HANDSHAKE, PATIENCE};
use forebay_wire::proto::{self, Joined, Joining};
use forebay_wire::{CONTROLLER_NAME, Token, call};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::{Code, Response, Status};

use super::kept::Kept;
use super::member::Node;
use super::roster::{self, Place, Roster};
use super::{moving, tending};
use crate::api::App;
use crate::backup;
use crate::files::write_private;
use crate::store::{Refusal, Store};
use crate::tokens::Made;
use crate::tokens::shelf::Shelf;

/// Tokens of Controllers: good for an hour, for a day at most, as they open everything.
const SHELF: Shelf = Shelf { prefix: "node-token/", name: "node-token-", hours: (1, 24) };
/// Tokens at once: more than there can be nodes.
const TOKENS_MAX: usize = 16;
/// One address is given so long to take the connection.
const REACH: Duration = Duration::from_secs(2);
/// The pause before all are asked again.
const AGAIN: Duration = Duration::from_millis(500);

/// Makes a token for a Controller.
///
/// # Errors
/// There are too many, or those of the store.
//= CLUSTER-JOIN-01
pub async fn token(store: &impl Store, hours: Option<u64>, node: &str) -> Result<Made, Refusal> {
    if SHELF.all(store).await?.len() >= TOKENS_MAX {
        return Err(Refusal::TooLarge(format!("there are {TOKENS_MAX} tokens: they end by time")));
    }
    SHELF.make(store, hours, json!({"node": node})).await
}

/// Gives the key for a token, which is good no more from then on; and where each Controller has a member of etcd, makes one of
/// the one that asks.
///
/// # Errors
/// It is good for nothing, or there is to be no such node.
//= CLUSTER-JOIN-01
//= CLUSTER-JOIN-02
pub async fn admit<S: Store>(app: &App<S>, asked: &Joining) -> Result<Joined, Status> {
    let no = "the token is unknown, over or used: make a new one (forebay cluster token, or POST /api/cluster/token)";
    let unavailable = |refusal: Refusal| Status::unavailable(refusal.to_string());
    let Some(held) = SHELF.held(&app.store, &asked.secret).await.map_err(unavailable)? else {
        return Err(Status::permission_denied(no));
    };
    let name = match held["node"].as_str().filter(|node| !node.is_empty()) {
        Some(node) if asked.name.is_empty() || asked.name == node => node.to_owned(),
        Some(node) => return Err(Status::permission_denied(format!("the token is for the node {node}"))),
        None => asked.name.clone(),
    };
    let place = match app.cluster.roster() {
        Some(roster) => Some(place(app, roster, &name).await?),
        None => None,
    };
    if !SHELF.take(&app.store, &asked.secret).await.map_err(unavailable)? {
        return Err(Status::permission_denied(no));
    }
    tracing::warn!(event = "CLUSTER_JOINED", name, "a Controller was given the key of the store");
    let mut joined = Joined { key: app.objects.seal().shared().to_vec(), name, ..Joined::default() };
    if let Some(place) = place {
        let nodes = place.nodes.into_iter();
        joined.nodes =
            nodes.map(|node| proto::Node { name: node.name, address: node.address.to_string() }).collect();
        (joined.client_port, joined.peer_port) = (place.ports.0.into(), place.ports.1.into());
    }
    Ok(joined)
}

async fn place<S: Store>(app: &App<S>, roster: &Roster, name: &str) -> Result<Place, Status> {
    let nodes = tending::object(app).and_then(|(_, object)| roster::wanted(&object).ok()).unwrap_or_default();
    let Some(node) = nodes.iter().find(|node| node.name == name) else {
        return Err(Status::failed_precondition(format!(
            "no node is called '{name}': add it first (forebay cluster add NAME=ADDRESS), and say --name"
        )));
    };
    let place = roster.admit(node, &nodes).await.map_err(|(text, may_again)| match may_again {
        true => Status::unavailable(text),
        false => Status::failed_precondition(text),
    })?;
    // It may look there as soon as it has the key, and who is not named there takes itself for removed.
    let named = tending::name_too(&app.store, node).await;
    named.map_err(|refusal| Status::unavailable(refusal.to_string()))?;
    Ok(place)
}

/// Gets the key of the Controllers at these places (host and port where engines are let in) into a folder that has none.
///
/// # Errors
/// As a text that says what to do.
//= CLUSTER-JOIN-01
pub async fn join(
    folder: &Path,
    controllers: &[String],
    token: &Path,
    (name, patience): (&str, Duration),
) -> Result<(), String> {
    for name in [backup::KEY, backup::STORE] {
        let file = folder.join(name);
        if file.exists() {
            return Err(format!(
                "{} is there: this folder belongs to a Controller already; name an empty one by --data-dir",
                file.display()
            ));
        }
    }
    let text = std::fs::read_to_string(token).map_err(|error| format!("{}: {error}", token.display()))?;
    let token = Token::read(&text).map_err(|problem| format!("{}: {problem}", token.display()))?;
    let tls = Arc::new(trusting(&token)?);
    let until = Instant::now() + patience;
    loop {
        let (mut told, mut may_again) = (Vec::new(), true);
        for at in controllers {
            match ask(at, Arc::clone(&tls), &token, name).await {
                Ok(joined) if joined.key.len() == 32 => return keep(folder, &joined),
                Ok(_) => told.push(format!("{at}: what it sent is no key")),
                Err((text, is_away)) => {
                    may_again &= is_away;
                    told.push(format!("{at}: {text}"));
                }
            }
        }
        // Who leads may be about to change, or another one about to join; who has refused does so again.
        if !may_again || Instant::now() >= until {
            return Err(format!("no Controller gave its key: {}", told.join("; ")));
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Writes down what was given, the key last: what was given is complete where it is.
fn keep(folder: &Path, joined: &Joined) -> Result<(), String> {
    if !joined.nodes.is_empty() {
        let nodes: Result<Vec<Node>, String> =
            joined.nodes.iter().map(|node| format!("{}={}", node.name, node.address).parse()).collect();
        let nodes = nodes.map_err(|text| format!("what the Controller says of nodes: {text}"))?;
        let port =
            |port: u32| u16::try_from(port).map_err(|_| format!("what the Controller says: port {port}"));
        let own = nodes.iter().find(|node| node.name == joined.name).cloned();
        let own = own.ok_or("what the Controller says of nodes does not name this one")?;
        let ports = (port(joined.client_port)?, port(joined.peer_port)?);
        Kept { own, initial: nodes.clone(), nodes, joins: true, ports }.write(folder)?;
    }
    moving::has_joined(folder)?;
    let file = folder.join(backup::KEY);
    write_private(&file, &joined.key).map_err(|error| format!("{}: {error}", file.display()))
}

fn trusting(token: &Token) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    let added = roots.add(CertificateDer::from(token.authority.clone()));
    added.map_err(|error| format!("the token's authority: {error}"))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

/// What the Controller there gives; or why it gives nothing, and whether it may later.
async fn ask(at: &str, tls: Arc<ClientConfig>, token: &Token, name: &str) -> Result<Joined, (String, bool)> {
    let late = |what: &str, limit: Duration| (format!("{what} within {} s", limit.as_secs()), true);
    let connected = tokio::time::timeout(REACH, TcpStream::connect(at)).await;
    let stream =
        connected.map_err(|_| late("no connection", REACH))?.map_err(|error| (error.to_string(), true))?;
    let server = ServerName::try_from(CONTROLLER_NAME).map_err(|error| (error.to_string(), false))?;
    let shaken = async {
        let stream = TlsConnector::from(tls)
            .connect(server, stream)
            .await
            .map_err(|error| (error.to_string(), false))?;
        let opened = call::open(TokioIo::new(stream), TokioExecutor::new(), TokioTimer::new()).await;
        opened.map_err(|error| (error.to_string(), true))
    };
    let shaken = tokio::time::timeout(HANDSHAKE, shaken).await;
    let (mut client, connection) = shaken.map_err(|_| late("no handshake", HANDSHAKE))??;
    let driven = tokio::spawn(connection);
    let asked = client.join(Joining { secret: token.secret.clone(), name: name.to_owned() });
    let said = tokio::time::timeout(PATIENCE, asked).await.map_err(|_| late("no answer", PATIENCE))?;
    driven.abort();
    said.map(Response::into_inner)
        .map_err(|status| (status.message().to_owned(), status.code() == Code::Unavailable))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Embedded;
    use crate::store::suite::Folder;

    //= test CLUSTER-JOIN-01
    #[tokio::test]
    async fn a_token_of_a_controller_is_good_once() {
        let folder = Folder::new("node-token");
        let store = Embedded::open(&folder.0.join("store")).expect("a store");
        let made = token(&store, None, "").await.expect("room");
        assert_eq!(SHELF.take(&store, "another").await, Ok(false));
        assert_eq!(SHELF.take(&store, &made.secret).await, Ok(true));
        assert_eq!(SHELF.take(&store, &made.secret).await, Ok(false), "it was used");
        for _ in 0..TOKENS_MAX {
            token(&store, None, "").await.expect("room");
        }
        assert!(token(&store, None, "").await.is_err());
    }
}
