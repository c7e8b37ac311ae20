//! A Controller joins others: for a token that is good once it gets the key that all of them share.
//!
//! It calls where engines are let in, and trusts whoever the token's authority has signed for, and nobody else.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use forebay_wire::limits::{HANDSHAKE, PATIENCE};
use forebay_wire::proto::Joining;
use forebay_wire::{CONTROLLER_NAME, Token, call};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::Status;

use super::moving;
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

/// Makes a token for a Controller.
///
/// # Errors
/// There are too many, or those of the store.
//= CLUSTER-JOIN-01
pub async fn token(store: &impl Store, hours: Option<u64>) -> Result<Made, Refusal> {
    if SHELF.all(store).await?.len() >= TOKENS_MAX {
        return Err(Refusal::TooLarge(format!("there are {TOKENS_MAX} tokens: they end by time")));
    }
    SHELF.make(store, hours, json!({})).await
}

/// Gives the key for a token, which is good no more from then on.
///
/// # Errors
/// It is good for nothing.
//= CLUSTER-JOIN-01
pub async fn admit<S: Store>(app: &App<S>, asked: &Joining) -> Result<Vec<u8>, Status> {
    match SHELF.take(&app.store, &asked.secret).await {
        Ok(true) => {
            tracing::warn!(
                event = "CLUSTER_JOINED",
                name = asked.name,
                "a Controller was given the key of the store"
            );
            Ok(app.objects.seal().shared().to_vec())
        }
        Ok(false) => Err(Status::permission_denied(
            "the token is unknown, over or used: make a new one (POST /api/cluster/token)",
        )),
        Err(refusal) => Err(Status::unavailable(refusal.to_string())),
    }
}

/// Gets the key of the Controllers at these places (host and port where engines are let in) into a folder that has none.
///
/// # Errors
/// As a text that says what to do.
//= CLUSTER-JOIN-01
pub async fn join(folder: &Path, controllers: &[String], token: &Path, name: &str) -> Result<(), String> {
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
    let mut told = Vec::new();
    for at in controllers {
        match ask(at, Arc::clone(&tls), &token, name).await {
            Ok(key) if key.len() == 32 => {
                let file = folder.join(backup::KEY);
                write_private(&file, &key).map_err(|error| format!("{}: {error}", file.display()))?;
                return moving::has_joined(folder);
            }
            Ok(_) => told.push(format!("{at}: what it sent is no key")),
            Err(text) => told.push(format!("{at}: {text}")),
        }
    }
    Err(format!("no Controller gave its key: {}", told.join("; ")))
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

async fn ask(at: &str, tls: Arc<ClientConfig>, token: &Token, name: &str) -> Result<Vec<u8>, String> {
    let late = |what: &str, limit: Duration| format!("{what} within {} s", limit.as_secs());
    let connected = tokio::time::timeout(REACH, TcpStream::connect(at)).await;
    let stream = connected.map_err(|_| late("no connection", REACH))?.map_err(|error| error.to_string())?;
    let server = ServerName::try_from(CONTROLLER_NAME).map_err(|error| error.to_string())?;
    let shaken = async {
        let stream =
            TlsConnector::from(tls).connect(server, stream).await.map_err(|error| error.to_string())?;
        let opened = call::open(TokioIo::new(stream), TokioExecutor::new(), TokioTimer::new()).await;
        opened.map_err(|error| error.to_string())
    };
    let shaken = tokio::time::timeout(HANDSHAKE, shaken).await;
    let (mut client, connection) = shaken.map_err(|_| late("no handshake", HANDSHAKE))??;
    let driven = tokio::spawn(connection);
    let asked = client.join(Joining { secret: token.secret.clone(), name: name.to_owned() });
    let said = tokio::time::timeout(PATIENCE, asked).await.map_err(|_| late("no answer", PATIENCE))?;
    driven.abort();
    said.map(|said| said.into_inner().key).map_err(|status| status.message().to_owned())
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
        let made = token(&store, None).await.expect("room");
        assert_eq!(SHELF.take(&store, "another").await, Ok(false));
        assert_eq!(SHELF.take(&store, &made.secret).await, Ok(true));
        assert_eq!(SHELF.take(&store, &made.secret).await, Ok(false), "it was used");
        for _ in 0..TOKENS_MAX {
            token(&store, None).await.expect("room");
        }
        assert!(token(&store, None).await.is_err());
    }
}
