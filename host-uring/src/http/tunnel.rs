//! After an upgrade: bytes both ways, until both sides have ended or nothing moves any more.

use std::cell::Cell;
use std::io::{ErrorKind, IoSlice};
use std::net::Shutdown;
use std::pin::pin;

use super::buffer::{Buffer, Buffers};
use super::room::Room;
use super::wait::{Burst, beside, others_turn};
use crate::rt::{Now, Rt, Stream};
use crate::worker::TimeOuts;

/// What went through a tunnel.
#[derive(Debug, Default)]
pub struct Carried {
    /// Bytes from the client.
    pub up: Cell<u64>,
    /// Bytes to the client.
    pub down: Cell<u64>,
}

/// A way for bytes between a client and a server.
pub struct Tunnel<'a, R: Rt> {
    /// The runtime.
    pub rt: &'a R,
    /// Where buffers come from.
    pub buffers: &'a Buffers,
    /// One end.
    pub client: &'a R::Stream,
    /// The other end.
    pub server: &'a R::Stream,
    /// How long nothing may move; 0: no bound.
    pub idle_us: u64,
    /// What went through so far.
    pub carried: &'a Carried,
    /// Is told of bytes that went to the server, as they go.
    pub gave: &'a dyn Fn(u64),
    /// Is told of bytes that came from the server, as they come.
    pub got: &'a dyn Fn(u64),
}

impl<R: Rt> Tunnel<'_, R> {
    /// Carries bytes until both sides have ended; `first_up` and `first_down` came before the tunnel began. An end of
    /// one side's data is passed on, and the other direction goes on. `true`: nothing moved for too long.
    //= SE-TUNNEL-01
    pub async fn carry(&self, first_up: Buffer, first_down: Buffer) -> bool {
        let Tunnel { rt, buffers, client, server, idle_us, carried, gave, got } = *self;
        let moved = Cell::new(rt.now());
        let idle = Cell::new(false);
        let (up, down) = (&carried.up, &carried.down);
        let upward =
            Flow { rt, buffers, from: client, to: server, moved: &moved, bytes: up, count: gave, idle_us };
        let downward =
            Flow { rt, buffers, from: server, to: client, moved: &moved, bytes: down, count: got, idle_us };
        let mut upward = pin!(upward.carry(first_up, &idle));
        let mut downward = pin!(downward.carry(first_down, &idle));
        // The first one's failure ends both; its proper end leaves the second one to go on.
        let (early, late) = beside(upward.as_mut(), downward.as_mut(), |end| *end == End::Failed).await;
        if early.is_none() && late == Some(End::Ended) {
            upward.await;
        }
        idle.get()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The sender's data ended, and the receiver knows.
    Ended,
    /// A connection failed, or nothing moved for too long.
    Failed,
}

struct Flow<'a, R: Rt> {
    rt: &'a R,
    buffers: &'a Buffers,
    from: &'a R::Stream,
    to: &'a R::Stream,
    /// When bytes last moved, in either direction.
    moved: &'a Cell<Now>,
    bytes: &'a Cell<u64>,
    count: &'a dyn Fn(u64),
    idle_us: u64,
}

impl<R: Rt> Flow<'_, R> {
    async fn carry(&self, first: Buffer, idle: &Cell<bool>) -> End {
        let mut first = Some(first);
        let mut burst = Burst::default();
        let mut room = Room::default();
        loop {
            let buffer = match first.take() {
                Some(buffer) => buffer,
                None => match self.read(&mut room, idle).await {
                    Ok(Some(buffer)) => buffer,
                    Ok(None) => {
                        self.to.shutdown(Shutdown::Write);
                        return End::Ended;
                    }
                    Err(()) => return End::Failed,
                },
            };
            let bytes = buffer.len();
            let passed = self.pass(buffer, &mut room, idle).await;
            (self.count)(bytes as u64);
            if passed.is_err() {
                return End::Failed;
            }
            room.took(bytes);
            if burst.is_over(bytes as u64) {
                others_turn().await;
            }
        }
    }

    /// Reads what the receiver has room for; `None` is the end. No buffer is held while one side is silent or the other
    /// one takes nothing.
    //= SE-TUNNEL-02
    async fn read(&self, room: &mut Room, idle: &Cell<bool>) -> Result<Option<Buffer>, ()> {
        loop {
            let most = match room.for_read(self.to, self.buffers) {
                Some(most) => most,
                None => {
                    self.wait(self.to, false, idle).await?;
                    room.after_wait(self.to)
                }
            };
            let mut buffer = self.buffers.body();
            match self.from.try_read(&mut buffer.space()[..most]) {
                Ok(0) => {
                    self.buffers.give_back(buffer);
                    return Ok(None);
                }
                Ok(count) => {
                    buffer.commit(count);
                    self.moved.set(self.rt.now());
                    return Ok(Some(buffer));
                }
                Err(error) => {
                    self.buffers.give_back(buffer);
                    match error.kind() {
                        ErrorKind::WouldBlock => self.wait(self.from, true, idle).await?,
                        ErrorKind::Interrupted => {}
                        _ => return Err(()),
                    }
                }
            }
        }
    }

    /// Writes all of it. What the receiver does not take now waits in no more memory than it needs, and is counted.
    async fn pass(&self, buffer: Buffer, room: &mut Room, idle: &Cell<bool>) -> Result<(), ()> {
        let written = self.write_some(buffer.filled());
        let rest = match written {
            Ok(written) => buffer.filled()[written..].to_vec(),
            Err(()) => Vec::new(),
        };
        self.buffers.give_back(buffer);
        written?;
        if rest.is_empty() {
            return Ok(());
        }
        room.was_less();
        let _held = self.buffers.hold(rest.len());
        let mut at = 0;
        while at < rest.len() {
            self.wait(self.to, false, idle).await?;
            at += self.write_some(&rest[at..])?;
        }
        Ok(())
    }

    /// Writes what the receiver takes now, and gives the number of bytes.
    fn write_some(&self, bytes: &[u8]) -> Result<usize, ()> {
        let mut at = 0;
        while at < bytes.len() {
            match self.to.try_write(&[IoSlice::new(&bytes[at..])]) {
                Ok(count) => at += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(()),
            }
        }
        if at > 0 {
            self.bytes.set(self.bytes.get() + at as u64);
            self.moved.set(self.rt.now());
        }
        Ok(at)
    }

    async fn wait(&self, stream: &R::Stream, readable: bool, idle: &Cell<bool>) -> Result<(), ()> {
        loop {
            let deadline = TimeOuts::at(self.moved.get(), self.idle_us);
            let waited = match readable {
                true => stream.readable(deadline).await,
                false => stream.writable(deadline).await,
            };
            match waited {
                Ok(()) => return Ok(()),
                // The other direction may have moved meanwhile.
                Err(error) if error.kind() == ErrorKind::TimedOut => {
                    if self.rt.now() >= TimeOuts::at(self.moved.get(), self.idle_us) {
                        idle.set(true);
                        return Err(());
                    }
                }
                Err(_) => return Err(()),
            }
        }
    }
}
