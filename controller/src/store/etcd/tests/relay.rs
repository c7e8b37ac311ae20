//! A relay between a store and its member, which loses and holds back what it is told to.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What becomes of the bytes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// They pass.
    Open,
    /// What the member answers is dropped.
    Swallowed,
    /// What the store asks for waits, and so do answers.
    Held,
    /// Nothing passes, on no connection.
    Mute,
}

pub struct Relay {
    port: u16,
    /// Of the connections that there are; later ones are open, but where all are mute.
    ways: Arc<Mutex<Vec<watch::Sender<Way>>>>,
    is_mute: Arc<watch::Sender<bool>>,
}

impl Relay {
    pub async fn start(to: (String, u16)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let ways: Arc<Mutex<Vec<watch::Sender<Way>>>> = Arc::default();
        let is_mute = Arc::new(watch::Sender::new(false));
        let relay = Relay { port, ways: Arc::clone(&ways), is_mute: Arc::clone(&is_mute) };
        tokio::spawn(async move {
            while let Ok((from, _)) = listener.accept().await {
                let Ok(member) = TcpStream::connect((to.0.as_str(), to.1)).await else { return };
                let way = watch::Sender::new(if *is_mute.borrow() { Way::Mute } else { Way::Open });
                let (asking, answering) = (way.subscribe(), way.subscribe());
                ways.lock().expect("whole").push(way);
                let (from_read, from_write) = from.into_split();
                let (member_read, member_write) = member.into_split();
                tokio::spawn(pass(from_read, member_write, asking, false));
                tokio::spawn(pass(member_read, from_write, answering, true));
            }
        });
        relay
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn all(&self, way: Way) {
        for one in self.ways.lock().expect("whole").iter() {
            one.send_replace(way);
        }
    }

    /// Answers on the connections that there are do not come any more.
    pub fn swallow(&self) {
        self.all(Way::Swallowed);
    }

    /// What is asked for on the connections that there are waits.
    pub fn hold(&self) {
        self.all(Way::Held);
    }

    /// Nothing passes any more.
    pub fn mute(&self) {
        self.is_mute.send_replace(true);
        self.all(Way::Mute);
    }
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut way: watch::Receiver<Way>,
    is_answer: bool,
) {
    let mut buffer = vec![0; 64 * 1024];
    // The store closes a connection that it has given up; what it had asked for is still on its way.
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let passes = way.wait_for(|way| matches!(way, Way::Open | Way::Swallowed)).await.map(|way| *way);
        match passes {
            Ok(Way::Swallowed) if is_answer => {}
            // Who does not take it any more is no reason to close the other side.
            Ok(_) => drop(to.write_all(&buffer[..read]).await),
            Err(_) => return,
        }
    }
    // A member that sees it close gives up what it was asked for: it sees it when the test is over.
    while way.changed().await.is_ok() {}
}
