//! Parsing and writing allocate nothing once their vectors have grown.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::Ipv4Addr;

use forebay_http::Limits;
use forebay_http::h1::body::{self, Decoder};
use forebay_http::h1::write::{self, FieldEdit, Hop, RequestEdits, ResponseEdits};
use forebay_http::h1::{self, Parse, RequestContext, RequestHead, ResponseHead};
use forebay_http::h2::{Code, Config, Connection, Event, Inbox, PREFACE, Role};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged; counting touches a constant-initialised cell of the
// same thread, which does not allocate.
unsafe impl GlobalAlloc for Counting {
    // SAFETY: the contract is the trait's; whoever calls keeps it.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|n| n.set(n.get() + 1));
        // SAFETY: the caller keeps the promises of `alloc`.
        unsafe { System.alloc(layout) }
    }

    // SAFETY: the contract is the trait's; whoever calls keeps it.
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the promises of `dealloc`.
        unsafe { System.dealloc(at, layout) }
    }

    // SAFETY: the contract is the trait's; whoever calls keeps it.
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|n| n.set(n.get() + 1));
        // SAFETY: the caller keeps the promises of `realloc`.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_request_and_its_response_allocate_nothing_in_steady_state() {
    let request = b"POST /cart/add?id=7 HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: x\r\nAccept: */*\r\n\
        Cookie: a=1; s=2; b=3\r\nX-Forwarded-For: 192.0.2.1\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1\r\n\
        Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n";
    let response =
        b"HTTP/1.1 200 OK\r\nServer: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let mut state = State::default();
    state.exchange(request, response);

    let before = ALLOCATIONS.with(Cell::get);
    for _ in 0..100 {
        state.exchange(request, response);
    }
    assert_eq!(ALLOCATIONS.with(Cell::get) - before, 0);
}

#[test]
fn requests_over_http2_and_their_responses_allocate_nothing_in_steady_state() {
    let mut out = Vec::new();
    let mut connection = Connection::new(Role::Server, &Config::default(), &mut out);
    let mut client = Connection::new(Role::Client, &Config::default(), &mut Vec::new());
    let request = b"POST /cart/add?id=7 HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: x\r\nCookie: a=1\r\n\
        X-Own: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
    let response = b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\n";
    let (mut inbox, mut input, mut thrown) = (Inbox::default(), Vec::new(), Vec::new());
    input.extend_from_slice(PREFACE);
    input.extend_from_slice(&[0, 0, 0, 4, 0, 0, 0, 0, 0]);
    let mut exchange = |connection: &mut Connection, input: &mut Vec<u8>, out: &mut Vec<u8>| {
        let id = client.open(request, b"https", &[], false, input).unwrap();
        let content = client.data(id, 5, true).unwrap();
        input.extend_from_slice(&content);
        input.extend_from_slice(b"hello");
        let mut at = 0;
        loop {
            let step = connection.feed(&input[at..], 0, &mut inbox, out);
            at += step.consumed;
            match step.event {
                Event::NeedInput => break,
                Event::Request { stream, .. } => connection.head(stream, response, &[], false, out).unwrap(),
                Event::Data { stream, data, .. } => {
                    connection.release(stream, data.len(), out);
                    connection.want(stream, true);
                    let (stream, _) = connection.next().unwrap();
                    let head = connection.data(stream, 5, true).unwrap();
                    out.extend_from_slice(&head);
                    out.extend_from_slice(b"world");
                }
                other => panic!("{other:?}"),
            }
        }
        client.reset(id, Code::No, &mut thrown);
        thrown.clear();
        input.clear();
        out.clear();
    };
    // Windows are opened again and closed streams forgotten within so many.
    for _ in 0..200 {
        exchange(&mut connection, &mut input, &mut out);
    }
    let before = ALLOCATIONS.with(Cell::get);
    for _ in 0..1000 {
        exchange(&mut connection, &mut input, &mut out);
    }
    assert_eq!(ALLOCATIONS.with(Cell::get) - before, 0);
}

#[derive(Default)]
struct State {
    request: RequestHead,
    response: ResponseHead,
    decoder: Decoder,
    out: Vec<u8>,
}

impl State {
    fn exchange(&mut self, request: &[u8], response: &[u8]) {
        let limits = Limits::default();
        self.out.clear();
        self.request.reset();
        let Ok(Parse::Done { len }) = h1::parse_request(request, &limits, &mut self.request) else {
            panic!()
        };
        let how = RequestEdits {
            hop: Some(Hop { client: Ipv4Addr::LOCALHOST.into(), port: 80, tls: false }),
            via: Some(b"edge"),
            drop_cookies: &[b"s"],
            fields: &[FieldEdit::Set { name: b"X-Id", value: b"1" }],
            ..RequestEdits::default()
        };
        write::request(request, &self.request, &how, &mut self.out).unwrap();
        self.decoder.reset(self.request.framing, &limits);
        self.relay(&request[len..]);

        self.response.reset();
        let context = RequestContext::of(&self.request);
        let Ok(Parse::Done { len }) = h1::parse_response(response, &context, &limits, &mut self.response)
        else {
            panic!()
        };
        let set_cookie = [FieldEdit::Add { name: b"Set-Cookie", value: b"s=2" }];
        let how = ResponseEdits { fields: &set_cookie, ..ResponseEdits::of(&self.request) };
        write::response(response, &self.response, &how, &mut self.out).unwrap();
        self.decoder.reset(self.response.framing, &limits);
        self.relay(&response[len..]);
    }

    fn relay(&mut self, mut rest: &[u8]) {
        while !self.decoder.is_done() {
            let step = self.decoder.decode(rest).unwrap();
            let mut line = [0; body::CHUNK_HEAD_MAX];
            if !step.data.is_empty() {
                self.out.extend_from_slice(body::chunk_head(step.data.len() as u64, &mut line));
                self.out.extend_from_slice(&rest[step.data]);
                self.out.extend_from_slice(body::CHUNK_END);
            }
            rest = &rest[step.consumed..];
        }
        body::last_chunk(&self.decoder, true, &mut self.out);
    }
}
