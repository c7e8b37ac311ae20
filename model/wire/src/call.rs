//! The engine's end of a connection: HTTP/2 over a stream of bytes that is there already.
//!
//! One connection, made once: when it ends whoever holds it knows, and makes the next one as it sees fit.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Uri;
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::rt::bounds::Http2ClientConnExec;
use tonic::body::Body;
use tonic::codegen::Service;

use crate::limits::{MESSAGE_BYTES_MAX, MISSED};
use crate::proto::channel_client::ChannelClient;
use crate::{CONTROLLER_NAME, limits};

/// Calls over one connection.
#[derive(Clone)]
pub struct Calls {
    requests: SendRequest<Body>,
}

impl Service<http::Request<Body>> for Calls {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.requests.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.requests.send_request(request))
    }
}

/// Begins a conversation over `stream`, whose other end is known already; gives the client, and what must be driven for as
/// long as it is used.
///
/// # Errors
/// The other end does not speak HTTP/2.
pub async fn open<T, E>(
    stream: T,
    executor: E,
    timer: impl hyper::rt::Timer + Send + Sync + 'static,
) -> Result<(ChannelClient<Calls>, impl Future<Output = Result<(), hyper::Error>>), hyper::Error>
where
    T: hyper::rt::Read + hyper::rt::Write + Unpin + 'static,
    E: Http2ClientConnExec<Body, T> + Unpin + Clone,
{
    let mut builder = Builder::new(executor);
    //= CHAN-SEVERAL-02
    builder
        .timer(timer)
        .keep_alive_interval(MISSED.0)
        .keep_alive_timeout(MISSED.1)
        .keep_alive_while_idle(true);
    builder.initial_stream_window_size(limits::PART_BYTES as u32 * 4);
    let (requests, connection) = builder.handshake(stream).await?;
    let origin = Uri::builder().scheme("https").authority(CONTROLLER_NAME).path_and_query("/").build();
    let client = ChannelClient::with_origin(Calls { requests }, origin.unwrap_or_default())
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    Ok((client, connection))
}
