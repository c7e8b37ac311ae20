//! How a request reaches a server: over a connection of its own, or as a stream of one that carries many.

use std::future::Future;
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};

use forebay_http::h1::Framing;
use forebay_http::h1::body::Decoder;

use super::part::{Part, Side};
use crate::rt::either::Either;
use crate::rt::{Now, Rt, Stream};

/// A connection to a server, or a part of one.
pub enum Link<R: Rt> {
    /// The connection.
    Own(R::Stream),
    /// A stream of a connection that speaks HTTP/2.
    Part(Part<R>),
}

impl<R: Rt> Link<R> {
    /// The connection itself, if it carries one request after another.
    pub fn own(&self) -> Option<&R::Stream> {
        match self {
            Link::Own(stream) => Some(stream),
            Link::Part(_) => None,
        }
    }

    /// The stream, if the connection carries many.
    pub fn part(&self) -> Option<&Part<R>> {
        match self {
            Link::Own(_) => None,
            Link::Part(part) => Some(part),
        }
    }

    /// How content of this framing is written to it: frames say where content on a stream ends.
    pub fn framing(&self, framing: Framing) -> Framing {
        match (self, framing) {
            (Link::Part(_), Framing::Chunked) => Framing::UntilClose,
            _ => framing,
        }
    }

    /// Ends a request whose content `decoder` has read to its end.
    pub fn finish(&self, decoder: &Decoder) {
        if let Link::Part(part) = self {
            part.finish(decoder);
        }
    }
}

impl<R: Rt> Stream for Link<R> {
    fn try_read(&self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Link::Own(stream) => stream.try_read(into),
            Link::Part(part) => part.try_read(into),
        }
    }

    fn try_peek(&self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Link::Own(stream) => stream.try_peek(into),
            // Who peeks wants what comes before a protocol is known.
            Link::Part(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Link::Own(stream) => stream.try_write(pieces),
            Link::Part(part) => part.try_write(pieces),
        }
    }

    fn write_soon(&self, most: usize, fill: impl FnOnce(&mut Vec<u8>)) -> bool {
        match self {
            Link::Own(stream) => stream.write_soon(most, fill),
            // Its connection's task writes for all streams at once as it is.
            Link::Part(_) => false,
        }
    }

    fn readable(&self, deadline: Now) -> impl Future<Output = io::Result<()>> + Unpin {
        match self {
            Link::Own(stream) => Either::Own(stream.readable(deadline)),
            Link::Part(part) => Either::Part(part.wait(Side::Read, deadline)),
        }
    }

    fn is_past(&self, moment: Now) -> bool {
        match self {
            Link::Own(stream) => stream.is_past(moment),
            Link::Part(part) => part.trunk().now() >= moment,
        }
    }

    async fn writable(&self, deadline: Now) -> io::Result<()> {
        match self {
            Link::Own(stream) => stream.writable(deadline).await,
            Link::Part(part) => part.wait(Side::Write, deadline).await,
        }
    }

    async fn hung_up(&self) {
        match self {
            Link::Own(stream) => stream.hung_up().await,
            // Nobody asks this of a server that answers requests.
            Link::Part(_) => std::future::pending().await,
        }
    }

    /// Of a stream nothing: [`Link::finish`] ends it, or its drop.
    fn shutdown(&self, how: Shutdown) {
        if let Link::Own(stream) = self {
            stream.shutdown(how);
        }
    }

    /// As [`Link::shutdown`].
    fn reset_on_close(&self) {
        if let Link::Own(stream) = self {
            stream.reset_on_close();
        }
    }

    fn is_spent(&self) -> bool {
        match self {
            Link::Own(stream) => stream.is_spent(),
            Link::Part(part) => part.lost().is_some(),
        }
    }

    fn is_reset(&self) -> bool {
        match self {
            Link::Own(stream) => stream.is_reset(),
            Link::Part(part) => part.lost().is_some(),
        }
    }

    fn room(&self) -> Option<usize> {
        match self {
            Link::Own(stream) => stream.room(),
            Link::Part(part) => Some(part.room()),
        }
    }

    fn unacknowledged(&self) -> usize {
        self.own().map_or(0, Stream::unacknowledged)
    }

    fn rtt_us(&self) -> Option<u32> {
        match self {
            Link::Own(stream) => stream.rtt_us(),
            Link::Part(part) => part.trunk().socket().rtt_us(),
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Link::Own(stream) => stream.local_addr(),
            Link::Part(part) => part.trunk().socket().local_addr(),
        }
    }
}
