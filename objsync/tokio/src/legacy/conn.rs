//! A connection with a Redis.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::limits::PATIENCE;
use super::resp::{self, Reply};

/// Where a Redis is, and what it wants to hear first.
#[derive(Clone)]
pub struct Place {
    at: At,
    password: Option<Arc<Zeroizing<Vec<u8>>>>,
}

#[derive(Clone)]
enum At {
    Address(SocketAddr),
    Socket(PathBuf),
    /// By a way that somebody else has.
    By(Arc<str>, Arc<dyn Reach>),
}

/// A connection with a Redis that is on its way.
pub type Reached<'r> = Pin<Box<dyn Future<Output = io::Result<Box<dyn Stream>>> + Send + 'r>>;

/// Has a way to a Redis.
pub trait Reach: Send + Sync {
    /// A connection with it, as one that has shown its password.
    ///
    /// # Errors
    /// There is none.
    fn reach(&self) -> Reached<'_>;
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.at {
            At::Address(address) => address.fmt(f),
            At::Socket(path) => path.display().fmt(f),
            At::By(name, _) => f.write_str(name),
        }
    }
}

impl FromStr for Place {
    type Err = String;

    /// An address with its port, or the path of a unix socket.
    fn from_str(text: &str) -> Result<Self, String> {
        let at = match text.parse() {
            Ok(address) => At::Address(address),
            Err(_) if text.contains('/') => At::Socket(PathBuf::from(text)),
            Err(_) => return Err("write an address with its port, or the path of a unix socket".to_owned()),
        };
        Ok(Self { at, password: None })
    }
}

impl Place {
    /// One that is reached by a way of somebody else's, and what it is called in the log.
    pub fn by(name: &str, way: Arc<dyn Reach>) -> Self {
        Self { at: At::By(Arc::from(name), way), password: None }
    }

    /// The same with a password.
    #[must_use]
    pub fn with_password(mut self, password: &[u8]) -> Self {
        self.password = Some(Arc::new(Zeroizing::new(password.to_vec())));
        self
    }
}

/// Bytes, both ways.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection that has shown its password, for somebody else.
///
/// # Errors
/// Why there is none, in words.
pub async fn through(place: &Place) -> Result<Box<dyn Stream>, String> {
    Ok(Conn::open(place).await?.stream)
}

/// A connection: commands go out together, and their replies come in order.
pub(super) struct Conn {
    stream: Box<dyn Stream>,
    out: Vec<u8>,
    asked: usize,
    held: Vec<u8>,
}

impl Conn {
    /// Connects and introduces itself.
    ///
    /// # Errors
    /// Why not, in words.
    pub async fn open(place: &Place) -> Result<Self, String> {
        let late = |_| format!("no answer within {} s", PATIENCE.as_secs());
        let stream = timeout(PATIENCE, connect(&place.at)).await.map_err(late)?;
        let stream = stream.map_err(|error| error.to_string())?;
        let mut conn = Self { stream, out: Vec::new(), asked: 0, held: Vec::new() };
        if let Some(password) = &place.password {
            conn.say(&[b"AUTH", password]);
            conn.replies().await?;
        }
        Ok(conn)
    }

    /// Adds a command to those that go out next.
    pub fn say(&mut self, words: &[&[u8]]) {
        resp::command(&mut self.out, words);
        self.asked += 1;
    }

    /// Adds commands that are written already.
    pub fn say_written(&mut self, commands: &[u8], replies: usize) {
        self.out.extend_from_slice(commands);
        self.asked += replies;
    }

    /// Sends the commands; gives their replies.
    ///
    /// # Errors
    /// One was refused, or none came in time, in words. The connection is of no use then.
    pub async fn replies(&mut self) -> Result<Vec<Reply>, String> {
        self.replies_within(PATIENCE).await
    }

    /// As [`Conn::replies`], for a command that waits for so long itself.
    pub async fn replies_within(&mut self, patience: Duration) -> Result<Vec<Reply>, String> {
        let late = |_| format!("no answer within {} s", patience.as_secs());
        timeout(patience, self.exchange()).await.map_err(late)?
    }

    /// As [`Conn::replies`], for one command.
    pub async fn ask(&mut self, words: &[&[u8]]) -> Result<Reply, String> {
        self.say(words);
        Ok(self.replies().await?.pop().unwrap_or(Reply::Nil))
    }

    async fn exchange(&mut self) -> Result<Vec<Reply>, String> {
        let said = |error: io::Error| error.to_string();
        // Redis reads on while it answers, so replies need no room of their own before all is written.
        self.stream.write_all(&self.out).await.map_err(said)?;
        self.out.clear();
        let mut replies = Vec::with_capacity(self.asked);
        let mut used = 0;
        while replies.len() < self.asked {
            if let Some((reply, length)) = resp::reply(&self.held[used..])? {
                if let Some(why) = reply.refusal() {
                    return Err(why.to_owned());
                }
                replies.push(reply);
                used += length;
                continue;
            }
            self.held.drain(..used);
            used = 0;
            if self.stream.read_buf(&mut self.held).await.map_err(said)? == 0 {
                return Err("it ended the connection".to_owned());
            }
        }
        self.held.drain(..used);
        self.asked = 0;
        Ok(replies)
    }
}

async fn connect(at: &At) -> io::Result<Box<dyn Stream>> {
    Ok(match at {
        At::Address(address) => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Box::new(stream)
        }
        At::Socket(path) => Box::new(UnixStream::connect(path).await?),
        At::By(_, way) => way.reach().await?,
    })
}
