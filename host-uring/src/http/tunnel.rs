//! After an upgrade, or on a TCP service: bytes both ways, until both sides have ended or nothing moves any more.

use std::cell::Cell;
use std::io::{self, ErrorKind, IoSlice};
use std::net::Shutdown;
use std::pin::pin;

use super::buffer::Buffer;
use super::limits::{BODY_BUFFER_BYTES, MOVE_BYTES_MIN, URGENT_LOOK_US};
use super::room::Room;
use super::wait::{Burst, beside, others_turn};
use crate::rt::{Now, Rt, Stream};
use crate::worker::{TimeOuts, Worker};

/// What went through a tunnel.
#[derive(Debug, Default)]
pub struct Carried {
    /// Bytes from the client.
    pub up: Cell<u64>,
    /// Bytes to the client.
    pub down: Cell<u64>,
    /// Whether the client's data has ended and the server knows.
    pub up_over: Cell<bool>,
    /// Whether the server's data has ended and the client knows.
    pub down_over: Cell<bool>,
}

/// A way for bytes between a client and a server.
pub struct Tunnel<'a, R: Rt, C: Stream> {
    /// The worker: its clock, its buffers, its pipe.
    pub worker: &'a Worker<R>,
    /// One end.
    pub client: &'a C,
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

impl<R: Rt, C: Stream> Tunnel<'_, R, C> {
    /// Carries bytes until both sides have ended; `first_up` and `first_down` came before the tunnel began. An end of
    /// one side's data is passed on, and the other direction goes on.
    //= SE-TUNNEL-01
    //= L4-HALF-01
    pub async fn carry(&self, first_up: Option<Buffer>, first_down: Option<Buffer>) -> End {
        let Tunnel { worker, client, server, idle_us, carried, gave, got } = *self;
        let moved = Cell::new(worker.rt.now());
        let mut ends = Ends { client, server, by_themselves: false };
        let (up, down) = (&carried.up, &carried.down);
        let upward = Flow {
            worker,
            from: client,
            to: server,
            is_up: true,
            moved: &moved,
            bytes: up,
            over: &carried.up_over,
            count: gave,
            idle_us,
        };
        let downward = Flow {
            worker,
            from: server,
            to: client,
            is_up: false,
            moved: &moved,
            bytes: down,
            over: &carried.down_over,
            count: got,
            idle_us,
        };
        let mut upward = pin!(upward.carry(first_up));
        let mut downward = pin!(downward.carry(first_down));
        // The first one's failure ends both; its proper end leaves the second one to go on.
        let (early, late) = beside(upward.as_mut(), downward.as_mut(), |end| end.is_err()).await;
        let both = match (early, late) {
            (Some(early), late) => early.and(late.unwrap_or(Ok(()))),
            (None, Some(Ok(()))) => upward.await,
            (None, late) => late.unwrap_or(Ok(())),
        };
        let end = both.err().unwrap_or(End::Whole);
        // Whose data had ended before, and was passed on, cut nothing: what is still queued of it must arrive.
        ends.by_themselves = match end {
            End::Whole | End::Idle => true,
            End::ClientFailed => carried.up_over.get(),
            End::ServerFailed => carried.down_over.get(),
        };
        end
    }
}

/// A tunnel's ends. If it is given up, by a cut or with its task, or one side was reset, their close is a reset: nobody
/// takes a part for the whole.
struct Ends<'s, C: Stream, S: Stream> {
    client: &'s C,
    server: &'s S,
    by_themselves: bool,
}

impl<C: Stream, S: Stream> Drop for Ends<'_, C, S> {
    //= SE-CUT-02
    fn drop(&mut self) {
        if !self.by_themselves {
            self.client.reset_on_close();
            self.server.reset_on_close();
        }
    }
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Both sides' data ended, and both know.
    Whole,
    /// Nothing moved for too long.
    Idle,
    /// The client's connection failed.
    ClientFailed,
    /// The server's connection failed.
    ServerFailed,
}

/// What the last read of a flow brought.
#[derive(Default)]
struct Last {
    /// All that was there: the next one would bring nothing.
    dry: bool,
    /// As much as a large buffer takes.
    bulk: bool,
}

struct Flow<'a, R: Rt, F: Stream, T: Stream> {
    worker: &'a Worker<R>,
    from: &'a F,
    to: &'a T,
    /// From the client to the server.
    is_up: bool,
    /// When bytes last moved, in either direction.
    moved: &'a Cell<Now>,
    bytes: &'a Cell<u64>,
    /// Whether the sender's data has ended and the receiver knows.
    over: &'a Cell<bool>,
    count: &'a dyn Fn(u64),
    idle_us: u64,
}

/// What came next of a flow.
enum Piece {
    /// Bytes that were copied into a buffer.
    Copied(Buffer),
    /// So many bytes that went on without being copied, but for the rest.
    Moved { bytes: usize, rest: Result<Vec<u8>, End> },
    /// The end of the sender's data.
    End,
}

impl<R: Rt, F: Stream, T: Stream> Flow<'_, R, F, T> {
    /// Until the sender's data has ended and the receiver knows.
    async fn carry(&self, mut first: Option<Buffer>) -> Result<(), End> {
        let mut burst = Burst::default();
        let mut room = Room::default();
        let mut last = Last::default();
        loop {
            let piece = match first.take() {
                Some(buffer) => Piece::Copied(buffer),
                None => self.next(&mut room, &mut last).await?,
            };
            let (bytes, rest) = match piece {
                Piece::Copied(buffer) => (buffer.len(), self.pass(buffer)),
                Piece::Moved { bytes, rest } => (bytes, rest),
                Piece::End => {
                    self.to.shutdown(Shutdown::Write);
                    self.over.set(true);
                    return Ok(());
                }
            };
            (self.count)(bytes as u64);
            let rest = rest?;
            if !rest.is_empty() {
                room.was_less();
                self.pass_slowly(rest).await?;
            }
            room.took(bytes);
            if burst.is_over(bytes as u64) {
                others_turn().await;
            }
        }
    }

    fn failed(&self, sender: bool) -> End {
        if sender == self.is_up { End::ClientFailed } else { End::ServerFailed }
    }

    /// Takes what the receiver has room for. No buffer is held while one side is silent or the other one takes nothing.
    //= SE-TUNNEL-02
    //= L4-MEMORY-01
    //= L4-BULK-01
    async fn next(&self, room: &mut Room, last: &mut Last) -> Result<Piece, End> {
        let buffers = &self.worker.buffers;
        loop {
            if std::mem::take(&mut last.dry) && self.wait_for_bytes().await? {
                last.bulk = false;
            }
            let room_now =
                if last.bulk { room.for_bulk(self.to, buffers) } else { room.for_read(self.to, buffers) };
            let most = match room_now {
                Some(most) => most,
                None => {
                    self.wait(self.to, false).await?;
                    room.after_wait(self.to)
                }
            };
            let came = match last.bulk && most >= MOVE_BYTES_MIN {
                true => self.take_uncopied(most, last),
                false => self.take(most, last),
            };
            match came {
                Ok(piece) => {
                    self.moved.set(self.worker.rt.now());
                    return Ok(piece);
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => last.dry = true,
                    ErrorKind::Interrupted => {}
                    _ => return Err(self.failed(true)),
                },
            }
        }
    }

    /// Copies what is there.
    fn take(&self, most: usize, last: &mut Last) -> io::Result<Piece> {
        let buffers = &self.worker.buffers;
        let mut buffer = if last.bulk { buffers.bulk() } else { buffers.body() };
        let most = most.min(buffer.space().len());
        match self.from.try_read(&mut buffer.space()[..most]) {
            Ok(count) if count > 0 => {
                *last = Last { dry: count < most, bulk: count >= BODY_BUFFER_BYTES };
                buffer.commit(count);
                Ok(Piece::Copied(buffer))
            }
            end => {
                buffers.give_back(buffer);
                end.map(|_| Piece::End)
            }
        }
    }

    /// Passes what is there on without copying it, where that can be done.
    fn take_uncopied(&self, most: usize, last: &mut Last) -> io::Result<Piece> {
        let moved = match self.worker.mover.pass(self.from, self.to, most) {
            Ok(moved) => moved,
            Err(error) if error.kind() == ErrorKind::Unsupported => return self.take(most, last),
            Err(error) => return Err(error),
        };
        let bytes = moved.came;
        if bytes == 0 {
            // An end, or urgent data before one, at which splice(2) says the same.
            return self.take(most, last);
        }
        *last = Last { dry: bytes < most, bulk: bytes >= BODY_BUFFER_BYTES };
        self.went(moved.went);
        let rest = if moved.failed.is_some() { Err(self.failed(false)) } else { Ok(moved.rest) };
        Ok(Piece::Moved { bytes, rest })
    }

    /// Writes what the receiver takes now, and gives the rest in no more memory than it needs.
    fn pass(&self, buffer: Buffer) -> Result<Vec<u8>, End> {
        let rest = self.write_some(buffer.filled()).map(|written| buffer.filled()[written..].to_vec());
        self.worker.buffers.give_back(buffer);
        rest
    }

    /// Writes what the receiver did not take at once; it is counted until it has.
    async fn pass_slowly(&self, rest: Vec<u8>) -> Result<(), End> {
        let _held = self.worker.buffers.hold(rest.len());
        let mut at = 0;
        while at < rest.len() {
            self.wait(self.to, false).await?;
            at += self.write_some(&rest[at..])?;
        }
        Ok(())
    }

    /// Writes what the receiver takes now, and gives the number of bytes.
    fn write_some(&self, bytes: &[u8]) -> Result<usize, End> {
        let mut at = 0;
        while at < bytes.len() {
            match self.to.try_write(&[IoSlice::new(&bytes[at..])]) {
                Ok(count) => at += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(self.failed(false)),
            }
        }
        self.went(at);
        Ok(at)
    }

    /// Counts bytes that the receiver took.
    fn went(&self, bytes: usize) {
        if bytes > 0 {
            self.bytes.set(self.bytes.get() + bytes as u64);
            self.moved.set(self.worker.rt.now());
        }
    }

    /// Waits for the sender. `true`: what is there has been there, behind urgent data, where reads end early and splice(2)
    /// does not come across.
    //= L4-URGENT-01
    async fn wait_for_bytes(&self) -> Result<bool, End> {
        let look = Now(self.worker.rt.now().0 + URGENT_LOOK_US);
        if look < TimeOuts::at(self.moved.get(), self.idle_us) {
            match self.from.readable(look).await {
                Ok(()) => return Ok(false),
                Err(error) if error.kind() != ErrorKind::TimedOut => return Err(self.failed(true)),
                Err(_) if self.from.has_unread() => return Ok(true),
                Err(_) => {}
            }
        }
        self.wait(self.from, true).await?;
        Ok(false)
    }

    /// Waits for one side as long as the other direction moves.
    //= L4-IDLE-01
    async fn wait(&self, stream: &impl Stream, readable: bool) -> Result<(), End> {
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
                    if self.worker.rt.now() >= TimeOuts::at(self.moved.get(), self.idle_us) {
                        return Err(End::Idle);
                    }
                }
                Err(_) => return Err(self.failed(readable)),
            }
        }
    }
}
