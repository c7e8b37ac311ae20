//! After an upgrade: bytes both ways, until both sides have ended or nothing moves any more.

use std::cell::Cell;
use std::io::{ErrorKind, IoSlice};
use std::net::Shutdown;
use std::pin::pin;

use super::buffer::{Buffer, Buffers};
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
        let mut first = Some(first).filter(|buffer| !buffer.is_empty());
        let mut burst = Burst::default();
        loop {
            let buffer = match first.take() {
                Some(buffer) => buffer,
                None => match self.read(idle).await {
                    Ok(Some(buffer)) => buffer,
                    Ok(None) => {
                        self.to.shutdown(Shutdown::Write);
                        return End::Ended;
                    }
                    Err(()) => return End::Failed,
                },
            };
            let written = self.write(&buffer, idle).await;
            let bytes = buffer.len() as u64;
            (self.count)(bytes);
            self.buffers.give_back(buffer);
            if written.is_err() {
                return End::Failed;
            }
            if burst.is_over(bytes) {
                others_turn().await;
            }
        }
    }

    async fn read(&self, idle: &Cell<bool>) -> Result<Option<Buffer>, ()> {
        loop {
            let mut buffer = self.buffers.body();
            match self.from.try_read(buffer.space()) {
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

    async fn write(&self, buffer: &Buffer, idle: &Cell<bool>) -> Result<(), ()> {
        let mut rest = buffer.filled();
        while !rest.is_empty() {
            match self.to.try_write(&[IoSlice::new(rest)]) {
                Ok(count) => {
                    rest = &rest[count..];
                    self.bytes.set(self.bytes.get() + count as u64);
                    self.moved.set(self.rt.now());
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.wait(self.to, false, idle).await?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(()),
            }
        }
        Ok(())
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
