//! How bytes come from a client and go to it: over a connection of its own, or as a stream of one that carries many.

use std::future::Future;
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};

use super::part::Part;
use crate::rt::either::Either;
use crate::rt::{Now, Pipe, Rt, Stream};
use crate::tls::{Securable, Session, prove};

/// A client's connection, or its part of one.
pub enum Way<R: Rt> {
    /// The connection.
    Own(R::Stream),
    /// A stream of a connection that speaks HTTP/2.
    Part(Box<Part<R>>),
}

impl<R: Rt> Way<R> {
    /// The connection itself, if it carries one request after another.
    pub fn own(&self) -> Option<&R::Stream> {
        match self {
            Way::Own(stream) => Some(stream),
            Way::Part(_) => None,
        }
    }

    /// The stream, if the connection carries many.
    pub fn part(&self) -> Option<&Part<R>> {
        match self {
            Way::Own(_) => None,
            Way::Part(part) => Some(part),
        }
    }

    /// The connection below.
    fn socket(&self) -> &R::Stream {
        match self {
            Way::Own(stream) => stream,
            Way::Part(part) => part.socket(),
        }
    }

    /// The TLS session, if the client speaks TLS.
    pub fn session(&self) -> Option<&Session> {
        self.socket().session()
    }

    /// Says whether it is not certain yet that what came is the client's: its handshake is not over.
    pub fn is_early(&self) -> bool {
        self.session().is_some_and(Session::is_early)
    }

    /// Waits for the end of such a handshake.
    ///
    /// # Errors
    /// It did not end by `deadline`, or not well.
    pub async fn prove(&self, deadline: Now) -> io::Result<()> {
        match self {
            Way::Own(stream) => prove(stream, deadline).await,
            Way::Part(part) => part.proven(deadline).await,
        }
    }

    /// Says whether the client speaks TLS.
    pub fn is_secured(&self) -> bool {
        self.socket().is_secured()
    }
}

impl<R: Rt> Stream for Way<R> {
    fn try_read(&self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Way::Own(stream) => stream.try_read(into),
            Way::Part(part) => part.try_read(into),
        }
    }

    fn try_peek(&self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Way::Own(stream) => stream.try_peek(into),
            // Who peeks wants what comes before a protocol is known.
            Way::Part(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Way::Own(stream) => stream.try_write(pieces),
            Way::Part(part) => part.try_write(pieces),
        }
    }

    /// What a stream writes leaves at the end of a turn in any case.
    fn write_soon(&self, most: usize, fill: impl FnOnce(&mut Vec<u8>)) -> bool {
        self.own().is_some_and(|stream| stream.write_soon(most, fill))
    }

    fn heed_marks(&self) {
        self.socket().heed_marks();
    }

    fn has_unread(&self) -> bool {
        self.own().is_some_and(Stream::has_unread)
    }

    fn can_move(&self) -> bool {
        self.own().is_some_and(Stream::can_move)
    }

    fn move_into(&self, pipe: &Pipe, most: usize) -> io::Result<usize> {
        match self {
            Way::Own(stream) => stream.move_into(pipe, most),
            Way::Part(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn move_out_of(&self, pipe: &Pipe) -> io::Result<usize> {
        match self {
            Way::Own(stream) => stream.move_out_of(pipe),
            Way::Part(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn readable(&self, deadline: Now) -> impl Future<Output = io::Result<()>> + Unpin {
        match self {
            Way::Own(stream) => Either::Own(stream.readable(deadline)),
            Way::Part(part) => Either::Part(Box::pin(part.readable(deadline))),
        }
    }

    fn is_past(&self, moment: Now) -> bool {
        self.socket().is_past(moment)
    }

    async fn writable(&self, deadline: Now) -> io::Result<()> {
        match self {
            Way::Own(stream) => stream.writable(deadline).await,
            Way::Part(part) => Box::pin(part.writable(deadline)).await,
        }
    }

    async fn hung_up(&self) {
        match self {
            Way::Own(stream) => stream.hung_up().await,
            Way::Part(part) => part.gone().await,
        }
    }

    /// Of a stream only a tunnel's end: an answer's is told by [`Part::finish`].
    fn shutdown(&self, how: Shutdown) {
        match self {
            Way::Own(stream) => stream.shutdown(how),
            Way::Part(part) if how != Shutdown::Read => part.end_tunnel(),
            Way::Part(_) => {}
        }
    }

    fn reset_on_close(&self) {
        match self {
            Way::Own(stream) => stream.reset_on_close(),
            Way::Part(part) => part.cut(),
        }
    }

    fn is_spent(&self) -> bool {
        match self {
            Way::Own(stream) => stream.is_spent(),
            Way::Part(part) => part.is_gone(),
        }
    }

    fn has_spoken(&self) -> bool {
        match self {
            Way::Own(stream) => stream.has_spoken(),
            Way::Part(part) => part.is_gone(),
        }
    }

    fn is_reset(&self) -> bool {
        match self {
            Way::Own(stream) => stream.is_reset(),
            Way::Part(part) => part.is_gone() || part.is_reset(),
        }
    }

    fn room(&self) -> Option<usize> {
        match self {
            Way::Own(stream) => stream.room(),
            Way::Part(part) => Some(part.room()),
        }
    }

    fn unacknowledged(&self) -> usize {
        self.own().map_or(0, Stream::unacknowledged)
    }

    fn rtt_us(&self) -> Option<u32> {
        self.socket().rtt_us()
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket().local_addr()
    }
}
