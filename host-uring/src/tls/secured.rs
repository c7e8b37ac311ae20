//! A stream that may speak TLS.

use std::io::{self, ErrorKind, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use super::session::Session;
use crate::rt::{Now, Pipe, Stream};

/// A stream that speaks TLS once it has been given a session. Without one, all that it costs is the question whether it
/// has one.
pub struct Secured<S: Stream> {
    session: Option<Box<Session>>,
    socket: S,
}

/// A stream that can be given a session.
pub trait Securable: Stream {
    /// Makes a handshake over it, and speaks TLS from then on.
    fn secure(&mut self, session: Box<Session>);

    /// Its session, if it speaks TLS.
    fn session(&self) -> Option<&Session>;

    /// Says whether it speaks TLS.
    fn is_secured(&self) -> bool {
        self.session().is_some()
    }

    /// What lies below the session.
    fn bare(&self) -> &impl Stream;
}

impl<S: Stream> Secured<S> {
    /// A stream that speaks no TLS yet.
    pub fn plain(socket: S) -> Self {
        Secured { session: None, socket }
    }
}

impl<S: Stream> Securable for Secured<S> {
    fn secure(&mut self, session: Box<Session>) {
        self.session = Some(session);
    }

    fn session(&self) -> Option<&Session> {
        self.session.as_deref()
    }

    fn bare(&self) -> &impl Stream {
        &self.socket
    }
}

impl<S: Stream> Drop for Secured<S> {
    fn drop(&mut self) {
        if let Some(session) = &self.session {
            session.close(&self.socket);
        }
    }
}

/// A wait for something to read: what was decrypted already, or the socket.
struct Readable<'s, S: Stream, F> {
    of: &'s Secured<S>,
    deadline: Now,
    socket: F,
}

impl<S: Stream, F: Future<Output = io::Result<()>> + Unpin> Future for Readable<'_, S, F> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Secured { session, socket } = self.of;
        let Some(session) = session else { return Pin::new(&mut self.socket).poll(context) };
        if session.has_text() {
            return Poll::Ready(Ok(()));
        }
        //= TLS-FAIR-01
        if session.gives_way() {
            // A socket that always has bytes never comes to look at the deadline.
            if socket.is_past(self.deadline) {
                return Poll::Ready(Err(ErrorKind::TimedOut.into()));
            }
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let waited = Pin::new(&mut self.socket).poll(context);
        if waited.is_pending() {
            session.rested();
        }
        waited
    }
}

impl<S: Stream> Stream for Secured<S> {
    fn try_read(&self, into: &mut [u8]) -> io::Result<usize> {
        match &self.session {
            None => self.socket.try_read(into),
            Some(session) => session.read(&self.socket, into),
        }
    }

    fn try_peek(&self, into: &mut [u8]) -> io::Result<usize> {
        match &self.session {
            None => self.socket.try_peek(into),
            // Who peeks wants what comes before a handshake.
            Some(_) => Err(ErrorKind::Unsupported.into()),
        }
    }

    fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match &self.session {
            None => self.socket.try_write(pieces),
            Some(session) => session.write(&self.socket, pieces),
        }
    }

    fn can_move(&self) -> bool {
        self.session.is_none() && self.socket.can_move()
    }

    fn move_into(&self, pipe: &Pipe, most: usize) -> io::Result<usize> {
        match &self.session {
            None => self.socket.move_into(pipe, most),
            Some(_) => Err(ErrorKind::Unsupported.into()),
        }
    }

    fn move_out_of(&self, pipe: &Pipe) -> io::Result<usize> {
        match &self.session {
            None => self.socket.move_out_of(pipe),
            Some(_) => Err(ErrorKind::Unsupported.into()),
        }
    }

    fn heed_marks(&self) {
        self.socket.heed_marks();
    }

    fn queue_little(&self) {
        self.socket.queue_little();
    }

    fn has_unread(&self) -> bool {
        self.socket.has_unread()
    }

    fn write_soon(&self, most: usize, fill: impl FnOnce(&mut Vec<u8>)) -> bool {
        match &self.session {
            None => self.socket.write_soon(most, fill),
            Some(session) => session.write_soon(&self.socket, most, fill),
        }
    }

    fn readable(&self, deadline: Now) -> impl Future<Output = io::Result<()>> + Unpin {
        Readable { of: self, deadline, socket: self.socket.readable(deadline) }
    }

    fn is_past(&self, moment: Now) -> bool {
        self.socket.is_past(moment)
    }

    fn writable(&self, deadline: Now) -> impl Future<Output = io::Result<()>> {
        self.socket.writable(deadline)
    }

    fn hung_up(&self) -> impl Future<Output = ()> {
        self.socket.hung_up()
    }

    fn shutdown(&self, how: Shutdown) {
        if let (Some(session), Shutdown::Write | Shutdown::Both) = (&self.session, how) {
            session.close(&self.socket);
        }
        self.socket.shutdown(how);
    }

    fn reset_on_close(&self) {
        if let Some(session) = &self.session {
            session.cut();
        }
        self.socket.reset_on_close();
    }

    fn is_spent(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.has_text()) || self.socket.is_spent()
    }

    fn has_spoken(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.has_text()) || self.socket.has_spoken()
    }

    fn is_reset(&self) -> bool {
        self.socket.is_reset()
    }

    fn room(&self) -> Option<usize> {
        let room = self.socket.room()?;
        Some(self.session.as_ref().map_or(room, |session| session.room(room)))
    }

    fn unacknowledged(&self) -> usize {
        self.socket.unacknowledged()
    }

    fn rtt_us(&self) -> Option<u32> {
        self.socket.rtt_us()
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}
