//! A new connection to a server, made ready for a request: opened, introduced, secured.

use std::io;
use std::net::SocketAddr;

use super::ServerConn;
use crate::l4::introduce::introduce;
use crate::rt::{Now, Rt};
use crate::tls::{Unreached, reach};
use crate::worker::{Route, RouteServer, Worker};

/// For whom a connection is opened.
#[derive(Clone, Copy)]
pub struct For<'a> {
    /// The client.
    pub client: SocketAddr,
    /// The address that it connected to.
    pub local: SocketAddr,
    /// The name that its request asks the server for, where names count.
    pub asked: Option<&'a [u8]>,
}

/// Why a new connection is not ready for a request.
pub enum Unready {
    /// It could not be opened, or took no PROXY header.
    Unopened(io::Error),
    /// Its handshake failed.
    Unsecured(Unreached),
}

impl Unready {
    /// Says whether time ran out.
    pub fn is_late(&self) -> bool {
        match self {
            Unready::Unopened(error) => error.kind() == io::ErrorKind::TimedOut,
            Unready::Unsecured(why) => *why == Unreached::Late,
        }
    }

    /// What is wrong with what the server speaks, if that is the reason.
    pub fn why(&self) -> Option<&'static str> {
        match self {
            Unready::Unopened(error) if error.kind() == io::ErrorKind::InvalidData => {
                Some("the server does not speak HTTP/2")
            }
            Unready::Unopened(_) => None,
            Unready::Unsecured(why) => Some(why.text()),
        }
    }

    /// Says whether it may be held against the server. What a server says to a name of the client's choice may not: any
    /// client could take every server out of service.
    //= TLS-SERVER-BLAME-01
    pub fn is_servers(&self, asked: Option<&[u8]>) -> bool {
        match self {
            Unready::Unopened(_) => true,
            Unready::Unsecured(why) => asked.is_none() || *why == Unreached::Late,
        }
    }
}

/// Opens a connection to a server of a route, with all that comes before the first byte of a request, by `deadline`.
///
/// # Errors
/// Why it is not ready. No byte of a request has left.
//= TLS-SERVER-01
pub async fn ready<R: Rt>(
    worker: &Worker<R>,
    route: &Route,
    target: &RouteServer,
    by: For<'_>,
    deadline: Now,
) -> Result<ServerConn<R::Stream>, Unready> {
    let opened = worker.upstreams.open(target, worker.clients(), deadline).await;
    let mut conn = opened.map_err(Unready::Unopened)?;
    introduce(route, &conn.stream, by.client, by.local).map_err(Unready::Unopened)?;
    let Some(to) = &target.tls else { return Ok(conn) };
    match reach(to, by.asked, &mut conn.stream, deadline).await {
        Ok(agreed) => {
            route.counts.tls_handshakes[agreed.place()].inc();
            conn.proof = Some(to.proof(by.asked));
            Ok(conn)
        }
        Err(why) => {
            route.counts.tls_failures[why as usize].inc();
            Err(Unready::Unsecured(why))
        }
    }
}
