//! What a request needs while it is under way, reused from request to request.

use forebay_core::id::ServerIndex;
use forebay_http::h1::body::Decoder;
use forebay_http::h1::{RequestHead, ResponseHead};

use super::buffer::{Buffer, Buffers};
use super::choose::Memory;
use super::gather::Gather;
use super::limits::{SPARE_KEPT, TEXT_KEPT_BYTES};
use super::record::Trace;
use super::spare::Spare;

/// A client's bytes, and the request that they begin with: all that a slow head costs.
#[derive(Default)]
pub struct Head {
    /// Bytes from the client, from the request's first one on.
    pub bytes: Buffer,
    /// The request.
    pub request: RequestHead,
}

impl Head {
    /// Forgets the first `count` bytes and the request.
    pub fn next_message(&mut self, count: usize) {
        self.bytes.consume(count);
        self.bytes.compact();
        self.request.reset();
    }

    /// Goes on with bytes that were read behind the last message.
    pub fn go_on_with(&mut self, leftover: Buffer, buffers: &Buffers) {
        debug_assert!(
            self.bytes.is_empty(),
            "content is read from the socket only after what came with the head"
        );
        buffers.give_back(std::mem::replace(&mut self.bytes, leftover));
    }
}

/// The rest, from the head's end to the answer's end.
#[derive(Default)]
pub struct Work {
    /// The server's answer.
    pub response: ResponseHead,
    /// The request's content.
    pub upward: Decoder,
    /// The answer's content.
    pub downward: Decoder,
    /// What goes to the server.
    pub to_server: Gather,
    /// What goes to the client.
    pub to_client: Gather,
    /// Servers that have failed this request.
    pub tried: Vec<ServerIndex>,
    /// Limited servers on which no place was free a moment ago.
    pub full: Vec<ServerIndex>,
    /// What is remembered of the client, and told it.
    pub memory: Memory,
    /// Room for texts that rules make: a new target, a location.
    pub text: Vec<u8>,
    /// What is told of the request.
    pub trace: Trace,
}

impl Work {
    fn reset(&mut self) {
        self.response.reset();
        self.to_server.shrink(TEXT_KEPT_BYTES);
        self.to_client.shrink(TEXT_KEPT_BYTES);
        self.tried.clear();
        self.full.clear();
        self.memory.set_cookie.clear();
        self.memory.receipt = None;
        self.text.clear();
        self.text.shrink_to(TEXT_KEPT_BYTES);
        self.trace = Trace::default();
    }
}

/// Working sets that are not in use.
pub struct Works {
    heads: Spare<Box<Head>>,
    works: Spare<Box<Work>>,
}

impl Default for Works {
    fn default() -> Self {
        Works { heads: Spare::new(SPARE_KEPT), works: Spare::new(SPARE_KEPT) }
    }
}

impl Works {
    /// An empty head with a buffer.
    pub fn head(&self, buffers: &Buffers) -> Box<Head> {
        let mut head = self.heads.take().unwrap_or_default();
        head.bytes = buffers.head();
        head
    }

    /// Takes a head back.
    pub fn give_back_head(&self, mut head: Box<Head>, buffers: &Buffers) {
        buffers.give_back(std::mem::take(&mut head.bytes));
        head.request.reset();
        self.heads.give(head);
    }

    /// An empty working set.
    //= SE-COST-01
    pub fn work(&self) -> Box<Work> {
        self.works.take().unwrap_or_default()
    }

    /// Takes a working set back.
    pub fn give_back(&self, mut work: Box<Work>) {
        work.reset();
        self.works.give(work);
    }

    /// Frees what was not needed since the last call; gives at least how many bytes that were.
    pub fn release(&self) -> usize {
        self.heads.release() * size_of::<Head>() + self.works.release() * size_of::<Work>()
    }
}
