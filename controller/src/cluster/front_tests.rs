//! A node that follows, before a leader that is a socket.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::HttpBody;
use axum::http::Method;
use hyper::body::Frame;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use super::*;
use crate::cluster::Identity;
use crate::sealed::Seal;
use crate::server;
use crate::store::suite::Folder;

/// Nothing here takes longer, unless it never ends.
const SOON: Duration = Duration::from_secs(10);
/// The pause between two looks at a condition.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A leader in a runtime of its own: it dies with that one. How many requests came to it is counted.
fn leader(identity: &Identity) -> (Runtime, SocketAddr, Arc<AtomicUsize>) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("one");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a socket");
    let at = listener.local_addr().expect("its address");
    let tls = identity.server().expect("it fits");
    let came = Arc::new(AtomicUsize::new(0));
    let comes = Arc::clone(&came);
    let answer = move |request: Request| {
        comes.fetch_add(1, Ordering::Relaxed);
        async move {
            match request.uri().path() {
                "/never" => std::future::pending().await,
                "/much" => Response::new(Body::from(vec![7; 4 << 20])),
                _ => Response::new(Body::from("done")),
            }
        }
    };
    runtime.spawn(async move {
        let listener = TcpListener::from_std(listener).expect("a socket");
        server::serve(answer, listener, tls, std::future::pending()).await
    });
    (runtime, at, came)
}

fn follower(folder: &Folder) -> (Arc<Front>, Identity) {
    let seal = Seal::open(&folder.0.join("key")).expect("a key");
    let identity = Identity::new(&seal, IpAddr::from([127, 0, 0, 1])).expect("made");
    (Arc::new(Front::new(identity.client().expect("it fits"))), identity)
}

fn asks(client: u8, method: &Method, path: &str, content: Body) -> Request {
    let mut request = Request::builder().method(method).uri(path).body(content).expect("a request");
    request.extensions_mut().insert(Peer(IpAddr::from([192, 0, 2, client])));
    request
}

/// Content that never comes.
struct Never;

impl HttpBody for Never {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}

async fn soon<T>(what: &str, answer: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, answer).await.unwrap_or_else(|_| panic!("{what}: no answer"))
}

//= test CLUSTER-ANY-02
#[tokio::test]
async fn clients_that_send_or_read_nothing_keep_no_other_one_from_the_leader() {
    let folder = Folder::new("front-slow");
    let (front, identity) = follower(&folder);
    let (runtime, at, _) = leader(&identity);
    front.set(Role::Follows(at));
    let mut held = Vec::new();
    // Contents that never come.
    for _ in 0..OF_ONE_MAX {
        let front = Arc::clone(&front);
        let content = Body::new(Never);
        held.push(tokio::spawn(async move { front.client(asks(1, &Method::POST, "/login", content)).await }));
    }
    // Each of them comes to wait before this goes on.
    let all_wait = async {
        while front.guests.enter(IpAddr::from([192, 0, 2, 1])).is_some() {
            tokio::task::yield_now().await;
        }
    };
    soon("all of them", all_wait).await;
    let refused = soon("the client itself", front.client(asks(1, &Method::GET, "/", Body::empty()))).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    // Answers that nobody reads, more of them than one connection takes.
    let mut unread = Vec::new();
    for _ in 0..OF_ONE_MAX {
        let answer = front.client(asks(2, &Method::GET, "/much", Body::empty()));
        unread.push(soon("the head of a long answer", answer).await);
    }
    for method in [Method::GET, Method::POST] {
        let answer = soon("another client", front.client(asks(3, &method, "/", Body::empty()))).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let content = soon("its answer", axum::body::to_bytes(answer.into_body(), 100)).await;
        assert_eq!(content.expect("whole"), "done");
    }
    // What is over makes room.
    drop(unread);
    let answer = soon("who has read enough", front.client(asks(2, &Method::GET, "/", Body::empty()))).await;
    assert_eq!(answer.status(), StatusCode::OK);
    runtime.shutdown_background();
}

//= test CLUSTER-STILL-01
#[test]
fn what_wrote_nothing_counts_as_read_by_whatever_method_it_came() {
    let of = |status: u16, has_written: bool| {
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = StatusCode::from_u16(status).expect("one");
        if has_written {
            answer.extensions_mut().insert(Wrote);
        }
        answer
    };
    for (status, has_written, is_known) in [
        (200, false, true),
        (204, false, true),
        (400, false, true),
        (200, true, false),
        (503, true, false),
        // Whoever is told that it is not known whether it was done is told that.
        (504, false, false),
        (500, false, false),
    ] {
        assert_eq!(is_from_memory(false, &of(status, has_written)), is_known, "{status} {has_written}");
        assert!(is_from_memory(true, &of(status, has_written)), "who only reads");
    }
}

//= test CLUSTER-ANY-02
#[tokio::test]
async fn who_may_try_again_is_told_so_and_who_must_look_first_is_told_that() {
    let folder = Folder::new("front-lost");
    let (front, identity) = follower(&folder);
    let (runtime, at, came) = leader(&identity);
    front.set(Role::Follows(at));
    let mut waiting = Vec::new();
    for method in [Method::GET, Method::POST] {
        let front = Arc::clone(&front);
        waiting
            .push(tokio::spawn(async move { front.client(asks(1, &method, "/never", Body::empty())).await }));
    }
    let both = async {
        while came.load(Ordering::Relaxed) < 2 {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    soon("both at the leader", both).await;
    runtime.shutdown_background();
    let mut said = Vec::new();
    for one in waiting {
        let answer = soon("what the leader took with it", one).await.expect("no panic");
        said.push((answer.status().as_u16(), answer.headers().contains_key(RETRY_AFTER)));
    }
    assert_eq!(said, [(503, true), (504, false)], "a read may be repeated, a write may have been done");
    // Nobody listens there any more: nothing is sent.
    let answer = soon("a write", front.client(asks(1, &Method::POST, "/", Body::empty()))).await;
    assert_eq!((answer.status().as_u16(), answer.headers().contains_key(RETRY_AFTER)), (503, true));
}
