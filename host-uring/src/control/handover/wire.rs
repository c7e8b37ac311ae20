//! What two processes say to each other during an upgrade: frames with a length, a kind and a bound.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use super::entries;
use super::fds;
use super::keys;
use crate::limits::{HANDOVER_FRAME_BYTES_MAX, HANDOVER_LOOK_MS};
use crate::persist::moving::Told;
use crate::tls::HandedKey;

/// The protocol that this engine speaks. Raised when an older engine would misunderstand a newer one.
pub(super) const PROTOCOL: u32 = 2;

const HEADER: usize = 5;
const READ_BYTES: usize = 64 << 10;
const SAID: u8 = 0;
const ENTRIES: u8 = 1;
const KEYS: u8 = 2;

/// A socket that goes over, or a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum What {
    /// Accepts the clients of a service.
    Listener(SocketAddr),
    /// Says that nobody else may listen there.
    Claim(SocketAddr),
    /// Takes the datagrams of a service.
    Datagrams(SocketAddr),
    /// Says that nobody else may take datagrams there.
    DatagramsClaim(SocketAddr),
    /// Answers on the metrics address.
    Metrics(SocketAddr),
    /// The admin socket.
    Admin,
    /// Where the next upgrade is asked for.
    Upgrade,
    /// The lock on the state folder: a file, not a socket.
    Lock,
}

/// What is known of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ServerSaid {
    /// Its pool.
    pub pool: u32,
    /// The server's id.
    pub server: u64,
    /// Its state, as a number.
    pub state: u8,
    /// What an operator has decided about it, as a number.
    pub decided: u8,
    /// Since when it has this state, in seconds since 1970.
    pub since_unix_s: u64,
    /// What tipped it.
    pub why: String,
}

/// Where a server's name leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NameSaid {
    /// The name, without a port.
    pub name: String,
    /// Its addresses, one at least.
    pub addresses: Vec<IpAddr>,
}

/// What is said, in the order in which it is said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Say {
    /// The new process: I want to take over.
    Hello {
        /// [`PROTOCOL`].
        protocol: u32,
        /// Its version.
        version: String,
    },
    /// Either: it will not be, for this reason.
    Refused {
        /// Why.
        reason: String,
    },
    /// The old process: here is what I have.
    Welcome {
        /// [`PROTOCOL`].
        protocol: u32,
        /// Its version.
        version: String,
        /// Its place among the engines that hold entries of the tables.
        slot: u8,
        /// What keys of the tables are made with.
        secret: [u8; 16],
        /// How many sockets follow.
        sockets: usize,
    },
    /// Sockets; the files come with this frame, in this order.
    Sockets {
        /// What they are.
        list: Vec<What>,
    },
    /// Servers, once before the tables, and those that an operator has decided about once more before [`Say::Go`].
    Servers {
        /// What is known.
        list: Vec<ServerSaid>,
    },
    /// Where names of servers lead, before the tables; those that lead nowhere are not told.
    Names {
        /// What is known.
        list: Vec<NameSaid>,
    },
    /// The tables whose entries follow; an entry names its table by its place here.
    Tables {
        /// Name and kind of each.
        list: Vec<(u64, String)>,
        /// About how many entries there are.
        entries: u64,
        /// Bytes of the old process's own tables that it has reserved and not used yet.
        untouched_bytes: u64,
    },
    /// All entries were copied; what changes from now on is told as it changes.
    Copied {
        /// How many.
        entries: u64,
    },
    /// The new process: my workers stand; I can accept.
    Ready {},
    /// The old process: nobody accepts now, and all that I know you know.
    Go {},
    /// The new process: I have all, and will accept on these.
    Taken {
        /// Addresses of services.
        listeners: Vec<SocketAddr>,
        /// Those for datagrams.
        datagrams: Vec<SocketAddr>,
    },
    /// The old process: you may serve.
    Yours {},
    /// The new process: I do. From this word on the old one has no part in it; until then it may take everything back.
    Serving {},
    /// The new process: the frame of entries with this number, from 1, is in my tables.
    Applied {
        /// Its number.
        frame: u64,
    },
    /// The old process: my last connection is closed.
    Bye {},
}

/// What came.
#[derive(Debug, PartialEq)]
pub(super) enum Frame {
    Said(Say),
    Entries(Vec<Told>),
    /// Keys of session tickets that the old process has made, before the tables.
    Keys(Vec<HandedKey>),
    /// The other end has closed.
    End,
}

/// A connection between the two. Reads and writes wait in small steps, so that whoever has to stop notices.
pub(super) struct Wire {
    stream: UnixStream,
    ahead: Vec<u8>,
    files: VecDeque<OwnedFd>,
    out: Vec<u8>,
}

fn garbage(what: impl Into<String>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what.into())
}

fn waits(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

impl Wire {
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        let step = Some(Duration::from_millis(HANDOVER_LOOK_MS));
        stream.set_read_timeout(step)?;
        stream.set_write_timeout(step)?;
        // So much that it never grows, which would leave a copy of keys behind; what nobody says is no memory.
        let ahead = Vec::with_capacity(HEADER + HANDOVER_FRAME_BYTES_MAX + READ_BYTES);
        Ok(Self { stream, ahead, files: VecDeque::new(), out: Vec::new() })
    }

    /// Who is at the other end.
    pub(super) fn peer(&self) -> io::Result<fds::Peer> {
        fds::peer(&self.stream)
    }

    /// The next frame; `None`: it is not here yet, after one small step of waiting.
    ///
    /// # Errors
    /// What came is no frame, or longer than one may be.
    pub(super) fn look(&mut self) -> io::Result<Option<Frame>> {
        self.look_for(0)
    }

    /// The next frame if it is here.
    ///
    /// # Errors
    /// As [`Wire::look`].
    pub(super) fn look_now(&mut self) -> io::Result<Option<Frame>> {
        self.look_for(libc::MSG_DONTWAIT)
    }

    fn look_for(&mut self, flags: libc::c_int) -> io::Result<Option<Frame>> {
        if let Some(frame) = self.cut()? {
            return Ok(Some(frame));
        }
        let mut piece = Zeroizing::new([0; READ_BYTES]);
        let mut files = Vec::new();
        let read = match fds::receive(&self.stream, &mut piece[..], &mut files, flags) {
            Ok(read) => read,
            Err(error) if waits(&error) => return Ok(None),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
            Err(error) => return Err(error),
        };
        self.files.extend(files);
        if self.files.len() > fds::FILES_AT_ONCE_MAX {
            return Err(garbage("more files than were announced"));
        }
        if read == 0 {
            return if self.ahead.is_empty() {
                Ok(Some(Frame::End))
            } else {
                Err(garbage("a frame that was cut"))
            };
        }
        self.ahead.extend_from_slice(&piece[..read]);
        self.cut()
    }

    /// The next frame, by `until` at the latest.
    ///
    /// # Errors
    /// As [`Wire::look`]; `TimedOut`; `Interrupted` if `gave_up` says that it is not wanted any more.
    pub(super) fn read(&mut self, until: Instant, gave_up: &dyn Fn() -> bool) -> io::Result<Frame> {
        loop {
            if let Some(frame) = self.look()? {
                return Ok(frame);
            }
            if gave_up() {
                return Err(ErrorKind::Interrupted.into());
            }
            if Instant::now() >= until {
                return Err(io::Error::new(ErrorKind::TimedOut, "the other process says nothing"));
            }
        }
    }

    /// From now on the other end can say nothing more, and learns so when it tries; what it has said before can still be
    /// read.
    pub(super) fn stop_hearing(&self) {
        // It fails only where there is no other end any more.
        let _ = self.stream.shutdown(std::net::Shutdown::Read);
    }

    /// Cuts a frame off what was read.
    fn cut(&mut self) -> io::Result<Option<Frame>> {
        let Some(header) = self.ahead.first_chunk::<HEADER>() else { return Ok(None) };
        let [a, b, c, d, kind] = *header;
        let len = u32::from_le_bytes([a, b, c, d]) as usize;
        if len > HANDOVER_FRAME_BYTES_MAX {
            return Err(garbage(format!("a frame of {len} bytes")));
        }
        if self.ahead.len() < HEADER + len {
            return Ok(None);
        }
        let body = &self.ahead[HEADER..HEADER + len];
        let frame = match kind {
            SAID => Frame::Said(serde_json::from_slice(body).map_err(|error| garbage(error.to_string()))?),
            ENTRIES => Frame::Entries(entries::read(body).ok_or_else(|| garbage("entries that are none"))?),
            KEYS => Frame::Keys(keys::read(body).ok_or_else(|| garbage("keys that are none"))?),
            other => return Err(garbage(format!("a frame of kind {other}"))),
        };
        self.ahead.drain(..HEADER + len);
        // Keys may have lain there, or behind what was cut off.
        self.ahead.spare_capacity_mut()[..HEADER + len].zeroize();
        let has_files = matches!(frame, Frame::Said(Say::Sockets { .. }));
        if !self.files.is_empty() && !has_files && self.ahead.is_empty() {
            return Err(garbage("files that nobody announced"));
        }
        Ok(Some(frame))
    }

    /// The files that came with a frame of sockets.
    ///
    /// # Errors
    /// There are not as many.
    pub(super) fn take_files(&mut self, count: usize) -> io::Result<Vec<OwnedFd>> {
        if self.files.len() < count {
            return Err(garbage(format!("{} files for {count} sockets", self.files.len())));
        }
        Ok(self.files.drain(..count).collect())
    }

    /// Says something, with files.
    ///
    /// # Errors
    /// The other end is gone; `TimedOut` if it takes nothing until `until`; `Interrupted` as for [`Wire::read`].
    pub(super) fn say(
        &mut self,
        say: &Say,
        files: &[BorrowedFd<'_>],
        until: Instant,
        gave_up: &dyn Fn() -> bool,
    ) -> io::Result<()> {
        let body = serde_json::to_vec(say)?;
        self.put(SAID, &body, files, until, gave_up)
    }

    /// Tells of entries.
    ///
    /// # Errors
    /// As [`Wire::say`].
    pub(super) fn tell(
        &mut self,
        told: &[Told],
        until: Instant,
        gave_up: &dyn Fn() -> bool,
    ) -> io::Result<()> {
        let mut body = Vec::with_capacity(told.len() * entries::BYTES);
        entries::write(told, &mut body);
        self.put(ENTRIES, &body, &[], until, gave_up)
    }

    /// Hands keys over.
    ///
    /// # Errors
    /// As [`Wire::say`].
    //= TLS-TICKET-05
    pub(super) fn hand_keys(
        &mut self,
        list: &[HandedKey],
        until: Instant,
        gave_up: &dyn Fn() -> bool,
    ) -> io::Result<()> {
        let body = keys::write(list);
        // Grown to nothing more than this, so that no copy is left behind.
        self.out = Vec::with_capacity(HEADER + body.len());
        let put = self.put(KEYS, &body, &[], until, gave_up);
        self.out.zeroize();
        put
    }

    fn put(
        &mut self,
        kind: u8,
        body: &[u8],
        mut files: &[BorrowedFd<'_>],
        until: Instant,
        gave_up: &dyn Fn() -> bool,
    ) -> io::Result<()> {
        if body.len() > HANDOVER_FRAME_BYTES_MAX {
            return Err(garbage(format!("there is too much to say at once: {} bytes", body.len())));
        }
        self.out.clear();
        self.out.extend_from_slice(&(body.len() as u32).to_le_bytes());
        self.out.push(kind);
        self.out.extend_from_slice(body);
        let mut sent = 0;
        while sent < self.out.len() {
            match fds::send(&self.stream, &self.out[sent..], files) {
                Ok(more) => {
                    sent += more;
                    files = &[];
                }
                Err(error) if waits(&error) => {
                    if gave_up() {
                        return Err(ErrorKind::Interrupted.into());
                    }
                    if Instant::now() >= until {
                        return Err(io::Error::new(ErrorKind::TimedOut, "the other process takes nothing"));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    fn pair() -> (UnixStream, Wire) {
        let (near, far) = UnixStream::pair().expect("a pair");
        (near, Wire::new(far).expect("a wire"))
    }

    #[test]
    fn what_is_said_arrives_however_the_bytes_are_cut() {
        let (mut near, mut far) = pair();
        let say = Say::Hello { protocol: 1, version: "x".to_owned() };
        let body = serde_json::to_vec(&say).expect("JSON");
        let mut bytes = (body.len() as u32).to_le_bytes().to_vec();
        bytes.push(SAID);
        bytes.extend(&body);
        for byte in bytes {
            near.write_all(&[byte]).expect("sent");
        }
        assert_eq!(far.read(soon(), &|| false).expect("a frame"), Frame::Said(say));
        drop(near);
        assert_eq!(far.read(soon(), &|| false).expect("the end"), Frame::End);
    }

    //= test UPG-PROTOCOL-01
    #[test]
    fn what_is_no_frame_is_an_error_and_never_waited_for() {
        let said = |text: &str| {
            let mut bytes = (text.len() as u32).to_le_bytes().to_vec();
            bytes.push(SAID);
            bytes.extend(text.as_bytes());
            bytes
        };
        let cases = [
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            vec![0xff; 8],
            vec![1, 0, 0, 0, 9, 0],
            vec![7, 0, 0, 0, ENTRIES, 0, 0, 0, 0, 0, 0, 0],
            said("{}"),
            said("{\"say\":\"hello\"}"),
            said("{\"say\":\"ready\",\"more\":1}"),
        ];
        for bytes in cases {
            let (mut near, mut far) = pair();
            near.write_all(&bytes).expect("sent");
            let error = far.read(soon(), &|| false).expect_err("no frame");
            assert!(matches!(error.kind(), ErrorKind::InvalidData), "{bytes:?}: {error}");
        }
        let (mut near, mut far) = pair();
        near.write_all(&[9, 0]).expect("sent");
        drop(near);
        assert!(far.read(soon(), &|| false).is_err(), "it was cut");
    }
}
